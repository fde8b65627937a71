package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/drover-io/drover/e2e/gauge"
)

// ceilingArg makes this program a server of net/http that answers everything with the same bytes.
const ceilingArg = "empty-http-server"

// ceilingBody is as much as a job's answer.
const ceilingBody = 1600

// serveEmpty answers until its input ends.
func serveEmpty() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	body := []byte(strings.Repeat("x", ceilingBody))
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the reader may be gone
	})}
	return server.Serve(l)
}

// empty is one such server.
type empty struct {
	cmd  *exec.Cmd
	addr string
}

func startEmpty() (*empty, error) {
	e := &empty{cmd: exec.Command("/proc/self/exe", ceilingArg)}
	e.cmd.Stderr = os.Stderr
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start an empty server: %w", err), e.close())
	}
	e.addr = strings.TrimSpace(line)
	return e, nil
}

func (e *empty) close() error {
	err := e.cmd.Process.Kill()
	_ = e.cmd.Wait() // it was killed
	return err
}

// ping asks an empty server.
type ping struct {
	w       *wire
	request []byte
}

func (p *ping) do(context.Context) error {
	_, err := p.w.ask(p.request)
	return err
}

func (p *ping) close() { p.w.close() }

// measureCeiling says what net/http itself and these clients reach on this machine: three servers that do nothing.
func measureCeiling(ctx context.Context, o options) (out []*figure, err error) {
	var all []*empty
	defer func() {
		for _, e := range all {
			err = errors.Join(err, e.close())
		}
	}()
	for range 3 {
		e, err := startEmpty()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	used := func() (sum time.Duration, err error) {
		for _, e := range all {
			u, err := gauge.ReadUsage(e.cmd.Process.Pid)
			if err != nil {
				return 0, err
			}
			sum += u.CPU
		}
		return sum, nil
	}
	f := &figure{name: "empty-http", unit: "1/s"}
	var runs []result
	for range o.runs {
		r, err := load(ctx, readers, o.lasts, func(ctx context.Context, i int) (client, error) {
			at := all[i%len(all)].addr
			w, err := dial(ctx, at, 4096)
			return &ping{w: w, request: get(at, "/v1/job/held-00000?stale")}, err
		}, used)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		f.values = append(f.values, r.rate())
	}
	describe(f, readers, runs)
	f.add("note", "three servers of net/http that answer the same 1,600 bytes to everything: the most that any handler could reach")
	return []*figure{f}, nil
}
