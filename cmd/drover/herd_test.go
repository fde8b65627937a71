package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // what times look like does not depend on the machine
	os.Exit(m.Run())
}

// herd is one agent on loopback ports, whose machine only pretends to run tasks, and somebody who types commands.
type herd struct {
	t    *testing.T
	addr string
	dir  string // of the agent's data
	tmp  string // for what commands write
	api  *api.Client
	stop func() // ends the agent
}

// newHerd starts an agent; edit changes its configuration.
func newHerd(t *testing.T, edit ...func(*agent.Config)) *herd {
	t.Helper()
	h := &herd{t: t, dir: filepath.Join(t.TempDir(), "data"), tmp: t.TempDir()}
	for try := 0; ; try++ { // another program may take a port between the choice and the agent's start
		cfg := agent.DevConfig()
		cfg.Name, cfg.DataDir, cfg.Ports = "n1", h.dir, freePorts(t)
		for _, f := range edit {
			f(&cfg)
		}
		err := h.start(cfg)
		if err == nil {
			break
		}
		if try == 5 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
	var err error
	if h.api, err = api.New(api.Config{Addr: h.addr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.api.Close)
	return h
}

// start starts the herd's agent.
func (h *herd) start(cfg agent.Config) error {
	driver := fake.New(fake.NewMachine())
	ctx, cancel := context.WithCancel(context.Background())
	a, err := agent.Open(ctx, cfg, agent.Options{
		Version: "test", Drivers: map[string]runtime.Driver{"fake": driver},
		Exit: func(code int) { h.t.Errorf("the agent wants to exit with code %d", code) },
	})
	if err != nil {
		cancel()
		return err
	}
	h.addr, _, _ = a.Addrs()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			h.t.Error("agent:", err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := a.Close(); err != nil {
			h.t.Error("close agent:", err)
		}
		driver.Close()
	})
	h.t.Cleanup(h.stop)
	return nil
}

// lastPort is the port that was given out last. Ports come from below those that outgoing connections get, and none comes twice.
var lastPort atomic.Int32

// freePorts are three ports that nobody uses at the moment.
func freePorts(t *testing.T) agent.Ports {
	t.Helper()
	var ports [3]int
	for i := range ports {
		for ports[i] == 0 {
			n := lastPort.Add(1)
			if n > 8000 {
				t.Fatal("no free port between 12000 and 20000")
			}
			port := 12000 + (int(n)+os.Getpid()*97)%8000
			tcp, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				continue
			}
			if udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				ports[i] = port
				_ = udp.Close()
			}
			_ = tcp.Close()
		}
	}
	return agent.Ports{HTTP: ports[0], RPC: ports[1], Serf: ports[2]}
}

// ready waits until the node takes work.
func (h *herd) ready() *herd {
	h.t.Helper()
	h.wait("a ready node", func(ctx context.Context) error {
		nodes, _, err := h.api.Nodes(ctx, api.QueryOptions{})
		if err == nil && (len(nodes) != 1 || nodes[0].Status != "ready") {
			err = fmt.Errorf("nodes: %+v", nodes)
		}
		return err
	})
	h.wait("a cluster at its highest level", func(ctx context.Context) error {
		got, _, err := h.api.SchedulerConfig(ctx, api.QueryOptions{})
		if err == nil && got.SchedulerConfig.ModifyIndex == 0 {
			err = errors.New("no scheduler configuration yet")
		}
		return err
	})
	h.wait("all that the node has to say", func(ctx context.Context) error { // it registers again once the level is raised
		nodes, _, err := h.api.Nodes(ctx, api.QueryOptions{})
		if err == nil && (len(nodes) != 1 || nodes[0].Resources.MHzPerCore == 0) {
			err = fmt.Errorf("nodes: %+v", nodes)
		}
		return err
	})
	h.wait("a well agent", func(ctx context.Context) error { // the servers know that it is registered before it does
		got, err := h.api.AgentHealth(ctx)
		if err == nil && (got.Server != nil && !got.Server.OK || got.Client != nil && !got.Client.OK) {
			err = fmt.Errorf("server: %+v, client: %+v", got.Server, got.Client)
		}
		return err
	})
	return h
}

// wait waits for longer than the 30 s after which a copy that ended is replaced: after a restore a machine may remember the end of one.
func (h *herd) wait(what string, check func(context.Context) error) {
	h.t.Helper()
	if _, err := waitfor.True(h.t.Context(), time.Minute, 5*time.Millisecond, check); err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

// waitCopies waits until so many copies of a job have a client status.
func (h *herd) waitCopies(job string, n int, status string) {
	h.t.Helper()
	h.wait(fmt.Sprintf("%d copies of %s %s", n, job, status), func(ctx context.Context) error {
		allocs, _, err := h.api.JobAllocations(ctx, job, api.QueryOptions{})
		if err != nil {
			return err
		}
		got := 0
		for _, x := range allocs {
			if x.ClientStatus == status && x.DesiredStatus == "run" || status == "ended" && ended(x) {
				got++
			}
		}
		if got != n {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
}

// typed is what came of a command line.
type typed struct {
	code     int
	out, err string
}

// all is both streams, as a terminal shows them.
func (x typed) all() string { return x.out + x.err }

// run types a command line.
func (h *herd) run(args ...string) typed { return h.runIn(h.t.Context(), "", args...) }

func (h *herd) runIn(ctx context.Context, in string, args ...string) typed {
	var out, errOut lockedBuffer
	code := h.app(strings.NewReader(in), &out, &errOut).run(ctx, args)
	return typed{code, out.String(), errOut.String()}
}

// app asks the herd's agent, in an environment that has nothing else.
func (h *herd) app(in io.Reader, out, errOut io.Writer) *app {
	a := newApp(in, out, errOut)
	a.getenv = func(name string) string {
		return map[string]string{"DROVER_ADDR": "http://" + h.addr, "XDG_CONFIG_HOME": h.tmp}[name]
	}
	a.drivers = map[string]runtime.Driver{"fake": fake.New(fake.NewMachine())}
	return a
}

// must runs a command that has to succeed.
func (h *herd) must(args ...string) string {
	h.t.Helper()
	x := h.run(args...)
	if x.code != 0 {
		h.t.Fatalf("drover %s: exit %d\n%s", strings.Join(args, " "), x.code, x.all())
	}
	return x.out
}

// file writes a file for a command to read.
func (h *herd) file(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.tmp, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// lockedBuffer may be read while a command writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// waitFor waits until a command has printed a text.
func (h *herd) waitFor(b *lockedBuffer, text string) {
	h.t.Helper()
	h.wait("output "+text, func(context.Context) error {
		if s := b.String(); !strings.Contains(s, text) {
			return errors.New("only: " + s)
		}
		return nil
	})
}
