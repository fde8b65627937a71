package sched

import (
	"math"
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
	rows    []row // of the table: what it says only as long as the table has them
	table   *table
	from    *table           // what the table came of, which is told of every change; nil for one that does not change any more
	ports   []*state.PortSet // taken
	dynamic []int32          // free ports of a node's dynamic range
	stocks  []*stock         // cores and devices taken
}

// row is what every group asks of a node: half a line of the processor's cache.
type row struct {
	class             int32 // its ID; ^ID of a node that takes no new work at all
	cpu, memory, disk int32 // free
	heft              heft  // what is free, as scores see it
}

// works reports whether the node takes new work at all.
func (r *row) works() bool { return r.class >= 0 }

// classID is the node's class.
func (r *row) classID() int {
	if r.class < 0 {
		return int(^r.class)
	}
	return int(r.class)
}

// holds reports whether so much is free.
func (r *row) holds(want room) bool {
	return want.CPU <= int(r.cpu) && want.MemoryMB <= int(r.memory) && want.DiskMB <= int(r.disk)
}

func (r *row) free() room {
	return room{CPU: int(r.cpu), MemoryMB: int(r.memory), DiskMB: int(r.disk)}
}

// narrow keeps a number in 32 bits. What nodes and groups may have is far less, see state.Node.Validate.
func narrow(n int) int32 { return int32(max(math.MinInt32, min(math.MaxInt32, n))) }

func newColumns(n int) columns {
	t := &table{rows: make([]row, n)}
	return columns{rows: t.rows, table: t, ports: make([]*state.PortSet, n), dynamic: make([]int32, n), stocks: make([]*stock, n)}
}

// draft returns columns of which what is free may be changed while c are kept, and the others once own was called for them. Few jobs ask
// for ports, cores or devices.
func (c *columns) draft() columns {
	d := *c
	d.table, d.from = c.table.next(), c.table
	return d
}

// take has the rows say what they said when the columns were last changed, whatever has been drafted since.
func (c *columns) take() { c.table.take() }

// save keeps a row that is about to change for those who see what was before. Once is enough.
func (c *columns) save(pos int) {
	if c.from != nil {
		c.from.other = append(c.from.other, change{int32(pos), c.rows[pos]})
	}
}

// finish says that the columns will not change any more.
func (c *columns) finish() { c.from = nil }

// ownNamed lets ports, cores and devices be changed.
func (c *columns) ownNamed() {
	c.ports, c.dynamic, c.stocks = slices.Clone(c.ports), slices.Clone(c.dynamic), slices.Clone(c.stocks)
}

// clone returns columns that may be changed while c are kept.
func (c *columns) clone() columns {
	d := c.draft()
	d.ownNamed()
	return d
}

// set writes down a node.
func (c *columns) set(pos int, o opening) {
	c.save(pos)
	c.rows[pos].class = int32(o.class.id)
	c.setWorks(pos, o.ready())
	c.setFree(pos, o.free, o.class.size)
	c.setPorts(pos, o.ports, o.node)
	c.stocks[pos] = o.stock
}

// left is what is left on the node at a place.
func (c *columns) left(pos int) left {
	return left{free: c.free(pos), ports: c.ports[pos], stock: c.stocks[pos]}
}

func (c *columns) free(pos int) room { return c.rows[pos].free() }

func (c *columns) works(pos int) bool { return c.rows[pos].works() }

// setWorks notes whether a node takes new work. The caller saves the row.
func (c *columns) setWorks(pos int, works bool) {
	if r := &c.rows[pos]; r.works() != works {
		r.class = ^r.class
	}
}

// setFree notes what is free on a node of some size. The caller saves the row.
func (c *columns) setFree(pos int, free room, of size) {
	r := &c.rows[pos]
	r.cpu, r.memory, r.disk, r.heft = narrow(free.CPU), narrow(free.MemoryMB), narrow(free.DiskMB), heftOf(free, of)
}

func (c *columns) setPorts(pos int, taken *state.PortSet, n *state.Node) {
	c.ports[pos], c.dynamic[pos] = taken, int32(dynamicPorts(n, taken))
}
