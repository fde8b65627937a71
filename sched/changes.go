package sched

import "iter"

// changes is when something else was free on each node last, in the order of those times: looks that are behind find what they missed,
// every node once, however often it changed. A ring of the nodes' places.
type changes struct {
	ring []link // with one more at the end, between the node that changed last and the one that did first
	now  uint64 // how many changes there were
}

type link struct {
	at           uint64 // 0 for a node that never changed
	before, next int32
}

// fit begins anew when the number of nodes is another.
func (c *changes) fit(nodes int) {
	if len(c.ring) == nodes+1 {
		return
	}
	c.ring = make([]link, nodes+1)
	for i := range c.ring {
		c.ring[i].before, c.ring[i].next = int32(i), int32(i)
	}
}

// note says that something else is free on a node than before.
func (c *changes) note(pos int) {
	c.now++
	l, end := &c.ring[pos], int32(len(c.ring)-1)
	l.at = c.now
	if c.ring[end].before == int32(pos) {
		return
	}
	c.ring[l.before].next, c.ring[l.next].before = l.next, l.before
	l.before, l.next = c.ring[end].before, end
	c.ring[l.before].next, c.ring[end].before = int32(pos), int32(pos)
}

// since yields the nodes that have changed after a time, the one that changed last first.
func (c *changes) since(at uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		if len(c.ring) == 0 {
			return
		}
		end := len(c.ring) - 1
		for pos := int(c.ring[end].before); pos != end && c.ring[pos].at > at && yield(pos); {
			pos = int(c.ring[pos].before)
		}
	}
}
