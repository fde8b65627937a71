package consensus

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/internal/simnet"
)

// TestDeadProcessIsReplacedAtOnce: a leader that was killed is replaced long before its silence would tell, under load and again and
// again, and nothing acknowledged is lost.
func TestDeadProcessIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		ld := cl.load(4, 5*time.Millisecond)
		for range 6 {
			time.Sleep(2 * time.Second)
			l := cl.leader()
			term := l.Term()
			cl.net.Kill(l.host, simnet.Refuse)
			start := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { cl.stop(l) }) // it gives raft a second for what was in flight
			synctest.Wait()
			next := cl.leader()
			if took := time.Since(start); took > 600*time.Millisecond {
				t.Errorf("replaced after %s", took)
			}
			wg.Wait()
			if next.Term() > term+2 {
				t.Errorf("term %d follows term %d", next.Term(), term)
			}
			cl.net.Restart(l.host)
			cl.open(l.id, l.host.IP())
		}
		ld.check()
	})
}

// TestHangingUpIsNoDeath: connections that end are looked into, and a leader that answers is left alone.
func TestHangingUpIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l, term := cl.leader(), cl.leader().Term()
		for range 20 {
			for _, s := range cl.all() {
				c, err := cl.net.Host("10.0.0.9").Dial(t.Context(), s.addr)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				s.trans.streams.drop() // and all others
			}
			time.Sleep(300 * time.Millisecond)
		}
		if now := cl.leader(); now != l || now.Term() != term {
			t.Errorf("%s leads in term %d, want %s in term %d", now.id, now.Term(), l.id, term)
		}
	})
}

// TestNewClusterNeedsNoPatience: servers that were founded together have a leader before any of them is tired of waiting, one that is
// alone leads at once whenever it is opened, and one that comes back to a leader leaves it alone. Several that are opened again wait:
// their cluster may have gone on without them.
func TestNewClusterNeedsNoPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		cl := bootstrapped(t, 3, nil)
		if took := time.Since(start); took > time.Second {
			t.Errorf("a new cluster has a leader after %s", took)
		}
		cl.propose(cl.leader(), "x")
		cl.same()
		all := cl.all()
		for _, s := range all {
			cl.stop(s)
		}
		for _, s := range all {
			cl.open(s.id, s.host.IP())
		}
		start = time.Now()
		l := cl.leader()
		if took := time.Since(start); took < DefaultConfig().ElectionTimeout {
			t.Errorf("servers opened again have a leader after %s", took)
		}
		term := l.Term()
		for range 5 {
			f := cl.follower()
			cl.stop(f)
			time.Sleep(3 * time.Second)
			cl.open(f.id, f.host.IP())
			time.Sleep(3 * time.Second)
		}
		if now := cl.leader(); now.id != l.id || now.Term() != term {
			t.Errorf("%s leads in term %d, want %s in term %d", now.id, now.Term(), l.id, term)
		}
	})
}

func TestLoneServerNeedsNoPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 1, nil)
		s := cl.leader()
		cl.stop(s)
		cl.open(s.id, s.host.IP())
		start := time.Now()
		cl.leader()
		if took := time.Since(start); took > time.Second {
			t.Errorf("it leads after %s", took)
		}
	})
}
