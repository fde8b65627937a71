package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/internal/simnet"
	"github.com/hashicorp/go-hclog"
)

// herd is members over a simulated network.
type herd struct {
	t   *testing.T
	net *simnet.Net
	all []*Gossip
}

func newHerd(t *testing.T) *herd {
	h := &herd{t: t, net: simnet.New(simnet.Options{Seed: 2})}
	t.Cleanup(func() {
		for _, g := range h.all {
			if err := g.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		h.net.Close()
		time.Sleep(2 * time.Minute) // memberlist's probes end by their own time-outs
	})
	return h
}

func (h *herd) config(name, ip string) Config {
	h.t.Helper()
	tr, err := h.net.Host(ip).GossipTransport(":7946")
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Name, cfg.Transport, cfg.BindPort = name, tr, 7946
	cfg.Tags = Tags{Name: "node-" + name, Server: true, PeerAddr: ip + ":4647"}
	if os.Getenv("GOSSIP_LOG") != "" {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, Output: os.Stderr})
	}
	return cfg
}

// open starts a member with its IP's last byte as its number.
func (h *herd) open(cfg Config) *Gossip {
	h.t.Helper()
	g, err := Open(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.all = append(h.all, g)
	return g
}

func (h *herd) join(g *Gossip, addr string) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	_, err := g.Join(ctx, []string{addr})
	return err
}

// exchanged is when every member has told another all it knows: what a rumour misses is heard by then.
const exchanged = 40 * time.Second

// joined returns n members who know each other, m1 to mN at 10.0.0.1 and on.
func joined(t *testing.T, n int) *herd {
	t.Helper()
	h := newHerd(t)
	for i := range n {
		g := h.open(h.config(fmt.Sprintf("m%d", i+1), fmt.Sprintf("10.0.0.%d", i+1)))
		if i > 0 {
			if err := h.join(g, "10.0.0.1:7946"); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(3 * time.Second)
	for _, g := range h.all {
		until(t, g, exchanged, "acquaintance", func() bool { return len(g.Members()) == n })
		h.wantStatus(g, n, Alive)
	}
	return h
}

func (h *herd) wantStatus(g *Gossip, n int, s Status) {
	h.t.Helper()
	var got []string
	for _, m := range g.Members() {
		if m.Status == s {
			got = append(got, m.ID)
		}
	}
	if len(got) != n {
		h.t.Errorf("%s sees %d %s, want %d: %v", g.cfg.Name, len(got), s, n, g.Members())
	}
}

// until waits for a change after which ok holds, as a user would.
func until(t *testing.T, g *Gossip, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	limit := time.After(within)
	for !ok() {
		select {
		case <-g.Changed():
		case <-limit:
			t.Fatalf("%s: not within %s; members %v", what, within, g.Members())
		}
	}
	return time.Since(start)
}

func status(g *Gossip, id string) Status {
	m, _ := g.Member(id)
	return m.Status
}

func TestDeathIsNoticed(t *testing.T) {
	for name, manner := range map[string]simnet.Manner{"process died": simnet.Refuse, "machine gone": simnet.Silent} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := joined(t, 5)
				h.net.Kill(h.net.Host("10.0.0.5"), manner)
				died := time.Now()
				took := until(t, h.all[0], 30*time.Second, "death", func() bool { return status(h.all[0], "m5") == Dead })
				t.Logf("noticed after %s", took)
				time.Sleep(5 * time.Second)
				for _, g := range h.all[:4] {
					h.wantStatus(g, 4, Alive)
					h.wantStatus(g, 1, Dead)
					if m, _ := g.Member("m5"); m.Addr != "10.0.0.5:7946" || m.Name != "node-m5" || m.Since.Before(died) {
						t.Errorf("the dead one is %+v", m)
					}
				}
				if addr, ok := h.all[0].PeerAddr("m5"); !ok || addr != "10.0.0.5:4647" {
					t.Errorf("address book: %q, %v", addr, ok)
				}
				if _, ok := h.all[0].PeerAddr("m9"); ok {
					t.Error("the address book knows a stranger")
				}
			})
		})
	}
}

func TestDeadAreForgottenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		cfg := h.config("m1", "10.0.0.1")
		cfg.RememberDead = time.Minute
		a := h.open(cfg)
		b := h.open(h.config("m2", "10.0.0.2"))
		if err := h.join(b, a.Addr()); err != nil {
			t.Fatal(err)
		}
		h.net.Kill(h.net.Host("10.0.0.2"), simnet.Silent)
		time.Sleep(50 * time.Second)
		h.wantStatus(a, 1, Dead)
		time.Sleep(time.Minute)
		if got := a.Members(); len(got) != 1 {
			t.Errorf("still %v", got)
		}
	})
}

func TestLeaveIsNotDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 5)
		m5 := h.all[4]
		if err := m5.Leave(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := m5.UpdateTags(Tags{}); err == nil {
			t.Error("updated tags after leaving")
		}
		if err := m5.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, g := range h.all[:4] {
			h.wantStatus(g, 4, Alive)
			h.wantStatus(g, 1, Left)
		}
		if _, err := m5.Join(t.Context(), []string{"10.0.0.1:7946"}); !errors.Is(err, ErrClosed) {
			t.Errorf("join after close: %v", err)
		}
		if err := m5.Leave(time.Second); !errors.Is(err, ErrClosed) {
			t.Errorf("leave after close: %v", err)
		}
		// It may come back, also as another machine.
		back := h.open(h.config("m5", "10.0.0.50"))
		if err := h.join(back, "10.0.0.2:7946"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, g := range h.all[:4] {
			h.wantStatus(g, 5, Alive)
			if m, _ := g.Member("m5"); m.Addr != "10.0.0.50:7946" || m.Left {
				t.Errorf("came back as %+v", m)
			}
		}
	})
}

func TestTagsTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 5)
		want := Tags{ID: "m3", Name: "x", Datacenter: "dc1", Region: "eu", ClusterID: "c1", Server: true, Client: true, Version: "0.1.0",
			PeerAddr: "10.0.0.3:1", HTTPAddr: "10.0.0.3:2", Level: 3, Expect: 5, Bootstrapped: true}
		if err := h.all[2].UpdateTags(want); err != nil {
			t.Fatal(err)
		}
		for _, g := range h.all {
			until(t, g, exchanged, "new tags", func() bool { m, _ := g.Member("m3"); return m.Tags == want })
		}
		if got := h.all[2].Tags(); got != want {
			t.Errorf("own tags %+v", got)
		}
	})
}

func TestTagsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		cfg := h.config("m1", "10.0.0.1")
		cfg.Tags.Datacenter = strings.Repeat("d", 500)
		if _, err := Open(cfg); !errors.Is(err, ErrTagsTooLong) || !strings.Contains(err.Error(), "Datacenter with 500") {
			t.Errorf("open: %v", err)
		}
		cfg.Tags.Datacenter = ""
		g := h.open(cfg)
		tags := g.Tags()
		tags.Version = strings.Repeat("v", 513)
		if err := g.UpdateTags(tags); !errors.Is(err, ErrTagsTooLong) || !strings.Contains(err.Error(), "Version with 513") {
			t.Errorf("update: %v", err)
		}
		if g.Tags().Version != "" {
			t.Error("refused tags were kept")
		}
		// Exactly the limit is fine.
		b, err := tags.encode()
		if err == nil || b != nil {
			t.Fatal("encoded tags that are too long")
		}
		tags.Version = ""
		short, err := tags.encode()
		if err != nil {
			t.Fatal(err)
		}
		tags.Version = strings.Repeat("v", MaxTagBytes-len(short)-len(`,"v":""`))
		if err := g.UpdateTags(tags); err != nil {
			t.Errorf("tags of exactly the limit: %v", err)
		}
	})
}

func TestTwoMachinesWithOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 3)
		second := h.open(h.config("m3", "10.0.0.33"))
		err := h.join(second, "10.0.0.1:7946")
		if !errors.Is(err, ErrNameTaken) || !strings.Contains(err.Error(), "10.0.0.3:7946") || !strings.Contains(err.Error(), "10.0.0.33:7946") {
			t.Errorf("join with an ID that is taken: %v", err)
		}
		want := func(g *Gossip, self bool) {
			t.Helper()
			c := g.Conflicts()
			if len(c) != 1 || c[0].Name != "m3" || c[0].Self != self {
				t.Errorf("%s: conflicts %+v", g.Addr(), c)
				return
			}
			addrs := []string{c[0].Addr, c[0].New}
			slices.Sort(addrs)
			if !slices.Equal(addrs, []string{"10.0.0.33:7946", "10.0.0.3:7946"}) {
				t.Errorf("%s: conflict between %v", g.Addr(), addrs)
			}
		}
		until(t, h.all[0], 10*time.Second, "conflict", func() bool { return len(h.all[0].Conflicts()) > 0 })
		want(h.all[0], false)
		want(second, true)
		if m, _ := h.all[0].Member("m3"); m.Addr != "10.0.0.3:7946" || m.Status != Alive {
			t.Errorf("the first one became %+v", m)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if c := h.all[0].Conflicts(); len(c) != 0 {
			t.Errorf("conflict outlived the second machine: %+v", c)
		}
		h.wantStatus(h.all[0], 3, Alive)
	})
}

func TestDeadMachineIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 3)
		h.net.Kill(h.net.Host("10.0.0.3"), simnet.Silent)
		until(t, h.all[0], 30*time.Second, "death", func() bool { return status(h.all[0], "m3") == Dead })
		time.Sleep(reclaimAfter + time.Second)
		moved := h.open(h.config("m3", "10.0.0.33"))
		if err := h.join(moved, "10.0.0.1:7946"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, g := range h.all[:2] {
			if m, _ := g.Member("m3"); m.Addr != "10.0.0.33:7946" || m.Status != Alive || len(g.Conflicts()) != 0 {
				t.Errorf("%+v, conflicts %v", m, g.Conflicts())
			}
		}
	})
}

func TestOtherClusterIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		open := func(name, ip, cluster string) *Gossip {
			cfg := h.config(name, ip)
			cfg.Tags.ClusterID = cluster
			return h.open(cfg)
		}
		a1, a2 := open("a1", "10.0.0.1", "red"), open("a2", "10.0.0.2", "red")
		b1, b2 := open("b1", "10.0.1.1", "blue"), open("b2", "10.0.1.2", "blue")
		if err := errors.Join(h.join(a2, a1.Addr()), h.join(b2, b1.Addr())); err != nil {
			t.Fatal(err)
		}
		refused := func(g *Gossip, addr string) {
			t.Helper()
			err := h.join(g, addr)
			if !errors.Is(err, ErrOtherCluster) || !strings.Contains(err.Error(), "red") || !strings.Contains(err.Error(), "blue") {
				t.Errorf("join another cluster: %v", err)
			}
		}
		refused(b2, a1.Addr())
		// One that has no cluster yet may join either, and then not the other.
		fresh := open("f", "10.0.2.1", "")
		if err := h.join(fresh, a1.Addr()); err != nil {
			t.Fatal(err)
		}
		refused(fresh, b1.Addr())
		time.Sleep(2 * time.Minute)
		for g, want := range map[*Gossip]int{a1: 3, a2: 3, fresh: 3, b1: 2, b2: 2} {
			h.wantStatus(g, want, Alive)
		}
	})
}

func TestEncryptKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		open := func(name, ip string, key []byte) *Gossip {
			cfg := h.config(name, ip)
			cfg.EncryptKey = key
			return h.open(cfg)
		}
		key := bytes.Repeat([]byte{7}, 32)
		a, b := open("a", "10.0.0.1", key), open("b", "10.0.0.2", key)
		other := open("c", "10.0.0.3", bytes.Repeat([]byte{8}, 16))
		none := open("d", "10.0.0.4", nil)
		if err := h.join(b, a.Addr()); err != nil {
			t.Fatal(err)
		}
		for _, g := range []*Gossip{other, none} {
			if err := h.join(g, a.Addr()); err == nil {
				t.Errorf("%s joined with the wrong key", g.Addr())
			}
		}
		time.Sleep(time.Minute)
		h.wantStatus(a, 2, Alive)
		h.wantStatus(b, 2, Alive)
		bad := h.config("e", "10.0.0.5")
		bad.EncryptKey = []byte("short")
		if _, err := Open(bad); err == nil || !strings.Contains(err.Error(), "5 bytes, need 16, 24 or 32") {
			t.Errorf("open with a short key: %v", err)
		}
	})
}

// memberlist alone would never find together again after this.
func TestLongPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 5)
		var minority []*simnet.Host
		for _, ip := range []string{"10.0.0.1", "10.0.0.2"} {
			minority = append(minority, h.net.Host(ip))
		}
		h.net.Partition(minority)
		time.Sleep(3 * time.Minute)
		for i, g := range h.all {
			if i < 2 {
				h.wantStatus(g, 2, Alive)
			} else {
				h.wantStatus(g, 3, Alive)
			}
		}
		h.net.Heal()
		time.Sleep(2 * time.Minute)
		for _, g := range h.all {
			h.wantStatus(g, 5, Alive)
		}
	})
}

// Blocked UDP alone kills nobody: memberlist falls back to streams.
func TestBlockedPacketsAreNotDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 3)
		h.net.Isolate(h.net.Host("10.0.0.3"), simnet.GossipPackets)
		time.Sleep(2 * time.Minute)
		for _, g := range h.all {
			h.wantStatus(g, 3, Alive)
		}
		h.net.Heal()
		h.net.SetLoss(0.2)
		time.Sleep(2 * time.Minute)
		for _, g := range h.all {
			h.wantStatus(g, 3, Alive)
		}
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := joined(t, 2)
		a := h.all[0]
		if !a.Ping("m2") || a.Ping("m9") {
			t.Error("a live member did not answer, or a stranger did")
		}
		h.net.Kill(h.net.Host("10.0.0.2"), simnet.Silent)
		start := time.Now()
		if a.Ping("m2") || time.Since(start) > time.Second {
			t.Errorf("a dead member answered, or the question took %s", time.Since(start))
		}
	})
}

func TestJoinNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		g := h.open(h.config("m1", "10.0.0.1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if n, err := g.Join(ctx, []string{"10.0.0.9:7946"}); n != 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
			t.Errorf("%d, %v after %s", n, err, time.Since(start))
		}
		if err := h.join(g, "10.0.0.9:gossip"); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("join nonsense: %q", err)
		}
		if _, err := Open(Config{}); err == nil {
			t.Error("opened with an empty configuration")
		}
	})
}

func TestOnlyTheDeadAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		a, b := h.open(h.config("a", "10.0.0.1")), h.open(h.config("b", "10.0.0.2"))
		if _, err := b.Join(t.Context(), []string{"10.0.0.1:7946"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.Forget("a") || a.Forget("b") {
			t.Error("a live member was forgotten")
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if m, ok := a.Member("b"); !ok || m.Status != Dead {
			t.Fatalf("%+v, %v", m, ok)
		}
		if !a.Forget("b") {
			t.Error("a dead member was not forgotten")
		}
		time.Sleep(2 * time.Minute)
		if m, ok := a.Member("b"); ok {
			t.Errorf("it is back: %+v", m)
		}
	})
}
