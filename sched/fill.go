package sched

// firstLook is how many candidates a bucket is filled with at first, or as many as there are copies to place, up to lookMore times that.
// Each further look keeps lookMore times as many.
const (
	firstLook = 128
	lookMore  = 8
	leastCut  = 4 // times firstLook: a bucket that has fewer candidates is not cut before it is full
)

// sampleEvery is how many nodes there are for one that is looked at before all others. It is odd: machines like to come in even rounds.
const sampleEvery = 17

// fill offers every node that is open and fits to its bucket, and counts those that are open. This is the loop over all nodes.
func (p *placer) fill(first bool) {
	if first && p.plain && !p.named && len(p.ask.uniques) == 0 && (p.table == nil || !p.table.unique) {
		p.sample()
		p.glance(1)
	} else {
		p.scan(first)
	}
	for _, b := range p.queue.buckets {
		b.filled(p.ledger.memory)
	}
	p.pushed, p.seen = 0, p.ledger.memory.changes.now
	p.ledger.memory.scans++
}

func (p *placer) scan(first bool) {
	for pos := range p.ledger.rows {
		if !p.ledger.works(pos) {
			continue
		}
		c := p.view.of(pos)
		if !c.suits || !p.alone(pos) {
			continue
		}
		b := p.bucket(pos)
		if first && b.peers != nil {
			b.peers.nodes++
		}
		if !p.fits(c, pos) {
			continue
		}
		if p.plain && c.fit(p.ledger.rows[pos].heft) <= b.best.score { // what is beside makes it no better
			continue
		}
		if score := p.score(c, pos); score > b.best.score { // of equal ones the first is better
			b.offer(candidate{pos: pos, score: score})
		}
	}
}

// sample tells each bucket, by what a few nodes score, what it need not be offered: so few are better than that as it is filled with, more
// or less. Buckets that are too small to be cut are better off without.
func (p *placer) sample() {
	buckets := 1
	if p.table != nil {
		buckets = len(p.table.byName) // 0 for wishes that nobody had before
	}
	if len(p.ledger.rows) <= leastCut*p.ledger.firstLook*buckets {
		return
	}
	every := p.ledger.sampleEvery
	p.glance(every)
	for _, b := range p.queue.buckets {
		b.expect(b.keep*5/4/every + 4)
		if b.peers != nil {
			b.peers.nodes = 0
		}
	}
}

// glance is the first look for a group that asks for nothing but cpu, memory and disk, and wishes for nothing that is unique: most
// groups. It does what scan would do in a third of the time, for its loop calls nothing.
func (p *placer) glance(step int) {
	v := p.view
	rows := p.ledger.rows
	for pos := 0; pos < len(rows); pos += step {
		r := &rows[pos]
		if !r.works() {
			continue
		}
		c := &v.classes[r.class]
		if !c.asked {
			v.look(c, pos)
		}
		if !c.suits {
			continue
		}
		b := c.bucket
		if b == nil {
			b = p.bucket(pos)
			c.bucket = b
		}
		if b.peers != nil {
			b.peers.nodes++
		}
		if !r.holds(c.want) {
			continue
		}
		if score := c.fit(r.heft); score > b.best.score {
			b.offer(candidate{pos: pos, score: score})
		}
	}
}

// makeHeaps has room for what so many copies change: each leaves its node with another score.
func (p *placer) makeHeaps(copies int) {
	if len(p.ask.spreads) > 0 {
		copies = copies*5/4/max(1, len(p.queue.buckets)) + 1
	}
	for _, b := range p.queue.buckets {
		b.heap = make([]candidate, 0, min(copies, len(b.kept)))
	}
}

// lookAgain fills the buckets with more candidates.
func (p *placer) lookAgain() {
	p.queue.keep *= lookMore
	for _, b := range p.queue.buckets {
		b.keep, b.most = p.queue.keep, 2*p.queue.keep
		b.kept, b.heap, b.best.score = p.ledger.memory.buffer(), b.heap[:0], none
	}
	p.fill(false)
	p.touched = p.touched[:0]
	for pos := range p.usage.own(p.ask) {
		p.touched = append(p.touched, pos)
	}
	p.queue.arrange()
}
