package sched

import (
	"container/heap"
	"math"
	"slices"

	"github.com/drover-io/drover/state"
)

// What a node's score loses. A score without them lies between 0 and 1.
const (
	besideService = 1.0 // per copy of the same group there: a machine's death should take one copy of a service, not two
	besideBatch   = 0.5 // for a node that has all copies of a batch group: packing matters more
	avoidPenalty  = 2.0 // for a node on which this copy failed before
)

// request is one copy that wants a node.
type request struct {
	index       int
	kind        requestKind
	stop        *state.Alloc // what goes together with it; nil for none
	description string       // why that is stopped
	event       state.RescheduleEvent
	avoid       []string     // nodes on which it failed
	leaving     *state.Alloc // the slot's last copy, when it was told to stop and has not ended yet
}

// requestKind says what a request is for.
type requestKind int

const (
	missing  requestKind = iota // the slot is empty, or what is there has ended or is lost
	outdated                    // a copy of an older version is replaced; it runs on until then
	migrated                    // a user wants the copy elsewhere
)

// placement is a request with a node.
type placement struct {
	request
	pos   int
	ports []int
}

// candidate is a node that could take a copy. A candidate with an old stamp has been superseded.
type candidate struct {
	pos   int
	stamp int
	score float64
}

// candidates is a heap with the best node first; of equal ones the first in ID order.
type candidates []candidate

func (c candidates) Len() int      { return len(c) }
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c candidates) Less(i, j int) bool {
	if c[i].score != c[j].score {
		return c[i].score > c[j].score
	}
	return c[i].pos < c[j].pos
}

// Push is heap.Interface's.
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }

// Pop is heap.Interface's.
func (c *candidates) Pop() any {
	old := *c
	last := old[len(old)-1]
	*c = old[:len(old)-1]
	return last
}

// placer places the copies of one group: every node is looked at once, then each copy takes the best.
type placer struct {
	ledger *ledger
	usage  *usage
	ask    *ask
	salt   uint64
	heap   candidates
	stamps map[int]int // node → stamp of its current candidate
	moving bool        // some requests stop a copy: a node over a limit may come back under it
	full   bool        // a request that stops nothing found no node: no other one will
}

// place gives each request the best node there is and takes the room from the ledger. Requests that found none are left.
func (l *ledger) place(a *ask, u *usage, reqs []request, salt uint64) (placed []placement, left []request) {
	if len(reqs) == 0 {
		return nil, nil
	}
	p := &placer{ledger: l, usage: u, ask: a, salt: salt, stamps: map[int]int{}}
	p.moving = slices.ContainsFunc(reqs, func(r request) bool { return r.stop != nil })
	for pos := range l.fleet.nodes {
		if l.open(a, pos) && l.fits(a, pos) {
			p.heap = append(p.heap, candidate{pos: pos, score: p.score(pos)})
		}
	}
	heap.Init(&p.heap)
	for _, r := range reqs {
		pos := p.one(r)
		if pos < 0 {
			left = append(left, r)
			continue
		}
		placed = append(placed, placement{request: r, pos: pos, ports: l.take(a, pos, salt+uint64(pos))})
		u.add(a.group.Name, pos, 1)
		p.refresh(pos)
	}
	return placed, left
}

// one finds the node of a request, -1 for none. What the request stops no longer counts, unless it finds none.
func (p *placer) one(r request) int {
	home := -1
	if r.stop != nil && r.kind != missing {
		home = p.ledger.fleet.position(r.stop.NodeID)
		p.usage.add(p.ask.group.Name, home, -1)
		p.refresh(home)
	}
	pos := -1
	if !p.full {
		pos = p.best(r)
		p.full = pos < 0 && home < 0
	} else if home >= 0 && p.stamps[home] > 0 && p.possible(home) {
		pos = home
	}
	if pos < 0 && home >= 0 {
		p.usage.add(p.ask.group.Name, home, 1)
		p.refresh(home)
	}
	return pos
}

func (p *placer) possible(pos int) bool {
	return p.ledger.open(p.ask, pos) && p.ledger.fits(p.ask, pos) && p.usage.exceeded(p.ask, pos) == nil
}

// refresh replaces a node's candidate after something changed there.
func (p *placer) refresh(pos int) {
	if pos < 0 {
		return
	}
	p.stamps[pos]++
	if p.ledger.open(p.ask, pos) && p.ledger.fits(p.ask, pos) {
		heap.Push(&p.heap, candidate{pos: pos, stamp: p.stamps[pos], score: p.score(pos)})
	}
}

// best takes the best candidate for a request from the heap. A node that the request should avoid is taken only when nothing
// scores better even after the penalty.
func (p *placer) best(r request) int {
	var aside []candidate
	chosen, fallback := -1, candidate{pos: -1}
	for len(p.heap) > 0 {
		c := heap.Pop(&p.heap).(candidate)
		if c.stamp != p.stamps[c.pos] {
			continue
		}
		if fallback.pos >= 0 && fallback.score-avoidPenalty >= c.score {
			aside = append(aside, c)
			break
		}
		if p.usage.exceeded(p.ask, c.pos) != nil {
			if p.moving {
				aside = append(aside, c)
			}
			continue
		}
		if slices.Contains(r.avoid, p.ledger.fleet.nodes[c.pos].node.ID) {
			aside = append(aside, c)
			if fallback.pos < 0 || c.score > fallback.score {
				fallback = c
			}
			continue
		}
		chosen = c.pos
		break
	}
	if chosen < 0 {
		chosen = fallback.pos
	}
	for _, c := range aside { // also the one chosen: refresh supersedes it
		heap.Push(&p.heap, c)
	}
	return chosen
}

// score says how good a node is for one more copy.
func (p *placer) score(pos int) float64 {
	n := p.ledger.fleet.nodes[pos].node
	free := minus(p.ledger.free[pos], p.ask.res)
	fit := fitness(free, n.Resources)
	if p.ledger.algorithm == Spread {
		fit = 1 - fit
	}
	beside := float64(p.usage.beside(p.ask, pos))
	if p.ask.job.Type == state.JobTypeBatch {
		return fit - besideBatch*beside/float64(max(1, p.ask.group.Count))
	}
	return fit - besideService*beside
}

// fitness is 1 for a node whose cpu and memory would be used up and 0 for an empty one. It is the best-fit scoring that Google
// published for its data centres (BestFit v3): 10 to the power of the free share, so that a node with one resource left over
// scores worse than one on which both run out together.
func fitness(free state.AllocResources, of state.NodeResources) float64 {
	f := (20 - math.Exp(math.Ln10*share(free.CPU, of.CPU)) - math.Exp(math.Ln10*share(free.MemoryMB, of.MemoryMB))) / 18
	return min(1, max(0, f))
}

func share(free, of int) float64 {
	if of <= 0 {
		return 0
	}
	return float64(free) / float64(of)
}
