package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
)

// agentLog is what a machine's agent has said.
func agentLog(t *testing.T, n *herd.Node) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDataDirectories is about what an agent finds, or does not find, on its disk.
func TestDataDirectories(t *testing.T) {
	h := form(t, herd.Options{Servers: 1, Clients: 2, Driver: herd.DriverExec})
	server, first, second := h.Nodes[0], h.Nodes[1], h.Nodes[2]
	command(t, server, 0, "job", "run", work{id: "hello", copies: 6}.file(t))

	t.Run("a second agent on one data directory is refused", func(t *testing.T) {
		out, err := first.Run(t.Context(), env.drover, "agent", "--config", filepath.Join(first.Dir, "agent.hcl"))
		if err == nil {
			t.Fatal("it ran")
		}
		says(t, out, "in use by the agent with PID", "--data-dir")
		eventually(t, 5*time.Second, "the first goes on", well(first))
	})
	t.Run("a port that is taken is named", func(t *testing.T) {
		config := filepath.Join(first.Dir, "other.hcl")
		text := fmt.Sprintf("data_dir = %q\nbind_addr = %q\ninsecure = true\nclient {\n  enabled = true\n}\n", filepath.Join(first.Dir, "other"), first.IP)
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := first.Run(t.Context(), env.drover, "agent", "--config", config)
		if err == nil {
			t.Fatal("it ran")
		}
		says(t, out, "address already in use", ":464")
	})
	t.Run("a damaged node file is put aside and work runs on", func(t *testing.T) {
		before := hellos(first)
		if len(before) == 0 {
			t.Fatalf("no copy runs on %s", first.Name)
		}
		if err := first.KillAgent(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(first.Dir, "data", "node.json"), []byte("\x00\x01 garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := first.StartAgent(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "the agent returns", well(first))
		eventually(t, 10*time.Second, "every copy answers", answers("hello", 6, server, nil))
		if now := hellos(first); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("copies now %v, before %v", now, before)
		}
		says(t, agentLog(t, first), "damaged")
	})
	t.Run("a copied data directory is refused by name", func(t *testing.T) {
		if err := second.KillAgent(t.Context()); err != nil {
			t.Fatal(err)
		}
		own, mine := filepath.Join(second.Dir, "data.own"), filepath.Join(second.Dir, "data")
		if err := os.Rename(mine, own); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(mine, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"version", "node-id", "node.json"} {
			text, err := os.ReadFile(filepath.Join(first.Dir, "data", name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(mine, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		said := len(agentLog(t, second))
		if err := second.StartAgent(); err != nil {
			t.Fatal(err)
		}
		// Gossip refuses it at the door, and its agent ends once a machine that moved would have been let in; or the leader refuses to
		// register it, and its agent says so.
		eventually(t, 45*time.Second, "the copy is refused", func(context.Context) error {
			text := agentLog(t, second)[said:]
			byGossip := strings.Contains(text, "another live machine has this node's ID") && !second.AgentAlive()
			if byLeader := strings.Contains(text, "node "+first.Name) && strings.Contains(text, "has this ID"); !byGossip && !byLeader {
				return fmt.Errorf("it says nothing:\n%s", text)
			}
			return nil
		})
		if err := well(second)(t.Context()); err == nil {
			t.Error("the copy's client calls itself well")
		}
		wait(t, time.Second)
		eventually(t, 5*time.Second, "the original goes on", well(first))
		if second.AgentAlive() {
			if err := second.KillAgent(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.RemoveAll(mine), os.Rename(own, mine), second.StartAgent()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "with its own directory it returns", well(second))
		eventually(t, 20*time.Second, "every copy answers", answers("hello", 6, server, nil))
	})
	t.Run("an agent of another cluster is refused by name", func(t *testing.T) {
		if err := second.KillAgent(t.Context()); err != nil {
			t.Fatal(err)
		}
		// It founds a cluster of its own, is stopped, and is then pointed at this one.
		other := filepath.Join(second.Dir, "other.hcl")
		text := fmt.Sprintf("data_dir = %q\nname = \"stranger\"\nbind_addr = %q\ninsecure = true\nserver {\n  enabled = true\n  bootstrap_expect = 1\n}\nclient {\n  enabled = true\n}\n",
			filepath.Join(second.Dir, "stranger"), second.IP)
		if err := os.WriteFile(other, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		pid, err := second.Start("stranger.log", nil, env.drover, "agent", "--config", other)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "another cluster", well(second))
		if err := second.Signal(pid, 9); err != nil {
			t.Fatal(err)
		}
		joining := strings.Replace(text, "bootstrap_expect = 1", fmt.Sprintf("bootstrap_expect = 1\n  server_join {\n    retry_join = [\"%s:4648\"]\n  }", server.IP), 1)
		if err := os.WriteFile(other, []byte(joining), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Start("stranger.log", nil, env.drover, "agent", "--config", other); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "it says so", func(context.Context) error {
			log, err := os.ReadFile(filepath.Join(second.Dir, "stranger.log"))
			if err == nil && !strings.Contains(string(log), "another cluster") && !strings.Contains(string(log), "belongs to cluster") {
				err = fmt.Errorf("it says nothing of another cluster:\n%s", log)
			}
			return err
		})
		if out := command(t, server, 0, "server", "members"); strings.Contains(out, "stranger") && !strings.Contains(out, "refused") {
			t.Errorf("the stranger is a member:\n%s", out)
		}
	})
}

// TestDiskFull fills the disk of a server's data directory, a small one.
func TestDiskFull(t *testing.T) {
	h := form(t, herd.Options{Servers: 1, Driver: herd.DriverExec, Prepare: func(n *herd.Node) error {
		data := filepath.Join(n.Dir, "data")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return err
		}
		_, err := n.Run(context.Background(), "mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", data)
		return err
	}})
	n := h.Nodes[0]
	// A copy asks for 300 MiB of disk unless it says otherwise.
	small := "ephemeral_disk {\n      size = 5\n    }\n"
	logs := "logs {\n        max_files = 1\n        max_file_size = 1\n      }\n"
	command(t, n, 0, "job", "run", work{id: "before", copies: 1, group: small, task: logs}.file(t))
	ballast := n.Path(filepath.Join(n.Dir, "data", "ballast"))
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(chunk)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var out string
	eventually(t, 10*time.Second, "writes are refused", func(ctx context.Context) error {
		var err error
		if out, err = n.Drover(ctx, "job", "run", "--detach", work{id: "during"}.file(t)); err == nil {
			return errors.New("a job was taken")
		}
		return nil
	})
	says(t, out, "disk", "full")
	says(t, command(t, n, 0, "job", "status", "before"), "running")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "writes are taken again", func(ctx context.Context) error {
		out, err := n.Drover(ctx, "job", "run", "--detach", work{id: "after"}.file(t))
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	if !n.AgentAlive() {
		t.Error("the agent did not live through it")
	}
	command(t, n, 0, "job", "run", work{id: "again", copies: 1, group: small, task: logs}.file(t))
}

// TestMajorityLost kills two of three servers: what is left reads from its own state, and says so; it refuses writes in time.
func TestMajorityLost(t *testing.T) {
	h := form(t, herd.Options{Servers: 3, Driver: herd.DriverExec})
	left := h.Nodes[0]
	command(t, left, 0, "job", "run", work{id: "hello", copies: 3}.file(t))
	before := hellos(left)
	for _, n := range h.Nodes[1:] {
		if err := n.KillAgent(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 10*time.Second, "the leader is missed", func(ctx context.Context) error {
		_, meta, err := left.API.Jobs(ctx, api.QueryOptions{Stale: true})
		if err == nil && meta.KnownLeader {
			err = errors.New("a leader is known")
		}
		return err
	})
	jobs, meta, err := left.API.Jobs(t.Context(), api.QueryOptions{Stale: true})
	if err != nil || len(jobs) != 1 || meta.KnownLeader || meta.LastContact <= 0 {
		t.Errorf("stale read: %d jobs, %+v, %v; want 1 job, no leader, the age of what was read", len(jobs), meta, err)
	}
	out := command(t, left, 0, "job", "status", "--stale")
	says(t, out, "hello", "no leader answers", "may be old")
	start := time.Now()
	out = command(t, left, 1, "job", "run", "--detach", work{id: "late"}.file(t))
	if took := time.Since(start); took > 5500*time.Millisecond {
		t.Errorf("the write was refused after %s, want ≤ 5 s", took)
	}
	says(t, out, "leader", "majority")
	if now := hellos(left); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("copies now %v, before %v", now, before)
	}
	if err := h.Nodes[1].StartAgent(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "writes are taken again", func(ctx context.Context) error {
		out, err := left.Drover(ctx, "job", "run", "--detach", work{id: "late"}.file(t))
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
}
