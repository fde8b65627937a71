package sched

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

// A node that came back too often gets no new work for a while.
const (
	flapReturns = 3 // more returns than this …
	flapWindow  = 10 * time.Minute
	flapHold    = 5 * time.Minute // … mean no new work until this long after the last one
)

// fleet is every node with what is free on it, in ID order. It is built once per term and moved forward by what changed; one
// that has been handed out is never changed.
type fleet struct {
	columns
	nodes     []*fleetNode
	at        map[string]int    // where a node stands
	longestID int               // bytes of the longest ID of a node
	classes   map[string]*class // interned, so that two nodes are alike when their pointers are equal
	sizes     []size            // of the classes, by ID
	shared    bool              // classes and sizes are an earlier fleet's too
	flapping  []int             // nodes that came back too often, whether or not their time is over
	shrunk    []int             // nodes with copies that do not fit any more
}

// class is a set of nodes of one size that no constraint can tell apart, but for those that name a unique attribute.
type class struct {
	id   int // of those of its fleet, from 0
	key  string
	size size
}

// size is what a node has of what scores look at.
type size struct{ cpu, memory int }

func sizeOf(n *state.Node) size { return size{n.Resources.CPU, n.Resources.MemoryMB} }

// fleetNode is what a node is, as placement sees it.
type fleetNode struct {
	ref       state.NodeRef // of the node, whose row is elsewhere and large
	node      *state.Node
	class     *class
	heldUntil int64    // no new work before this time: the node flaps
	shed      []string // copies that do not fit any more since the node shrank
}

// opening is a node with what is left on it.
type opening struct {
	*fleetNode
	left
}

// newFleet builds the fleet of a snapshot.
func newFleet(snap *state.Snapshot) *fleet {
	nodes := make([]*state.Node, 0, snap.NodeCount())
	for n := range snap.Nodes() {
		nodes = append(nodes, n)
	}
	return fleetOf(snap, nodes)
}

// fleetOf builds a fleet of some nodes, given in ID order.
func fleetOf(snap *state.Snapshot, nodes []*state.Node) *fleet {
	f := &fleet{columns: newColumns(len(nodes)), nodes: make([]*fleetNode, len(nodes)), classes: map[string]*class{}}
	for pos, n := range nodes {
		f.set(pos, f.assess(snap, n, nil))
	}
	f.index()
	return f
}

// index notes where nodes stand, how long their IDs are, and which are odd.
func (f *fleet) index() {
	f.at, f.longestID = make(map[string]int, len(f.nodes)), 0
	for pos, n := range f.nodes {
		f.at[n.node.ID] = pos
		f.longestID = max(f.longestID, len(n.node.ID))
	}
	f.findOdd()
}

// findOdd lists the nodes that flap or shrank: few, so that no pass looks for them among all.
func (f *fleet) findOdd() {
	f.flapping, f.shrunk = nil, nil
	for pos, n := range f.nodes {
		if n.heldUntil > 0 {
			f.flapping = append(f.flapping, pos)
		}
		if len(n.shed) > 0 {
			f.shrunk = append(f.shrunk, pos)
		}
	}
}

// set writes down a node.
func (f *fleet) set(pos int, o opening) {
	f.nodes[pos] = o.fleetNode
	f.columns.set(pos, o)
}

// opening is the node at a place.
func (f *fleet) opening(pos int) opening { return opening{f.nodes[pos], f.columns.left(pos)} }

// movement is how a fleet differs from the one before.
type movement struct {
	gained   []opening // nodes that can take more than before
	changed  []int     // where something else is free than before
	reshaped bool      // a node is new, gone, or another than before in more than what is free: it may stand elsewhere
	rebuilt  bool      // also the numbers of classes are others
}

// advance returns the fleet of snap, given that f is the fleet of an earlier snapshot and the nodes that have changed since. A node may
// be named twice.
func (f *fleet) advance(snap *state.Snapshot, dirty iter.Seq[string]) (next *fleet, m movement) {
	f.take()
	next = f
	var added []*state.Node
	gone, odd := false, false
	for id := range dirty {
		n, pos := snap.Node(id), f.position(id)
		if n == nil && pos < 0 {
			continue
		}
		if next == f {
			next = f.clone()
		}
		switch {
		case n == nil:
			next.nodes[pos], gone = nil, true
		case pos < 0:
			added = append(added, n)
		default:
			odd = next.renew(snap, n, pos, &m) || odd
		}
	}
	if gone || len(added) > 0 {
		m.reshaped = true
		next = next.arrange(snap, added, &m)
	} else if odd {
		next.findOdd()
	}
	next.finish()
	if len(next.classes) > maxClasses(len(next.nodes)) {
		next = newFleet(snap) // most of them are of nodes that have changed since
		m = movement{rebuilt: true}
		for pos := range next.nodes {
			m.gained = append(m.gained, next.opening(pos))
		}
	}
	return next, m
}

// renew assesses a node anew, and reports whether it is another than before in more than what is free.
func (f *fleet) renew(snap *state.Snapshot, n *state.Node, pos int, m *movement) bool {
	old := f.opening(pos)
	now := f.assess(snap, n, old.fleetNode)
	f.set(pos, now)
	m.changed = append(m.changed, pos)
	m.reshaped = m.reshaped || now.node != old.node
	if now.gains(old) {
		m.gained = append(m.gained, now)
	}
	return now.fleetNode != old.fleetNode
}

// clone returns a fleet that may be changed while f is kept.
func (f *fleet) clone() *fleet {
	return &fleet{
		columns: f.columns.clone(), nodes: slices.Clone(f.nodes), at: f.at, longestID: f.longestID, classes: f.classes, sizes: f.sizes, shared: true,
		flapping: f.flapping, shrunk: f.shrunk,
	}
}

// maxClasses bounds the classes that a fleet remembers. Twice as many as there are nodes cannot all be in use.
func maxClasses(nodes int) int { return 2*nodes + 64 }

// arrange returns the fleet with some nodes more, each in its place, and without those that are gone.
func (f *fleet) arrange(snap *state.Snapshot, added []*state.Node, m *movement) *fleet {
	all := make([]opening, 0, len(f.nodes)+len(added))
	for pos, n := range f.nodes {
		if n != nil {
			all = append(all, f.opening(pos))
		}
	}
	for _, n := range added {
		o := f.assess(snap, n, nil)
		all = append(all, o)
		m.gained = append(m.gained, o)
	}
	slices.SortStableFunc(all, func(a, b opening) int { return strings.Compare(a.node.ID, b.node.ID) })
	all = slices.CompactFunc(all, func(a, b opening) bool { return a.node.ID == b.node.ID })
	next := &fleet{
		columns: newColumns(len(all)), nodes: make([]*fleetNode, len(all)), classes: f.classes, sizes: f.sizes, shared: f.shared,
	}
	for pos, o := range all {
		next.set(pos, o)
	}
	next.index()
	return next
}

// position is where a node stands, -1 when it is not there.
func (f *fleet) position(id string) int {
	if pos, there := f.at[id]; there {
		return pos
	}
	return -1
}

// assess computes one node from the snapshot. What an earlier look found of the same row, if any, saves work. Allocations that end with
// their node's word or with their node are not counted; all others are, also those that are to stop.
func (f *fleet) assess(snap *state.Snapshot, n *state.Node, old *fleetNode) opening {
	var held state.Held
	if n.Status != state.NodeStatusDown {
		held = snap.HeldOn(n.ID)
	}
	o := opening{left: left{
		free:  minus(roomOf(&n.Resources), room{CPU: held.CPU, MemoryMB: held.MemoryMB, DiskMB: held.DiskMB}),
		ports: held.Ports.With(n.Resources.ReservedPorts...),
	}}
	var shed []string
	if held.Named > 0 || !within(room{}, o.free) {
		o.stock, shed = assessRows(snap, n, o.free)
	}
	if old != nil && old.node == n && slices.Equal(old.shed, shed) {
		o.fleetNode = old
		return o
	}
	o.fleetNode = &fleetNode{ref: state.NodeRef{ID: n.ID, Generation: n.Generation}, node: n, heldUntil: flapsUntil(n), shed: shed}
	if old != nil && old.node == n {
		o.class = old.class
	} else {
		o.class = f.classOf(n)
	}
	return o
}

// assessRows is the part of assess that allocations must be looked at for: the cores and devices that they hold, and what the node
// must lose since it shrank.
func assessRows(snap *state.Snapshot, n *state.Node, free room) (taken *stock, shed []string) {
	var live []*state.Alloc
	var held pieces
	lost := false // something is held that is not there any more
	for a := range snap.AllocsByNode(n.ID) {
		if !snap.Holds(a) {
			continue
		}
		if len(a.Resources.Cores)+len(a.Resources.Devices) > 0 {
			p := piecesOf(&a.Resources)
			held.cores, held.devices = append(held.cores, p.cores...), append(held.devices, p.devices...)
			lost = lost || lostPieces(&n.Resources, &a.Resources)
		}
		if !a.TerminalDesired() {
			live = append(live, a)
		}
	}
	taken = taken.with(&n.Resources, held)
	if n.Status == state.NodeStatusReady && (lost || !within(room{}, free)) {
		shed = excess(n, live)
	}
	return taken, shed
}

// excess chooses which live copies a node that shrank must lose: the least important first, of equal ones the youngest. Copies
// that are to stop anyway are on their way already. A copy whose core or device is gone must go in any case.
func excess(n *state.Node, live []*state.Alloc) []string {
	free := roomOf(&n.Resources)
	for _, a := range live {
		free = minus(free, heldBy(&a.Resources))
	}
	slices.SortFunc(live, func(a, b *state.Alloc) int {
		return cmp.Or(sign(lostPieces(&n.Resources, &a.Resources), lostPieces(&n.Resources, &b.Resources)),
			cmp.Compare(a.Priority, b.Priority), sign(newer(a, b), newer(b, a)))
	})
	var out []string
	for _, a := range live {
		r := heldBy(&a.Resources)
		helps := free.CPU < 0 && r.CPU > 0 || free.MemoryMB < 0 && r.MemoryMB > 0 || free.DiskMB < 0 && r.DiskMB > 0
		if helps || lostPieces(&n.Resources, &a.Resources) {
			out = append(out, a.ID)
			free = plus(free, r)
		}
	}
	return out
}

// overfull is every copy that its node must lose.
func (f *fleet) overfull() map[string]bool {
	out := map[string]bool{}
	for _, pos := range f.shrunk {
		for _, id := range f.nodes[pos].shed {
			out[id] = true
		}
	}
	return out
}

// classOf interns the class of a node.
func (f *fleet) classOf(n *state.Node) *class {
	key := classKey(n)
	c := f.classes[key]
	if c == nil {
		if f.shared {
			f.classes, f.sizes, f.shared = maps.Clone(f.classes), slices.Clone(f.sizes), false
		}
		c = &class{id: len(f.classes), key: key, size: sizeOf(n)}
		f.classes[key], f.sizes = c, append(f.sizes, c.size)
	}
	return c
}

// ready reports whether the node takes new work, unless it flaps.
func (n *fleetNode) ready() bool {
	return n.node.Status == state.NodeStatusReady && n.node.Eligibility == state.NodeEligible
}

// takesWork reports whether the node takes new work at all.
func (n *fleetNode) takesWork(now int64) bool { return n.ready() && n.heldUntil <= now }

// fits reports whether a copy has room on the node.
func (o opening) fits(a *ask) bool {
	return hasRoom(a, o.node, o.free, o.ports) && (!a.piecemeal() || hasPieces(a, o.node, o.stock))
}

// gains reports whether a node may take, or keep, something that it could not as old. Time is left out: see fleet.released.
func (o opening) gains(old opening) bool {
	if !slices.Equal(o.shed, old.shed) {
		return true
	}
	if !o.ready() {
		return false
	}
	return o.node != old.node || o.class != old.class ||
		o.free.CPU > old.free.CPU || o.free.MemoryMB > old.free.MemoryMB || o.free.DiskMB > old.free.DiskMB ||
		!o.ports.Covers(old.ports) || !o.stock.covers(old.stock)
}

// released returns the nodes whose hold for flapping ended after since and not after now, and when the next one ends.
func (f *fleet) released(since, now int64) (nodes []opening, next int64) {
	for _, pos := range f.flapping {
		n := f.nodes[pos]
		switch {
		case n.heldUntil > now:
			next = earlier(next, n.heldUntil)
		case n.heldUntil > since:
			nodes = append(nodes, f.opening(pos))
		}
	}
	return nodes, next
}

// flapsUntil is the time before which a node that came back too often gets no new work, 0 for one that did not.
func flapsUntil(n *state.Node) int64 {
	if len(n.Returns) <= flapReturns {
		return 0
	}
	last, first := n.Returns[len(n.Returns)-1], n.Returns[len(n.Returns)-1-flapReturns]
	if last-first > int64(flapWindow) {
		return 0
	}
	return last + int64(flapHold)
}

// classKey is equal for two nodes exactly when they are of one size and constraints cannot tell them apart, unless they name
// something unique. Quoting keeps "a"+"bc" from looking like "ab"+"c".
func classKey(n *state.Node) string {
	var b strings.Builder
	part := func(s string) {
		b.WriteString(strconv.Quote(s))
		b.WriteByte(' ')
	}
	part(n.Region)
	part(n.Datacenter)
	part(state.PoolOf(n.NodePool))
	part(n.NodeClass)
	for _, size := range []int{n.Resources.CPU, n.Resources.MemoryMB, n.Resources.MHzPerCore} {
		part(strconv.Itoa(size))
	}
	for _, m := range []map[string]string{n.Attributes, n.Meta} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !isUnique(k) {
				part(k)
				part(m[k])
			}
		}
		b.WriteByte('|')
	}
	for _, name := range slices.Sorted(maps.Keys(n.Drivers)) {
		part(name)
		part(driverTrouble(n, name))
	}
	return b.String()
}

// isUnique reports whether an attribute differs from node to node by nature.
func isUnique(name string) bool {
	return strings.HasPrefix(name, "unique.") || strings.Contains(name, ".unique.")
}
