package sched

import (
	"math"
	"strconv"
	"strings"
)

// candidate is a node that could take a copy. A candidate with an old stamp has been superseded.
type candidate struct {
	pos   int
	stamp int
	score float64
}

func (c candidate) better(o candidate) bool {
	return c.score > o.score || c.score == o.score && c.pos < o.pos
}

// none is a score below all others.
const none = -math.MaxFloat64

// inverse orders candidates the other way round: the worst first.
func (c candidate) inverse() candidate {
	return candidate{pos: -c.pos, stamp: c.stamp, score: -c.score}
}

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

	best candidate // of those that were not kept; its score is -Inf when all were
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

// filled turns the heap of a bucket that was filled round, and adds more candidates that need not be the best.
func (b *bucket) filled(more []candidate) {
	for i := range b.heap {
		b.heap[i] = b.heap[i].inverse()
	}
	b.heap = append(b.heap, more...)
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

// queue is the candidates of one group.
type queue struct {
	keep    int // candidates that a bucket is filled with
	buckets []*bucket
	byKey   map[string]*bucket
	peers   map[string]*peers
	stamps  map[int]int // node → stamp of its current candidate
}

func newQueue() *queue {
	return &queue{byKey: map[string]*bucket{}, peers: map[string]*peers{}, stamps: map[int]int{}}
}

// bucket is the one of nodes with some score by affinity and some values for the spreads.
func (q *queue) bucket(affinity float64, values []string) *bucket {
	tuple := strings.Join(values, "\x00,")
	key := strconv.FormatFloat(affinity, 'g', -1, 64) + "\x00" + tuple
	b := q.byKey[key]
	if b != nil {
		return b
	}
	b = &bucket{wish: wishScore{affinity: affinity}, values: values, best: candidate{score: none}}
	if len(values) > 0 {
		if q.peers[tuple] == nil {
			q.peers[tuple] = &peers{}
		}
		b.peers = q.peers[tuple]
	}
	q.byKey[key] = b
	q.buckets = append(q.buckets, b)
	return b
}

// popped is a candidate taken from its bucket, with its whole score.
type popped struct {
	candidate
	total float64
	from  *bucket
}

func (p popped) better(o popped) bool {
	return p.total > o.total || p.total == o.total && p.pos < o.pos
}

// putBack returns the candidate to its bucket.
func (p popped) putBack() { p.from.push(p.candidate) }

// pop takes the best candidate of all. It reports false when there is none, and that the queue is short when a bucket must be
// filled with more before that can be told.
func (q *queue) pop() (best popped, ok, short bool) {
	for _, b := range q.buckets {
		for len(b.heap) > 0 && b.heap[0].stamp != q.stamps[b.heap[0].pos] {
			b.pop()
		}
		if b.short() {
			return popped{}, false, true
		}
		if len(b.heap) == 0 {
			continue
		}
		c := popped{b.heap[0], b.heap[0].score + b.wish.sum(), b}
		if !ok || c.better(best) {
			best, ok = c, true
		}
	}
	if ok {
		best.from.pop()
	}
	return best, ok, false
}
