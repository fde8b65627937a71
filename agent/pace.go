package agent

import (
	"context"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// newsEvery bounds how many nodes a second a server tells of new orders at once. When more are to be told they wait their turn.
	newsEvery = 500 * time.Microsecond
	// newsAhead is how many are told at once after a pause.
	newsAhead = 250
	// floodPlan is how many copies a plan places when there is a flood: half of what it may, so that the leader does not keep up with what it
	// has to place. A node is then told when its poll ends, of all that came meanwhile, and says later that it runs: a server that
	// answered every node at every entry of the log would do nothing else, and the leader would place the rest later. It is not who waits that is counted:
	// those who wait become more by waiting.
	floodPlan = 1000
	// floodLook is how often that is looked at. It takes two looks for a flood to begin, and one for it to end.
	floodLook = 500 * time.Millisecond
	// gatherInFlood is how long a node may gather news that copies run while there is a flood.
	gatherInFlood = 10 * time.Second
)

// pace gives nodes that are to be told something their turns, and knows floods.
type pace struct {
	mu     sync.Mutex
	next   time.Time // the first turn that nobody has
	looked time.Time // when it was looked at what is placed
	plan   uint64    // index of the last plan, by then
	large  bool      // it was
	flood  bool
}

// look notes the plan that was applied last, and reports whether there is a flood.
func (p *pace) look(now time.Time, last state.AppliedPlan) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) >= floodLook {
		was := p.large
		p.large = last.Index != p.plan && last.Placed >= floodPlan
		p.flood = p.large && was
		p.looked, p.plan = now, last.Index
	}
	return p.flood
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
		if some {
			w.Stop()
			if urgent {
				return nil
			}
			return s.awaitTurn(ctx, req, until)
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

// awaitTurn waits until it is the node's turn to be told what there is, or until its poll ends. While there is a flood nobody has turns.
func (s *server) awaitTurn(ctx context.Context, req *api.PollRequest, until time.Time) error {
	for {
		now := time.Now()
		left := until.Sub(now)
		if left <= 0 {
			return nil
		}
		if !s.flooded(now) {
			return restUntil(ctx, req.Closing, s.pace.turn(now, left))
		}
		if err := restUntil(ctx, req.Closing, min(left, floodLook)); err != nil || closed(req.Closing) {
			return err
		}
	}
}

// flooded reports whether the cluster places so much that its nodes have to wait for their orders.
func (s *server) flooded(now time.Time) bool { return s.pace.look(now, s.store.Snapshot().LastPlan()) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// restUntil waits, unless this server closes before.
func restUntil(ctx context.Context, closing <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return nil
	}
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
