package consensus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// gatherBytes is up to how large proposals are gathered. Larger ones fill a write to the disk, and take long to apply, by themselves.
const gatherBytes = 16 << 10

// gatherFew is how many may be on their way for a proposal not to wait.
const gatherFew = 8

// gatherer lets small proposals wait for each other, so that what came while others were on their way goes with one write to the disk
// of each server, one message to each follower and one transaction: most of what a small entry costs is that. Nothing waits when
// only a few are on their way, so that a calm cluster is as quick as before, nor when a whole write is full. No timer: the end of one
// round begins the next. One goroutine waits for all answers of a round.
type gatherer struct {
	few   int                  // with fewer on their way nothing waits
	full  int                  // proposals that fill a write
	spawn func(f func()) error // runs f beside the caller

	mu      sync.Mutex
	flying  int // proposals that raft has and has not answered
	waiting []*gathered
}

// gathered is a proposal.
type gathered struct {
	data     []byte
	timeout  time.Duration
	apply    func([]byte, time.Duration) raft.ApplyFuture
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
	ready := g.take(g.flying < g.few || len(g.waiting) >= g.full)
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
func (g *gatherer) take(now bool) (ready []*gathered) {
	if !now {
		return nil
	}
	ready, g.waiting = g.waiting, nil
	g.flying += len(ready)
	return ready
}

// begin has a round fly.
func (g *gatherer) begin(round []*gathered) {
	if len(round) == 0 {
		return
	}
	if err := g.spawn(func() { g.fly(round) }); err != nil {
		for _, p := range round {
			p.answered <- answered{err: err}
			g.landed()
		}
	}
}

// fly hands a round's proposals to raft, one right behind the other, and their answers out.
func (g *gatherer) fly(round []*gathered) {
	futures := make([]raft.ApplyFuture, len(round))
	for i, p := range round {
		futures[i] = p.apply(p.data, p.timeout)
	}
	for i, f := range futures {
		a := answered{err: f.Error()}
		if a.err != nil {
			a.err = proposed(a.err)
		} else {
			a.result = Result{Index: f.Index(), Value: f.Response()}
		}
		round[i].answered <- a
		g.landed()
	}
}

// landed ends a proposal's flight. When few are left, those that wait begin theirs.
func (g *gatherer) landed() {
	g.mu.Lock()
	g.flying--
	ready := g.take(g.flying < g.few)
	g.mu.Unlock()
	g.begin(ready)
}

// withdrawn is the error of a proposal that waited for others until its caller's time was over: nothing was proposed.
func withdrawn(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx)) }
