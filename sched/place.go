package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// request is one copy that wants a node. There may be thousands in a plan, most of which follow nothing.
type request struct {
	index   int
	kind    requestKind
	stop    *state.Alloc // what goes together with it; nil for none
	leaving *state.Alloc // the slot's last copy, when it was told to stop and has not ended yet
	cause   *cause       // nil for a copy that follows nothing
}

// cause is why a copy is placed again.
type cause struct {
	description string // why the one before is stopped
	event       state.RescheduleEvent
	avoid       []string // nodes on which it failed
}

// why is the cause of a request, an empty one where it has none.
func (r *request) why() cause {
	if r.cause == nil {
		return cause{}
	}
	return *r.cause
}

// follows reports whether a request is that of a copy which takes the place of one that failed.
func (r *request) follows() bool { return r.cause != nil && r.cause.event != (state.RescheduleEvent{}) }

// requestKind says what a request is for.
type requestKind int

const (
	missing  requestKind = iota // the slot is empty, or what is there has ended or is lost
	outdated                    // a copy of an older version is replaced; it runs on until then
	migrated                    // a user wants the copy elsewhere
)

// placement is a request with a node.
type placement struct {
	*request
	pos   int
	names *names // nil for a copy that asks for nothing that has a name
}

// names are what a copy has to itself of a node.
type names struct {
	ports  []int // dynamic ones
	pieces pieces
}

// named is what a placement has to itself.
func (p placement) named() names {
	if p.names == nil {
		return names{}
	}
	return *p.names
}

// placer places the copies of one group: every node is looked at once, or was for another group that asks for the same, then each
// copy takes the best.
type placer struct {
	*look
	ledger  *ledger
	usage   *usage
	ask     *ask
	salt    uint64
	named   bool // it asks for ports, cores or devices
	plain   bool // how well a copy fits on a node is all there is to score beside what depends on other copies
	crowded bool // some nodes have copies
	moving  bool // some requests stop a copy: a node over a limit may come back under it
	full    bool // a request that stops nothing found no node: no other one will
}

// newPlacer looks at every node, for so many copies, or has another one's look brought up to date.
func (l *ledger) newPlacer(a *ask, u *usage, salt uint64, copies int) *placer {
	there := 0
	for range u.own(a) {
		there++
	}
	p := &placer{
		look: l.lookFor(a, copies+there), ledger: l, usage: u, ask: a, salt: salt,
		named: a.asksNames(), plain: likedBy(a.devices) == 0,
	}
	if p.fresh {
		p.fill(true)
		p.unnamed = a.unnamedValues(p.queue.buckets)
		p.makeHeaps(copies)
		p.touched = make([]int, 0, copies+there)
		if p.fresh = false; p.key != "" {
			l.memory.keep(p.key, p.look)
		}
	}
	p.crowded = there > 0
	p.renew()
	for _, b := range p.queue.buckets {
		p.weigh(b)
	}
	p.queue.arrange()
	return p
}

// renew writes candidates for the nodes that have changed since the look, or that say what only held of the job before, and for those
// that have copies of this one.
func (p *placer) renew() {
	m, seen := p.ledger.memory, &p.ledger.memory.seen
	seen.clear(len(p.ledger.rows))
	for pos := range m.changes.since(p.seen) {
		seen.add(pos)
		p.add(pos)
	}
	for _, pos := range p.touched {
		if seen.add(pos) {
			p.add(pos)
		}
	}
	p.seen, p.touched = m.changes.now, p.touched[:0]
	for _, t := range p.peers {
		t.copies = 0
	}
	for pos := range p.usage.own(p.ask) {
		if seen.add(pos) {
			p.add(pos)
		}
		p.touched = append(p.touched, pos)
	}
	if len(p.ask.spreads) > 0 {
		copies := p.usage.copies(p.ask)
		for _, pos := range copies.places {
			if p.ledger.open(p.ask, int(pos)) {
				p.bucket(int(pos)).peers.copies += copies.on(int(pos))
			}
		}
	}
}

// add writes a candidate for a node as it is now, if it will do.
func (p *placer) add(pos int) *bucket {
	if !p.ledger.works(pos) {
		return nil
	}
	c := p.view.of(pos)
	if !c.suits || !p.alone(pos) {
		return nil
	}
	b := p.bucket(pos)
	if p.fits(c, pos) {
		b.push(candidate{pos: pos, score: p.score(c, pos)})
		p.pushed++
	}
	return b
}

// alone reports whether a node suits by what only it can answer.
func (p *placer) alone(pos int) bool {
	return len(p.ask.uniques) == 0 || passAll(p.ask.uniques, p.ledger.fleet.nodes[pos].node)
}

// fits is ledger.fits of a node of a class.
func (p *placer) fits(c *classView, pos int) bool {
	return p.ledger.rows[pos].holds(c.want) && (!p.named || p.ledger.fitsNamed(p.ask, pos))
}

// score is ledger.baseScore of a node of a class.
func (p *placer) score(c *classView, pos int) float64 {
	score := c.fit(p.ledger.rows[pos].heft)
	if p.crowded {
		score += p.ask.besideScore(float64(p.usage.beside(p.ask, pos)))
	}
	if !p.plain {
		score += p.ledger.deviceScore(p.ask, pos)
	}
	return score
}

// current reports whether a candidate says what its node scores now.
func (p *placer) current(c candidate) bool {
	v := p.view.of(c.pos)
	return p.ledger.works(c.pos) && p.fits(v, c.pos) && p.score(v, c.pos) == c.score
}

// next takes the best candidate of all.
func (p *placer) next() (best popped, ok bool) {
	q := p.queue
	for len(q.order) > 0 {
		b := q.order[0]
		if b.short() {
			p.lookAgain()
			continue
		}
		total := b.first.score
		c := b.pop()
		q.fix(b)
		if p.current(c) {
			return popped{candidate: c, total: total, from: b}, true
		}
	}
	return best, false
}

// weigh writes down what spreads say of a bucket now.
func (p *placer) weigh(b *bucket) {
	if len(p.ask.spreads) > 0 {
		b.wish.spread = p.usage.spreadScore(p.ask, b.values, p.unnamed)
		b.wish.forgiven = -p.ask.besideScore(b.peers.average())
	}
}

// place gives each request the best node there is and takes the room from the ledger. Requests that found none are left.
func (l *ledger) place(a *ask, u *usage, reqs []request, salt uint64) (placed []placement, left []request) {
	if len(reqs) == 0 {
		return nil, nil
	}
	placed = make([]placement, 0, len(reqs))
	p := l.newPlacer(a, u, salt, len(reqs))
	p.moving = slices.ContainsFunc(reqs, func(r request) bool { return r.stop != nil })
	for i := range reqs {
		pos := p.one(&reqs[i])
		if pos < 0 {
			left = append(left, reqs[i])
			continue
		}
		placed = append(placed, placement{request: &reqs[i], pos: pos, names: l.take(a, pos, salt+uint64(pos))})
		p.count(pos, 1)
	}
	return placed, left
}

// one finds the node of a request, -1 for none. What the request stops no longer counts, unless it finds none.
func (p *placer) one(r *request) int {
	home := -1
	if r.stop != nil && r.kind != missing {
		home = p.ledger.fleet.position(r.stop.NodeID)
		p.count(home, -1)
	}
	pos := -1
	if !p.full || home >= 0 && len(p.ask.limits) > 0 { // what leaves its home may make room elsewhere under a limit
		pos = p.best(r)
		p.full = p.full || pos < 0 && home < 0
	} else if home >= 0 && p.possible(home) {
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
	p.crowded, p.touched = true, append(p.touched, pos)
	b := p.add(pos)
	if b == nil {
		if len(p.ask.spreads) > 0 {
			_, values := p.ask.wishesOn(p.ledger.fleet.nodes[pos].node)
			p.weighAll(values)
		}
		return
	}
	if b.peers != nil {
		b.peers.copies += by
	}
	p.weighAll(b.values)
	p.queue.fix(b)
}

// weighAll weighs the buckets that have one of some values.
func (p *placer) weighAll(values []string) {
	for i, v := range values {
		for _, b := range p.sharing[i][v] {
			p.weigh(b)
			p.queue.fix(b)
		}
	}
}

// best takes the best candidate for a request from the heap. A node that the request should avoid is taken only when nothing
// scores better even after the penalty.
func (p *placer) best(r *request) int {
	var aside []popped
	avoid := r.why().avoid
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
			} else {
				p.touched = append(p.touched, c.pos) // it may do for another job
			}
			continue
		}
		if len(avoid) == 0 || !slices.Contains(avoid, p.ledger.fleet.nodes[c.pos].node.ID) {
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
		p.queue.putBack(c)
	}
	return chosen
}
