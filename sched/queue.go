package sched

import "math"

// candidate is a node that could take a copy, with what it scored when it was written down. It is current while the node scores the
// same; when that has changed there is another candidate for the node, or it is among those that were not kept.
type candidate struct {
	pos   int
	score float64
}

func (c candidate) better(o candidate) bool {
	return c.score > o.score || c.score == o.score && c.pos < o.pos
}

// none is a score below all others.
const none = -math.MaxFloat64

// inverse orders candidates the other way round: the worst first.
func (c candidate) inverse() candidate { return candidate{pos: -c.pos, score: -c.score} }

// bucket is the candidates that a group's affinities and spreads cannot tell apart: what these say of them is said once, so that a
// copy which changes it for a thousand nodes costs as much as one that changes it for none. A heap, the best candidate first; of
// equal ones the first in ID order.
//
// A bucket is filled with the best few of many, for it is seldom asked for more: few copies need few nodes.
type bucket struct {
	wish   wishScore
	values []string // one for each spread
	peers  *peers   // nil where there are none
	heap   []candidate

	best candidate // of those that were not kept; its score is none when all were

	at    int       // in the queue's order; -1 when there is nothing to take from it
	first candidate // the first that it may have to give, with its whole score
}

// wishScore is what affinities and spreads say of a node, each from -1 to 1, and what it is forgiven of the copies beside.
type wishScore struct {
	affinity float64
	spread   float64
	forgiven float64
}

func (w wishScore) sum() float64 { return w.affinity + w.spread + w.forgiven }

// offer fills a bucket that keeps so many candidates. While it is filled its heap has the worst first.
func (b *bucket) offer(c candidate, keep int) {
	if len(b.heap) < keep {
		b.push(c.inverse())
		return
	}
	if worst := b.heap[0].inverse(); c.better(worst) {
		b.heap[0] = c.inverse()
		b.down(0)
		c = worst
	}
	if c.better(b.best) {
		b.best = c
	}
}

// filled turns the heap of a bucket that was filled round.
func (b *bucket) filled() {
	for i := range b.heap {
		b.heap[i] = b.heap[i].inverse()
	}
	for i := len(b.heap)/2 - 1; i >= 0; i-- {
		b.down(i)
	}
}

// short reports whether the next candidate of the bucket is one that was not kept.
func (b *bucket) short() bool {
	return b.best.score > none && (len(b.heap) == 0 || b.best.better(b.heap[0]))
}

func (b *bucket) push(c candidate) {
	b.heap = append(b.heap, c)
	for i := len(b.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !b.heap[i].better(b.heap[parent]) {
			break
		}
		b.heap[i], b.heap[parent] = b.heap[parent], b.heap[i]
		i = parent
	}
}

// pop takes the best candidate of a bucket that has some.
func (b *bucket) pop() candidate {
	best, last := b.heap[0], len(b.heap)-1
	b.heap[0] = b.heap[last]
	b.heap = b.heap[:last]
	b.down(0)
	return best
}

func (b *bucket) down(i int) {
	for {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(b.heap); child++ {
			if b.heap[child].better(b.heap[best]) {
				best = child
			}
		}
		if best == i {
			return
		}
		b.heap[i], b.heap[best] = b.heap[best], b.heap[i]
		i = best
	}
}

// total is what the bucket's first candidate scores in all, and whether there is one.
func (b *bucket) total() (first candidate, ok bool) {
	switch {
	case b.short():
		first = b.best
	case len(b.heap) > 0:
		first = b.heap[0]
	default:
		return first, false
	}
	first.score += b.wish.sum()
	return first, true
}

// queue is the candidates of one group.
type queue struct {
	keep    int       // candidates that a bucket is filled with
	buckets []*bucket // as they were found
	order   []*bucket // those that have something to give: a heap, the one with the best candidate of all first
}

// arrange puts all buckets in order.
func (q *queue) arrange() {
	q.order = q.order[:0]
	for _, b := range q.buckets {
		var ok bool
		if b.first, ok = b.total(); ok {
			b.at = len(q.order)
			q.order = append(q.order, b)
		} else {
			b.at = -1
		}
	}
	for i := len(q.order)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

// fix moves a bucket to where it belongs after it has changed.
func (q *queue) fix(b *bucket) {
	first, ok := b.total()
	switch {
	case ok && b.at < 0:
		b.at = len(q.order)
		q.order = append(q.order, b)
	case !ok && b.at < 0:
		return
	case !ok:
		hole, last := b.at, len(q.order)-1
		q.swap(hole, last)
		q.order, b.at = q.order[:last], -1
		if hole < last {
			q.up(hole)
			q.down(hole)
		}
		return
	}
	b.first = first
	q.up(b.at)
	q.down(b.at)
}

func (q *queue) swap(i, j int) {
	q.order[i], q.order[j] = q.order[j], q.order[i]
	q.order[i].at, q.order[j].at = i, j
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.order[i].first.better(q.order[parent].first) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue) down(i int) {
	for {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.order); child++ {
			if q.order[child].first.better(q.order[best].first) {
				best = child
			}
		}
		if best == i {
			return
		}
		q.swap(i, best)
		i = best
	}
}

// popped is a candidate taken from its bucket, with its whole score.
type popped struct {
	candidate
	total float64
	from  *bucket
}

// putBack returns a candidate to its bucket.
func (q *queue) putBack(p popped) {
	p.from.push(p.candidate)
	q.fix(p.from)
}
