package agent

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

func TestLeasePeriod(t *testing.T) {
	for _, tc := range []struct {
		nodes int
		want  time.Duration
	}{
		{0, time.Second}, {1, time.Second}, {500, time.Second}, {1000, time.Second}, {5000, 5 * time.Second}, {10000, 10 * time.Second},
	} {
		got := leasePeriod(tc.nodes)
		if got != tc.want {
			t.Errorf("lease period of %d nodes: got %s, want %s", tc.nodes, got, tc.want)
		}
		if perSecond := float64(tc.nodes) / got.Seconds(); perSecond > maxRenewalsPerSecond {
			t.Errorf("%d nodes renew %.0f times a second", tc.nodes, perSecond)
		}
	}
}

func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeases(time.Now())
		time.Sleep(2 * time.Second)
		check := func(what string, want time.Duration) {
			t.Helper()
			if got := l.Age("a", time.Now()); got != want {
				t.Errorf("%s: age %s, want %s", what, got, want)
			}
		}
		check("never heard of", 2*time.Second)
		l.Renew("a", 1, time.Now().Add(-5*time.Second))
		check("heard of before the term", 2*time.Second)
		l.Renew("a", 2, time.Now().Add(-time.Second))
		check("relayed", time.Second)
		l.Renew("a", 1, time.Now())
		check("an earlier life of the agent", time.Second)
		l.Renew("a", 2, time.Now().Add(-2*time.Second))
		check("an older renewal that came late", time.Second)
		l.Forget(func(string) bool { return false })
		check("forgotten", 2*time.Second)
	})
}

func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay()
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan []api.LeaseRenewal, 10)
		var wg sync.WaitGroup
		wg.Go(func() {
			r.run(ctx, func(_ context.Context, batch []api.LeaseRenewal) error {
				got <- batch
				return errors.New("no leader")
			})
		})
		time.Sleep(50 * time.Millisecond)
		r.Note("a", 1, time.Now())
		r.Note("a", 2, time.Now())
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("hand-overs: got %d, want 1: what could not be handed on is dropped, nothing is sent without need", len(got))
		}
		want := api.LeaseRenewal{NodeID: "a", Boot: 2, Age: relayEvery - 50*time.Millisecond}
		if batch := <-got; len(batch) != 1 || batch[0] != want {
			t.Errorf("handed on: %+v, want %+v", batch, want)
		}
	})
}

// TestClusterClock: neither a wall clock that is an hour off nor one that is set back moves cluster time.
func TestClusterClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall := time.Now().UnixNano()
		for _, off := range []time.Duration{-time.Hour, time.Hour, 10 * 365 * 24 * time.Hour} {
			stamp := wall + int64(off)
			s := state.NewStore()
			s.ApplyCommand(1, 1, state.InitCluster{ClusterID: "c", Time: stamp})
			c := newClusterClock(s.Snapshot())
			first := c.Now()
			if first < stamp || first > stamp+int64(time.Millisecond) {
				t.Errorf("the last stamp is %s off the wall clock: cluster time begins %s after it", off, time.Duration(first-stamp))
			}
			if again := c.Now(); again <= first {
				t.Error("two readings are alike: stamps would not tell what was first")
			}
			time.Sleep(3 * time.Second)
			if took := time.Duration(c.Now() - first); took < 3*time.Second || took > 3*time.Second+time.Millisecond {
				t.Errorf("cluster time went on by %s in 3 s", took)
			}
			before := c.Now()
			c.advance(before - int64(time.Hour))
			if now := c.Now(); now < before || now > before+int64(time.Millisecond) {
				t.Errorf("an older stamp moved cluster time by %s", time.Duration(now-before))
			}
			c.advance(before + int64(time.Minute))
			if now := c.Now(); now < before+int64(time.Minute) {
				t.Errorf("a stamp a minute later moved cluster time by %s only", time.Duration(now-before))
			}
		}
		if first := newClusterClock(state.NewStore().Snapshot()).Now(); first < wall {
			t.Error("the clock of a new cluster is behind the wall's")
		}
	})
}

func TestLevelsCommon(t *testing.T) {
	servers := []consensus.Peer{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	l := newLevels()
	check := func(what string, servers []consensus.Peer, level int, known bool) {
		t.Helper()
		if got, ok := l.common(servers); got != level || ok != known {
			t.Errorf("%s: level %d, %v; want %d, %v", what, got, ok, level, known)
		}
	}
	l.note("a", 3)
	l.note("b", 2)
	check("one has not said", servers, 0, false)
	l.note("c", 4)
	check("the lowest counts", servers, 2, true)
	l.note("b", 5)
	check("the newest word counts", servers, 3, true)
	check("no server", nil, 0, false)
}

func TestSameMachine(t *testing.T) {
	base := func() *state.Node {
		return &state.Node{
			ID: "a", Attributes: map[string]string{"kernel.name": "linux", "unique.storage.bytesfree": "1"},
			Resources: state.NodeResources{CPU: 1000, MemoryMB: 1000, DiskMB: 1000},
			Drivers:   map[string]state.DriverInfo{"fake": {Detected: true, Healthy: true}},
		}
	}
	for _, tc := range []struct {
		name   string
		change func(n *state.Node)
		same   bool
	}{
		{"nothing", func(*state.Node) {}, true},
		{"free bytes", func(n *state.Node) { n.Attributes["unique.storage.bytesfree"] = "2" }, true},
		{"a little less disk", func(n *state.Node) { n.Resources.DiskMB = 950 }, true},
		{"a little more disk", func(n *state.Node) { n.Resources.DiskMB = 1050 }, true},
		{"much less disk", func(n *state.Node) { n.Resources.DiskMB = 800 }, false},
		{"memory", func(n *state.Node) { n.Resources.MemoryMB = 999 }, false},
		{"attribute", func(n *state.Node) { n.Attributes["kernel.name"] = "plan9" }, false},
		{"driver", func(n *state.Node) { n.Drivers["fake"] = state.DriverInfo{Detected: true} }, false},
	} {
		a, b := base(), base()
		tc.change(b)
		if got := sameMachine(a, b); got != tc.same {
			t.Errorf("%s: same machine: %v, want %v", tc.name, got, tc.same)
		}
		if sameMachine(b, a) != tc.same || a.Attributes["unique.storage.bytesfree"] != "1" {
			t.Errorf("%s: not symmetric, or the rows were changed", tc.name)
		}
	}
}

func TestPoolGuardView(t *testing.T) {
	hold := poolGuard(sched.PoolGuardView{Pool: "p", State: sched.GuardHolding, Silent: 5, Nodes: 12, NextAt: 7})
	if !hold.Holding || hold.Until != 7 || hold.Nodes != 12 || hold.Silent != 5 || hold.Reason == "" {
		t.Errorf("holding is shown as %+v", hold)
	}
	slow := poolGuard(sched.PoolGuardView{Pool: "p", State: sched.GuardSlow, Waiting: 3})
	if slow.Holding || slow.Reason == "" {
		t.Errorf("the slow rate is shown as %+v", slow)
	}
	if free := poolGuard(sched.PoolGuardView{Pool: "p", State: sched.GuardFree}); free.Holding || free.Reason != "" {
		t.Errorf("a guard with nothing to say is shown as %+v", free)
	}
}

// TestProber: what comes back from a machine, for each way in which it can be there or not.
func TestProber(t *testing.T) {
	silence := func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	accepts := func(context.Context, string) (net.Conn, error) {
		c, other := net.Pipe()
		closeQuietly(other)
		return c, nil
	}
	pong := func(id string) func(context.Context, string) (*api.PingResponse, error) {
		return func(context.Context, string) (*api.PingResponse, error) {
			return &api.PingResponse{NodeID: id, Boot: 3}, nil
		}
	}
	for _, tc := range []struct {
		name   string
		dial   func(context.Context, string) (net.Conn, error)
		ping   func(context.Context, string) (*api.PingResponse, error)
		gossip bool
		want   string
	}{
		{"answers", accepts, pong("a"), false, api.ProbeAnswers},
		{"accepts", accepts, func(ctx context.Context, _ string) (*api.PingResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, false, api.ProbeAccepts},
		{"another agent is there", accepts, pong("b"), true, api.ProbeRefused},
		{"refused", func(context.Context, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}, nil, true, api.ProbeRefused},
		{"silent", silence, nil, false, api.ProbeSilent},
		{"only TCP is cut", silence, nil, true, api.ProbeAccepts},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &prober{dial: tc.dial, ping: tc.ping, gossip: func(string) bool { return tc.gossip }}
				start := time.Now()
				got := p.knock(t.Context(), []api.ProbeTarget{{NodeID: "a"}}, 0)
				if len(got) != 1 || got[0].Outcome != tc.want || got[0].NodeID != "a" {
					t.Errorf("got %+v, want %s", got, tc.want)
				}
				if took := time.Since(start); took > probeTimeout {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// TestProbeOfAHerd: knocking at a thousand silent machines takes no longer than at one, and the leader waits for as long as the
// other voters may take.
func TestProbeOfAHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most, now atomic.Int32
		p := &prober{gossip: func(string) bool {
			time.Sleep(gossipPing)
			return false
		}, dial: func(ctx context.Context, _ string) (net.Conn, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		for _, n := range []int{1, 1000, 3000} {
			start := time.Now()
			for _, r := range p.knock(t.Context(), make([]api.ProbeTarget, n), probeTimeout) {
				if r.Outcome != api.ProbeSilent {
					t.Fatalf("outcome %s", r.Outcome)
				}
			}
			if took := time.Since(start); took > knockLimit(n) {
				t.Errorf("knocking at %d took %s, the leader waits %s", n, took, knockLimit(n))
			}
		}
		if most.Load() > maxProbes {
			t.Errorf("%d knocks at a time", most.Load())
		}
	})
}

// TestSightings: evidence needs two rounds that agree, a fresh lease one, and what was seen of an earlier life of the agent is
// forgotten.
func TestSightings(t *testing.T) {
	w := newWorld(t)
	w.register(nodeA, 1)
	s := &server{store: w.store}
	wk := newWatchkeeper(&term{s: s, clock: newClusterClock(w.store.Snapshot())})
	note := func(e sched.Evidence, weight int) { wk.note(finding{w.store.Snapshot().Node(nodeA), e, weight}) }
	check := func(what string, want sched.Evidence) {
		t.Helper()
		got := sched.EvidenceNone
		for _, o := range wk.observations() {
			got = o.Evidence
		}
		if got != want {
			t.Errorf("%s: evidence %q, want %q", what, got, want)
		}
	}
	changed := wk.changed()
	note(sched.EvidenceSilent, 1)
	check("silent once", sched.EvidenceNone)
	note(sched.EvidenceSilent, 1)
	check("silent twice", sched.EvidenceSilent)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	note(sched.EvidenceRefused, 1)
	check("refused once", sched.EvidenceSilent)
	note(sched.EvidenceSilent, 1)
	note(sched.EvidenceRefused, 1)
	check("refused again, but not in a row", sched.EvidenceSilent)
	w.register(nodeA, 2)
	note(sched.EvidenceAnswers, 1)
	check("a new life of the agent", sched.EvidenceNone)
	note(sched.EvidenceFresh, agreeing)
	check("its lease", sched.EvidenceFresh)
}
