package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
)

func listens(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// hellos are the copies on a machine, by PID and start time.
func hellos(n *herd.Node) map[string]bool {
	out := map[string]bool{}
	for _, p := range herd.Named(n.Processes(), "hello") {
		out[fmt.Sprintf("%d (started at tick %d)", p.PID, p.Start)] = true
	}
	return out
}

func pidsOf(m map[string]bool) string {
	var out []string
	for id := range m {
		pid, _, _ := strings.Cut(id, " ")
		out = append(out, pid)
	}
	return strings.Join(out, ", ")
}

// killAgent kills one agent -9 and starts it again: what it ran must not notice.
func (s *story) killAgent(ctx context.Context) error {
	victim := s.herd.Nodes[1]
	before := hellos(victim)
	if len(before) == 0 {
		return fmt.Errorf("no copy runs on %s", victim.Name)
	}
	s.say("The agent of %s is killed with -9. Its copies have the PIDs %s.", victim.Name, pidsOf(before))
	if err := victim.KillAgent(ctx); err != nil {
		return err
	}
	if now := hellos(victim); !same(before, now) {
		return fmt.Errorf("copies on %s: before %v, while the agent is dead %v", victim.Name, before, now)
	}
	start := time.Now()
	if err := victim.StartAgent(); err != nil {
		return err
	}
	if _, err := waitfor.True(ctx, 30*time.Second, 20*time.Millisecond, func(ctx context.Context) error {
		h, err := victim.API.AgentHealth(ctx)
		if err == nil && (h.Client == nil || !h.Client.OK) {
			err = errors.New("the client is not well yet")
		}
		return err
	}); err != nil {
		return fmt.Errorf("agent of %s does not come back: %w", victim.Name, err)
	}
	took := time.Since(start)
	after := hellos(victim)
	if !same(before, after) {
		return fmt.Errorf("copies on %s: before %v, after %v", victim.Name, before, after)
	}
	s.say("Started again, it found them within %.1f s: PIDs unchanged (%s).", took.Seconds(), pidsOf(after))
	return s.answers(ctx)
}

func same(a, b map[string]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// killMachine pulls the plug of one machine: its work must run elsewhere.
func (s *story) killMachine(ctx context.Context) error {
	leader, err := s.herd.Leader(ctx)
	if err != nil {
		return err
	}
	victim := s.herd.Nodes[2]
	if victim == leader {
		victim = s.herd.Nodes[0]
	}
	var watcher *herd.Node
	for _, n := range s.herd.Nodes {
		if n != victim {
			watcher = n
		}
	}
	lost := len(hellos(victim))
	if s.names {
		s.say("Machine %s dies: its link is cut, then its agent, containerd, shims and %d copies are killed.", victim.Name, lost)
	} else {
		s.say("Machine %s dies: its agent and its %d copies are killed, and its death is declared.", victim.Name, lost)
	}
	start := time.Now()
	if err := victim.Die(); err != nil {
		return err
	}
	if !s.names {
		if err := s.show(ctx, watcher, "node", "lost", victim.Name); err != nil {
			return err
		}
	}
	if _, err := waitfor.True(ctx, time.Minute, 50*time.Millisecond, func(ctx context.Context) error {
		got, err := s.askAll(ctx, watcher.API)
		if err != nil {
			return err
		}
		if len(got) != copies {
			return fmt.Errorf("%d of %d copies answer", len(got), copies)
		}
		for _, r := range got {
			if r.Node == victim.Name {
				return fmt.Errorf("a copy answers from the dead machine %s", victim.Name)
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("work of %s runs nowhere else: %w", victim.Name, err)
	}
	s.say("Its work runs elsewhere, %.1f s after the machine died: all %d copies answer again.", time.Since(start).Seconds(), copies)
	if err := s.show(ctx, watcher, "node", "status"); err != nil {
		return err
	}
	return s.show(ctx, watcher, "job", "status", "hello")
}

// showLogs prints the end of the agents' logs when something went wrong.
func (s *story) showLogs() {
	logs, err := filepath.Glob(filepath.Join(s.dir, "*", "agent.log"))
	if err != nil {
		return
	}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Printf("\nend of %s:\n", path)
		quote(strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
}

// clean stops the job, powers the machines off and checks that nothing of the demo is left.
func (s *story) clean() error {
	if s.herd == nil {
		return os.RemoveAll(s.dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if up := s.herd.Up(); len(up) > 0 {
		if _, err := up[0].API.StopJob(ctx, "hello", true, api.WriteOptions{}); err == nil {
			_, err = waitfor.True(ctx, 20*time.Second, 100*time.Millisecond, func(context.Context) error {
				for _, n := range up {
					if left := hellos(n); len(left) > 0 {
						return fmt.Errorf("copies still run on %s", n.Name)
					}
				}
				return nil
			})
			if err != nil {
				fmt.Println("        ", err)
			}
		}
	}
	if err := s.herd.Destroy(); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	// Before the disks go: they say whose the leftovers are. A process that was killed takes a moment to be gone.
	if _, err := waitfor.True(ctx, 5*time.Second, 20*time.Millisecond, func(context.Context) error {
		if left := s.herd.Leftovers(); len(left) > 0 {
			return fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
		}
		return nil
	}); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	s.say("Cleaned up: no process, container, mount, cgroup or namespace is left.")
	return nil
}
