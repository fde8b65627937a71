package sched

import (
	"cmp"
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
	nodes   []*fleetNode
	classes map[string]*class // interned, so that two nodes are alike when their pointers are equal
}

// class is a set of nodes of one size that no constraint can tell apart, but for those that name a unique attribute.
type class struct {
	id  int // of those of its fleet, from 0
	key string
}

// fleetNode is one node as placement sees it. Allocations that end with their node's word or with their node are not counted;
// all others are, also those that are to stop.
type fleetNode struct {
	node      *state.Node
	class     *class
	free      room           // may be negative on a node that shrank
	heft      heft           // what is free, as scores see it
	dynamic   int            // free ports of its dynamic range
	ports     *state.PortSet // taken by allocations, or reserved
	stock     *stock         // cores and devices taken
	heldUntil int64          // no new work before this time: the node flaps
	shed      []string       // copies that do not fit any more since the node shrank
}

// newFleet builds the fleet of a snapshot.
func newFleet(snap *state.Snapshot) *fleet {
	f := &fleet{nodes: make([]*fleetNode, 0, snap.NodeCount()), classes: map[string]*class{}}
	for n := range snap.Nodes() {
		f.nodes = append(f.nodes, f.assess(snap, n, nil))
	}
	return f
}

// advance returns the fleet of snap, given that f is the fleet of an earlier snapshot at index since, and the nodes that can
// take more than before.
func (f *fleet) advance(snap *state.Snapshot, since uint64) (next *fleet, gained []*fleetNode) {
	next = &fleet{nodes: f.nodes, classes: f.classes}
	var added []*fleetNode
	removed, cloned := false, false
	for id := range snap.NodesDirtySince(since) {
		n, pos := snap.Node(id), f.position(id)
		if n == nil && pos < 0 {
			continue
		}
		if !cloned {
			next.nodes, next.classes, cloned = slices.Clone(f.nodes), maps.Clone(f.classes), true
		}
		if n == nil {
			next.nodes[pos], removed = nil, true
			continue
		}
		if pos < 0 {
			now := next.assess(snap, n, nil)
			added = append(added, now)
			gained = append(gained, now)
			continue
		}
		now := next.assess(snap, n, f.nodes[pos])
		next.nodes[pos] = now
		if now.gains(f.nodes[pos]) {
			gained = append(gained, now)
		}
	}
	if removed || len(added) > 0 {
		next.arrange(added)
	}
	if len(next.classes) > maxClasses(len(next.nodes)) {
		next = newFleet(snap) // most of them are of nodes that have changed since
		return next, next.nodes
	}
	return next, gained
}

// maxClasses bounds the classes that a fleet remembers. Twice as many as there are nodes cannot all be in use.
func maxClasses(nodes int) int { return 2*nodes + 64 }

// arrange puts added nodes in their places and closes the gaps of removed ones. A node may have been named twice.
func (f *fleet) arrange(added []*fleetNode) {
	f.nodes = slices.DeleteFunc(append(f.nodes, added...), func(n *fleetNode) bool { return n == nil })
	slices.SortStableFunc(f.nodes, func(a, b *fleetNode) int { return strings.Compare(a.node.ID, b.node.ID) })
	f.nodes = slices.CompactFunc(f.nodes, func(a, b *fleetNode) bool { return a.node.ID == b.node.ID })
}

// position is where a node stands, -1 when it is not there.
func (f *fleet) position(id string) int {
	i, ok := slices.BinarySearchFunc(f.nodes, id, func(n *fleetNode, id string) int { return strings.Compare(n.node.ID, id) })
	if !ok {
		return -1
	}
	return i
}

// assess computes one node from the snapshot. What an earlier look found of the same row, if any, saves work.
func (f *fleet) assess(snap *state.Snapshot, n *state.Node, old *fleetNode) *fleetNode {
	fn := &fleetNode{node: n, free: roomOf(&n.Resources), heldUntil: flapsUntil(n)}
	var held state.Held
	if n.Status != state.NodeStatusDown {
		held = snap.HeldOn(n.ID)
	}
	fn.free = minus(fn.free, room{CPU: held.CPU, MemoryMB: held.MemoryMB, DiskMB: held.DiskMB})
	fn.ports = held.Ports.With(n.Resources.ReservedPorts...)
	fn.heft, fn.dynamic = heftOf(fn.free, &n.Resources), dynamicPorts(n, fn.ports)
	if held.Named > 0 || !within(room{}, fn.free) {
		fn.assessRows(snap)
	}
	if old != nil && old.node == n {
		fn.class = old.class
	} else {
		fn.class = f.classOf(n)
	}
	return fn
}

// assessRows is the part of assess that allocations must be looked at for: the cores and devices that they hold, and what the node
// must lose since it shrank.
func (n *fleetNode) assessRows(snap *state.Snapshot) {
	var live []*state.Alloc
	var held pieces
	lost := false // something is held that is not there any more
	for a := range snap.AllocsByNode(n.node.ID) {
		if !snap.Holds(a) {
			continue
		}
		if len(a.Resources.Cores)+len(a.Resources.Devices) > 0 {
			p := piecesOf(&a.Resources)
			held.cores, held.devices = append(held.cores, p.cores...), append(held.devices, p.devices...)
			lost = lost || lostPieces(&n.node.Resources, &a.Resources)
		}
		if !a.TerminalDesired() {
			live = append(live, a)
		}
	}
	n.stock = n.stock.with(&n.node.Resources, held)
	if n.node.Status == state.NodeStatusReady && (lost || !within(room{}, n.free)) {
		n.shed = excess(n.node, live)
	}
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
	for _, n := range f.nodes {
		for _, id := range n.shed {
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
		c = &class{id: len(f.classes), key: key}
		f.classes[key] = c
	}
	return c
}

// takesWork reports whether the node takes new work at all.
func (n *fleetNode) takesWork(now int64) bool {
	return n.node.Status == state.NodeStatusReady && n.node.Eligibility == state.NodeEligible && n.heldUntil <= now
}

// fits reports whether a copy has room on the node.
func (n *fleetNode) fits(a *ask) bool {
	return hasRoom(a, n.node, n.free, n.ports) && (!a.piecemeal() || hasPieces(a, n.node, n.stock))
}

// gains reports whether n may take, or keep, something that it could not as old. Time is left out: see fleet.released.
func (n *fleetNode) gains(old *fleetNode) bool {
	if !slices.Equal(n.shed, old.shed) {
		return true
	}
	if n.node.Status != state.NodeStatusReady || n.node.Eligibility != state.NodeEligible {
		return false
	}
	return n.node != old.node || n.class != old.class ||
		n.free.CPU > old.free.CPU || n.free.MemoryMB > old.free.MemoryMB || n.free.DiskMB > old.free.DiskMB ||
		!n.ports.Covers(old.ports) || !n.stock.covers(old.stock)
}

// released returns the nodes whose hold for flapping ended after since and not after now, and when the next one ends.
func (f *fleet) released(since, now int64) (nodes []*fleetNode, next int64) {
	for _, n := range f.nodes {
		switch {
		case n.heldUntil > now:
			next = earlier(next, n.heldUntil)
		case n.heldUntil > since:
			nodes = append(nodes, n)
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
