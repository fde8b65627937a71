package consensus

import (
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
// round begins the next.
type gatherer struct {
	few  int // with fewer on their way nothing waits
	full int // proposals that fill a write

	mu      sync.Mutex
	flying  int // proposals that raft has and has not answered
	waiting []*gathered
}

// gathered is a proposal that waits.
type gathered struct {
	data    []byte
	timeout time.Duration
	apply   func([]byte, time.Duration) raft.ApplyFuture
	future  chan raft.ApplyFuture
}

// propose hands data to raft when it is its turn. Whoever got the future calls done once it is answered.
func (g *gatherer) propose(p *gathered) raft.ApplyFuture {
	p.future = make(chan raft.ApplyFuture, 1)
	g.mu.Lock()
	g.waiting = append(g.waiting, p)
	ready := g.take(g.flying < g.few || len(g.waiting) >= g.full)
	g.mu.Unlock()
	start(ready)
	return <-p.future
}

// done ends a proposal's flight. When few are left, those that wait begin theirs.
func (g *gatherer) done() {
	g.mu.Lock()
	g.flying--
	ready := g.take(g.flying < g.few)
	g.mu.Unlock()
	start(ready)
}

func (g *gatherer) take(now bool) (ready []*gathered) {
	if !now {
		return nil
	}
	ready, g.waiting = g.waiting, nil
	g.flying += len(ready)
	return ready
}

// start hands proposals to raft, one right behind the other.
func start(ready []*gathered) {
	for _, p := range ready {
		p.future <- p.apply(p.data, p.timeout)
	}
}
