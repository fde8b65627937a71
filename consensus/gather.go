package consensus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// gatherBytes is up to how large proposals are gathered. Larger ones fill a write to the disk, and take long to apply, by themselves.
const gatherBytes = 16 << 10

const (
	// gatherFew is how many entries of one proposal may be on their way for another not to wait.
	gatherFew = 8
	// gatherShared is that number for entries that are shared. With two on their way each has half as many proposals, and the servers have a
	// tenth more to do for 64 users. From three users on more are answered a second than with eight; two users wait for each other, and
	// lose a tenth by it.
	gatherShared = 1
	// gatherMany proposals in a round are those of users who come again as soon as they are answered. They are given gatherPause to do so:
	// the next round then has most of them and not half, which saves 64 users another tenth. Longer pauses saved no more.
	gatherMany  = 9
	gatherPause = 500 * time.Microsecond
)

// gatherer lets small proposals wait for each other, so that what came while others were on their way goes with one write to the disk
// of each server, one message to each follower and one transaction, and in one entry where they may: most of what a small proposal costs
// is that. Nothing waits when few entries are on their way, so that a calm cluster is as quick as before, nor when a whole write is full.
// The end of one round begins the next, after a pause when it had many. One goroutine waits for all answers of a round.
type gatherer struct {
	few   int                  // with fewer on their way nothing waits
	full  int                  // proposals that fill a write
	pause time.Duration        // after a round of gatherMany; 0 for none
	spawn func(f func()) error // runs f beside the caller

	mu      sync.Mutex
	flying  int  // entries that raft has and has not answered
	many    bool // the last round had gatherMany
	pausing bool
	waiting []*gathered
}

// gathered is a proposal.
type gathered struct {
	key      string // of the object that it changes; "" for one that shares its entry with none
	data     []byte
	timeout  time.Duration
	apply    applyFunc
	answered chan answered
}

// answered is what raft says to a proposal.
type answered struct {
	result Result
	err    error
}

// propose hands data to raft when it is its turn, and waits for the answer until ctx ends. handed is false when raft never got it.
func (g *gatherer) propose(ctx context.Context, p *gathered) (result Result, handed bool, err error) {
	p.answered = make(chan answered, 1)
	g.mu.Lock()
	g.waiting = append(g.waiting, p)
	ready := g.take()
	g.mu.Unlock()
	g.begin(ready)
	select {
	case a := <-p.answered:
		return a.result, true, a.err
	case <-ctx.Done():
		return Result{}, !g.withdraw(p), ctx.Err()
	}
}

// withdraw takes back a proposal that waits; false when it waits no more.
func (g *gatherer) withdraw(p *gathered) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, p)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// take is what begins its flight now.
func (g *gatherer) take() (ready []parcel) {
	if len(g.waiting) == 0 || len(g.waiting) < g.full && (g.flying >= g.few || g.pausing) {
		return nil
	}
	g.many = len(g.waiting) >= gatherMany
	ready, g.waiting = parcels(g.waiting), nil
	g.flying += len(ready)
	return ready
}

// begin has a round fly.
func (g *gatherer) begin(round []parcel) {
	if len(round) == 0 {
		return
	}
	if err := g.spawn(func() { g.fly(round) }); err != nil {
		for _, f := range round {
			for _, p := range f.shared {
				p.answered <- answered{err: err}
			}
			g.landed()
		}
	}
}

// fly hands a round's entries to raft, one right behind the other, and their answers out.
func (g *gatherer) fly(round []parcel) {
	for i := range round {
		round[i].begin()
	}
	for i := range round {
		round[i].end()
		g.landed()
	}
}

// landed ends an entry's way. When few are left, those that wait begin theirs, or will after a pause.
func (g *gatherer) landed() {
	g.mu.Lock()
	g.flying--
	if g.many && g.pause > 0 && g.flying < g.few && !g.pausing {
		g.pausing = true
		time.AfterFunc(g.pause, g.resume)
	}
	ready := g.take()
	g.mu.Unlock()
	g.begin(ready)
}

// resume ends a pause.
func (g *gatherer) resume() {
	g.mu.Lock()
	g.pausing = false
	ready := g.take()
	g.mu.Unlock()
	g.begin(ready)
}

// withdrawn is the error of a proposal that waited for others until its caller's time was over: nothing was proposed.
func withdrawn(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx)) }
