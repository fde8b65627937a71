package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
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
	pos    int
	ports  []int
	pieces pieces
}

// placer places the copies of one group: every node is looked at once, then each copy takes the best.
type placer struct {
	ledger  *ledger
	usage   *usage
	ask     *ask
	view    *view
	salt    uint64
	queue   *queue
	only    *bucket   // of a group that wishes for nothing
	classes []*bucket // of each class; nil where the wishes name something that differs from node to node
	named   bool      // it asks for ports, cores or devices
	plain   bool      // how well a copy fits on a node is all there is to score, for nothing is there yet
	unnamed []int     // for each spread: values of nodes that are open, and that no target names
	moving  bool      // some requests stop a copy: a node over a limit may come back under it
	full    bool      // a request that stops nothing found no node: no other one will
}

// firstLook is how many candidates a bucket is filled with at first. Each further look keeps lookMore times as many.
const (
	firstLook = 128
	lookMore  = 8
)

// newPlacer looks at every node once, for so many copies.
func (l *ledger) newPlacer(a *ask, u *usage, salt uint64, copies int) *placer {
	p := &placer{ledger: l, usage: u, ask: a, view: l.viewOf(a), salt: salt, queue: newQueue()}
	p.queue.keep = min(copies, l.firstLook) + 1
	switch {
	case a.likes == nil && len(a.spreads) == 0:
		p.only = p.queue.bucket(0, nil)
	case !a.wishesUnique():
		p.classes = make([]*bucket, len(l.fleet.classes))
	}
	p.named = len(a.static)+a.dynamic > 0 || a.piecemeal()
	p.plain = likedBy(a.devices) == 0
	for _, nodes := range u.groups {
		p.plain = p.plain && len(nodes) == 0
	}
	if p.only != nil && p.plain && !p.named && len(a.uniques) == 0 {
		p.glance()
	} else {
		p.look(true)
	}
	if len(a.spreads) > 0 {
		for pos, copies := range u.groups[a.group.Name] {
			if l.open(a, pos) {
				p.bucket(pos).peers.copies += copies
			}
		}
	}
	p.unnamed = a.unnamedValues(p.queue.buckets)
	for _, b := range p.queue.buckets {
		b.filled(nil)
		p.weigh(b)
	}
	return p
}

// look offers every node that is open and fits to its bucket, but for those that have been counted since. The first time it counts
// those that are open. This is the loop over all nodes.
func (p *placer) look(first bool) {
	for pos, works := range p.ledger.works {
		if !works {
			continue
		}
		c := p.view.of(pos)
		if !c.suits || !p.alone(pos) {
			continue
		}
		b := p.only
		if b == nil {
			b = p.bucket(pos)
		}
		if first && b.peers != nil {
			b.peers.nodes++
		}
		if !p.fits(c, pos) {
			continue
		}
		score := p.score(c, pos)
		if score > b.best.score && p.queue.stamps[pos] == 0 { // of equal ones the first is better
			b.offer(candidate{pos: pos, score: score}, p.queue.keep)
		}
	}
}

// glance is the first look for a group that asks for nothing but cpu, memory and disk, wishes for nothing, and has no copies yet:
// most groups. It does what look would do in half the time, for its loop calls nothing.
func (p *placer) glance() {
	v, b, keep := p.view, p.only, p.queue.keep
	class, free, heft := p.ledger.class, p.ledger.free, p.ledger.heft
	for pos, works := range p.ledger.works {
		if !works {
			continue
		}
		c := &v.classes[class[pos]]
		if !c.asked {
			v.look(c, pos)
		}
		if !c.suits || !within(c.want, free[pos]) {
			continue
		}
		if score := c.fit(heft[pos]); score > b.best.score {
			b.offer(candidate{pos: pos, score: score}, keep)
		}
	}
}

// alone reports whether a node suits by what only it can answer.
func (p *placer) alone(pos int) bool {
	return len(p.ask.uniques) == 0 || passAll(p.ask.uniques, p.ledger.fleet.nodes[pos].node)
}

// fits is ledger.fits of a node of a class.
func (p *placer) fits(c *classView, pos int) bool {
	return within(c.want, p.ledger.free[pos]) && (!p.named || p.ledger.fitsNamed(p.ask, pos))
}

// score is ledger.baseScore of a node of a class.
func (p *placer) score(c *classView, pos int) float64 {
	if p.plain {
		return c.fit(p.ledger.heft[pos])
	}
	return p.ledger.baseScore(p.ask, p.usage, pos)
}

// lookAgain fills the buckets with more candidates.
func (p *placer) lookAgain() {
	q := p.queue
	q.keep *= lookMore
	counted := map[*bucket][]candidate{}
	for _, b := range q.buckets {
		for _, c := range b.heap {
			if s := q.stamps[c.pos]; s > 0 && c.stamp == s {
				counted[b] = append(counted[b], c)
			}
		}
		b.heap, b.best.score = b.heap[:0], none
	}
	p.look(false)
	for _, b := range q.buckets {
		b.filled(counted[b])
	}
}

// next takes the best candidate of all.
func (p *placer) next() (best popped, ok bool) {
	for {
		best, ok, short := p.queue.pop()
		if !short {
			return best, ok
		}
		p.lookAgain()
	}
}

// weigh writes down what spreads say of a bucket now.
func (p *placer) weigh(b *bucket) {
	b.wish.spread = p.usage.spreadScore(p.ask, b.values, p.unnamed)
	b.wish.forgiven = -p.ask.besideScore(b.peers.average())
}

// place gives each request the best node there is and takes the room from the ledger. Requests that found none are left.
func (l *ledger) place(a *ask, u *usage, reqs []request, salt uint64) (placed []placement, left []request) {
	if len(reqs) == 0 {
		return nil, nil
	}
	p := l.newPlacer(a, u, salt, len(reqs))
	p.moving = slices.ContainsFunc(reqs, func(r request) bool { return r.stop != nil })
	for _, r := range reqs {
		pos := p.one(r)
		if pos < 0 {
			left = append(left, r)
			continue
		}
		ports, pieces := l.take(a, pos, salt+uint64(pos))
		placed = append(placed, placement{request: r, pos: pos, ports: ports, pieces: pieces})
		p.count(pos, 1)
	}
	return placed, left
}

// bucket is where a node's candidates go.
func (p *placer) bucket(pos int) *bucket {
	if p.only != nil {
		return p.only
	}
	class := p.ledger.class[pos]
	if p.classes != nil && p.classes[class] != nil {
		return p.classes[class]
	}
	b := p.queue.bucket(p.ask.wishesOn(p.ledger.fleet.nodes[pos].node))
	if p.classes != nil {
		p.classes[class] = b
	}
	return b
}

// one finds the node of a request, -1 for none. What the request stops no longer counts, unless it finds none.
func (p *placer) one(r request) int {
	home := -1
	if r.stop != nil && r.kind != missing {
		home = p.ledger.fleet.position(r.stop.NodeID)
		p.count(home, -1)
	}
	pos := -1
	if !p.full || home >= 0 && len(p.ask.limits) > 0 { // what leaves its home may make room elsewhere under a limit
		pos = p.best(r)
		p.full = p.full || pos < 0 && home < 0
	} else if home >= 0 && p.queue.stamps[home] > 0 && p.possible(home) {
		pos = home
	}
	if pos < 0 && home >= 0 {
		p.count(home, 1)
	}
	return pos
}

func (p *placer) possible(pos int) bool {
	return p.ledger.open(p.ask, pos) && p.ledger.fits(p.ask, pos) && p.usage.exceeded(p.ask, pos) == nil
}

// count notes that a node has more or fewer copies of the group: its candidate is another one then, and so is what spreads say of
// all nodes that have one of its values.
func (p *placer) count(pos, by int) {
	if pos < 0 {
		return
	}
	p.usage.add(p.ask.group.Name, pos, by)
	p.queue.stamps[pos]++
	if !p.ledger.open(p.ask, pos) {
		if len(p.ask.spreads) > 0 {
			_, values := p.ask.wishesOn(p.ledger.fleet.nodes[pos].node)
			p.weighAll(values)
		}
		return
	}
	b := p.bucket(pos)
	if b.peers != nil {
		b.peers.copies += by
	}
	if p.ledger.fits(p.ask, pos) {
		b.push(candidate{pos: pos, stamp: p.queue.stamps[pos], score: p.ledger.baseScore(p.ask, p.usage, pos)})
	}
	p.weighAll(b.values)
}

// weighAll weighs the buckets that have one of some values.
func (p *placer) weighAll(values []string) {
	for _, b := range p.queue.buckets {
		if b.shares(values) {
			p.weigh(b)
		}
	}
}

// best takes the best candidate for a request from the heap. A node that the request should avoid is taken only when nothing
// scores better even after the penalty.
func (p *placer) best(r request) int {
	var aside []popped
	chosen, fallback := -1, popped{candidate: candidate{pos: -1}}
	for {
		c, ok := p.next()
		if !ok {
			break
		}
		if fallback.pos >= 0 && fallback.total-avoidPenalty >= c.total {
			aside = append(aside, c)
			break
		}
		if p.usage.exceeded(p.ask, c.pos) != nil {
			if p.moving {
				aside = append(aside, c)
			}
			continue
		}
		if !slices.Contains(r.avoid, p.ledger.fleet.nodes[c.pos].node.ID) {
			chosen = c.pos
			break
		}
		aside = append(aside, c)
		if fallback.pos < 0 || c.total > fallback.total {
			fallback = c
		}
	}
	if chosen < 0 {
		chosen = fallback.pos
	}
	for _, c := range aside { // also a fallback that was chosen: count supersedes it
		c.putBack()
	}
	return chosen
}
