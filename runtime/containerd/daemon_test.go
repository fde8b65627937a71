package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/drover-io/drover/runtime"
)

func TestDaemonIsFoundAgain(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	cfg := DaemonConfig{Exe: daemonBinary(t), Dir: filepath.Join(h.dir, "containerd"), NoSync: true}
	first := NewDaemon(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(first.Stop(ctx), first.Purge()); err != nil {
			t.Error(err)
		}
		if first.PID() != 0 || first.Stop(ctx) != nil {
			t.Error("it runs after stop, or cannot be stopped twice")
		}
	})
	var wg sync.WaitGroup
	daemons := []*Daemon{first, NewDaemon(cfg), NewDaemon(cfg)}
	for _, d := range daemons { // several at once
		wg.Go(func() {
			if _, err := d.Ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	pid := first.PID()
	if waited, err := NewDaemon(cfg).Ensure(t.Context()); waited || err != nil {
		t.Errorf("a running daemon was waited for: %v, %v", waited, err)
	}
	h.state = first.state
	if got := h.processes(); pid == 0 || len(got) != 1 {
		t.Errorf("process %d; daemons: %v", pid, got)
	}
	if len(first.Address()) > 90 {
		t.Errorf("%s leaves no room for the names of other sockets", first.Address())
	}
	if err := first.Purge(); err == nil {
		t.Error("the state of a running daemon was removed")
	}
}

func TestDaemonThatDiesSaysWhy(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\necho the reason >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := Open(Config{NodeID: "n", DataDir: dir, SelfExe: bad})
	if err != nil {
		t.Fatal(err)
	}
	d.conn.remember("", true)
	_, err = d.List(t.Context())
	if !errors.Is(err, runtime.ErrUnavailable) || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("list: %v", err)
	}
	if err := NewDaemon(DaemonConfig{Dir: filepath.Join(dir, "containerd")}).Purge(); err != nil {
		t.Error(err)
	}
}

// TestChoice: which daemon a node uses does not change by itself.
func TestChoice(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		cfg        Config
		remembered string
		want       string
		embedded   bool
	}{
		"given":              {cfg: Config{Address: "/x.sock"}, want: "/x.sock"},
		"chosen earlier":     {cfg: Config{DataDir: dir, SelfExe: "/bin/false"}, remembered: "/no/such.sock", want: ""},
		"nothing to fall to": {cfg: Config{DataDir: dir}, remembered: embeddedName, want: ""},
	} {
		var k connection
		c.cfg.NodeID = "n"
		d, err := Open(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		k.init(c.cfg, d.log)
		if c.remembered != "" {
			if err := os.MkdirAll(c.cfg.dir(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := writeFile(k.choiceFile(), c.remembered+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		got, embedded, err := k.choose(t.Context())
		if got != c.want || embedded != c.embedded || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, runtime.ErrUnavailable) {
			t.Errorf("%s: %q, %v, %v", name, got, embedded, err)
		}
	}
}
