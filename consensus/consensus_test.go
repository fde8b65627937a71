package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/internal/simnet"
)

// leader waits for the one server that a majority follows.
func (cl *cluster) leader() *server {
	cl.t.Helper()
	for range 6000 {
		for _, s := range cl.all() {
			if s.IsLeader() && s.VerifyLeader(cl.t.Context()) == nil {
				return s
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	cl.t.Fatal("no leader after 5 min")
	return nil
}

func TestLeaderKilledUnderLoad(t *testing.T) {
	for _, n := range []int{3, 5} {
		for name, manner := range map[string]simnet.Manner{"process died": simnet.Refuse, "machine gone": simnet.Silent} {
			t.Run(fmt.Sprintf("%d servers, %s", n, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cl := bootstrapped(t, n, nil)
					ld := cl.load(4, 20*time.Millisecond)
					time.Sleep(time.Second)
					old := cl.leader()
					oldTerm := old.Term()
					cl.net.Kill(old.host, manner)
					start := time.Now()
					cl.stop(old)
					fresh := cl.leader()
					took := time.Since(start)
					t.Logf("replaced after %s", took)
					limit := time.Second // the machine says that nobody listens there
					if manner == simnet.Silent {
						limit = 5 * DefaultConfig().ElectionTimeout // a round, and another one where votes were split: each up to twice the time-out
					}
					if took > limit {
						t.Errorf("leader replaced after %s", took)
					}
					if fresh.id == old.id || fresh.Term() <= oldTerm {
						t.Errorf("leader %s of term %d after %s of term %d", fresh.id, fresh.Term(), old.id, oldTerm)
					}
					time.Sleep(time.Second)
					cl.net.Restart(old.host)
					back := cl.open(old.id, old.host.IP())
					time.Sleep(time.Second)
					ld.check()
					if back.IsLeader() {
						t.Error("a server that came back took leadership away")
					}
				})
			})
		}
	}
}

func TestPartitionAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 5, nil)
		ld := cl.load(3, 100*time.Millisecond)
		time.Sleep(time.Second)
		old := cl.leader()
		var minority, majority []*simnet.Host
		for _, s := range cl.all() {
			if s == old || len(minority) == 0 && s.id > old.id || len(minority) == 1 && slices.Contains(minority, old.host) {
				minority = append(minority, s.host)
			} else {
				majority = append(majority, s.host)
			}
		}
		cl.net.Partition(minority, majority)
		time.Sleep(20 * time.Second)
		if old.IsLeader() {
			t.Error("the leader still leads a minority")
		}
		fresh := cl.leader()
		if !slices.Contains(majority, fresh.host) {
			t.Errorf("leader %s is in the minority", fresh.id)
		}
		term := fresh.Term()
		cl.net.Heal()
		time.Sleep(10 * time.Second)
		ld.check()
		if got := cl.leader(); got != fresh || got.Term() != term {
			t.Errorf("healing moved leadership from %s (term %d) to %s (term %d)", fresh.id, term, got.id, got.Term())
		}
	})
}

func TestErrorsSayWhatBecameOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l, f := cl.leader(), cl.follower()
		if _, err := f.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("propose on a follower: %v", err)
		}
		if err := f.VerifyLeader(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("verify on a follower: %v", err)
		}
		if r, err := l.Propose(t.Context(), make([]byte, MaxProposal)); err != nil || r.Value != 1 || r.Index == 0 {
			t.Errorf("propose at the limit: %+v, %v", r, err)
		}
		if _, err := l.Propose(t.Context(), make([]byte, MaxProposal+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("propose above the limit: %v", err)
		}
		if r, err := l.Propose(t.Context(), []byte("bad")); err != nil || r.Value.(error).Error() != "bad command" {
			t.Errorf("propose what the FSM refuses: %+v, %v", r, err)
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Propose(done, []byte("x")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("propose with a context that is over: %v", err)
		}
		cl.net.Isolate(l.host)
		start := time.Now()
		if _, err := l.Propose(t.Context(), []byte("lost")); !errors.Is(err, ErrLeadershipLost) || !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("propose when cut off: %v", err)
		}
		if took := time.Since(start); took > DefaultConfig().LeaderLease+100*time.Millisecond {
			t.Errorf("that took %s", took)
		}
		cl.net.Heal()
	})
}

// A caller that gives up early gets ErrTimeout, and the limit holds however slow the others are.
func TestProposeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, func(c *Config) {
			c.LeaderLease, c.HeartbeatTimeout, c.ElectionTimeout = time.Minute, time.Minute, time.Minute
		})
		l := cl.leader()
		cl.net.Isolate(l.host)
		start := time.Now()
		_, err := l.Propose(t.Context(), []byte("x"))
		if took := time.Since(start); !errors.Is(err, ErrTimeout) || took != 5*time.Second {
			t.Errorf("got %v after %s", err, took)
		}
		cause := errors.New("term over")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if _, err := l.Propose(ctx, []byte("x")); !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		cl.net.Heal()
	})
}

func TestBootstrapOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, nil)
		s := cl.open("n1", "10.0.0.1")
		if has, err := s.HasState(); has || err != nil {
			t.Errorf("new server has state: %v, %v", has, err)
		}
		time.Sleep(time.Minute) // a server without configuration never elects itself
		if s.IsLeader() || s.Term() != 0 || s.LastContact() < time.Minute {
			t.Errorf("leads %v in term %d, last contact %s", s.IsLeader(), s.Term(), s.LastContact())
		}
		first := []Server{{s.id, s.addr}}
		if err := s.Bootstrap(nil); err == nil || errors.Is(err, ErrHasState) {
			t.Errorf("bootstrap with nobody: %v", err)
		}
		if err := s.Bootstrap(first); err != nil {
			t.Fatal(err)
		}
		if err := s.Bootstrap(first); !errors.Is(err, ErrHasState) {
			t.Errorf("bootstrap twice: %v", err)
		}
		cl.leader()
		if err := s.Bootstrap(first); !errors.Is(err, ErrHasState) {
			t.Errorf("bootstrap on the leader: %v", err)
		}
		if has, err := s.HasState(); !has || err != nil || s.LastContact() != 0 {
			t.Errorf("has state: %v, %v", has, err)
		}
	})
}

func TestOpenRefusesALockedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 1, nil)
		cfg, _ := cl.config("n1", "10.0.0.2")
		start := time.Now()
		_, err := Open(cfg)
		if !errors.Is(err, ErrLocked) || time.Since(start) > 3*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		if _, err := cl.net.Host("10.0.0.3").Dial(t.Context(), "10.0.0.2:4647"); err == nil {
			t.Error("the transport of a failed Open still listens")
		}
	})
}

func TestValidate(t *testing.T) {
	err := Config{}.Validate()
	for _, want := range []string{"NodeID", "Dir", "Transport", "FSM", "Logger", "StallAfter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("opened with an empty configuration")
	}
	bad := DefaultConfig()
	bad.ElectionTimeout, bad.LeaderLease = time.Millisecond, time.Hour
	if err := bad.Validate(); !strings.Contains(err.Error(), "ElectionTimeout 1ms is below") || !strings.Contains(err.Error(), "LeaderLease 1h0m0s is above") {
		t.Error(err)
	}
}

func TestClosedSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 1, func(c *Config) {
			d := DevConfig()
			c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLease = d.HeartbeatTimeout, d.ElectionTimeout, d.LeaderLease
		})
		s := cl.leader()
		cl.propose(s, "x")
		cl.stop(s)
		if err := s.Close(); err != nil {
			t.Errorf("close twice: %v", err)
		}
		if _, err := s.Propose(t.Context(), []byte("x")); err == nil {
			t.Error("proposed after close")
		}
		if err := s.WaitApplied(t.Context(), 1<<40); !errors.Is(err, ErrClosed) {
			t.Errorf("wait after close: %v", err)
		}
		if err := s.WhileLeader(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("lead after close: %v", err)
		}
		if _, _, err := s.SaveSnapshot(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("snapshot after close: %v", err)
		}
		if err := s.Bootstrap(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("bootstrap after close: %v", err)
		}
	})
}

func TestWaitApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l, f := cl.leader(), cl.follower()
		index := cl.propose(l, "a")
		if err := f.WaitApplied(t.Context(), index); err != nil || !slices.Equal(f.fsm.all(), []string{"a"}) {
			t.Errorf("follower has %q, %v", f.fsm.all(), err)
		}
		// Entries without a command count too.
		if err := l.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.WaitApplied(t.Context(), l.LastIndex()); err != nil || l.LastIndex() <= index {
			t.Errorf("wait for the barrier at %d after %d: %v", l.LastIndex(), index, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.WaitApplied(ctx, index+100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for what does not come: %v", err)
		}
		time.AfterFunc(time.Second, func() { cl.propose(l, "b") })
		start := time.Now()
		if err := f.WaitApplied(t.Context(), l.LastIndex()+1); err != nil || time.Since(start) > 1200*time.Millisecond {
			t.Errorf("waited %s, %v", time.Since(start), err)
		}
		if s := f.Stats(); s["applied_index"] == "" || s["state"] != "Follower" || s["store_error"] != "" {
			t.Errorf("stats %v", s)
		}
	})
}

func TestCommandsKeepTheirTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		cl.propose(l, "a")
		first := l.Term()
		if err := l.Transfer(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		l = cl.leader()
		cl.propose(l, "b")
		if got := l.fsm.terms; !slices.Equal(got, []uint64{first, l.Term()}) {
			t.Errorf("applied in terms %d; leaders of %d and %d", got, first, l.Term())
		}
	})
}

func TestCompactLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 1, func(c *Config) {
			c.TrailingLogs, c.SnapshotBytes, c.compactFrom = 10, 1<<40, 1<<20
		})
		s := cl.leader()
		for range 60 {
			cl.propose(s, string(bytes.Repeat([]byte("x"), 100_000)))
		}
		cl.propose(s, "last")
		rc, _, err := s.SaveSnapshot(t.Context()) // trims the log
		if err != nil {
			t.Fatal(err)
		}
		_ = rc.Close()
		before := size(t, s)
		cl.stop(s)
		s = cl.open("n1", "10.0.0.1")
		cl.leader()
		if after := size(t, s); after > before/3 {
			t.Errorf("log file of %d bytes became %d", before, after)
		}
		if got := s.fsm.all(); len(got) != 61 || got[60] != "last" {
			t.Errorf("%d lines after the copy", len(got))
		}
	})
}
