package agent

import (
	"context"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// newsEvery bounds how many nodes a second a server tells of new orders at once: a little more than what comes in a large cluster whose servers
	// place a thousand copies a second. When more are to be told they wait their turn, and are told more at a time: while a
	// million copies are placed, a server that answers every node at every entry of the log does nothing else.
	newsEvery = 2500 * time.Microsecond
	// newsAhead is how many are told at once after a pause.
	newsAhead = 250
)

// pace gives nodes that are to be told something their turns.
type pace struct {
	mu   sync.Mutex
	next time.Time // the first turn that nobody has
}

// turn is how long to wait for the next turn. Whoever has less patience than that has none, and is told when it ends.
func (p *pace) turn(now time.Time, patience time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-newsAhead * newsEvery); p.next.Before(earliest) {
		p.next = earliest
	}
	wait := max(0, p.next.Sub(now))
	if wait >= patience {
		return patience
	}
	p.next = p.next.Add(newsEvery)
	return wait
}

// awaitNews waits until the node is to be told something, or for as long as it said. While this server is behind what the node has
// seen, it has nothing to tell.
func (s *server) awaitNews(ctx context.Context, req *api.PollRequest, wait time.Duration) error {
	until := time.Now().Add(wait)
	var timer *time.Timer
	for {
		w := s.store.Watch(state.KeyNode(req.NodeID), state.KeyNodeOrders(req.NodeID))
		snap := s.store.Snapshot()
		if snap.Index() < req.Index && snap.Generation() == req.RestoreGeneration {
			w.Stop()
			w = s.store.Watch(state.KeyIndex())
			snap = s.store.Snapshot()
		}
		some, urgent := news(snap, req)
		if some && !urgent {
			now := time.Now()
			if wait = s.pace.turn(now, until.Sub(now)); wait > 0 {
				w.Stop()
				return restUntil(ctx, req.Closing, wait)
			}
		}
		if some {
			w.Stop()
			return nil
		}
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		}
		select {
		case <-w.C():
		case <-timer.C:
			w.Stop()
			return nil
		case <-req.Closing:
			w.Stop()
			return nil
		case <-ctx.Done():
			w.Stop()
			return ctx.Err()
		}
	}
}

// restUntil waits, unless this server closes before.
func restUntil(ctx context.Context, closing <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-closing:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// news reports whether a snapshot has anything to tell a node, of itself or of its allocations; what concerns the node itself is
// urgent. It costs the same however many allocations there are.
func news(snap *state.Snapshot, req *api.PollRequest) (some, urgent bool) {
	if snap.Generation() != req.RestoreGeneration {
		return true, true
	}
	if snap.Index() < req.Index {
		return false, false
	}
	if node := snap.Node(req.NodeID); node == nil || node.ModifyIndex > req.Index {
		return true, true
	}
	return snap.OrdersOf(req.NodeID).At > req.Since, false
}
