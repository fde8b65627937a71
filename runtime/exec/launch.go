package exec

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// initMarker is in the environment of every init process: a program that does not call InitMain finds it in Open, and does
// not start itself without end.
const initMarker = "DROVER_EXEC_INIT"

// Descriptors that init starts with, beside 0 (null), 1 and 2 (the log files).
const (
	orderFD   = 3 // it reads an order, a line of JSON, and then the byte goByte; the end of file means that the agent has died
	reportFD  = 4 // it writes reports, lines of JSON
	dirFD     = 5 // the task's directory of state
	controlFD = 6 // it takes further commands at this socket, see wire.go
)

// goByte says that the task is recorded: start it.
const goByte = 'g'

// order is what init is told. It goes through a pipe, not over the command line or the disk: the environment holds secrets.
type order struct {
	Probe      bool // set up, report, end
	Command    string
	Args       []string // with the command as the first
	Env        []string
	Dir        string // working directory
	NetNS      string
	Namespaces bool
	Hide       string // directory under which only those of Keep are seen
	Keep       []string
	User       *credential
}

// credential is what the command runs as.
type credential struct {
	UID, GID uint32
	Groups   []uint32
}

// report is what init answers: when it is ready for an order, and when the command runs or cannot.
type report struct {
	PID       int    `json:",omitempty"` // of the command, as init sees it
	Error     string `json:",omitempty"`
	Permanent bool   `json:",omitempty"` // the error would be the same next time
}

// initProcess is the agent's end of an init process that it started.
type initProcess struct {
	*process
	orders  *os.File
	reports *os.File
	lines   *bufio.Reader
}

// startInit starts exe as init process of the task of that name, with the two log files (nil: nothing is kept)
// and the socket for further commands (nil: there will be none).
func startInit(exe, name string, m isolation, env []string, dir, stdout, stderr, control *os.File) (*initProcess, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	orderR, orderW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer orderR.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		orderW.Close()
		return nil, err
	}
	defer reportW.Close()
	if stdout == nil {
		stdout = null
	}
	if stderr == nil {
		stderr = null
	}
	if control == nil {
		control = null
	}
	pidfd := -1
	attr := &syscall.ProcAttr{Env: append(initEnv(), env...), Dir: "/", Sys: m.attributes()}
	attr.Sys.PidFD = &pidfd
	for _, f := range []*os.File{null, stdout, stderr, orderR, reportW, dir, control} {
		attr.Files = append(attr.Files, f.Fd())
	}
	pid, err := syscall.ForkExec(exe, []string{"drover", "exec-init", name}, attr)
	if err == nil && pidfd < 0 {
		pidfd, err = unix.PidfdOpen(pid, 0) // our own child: it cannot be another process yet
	}
	if err != nil {
		orderW.Close()
		reportR.Close()
		return nil, fmt.Errorf("start init process: %w", err)
	}
	return &initProcess{process: newProcess(pid, pidfd), orders: orderW, reports: reportR, lines: bufio.NewReader(reportR)}, nil
}

// initEnv keeps init small. The command gets the task's environment, nothing of this.
func initEnv() []string { return []string{initMarker + "=1", "GOMAXPROCS=1", "GOTRACEBACK=single"} }

func (in *initProcess) close() {
	in.orders.Close()
	in.reports.Close()
	in.process.close()
}

// kill ends init, and with it everything in its PID namespace, and waits for that.
func (in *initProcess) kill(ctx context.Context) {
	_ = in.signal(syscall.SIGKILL)
	_ = in.wait(ctx)
}

// ready waits until init has started up.
func (in *initProcess) ready(ctx context.Context) error {
	_, err := in.report(ctx)
	return err
}

// send gives the order together with the go byte.
func (in *initProcess) send(ctx context.Context, o order) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = in.orders.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := in.orders.Write(append(data, '\n', goByte)); err != nil {
		return fmt.Errorf("instruct init process: %w", err)
	}
	return nil
}

// report waits for what init says next.
func (in *initProcess) report(ctx context.Context) (report, error) {
	stop := context.AfterFunc(ctx, func() { _ = in.reports.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := in.lines.ReadBytes('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return report{}, context.Cause(ctx)
	case err != nil:
		return report{}, fmt.Errorf("init process ended early: %w", err)
	}
	var r report
	if err := json.Unmarshal(line, &r); err != nil {
		return report{}, fmt.Errorf("understand init process: %w", err)
	}
	switch {
	case r.Error != "" && r.Permanent:
		return r, fmt.Errorf("%s: %w", r.Error, runtime.ErrNotRetryable)
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}
