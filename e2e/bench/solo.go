package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/state"
)

const formTimeout = time.Minute

// solo is one agent --dev on a machine of its own.
type solo struct {
	*herd.Machine
	api    *api.Client
	drover string
}

// newSolo boots a machine. The agent is started by start.
func newSolo(w *herd.Wire, o options, name string) (*solo, error) {
	m, err := w.NewMachine(name, filepath.Join(o.dir, name), false)
	if err != nil {
		return nil, err
	}
	s := &solo{Machine: m, drover: o.drover}
	if s.api, err = api.New(api.Config{Addr: fmt.Sprintf("http://%s:4646", m.IP), Retries: -1}); err != nil {
		return nil, err
	}
	return s, m.Boot()
}

// start starts the agent. It listens where this program reaches it, and is an agent --dev otherwise.
func (s *solo) start() error {
	_, err := s.Start("agent.log", nil, s.drover, "agent", "--dev", "--bind", s.IP.String(), "--insecure", "--node", s.Name,
		"--data-dir", filepath.Join(s.Dir, "data"))
	return err
}

// startReady starts the agent and waits until it is ready.
func (s *solo) startReady(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	if err := s.start(); err != nil {
		return 0, err
	}
	if _, err := waitfor.True(ctx, formTimeout, 5*time.Millisecond, s.ready); err != nil {
		return 0, fmt.Errorf("start of %s: %w; its log: %s", s.Name, err, tailOf(filepath.Join(s.Dir, "agent.log")))
	}
	return time.Since(began), nil
}

// ready is a condition: both roles are well by the agent's own word, and its node is ready for work, in containers too where it can.
func (s *solo) ready(ctx context.Context) error {
	h, err := s.api.AgentHealth(ctx)
	if err != nil {
		return err
	}
	if h.Server == nil || !h.Server.OK || h.Client == nil || !h.Client.OK {
		return errors.New("the agent is not well yet")
	}
	nodes, _, err := s.api.Nodes(ctx, api.QueryOptions{})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		switch {
		case n.Name != s.Name || n.Status != state.NodeStatusReady:
		case herd.OuterUID() == 0 && !n.Drivers["containerd"].Healthy:
			return fmt.Errorf("containerd of node %s: %s", n.Name, n.Drivers["containerd"].HealthDescription)
		default:
			return nil
		}
	}
	return fmt.Errorf("node %s is not ready", s.Name)
}

// agentPID is the agent's process in this program's numbering.
func (s *solo) agentPID() (int, error) { return programPID(s.Machine, s.drover, "agent") }

// containerdPID is the process of the agent's own daemon.
func (s *solo) containerdPID() (int, error) { return programPID(s.Machine, s.drover, "containerd") }

// programPID finds the process of the binary that runs one of its commands on a machine.
func programPID(m *herd.Machine, binary, command string) (int, error) {
	for _, p := range m.Processes() {
		if len(p.Args) > 1 && filepath.Base(p.Args[0]) == filepath.Base(binary) && p.Args[1] == command {
			return p.PID, nil
		}
	}
	return 0, fmt.Errorf("no %s %s runs on machine %s", filepath.Base(binary), command, m.Name)
}

// socket is that of the agent's daemon, as this program sees it.
func (s *solo) socket() (string, error) {
	// Every machine has its own /run.
	found, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/drover/*/containerd.sock", s.InitPID()))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("machine %s has %d containerd sockets, want 1", s.Name, len(found))
	}
	return found[0], nil
}

// nodeID is the agent's.
func (s *solo) nodeID() (string, error) {
	b, err := os.ReadFile(filepath.Join(s.Dir, "data", "node-id"))
	if err != nil {
		return "", err
	}
	return string(slices.DeleteFunc(b, func(c byte) bool { return c <= ' ' })), nil
}

// tailOf is the end of a log.
func tailOf(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// onWire runs fn with a bridge for machines, and ends them all.
func onWire(o options, fn func(*herd.Wire) error) error {
	w, err := herd.OpenWire()
	if err != nil {
		return err
	}
	err = fn(w)
	return errors.Join(err, w.Close(), herd.RemoveTraces(o.dir), removeDisks(o.dir))
}

// removeDisks removes the machines' disks. A file system may still be busy with what has just died on it.
func removeDisks(dir string) error {
	var err error
	for range 50 {
		if err = os.RemoveAll(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return err
}

// restart kills the agent and starts it again.
func (s *solo) restart(ctx context.Context) (time.Duration, error) {
	pid, err := s.agentPID()
	if err != nil {
		return 0, err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, err
	}
	gone := func(context.Context) error {
		if pid, err := s.agentPID(); err == nil {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	}
	if _, err := waitfor.True(ctx, formTimeout, time.Millisecond, gone); err != nil {
		return 0, err
	}
	return s.startReady(ctx)
}
