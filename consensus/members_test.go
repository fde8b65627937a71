package consensus

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/internal/simnet"
)

func TestJoinPromoteRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		for i := range 200 {
			cl.propose(l, fmt.Sprint(i))
		}
		if err := l.Promote(t.Context(), "n4"); !errors.Is(err, ErrNoSuchServer) {
			t.Errorf("promote a stranger: %v", err)
		}
		n4 := cl.open("n4", "10.0.0.4")
		cl.net.Isolate(n4.host)
		if err := l.AddNonvoter(t.Context(), n4.id, n4.addr); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := l.Promote(t.Context(), n4.id); !errors.Is(err, ErrBehind) {
			t.Errorf("promote a server that cannot be reached: %v", err)
		}
		if ids, err := l.PromoteCaughtUp(t.Context()); len(ids) != 0 || err != nil {
			t.Errorf("promoted %v, %v", ids, err)
		}
		cl.net.Heal()
		// Under load it is never level with the newest entry, and is promoted all the same.
		ld := cl.load(2, 20*time.Millisecond)
		var promoted []string
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			ids, err := l.PromoteCaughtUp(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			promoted = append(promoted, ids...)
		}
		close(ld.stop)
		ld.wg.Wait()
		if !slices.Equal(promoted, []string{"n4"}) {
			t.Fatalf("promoted %v", promoted)
		}
		for _, p := range l.Peers() {
			if !p.Voter || p.Leader != (p.ID == l.id) || p.LastContact > time.Second || p.LastIndex == 0 || p.Addr != cl.book[p.ID] {
				t.Errorf("peer %+v", p)
			}
		}
		cl.same()
		if err := l.Remove(t.Context(), n4.id); err != nil {
			t.Fatal(err)
		}
		if err := l.Remove(t.Context(), n4.id); !errors.Is(err, ErrNoSuchServer) {
			t.Errorf("remove twice: %v", err)
		}
		term := l.Term()
		time.Sleep(30 * time.Second)
		if l.Term() != term || !l.IsLeader() {
			t.Error("a removed server unseated the leader")
		}
		if got := len(l.Peers()); got != 3 {
			t.Errorf("%d peers", got)
		}
	})
}

func TestLeaderRemovesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		if err := l.Remove(t.Context(), l.id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		fresh := cl.leader()
		if fresh == l || len(fresh.Peers()) != 2 {
			t.Errorf("leader %s of %d peers", fresh.id, len(fresh.Peers()))
		}
		if err := fresh.Remove(t.Context(), cl.servers[otherOf(fresh)].id); err != nil {
			t.Fatal(err)
		}
		if err := fresh.Remove(t.Context(), fresh.id); err == nil || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("remove the last voter: %v", err)
		}
		cl.propose(fresh, "alone")
	})
}

func otherOf(s *server) string {
	for _, p := range s.Peers() {
		if p.ID != s.id {
			return p.ID
		}
	}
	return ""
}

func TestServerKeepsItsIdentityAtANewAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		f := cl.follower()
		cl.propose(cl.leader(), "before")
		cl.net.Kill(f.host, simnet.Silent)
		cl.stop(f)
		time.Sleep(5 * time.Second)
		cl.propose(cl.leader(), "while away")
		moved := cl.open(f.id, "10.0.0.77")
		time.Sleep(10 * time.Second)
		if got := cl.same(); !slices.Equal(got, []string{"before", "while away"}) {
			t.Errorf("got %q", got)
		}
		// It leads from there, the others find it, and the configuration learns the address when told.
		if err := cl.leader().Transfer(t.Context(), moved.id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		for _, s := range cl.all() {
			if id, addr := s.Leader(); id != moved.id || addr != "10.0.0.77:4647" {
				t.Errorf("%s says the leader is %s at %s", s.id, id, addr)
			}
		}
		if err := moved.UpdateAddress(t.Context(), moved.id, moved.addr); err != nil {
			t.Fatal(err)
		}
		if m, _ := moved.member(moved.id); string(m.Address) != "10.0.0.77:4647" || len(moved.Peers()) != 3 {
			t.Errorf("configured as %+v", m)
		}
		if err := moved.UpdateAddress(t.Context(), "n9", "x:1"); !errors.Is(err, ErrNoSuchServer) {
			t.Errorf("update of a stranger: %v", err)
		}
	})
}

func TestTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		ld := cl.load(2, 20*time.Millisecond)
		for range 10 {
			l, f := cl.leader(), cl.follower()
			if err := l.Transfer(t.Context(), f.id); err != nil {
				t.Errorf("transfer to %s: %v", f.id, err)
			}
			time.Sleep(500 * time.Millisecond)
			if got := cl.leader(); got != f {
				t.Errorf("%s leads, want %s", got.id, f.id)
			}
		}
		l := cl.leader()
		if err := l.Transfer(t.Context(), ""); err != nil || l.IsLeader() {
			t.Errorf("transfer to anybody: %v", err)
		}
		if err := l.Transfer(t.Context(), ""); !errors.Is(err, ErrNotLeader) {
			t.Errorf("transfer by a follower: %v", err)
		}
		time.Sleep(time.Second)
		if err := cl.leader().Transfer(t.Context(), "n9"); !errors.Is(err, ErrNoSuchServer) {
			t.Errorf("transfer to a stranger: %v", err)
		}
		ld.check()
	})
}
