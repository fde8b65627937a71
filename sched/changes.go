package sched

import (
	"iter"
	"slices"
)

// changes is when something else was free on each node last, and a list of the nodes in the order of those times: looks that are behind
// find what they missed, every node once, however often it changed.
type changes struct {
	at   []uint64 // by the node's place: 0 for one that never changed
	list []news   // also those that are old: the node has changed again
	now  uint64   // how many changes there were
}

type news struct {
	at  uint64
	pos int32
}

// fit begins anew when the number of nodes is another.
func (c *changes) fit(nodes int) {
	if len(c.at) != nodes {
		c.at, c.list = make([]uint64, nodes), make([]news, 0, 2*nodes)
	}
}

// note says that something else is free on a node than before.
func (c *changes) note(pos int) {
	if len(c.list) == cap(c.list) {
		c.list = slices.DeleteFunc(c.list, c.old) // half of them at least
	}
	c.now++
	c.at[pos] = c.now
	c.list = append(c.list, news{c.now, int32(pos)})
}

func (c *changes) old(n news) bool { return n.at != c.at[n.pos] }

// since yields the nodes that have changed after a time, the one that changed last first.
func (c *changes) since(at uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, n := range slices.Backward(c.list) {
			if n.at <= at || !c.old(n) && !yield(int(n.pos)) {
				return
			}
		}
	}
}
