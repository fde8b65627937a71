package agent

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// newsEvery and orderEvery bound how many nodes a second a server tells of new orders at once, and of how many. When more are to be told
	// they wait their turn: after a million copies were placed a server that told everybody at once would hear neither the leader nor its followers.
	newsEvery  = 500 * time.Microsecond
	orderEvery = 50 * time.Microsecond
	mostOrders = 10_000 // that a turn is longer for: a digest may say anything
	// newsAhead is for how long of that nodes are told at once after a pause.
	newsAhead = 250 * newsEvery
	// lateness is by how much a server may wake up too late, on a machine that others use too, before turns take longer: twice as long when it is twice as
	// late, up to slowest times.
	lateness = 30 * time.Millisecond
	slowest  = 16
	// keepTurn is how long a turn is kept for a node that does not come.
	keepTurn = time.Minute

	// floodPlan is how many copies a plan places when there is a flood: half of what it may, so that the leader does not keep up with what it
	// has to place. It is not who waits that is counted: those who wait become more by waiting.
	floodPlan = 1000
	// floodLook is how often that is looked at. It takes two looks for a flood to begin, and one for it to end.
	floodLook = 500 * time.Millisecond
	// floodFirst is for how long of a flood nodes that are only to run more have no turns: each copy that is placed meanwhile costs a tenth of one whose node is told at
	// once, and nodes that are told of many copies together ask and report less often. A flood of more than half a million copies lasts longer.
	floodFirst = 10 * time.Second
	// gatherInFlood is how long a node may gather news that copies run while there is a flood.
	gatherInFlood = 10 * time.Second
)

// pace gives nodes that are to be told something their turns, and knows floods.
type pace struct {
	mu    sync.Mutex
	next  time.Time            // the first turn that nobody has
	turns map[string]time.Time // those of nodes that wait
	swept time.Time
	late  time.Duration // by how much those who waited woke up too late, lately

	looked time.Time // when it was looked at what is placed
	plan   uint64    // index of the last plan, by then
	large  bool      // it was
	since  time.Time // when the flood began; zero for none
}

// look notes the plan that was applied last, and answers since when there is a flood; the zero time when there is none.
func (p *pace) look(now time.Time, last state.AppliedPlan) (since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) < floodLook {
		return p.since
	}
	was := p.large
	p.large = last.Index != p.plan && last.Placed >= floodPlan
	p.looked, p.plan = now, last.Index
	switch {
	case !p.large || !was:
		p.since = time.Time{}
	case p.since.IsZero():
		p.since = now
	}
	return p.since
}

// turn is how long a node waits for its turn to be told about so many orders. Once it has one it keeps it until told is called.
func (p *pace) turn(now time.Time, nodeID string, orders int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	if at, ok := p.turns[nodeID]; ok {
		return max(0, at.Sub(now))
	}
	at := p.next
	if earliest := now.Add(-newsAhead); at.Before(earliest) {
		at = earliest
	}
	price := newsEvery + time.Duration(min(orders, mostOrders))*orderEvery
	p.next = at.Add(price * min(max(p.late, lateness), slowest*lateness) / lateness)
	if !at.After(now) {
		return 0
	}
	if p.turns == nil {
		p.turns = map[string]time.Time{}
	}
	p.turns[nodeID] = at
	return at.Sub(now)
}

// woke notes by how much somebody woke up too late.
func (p *pace) woke(late time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late += (late - p.late) / 8
}

// told ends a node's turn.
func (p *pace) told(nodeID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.turns, nodeID)
}

// sweep forgets the turns of nodes that did not come. The caller holds mu.
func (p *pace) sweep(now time.Time) {
	if now.Sub(p.swept) < keepTurn {
		return
	}
	p.swept = now
	maps.DeleteFunc(p.turns, func(_ string, at time.Time) bool { return now.Sub(at) > keepTurn })
}

// awaitNews waits until the node is to be told something, or for as long as it said; later is true when there is something and it is
// not its turn yet. While this server is behind what the node has seen, it has nothing to tell.
func (s *server) awaitNews(ctx context.Context, req *api.PollRequest, wait time.Duration) (later bool, err error) {
	until := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
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
				return false, nil
			}
			return s.awaitTurn(ctx, req, until)
		}
		select {
		case <-w.C():
			continue
		case <-timer.C:
		case <-req.Closing:
		case <-ctx.Done():
			err = ctx.Err()
		}
		w.Stop()
		return false, err
	}
}

// awaitTurn waits until it is the node's turn to be told what there is. later is true when its poll ends before.
func (s *server) awaitTurn(ctx context.Context, req *api.PollRequest, until time.Time) (later bool, err error) {
	for {
		now, snap := time.Now(), s.store.Snapshot()
		if _, urgent := news(snap, req); urgent {
			return false, nil
		}
		wait, orders := floodLook, snap.OrdersOf(req.NodeID)
		stops := orders.Stopped > req.Since
		if since := s.flooded(now); since.IsZero() || now.Sub(since) >= floodFirst || stops {
			if wait = s.pace.turn(now, req.NodeID, max(0, orders.Run.Count-req.Told)); wait <= 0 {
				return false, nil
			}
			wait = min(wait, floodLook) // a flood may begin
		}
		if left := until.Sub(now); left <= 0 {
			return !stops, nil // what is to stop waits for the end of a poll and no longer
		} else if wait = min(wait, left); restUntil(ctx, req.Closing, wait) {
			return true, ctx.Err()
		}
		s.pace.woke(time.Since(now) - wait)
	}
}

// flooded is since when the cluster places so much that its nodes have to wait for their orders; the zero time when it does not.
func (s *server) flooded(now time.Time) time.Time {
	return s.pace.look(now, s.store.Snapshot().LastPlan())
}

// restUntil waits. over is true when this server closes or the context ends before.
func restUntil(ctx context.Context, closing <-chan struct{}, d time.Duration) (over bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false
	case <-closing:
	case <-ctx.Done():
	}
	return true
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
