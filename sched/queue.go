package sched

import (
	"math"
	"slices"
)

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

// compare orders candidates, the best first. No two are equal.
func (c candidate) compare(o candidate) int {
	if c.better(o) {
		return -1
	}
	return 1
}

// selectBest moves the k best of more than k candidates to the front, in any order.
func selectBest(cs []candidate, k int) {
	lo, hi := 0, len(cs)
	for rounds := 0; hi-lo > 8 && rounds < 32; rounds++ {
		i, j, pivot := lo, hi-1, median(cs[lo], cs[(lo+hi)/2], cs[hi-1])
		for i <= j {
			for cs[i].better(pivot) {
				i++
			}
			for pivot.better(cs[j]) {
				j--
			}
			if i <= j {
				cs[i], cs[j] = cs[j], cs[i]
				i, j = i+1, j-1
			}
		}
		switch { // up to j none is worse than the pivot, from i on none is better
		case k <= j:
			hi = j + 1
		case k >= i:
			lo = i
		default:
			return
		}
	}
	slices.SortFunc(cs[lo:hi], candidate.compare)
}

// median is the second best of three.
func median(a, b, c candidate) candidate {
	if b.better(a) {
		a, b = b, a
	}
	if c.better(a) {
		return a
	}
	if c.better(b) {
		return c
	}
	return b
}

// bucket is the candidates that a group's affinities and spreads cannot tell apart: what these say of them is said once, so that a
// copy which changes it for a thousand nodes costs as much as one that changes it for none.
//
// A bucket is filled with the best few of many, for it is seldom asked for more: few copies need few nodes.
type bucket struct {
	wish   wishScore
	values []string    // one for each spread
	keep   int         // candidates that it is filled with
	most   int         // it is cut when it has so many
	peers  *peers      // nil where there are none
	kept   []candidate // of the last look at every node, the best first
	heap   []candidate // written down since, the best one first

	best candidate // no worse than those that were not kept; its score is none when all were

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

// offer fills a bucket. It is called for those that are better than the best that was not kept, in ID order,
// and goes through what it has when that is far too many.
func (b *bucket) offer(c candidate) {
	b.kept = append(b.kept, c)
	if len(b.kept) >= b.most {
		b.cut()
	}
}

// expect empties the bucket and has it pass over what is worse than the k best that it had.
func (b *bucket) expect(k int) {
	b.best.score = none
	if len(b.kept) > k {
		selectBest(b.kept, k)
		worst := b.kept[0].score
		for _, c := range b.kept[:k] {
			worst = min(worst, c.score)
		}
		b.best = candidate{score: math.Nextafter(worst, none)} // no node's: what is passed over is no better
	}
	b.kept = b.kept[:0]
}

// cut keeps the best.
func (b *bucket) cut() {
	keep := b.keep
	if len(b.kept) <= keep {
		return
	}
	selectBest(b.kept, keep)
	for _, c := range b.kept[keep:] {
		if c.better(b.best) {
			b.best = c
		}
	}
	b.kept = b.kept[:keep]
}

// filled ends the filling of a bucket: its best candidates are put in order, in a slice of their own. As many drawers as candidates share
// what lies between the best and the worst score: most hold one or two, so that little is left to compare.
func (b *bucket) filled(m *memory) {
	cs := b.kept
	m.keepBuffer(cs[:0])
	if len(cs) == 0 {
		return
	}
	best, worst := cs[0].score, cs[0].score
	for _, c := range cs {
		best, worst = max(best, c.score), min(worst, c.score)
	}
	from, scale := best, float64(len(cs)-1)/max(best-worst, 1e-300)
	drawer := func(c candidate) int { return int((from - c.score) * scale) }
	m.drawers = append(m.drawers[:0], make([]int32, len(cs)+1)...)
	places := m.drawers // where a drawer's next candidate goes; where the drawer ends, in the end
	for _, c := range cs {
		places[drawer(c)+1]++
	}
	used := 0 // drawers
	for used < len(cs) && int(places[used]) < b.keep {
		places[used+1] += places[used]
		used++
	}
	b.kept = make([]candidate, places[used])
	for _, c := range cs {
		if d := drawer(c); d < used {
			b.kept[places[d]] = c
			places[d]++
		} else if c.better(b.best) {
			b.best = c
		}
	}
	begin := int32(0)
	for _, end := range places[:used] {
		if end-begin > 1 {
			slices.SortFunc(b.kept[begin:end], candidate.compare)
		}
		begin = end
	}
}

// next is the best candidate of a bucket, and whether there is one.
func (b *bucket) next() (next candidate, ok bool) {
	switch {
	case len(b.kept) == 0 && len(b.heap) == 0:
		return next, false
	case len(b.heap) == 0 || len(b.kept) > 0 && b.kept[0].better(b.heap[0]):
		return b.kept[0], true
	}
	return b.heap[0], true
}

// short reports whether the next candidate of the bucket is one that was not kept.
func (b *bucket) short() bool {
	next, some := b.next()
	return b.best.score > none && (!some || b.best.better(next))
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
	if len(b.heap) == 0 || len(b.kept) > 0 && b.kept[0].better(b.heap[0]) {
		best := b.kept[0]
		b.kept = b.kept[1:]
		return best
	}
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
	first, ok = b.next()
	if b.best.score > none && (!ok || b.best.better(first)) {
		first, ok = b.best, true
	}
	first.score += b.wish.sum()
	return first, ok
}

// queue is the candidates of one group.
type queue struct {
	keep    int       // candidates that a bucket is filled with at first, at most
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
