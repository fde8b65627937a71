package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// left is what is left on one node.
type left struct {
	free  room           // may be negative on a node that shrank
	ports *state.PortSet // taken by allocations, or reserved
	stock *stock         // cores and devices taken
}

// columns are what placement asks of every node, by its place in the fleet: the loop over all nodes reads what it needs and nothing else.
type columns struct {
	works   []bool  // takes new work at all
	class   []int32 // its ID
	free    []room
	heft    []heft           // what is free, as scores see it
	ports   []*state.PortSet // taken
	dynamic []int32          // free ports of a node's dynamic range
	stocks  []*stock         // cores and devices taken
}

func newColumns(n int) columns {
	return columns{
		works: make([]bool, n), class: make([]int32, n), free: make([]room, n), heft: make([]heft, n),
		ports: make([]*state.PortSet, n), dynamic: make([]int32, n), stocks: make([]*stock, n),
	}
}

// draft returns columns of which what is free may be changed while c are kept, and the others once own was called for them. Few jobs ask
// for ports, cores or devices.
func (c *columns) draft() columns {
	d := *c
	d.free, d.heft = slices.Clone(c.free), slices.Clone(c.heft)
	return d
}

// ownNamed lets ports, cores and devices be changed.
func (c *columns) ownNamed() {
	c.ports, c.dynamic, c.stocks = slices.Clone(c.ports), slices.Clone(c.dynamic), slices.Clone(c.stocks)
}

// clone returns columns that may be changed while c are kept.
func (c *columns) clone() columns {
	return columns{
		works: slices.Clone(c.works), class: slices.Clone(c.class), free: slices.Clone(c.free), heft: slices.Clone(c.heft),
		ports: slices.Clone(c.ports), dynamic: slices.Clone(c.dynamic), stocks: slices.Clone(c.stocks),
	}
}

// set writes down a node.
func (c *columns) set(pos int, o opening) {
	c.works[pos], c.class[pos] = o.ready(), int32(o.class.id)
	c.setFree(pos, o.free, o.node)
	c.setPorts(pos, o.ports, o.node)
	c.stocks[pos] = o.stock
}

// left is what is left on the node at a place.
func (c *columns) left(pos int) left {
	return left{free: c.free[pos], ports: c.ports[pos], stock: c.stocks[pos]}
}

func (c *columns) setFree(pos int, free room, n *state.Node) {
	c.free[pos], c.heft[pos] = free, heftOf(free, &n.Resources)
}

func (c *columns) setPorts(pos int, taken *state.PortSet, n *state.Node) {
	c.ports[pos], c.dynamic[pos] = taken, int32(dynamicPorts(n, taken))
}
