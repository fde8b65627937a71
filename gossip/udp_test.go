package gossip

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"
)

// The real transport, on loopback.
func TestRealUDP(t *testing.T) {
	open := func(name string) *Gossip {
		cfg := DefaultConfig()
		cfg.Name, cfg.BindAddr = name, "127.0.0.1"
		g, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
		return g
	}
	a, b := open("a"), open("b")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if n, err := b.Join(ctx, []string{a.Addr()}); n != 1 || err != nil {
		t.Fatalf("joined %d, %v", n, err)
	}
	for _, g := range []*Gossip{a, b} {
		for len(g.Members()) != 2 {
			select {
			case <-g.Changed():
			case <-ctx.Done():
				t.Fatalf("members %v", g.Members())
			}
		}
	}
	if m, ok := a.Member("b"); !ok || m.Status != Alive || m.Addr != b.Addr() {
		t.Errorf("b is %+v", m)
	}
	cfg := DefaultConfig()
	cfg.Name, cfg.BindAddr, cfg.BindPort = "c", "127.0.0.1", port(t, a.Addr())
	if _, err := Open(cfg); err == nil {
		t.Error("two members listen on one port")
	}
}

func port(t *testing.T, addr string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
