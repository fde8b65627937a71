package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// ledger is a fleet with what a plan in the making takes from it. It belongs to one pass; the fleet below it stays as it is.
// A plan that is dropped therefore leaves nothing behind: what it did comes back through the next snapshot, or not at all.
type ledger struct {
	columns     // changed by setFree, setPorts, takePieces and givePieces only, which call touch before
	fleet       *fleet
	now         int64
	algorithm   Algorithm // by which the job being decided is placed
	memory      *memory
	view        *view // of the ask that was placed last
	kept        []kept
	ownsNamed   bool   // the columns of ports, cores and devices are the ledger's own
	begun       uint64 // the last change before the ledger was begun
	firstLook   int    // candidates that a bucket is filled with at first, at most
	sampleEvery int    // how many nodes there are for one of the sample
}

// newLedger returns the ledger of a fleet, given what is remembered of it and its predecessors.
func newLedger(f *fleet, m *memory, now int64) *ledger {
	l := &ledger{columns: f.columns.draft(), fleet: f, now: now, memory: m, firstLook: firstLook, sampleEvery: sampleEvery}
	m.changes.fit(len(f.nodes))
	l.begun, l.from.other = m.changes.now, make([]change, 0, m.changed)
	for _, pos := range f.flapping {
		l.save(pos)
		l.setWorks(pos, f.nodes[pos].takesWork(now))
	}
	return l
}

// finish says that the ledger will not change any more.
func (l *ledger) finish() {
	l.memory.changed = len(l.from.other)
	l.columns.finish()
}

// touch notes that something else will be free on a node, and saves what was.
func (l *ledger) touch(pos int) {
	if l.memory.changes.at[pos] <= l.begun {
		l.save(pos)
	}
	l.memory.changes.note(pos)
}

// setFree notes what is free on a node.
func (l *ledger) setFree(pos int, free room) {
	l.touch(pos)
	l.columns.setFree(pos, free, l.fleet.sizes[l.rows[pos].classID()])
}

// setPorts notes which ports of a node are taken.
func (l *ledger) setPorts(pos int, taken *state.PortSet) {
	if taken != l.ports[pos] {
		l.ownNamed()
		l.touch(pos)
		l.columns.setPorts(pos, taken, l.fleet.nodes[pos].node)
	}
}

// ownNamed lets ports, cores and devices be changed.
func (l *ledger) ownNamed() {
	if !l.ownsNamed {
		l.columns.ownNamed()
		l.ownsNamed = true
	}
}

// open reports whether a node takes work and is of the kind that the group asks for.
func (l *ledger) open(a *ask, pos int) bool { return l.works(pos) && l.suits(a, l.viewOf(a), pos) }

// suits asks a class once, and a node what only it can answer.
func (l *ledger) suits(a *ask, v *view, pos int) bool {
	return v.of(pos).suits && (len(a.uniques) == 0 || passAll(a.uniques, l.fleet.nodes[pos].node))
}

// fits reports whether one more copy has room on a node.
func (l *ledger) fits(a *ask, pos int) bool {
	return within(l.viewOf(a).of(pos).want, l.free(pos)) && l.fitsNamed(a, pos)
}

// fitsNamed is fits for what is not much of the same: ports, cores and devices.
func (l *ledger) fitsNamed(a *ask, pos int) bool {
	if len(a.static) > 0 {
		if !hasPorts(a, l.fleet.nodes[pos].node, l.ports[pos]) {
			return false
		}
	} else if int(l.dynamic[pos]) < a.dynamic {
		return false
	}
	return !a.piecemeal() || hasPieces(a, l.fleet.nodes[pos].node, l.stocks[pos])
}

// fitsWithout reports whether a copy would have room on the node of an allocation once that has ended.
func (l *ledger) fitsWithout(a *ask, pos int, gone *state.Alloc) bool {
	n := l.fleet.nodes[pos].node
	return hasRoom(a, n, plus(l.free(pos), heldBy(&gone.Resources)), l.ports[pos].Without(portsOf(gone)...)) &&
		(!a.piecemeal() || hasPieces(a, n, l.stocks[pos].without(piecesOf(&gone.Resources))))
}

// exchange keeps the room of an allocation, once it has ended, for a copy that is to follow it on its node: no other copy of the
// job may count on it. What the allocation holds beyond that is not free before. It lasts until release: other jobs see what is.
func (l *ledger) exchange(a *ask, pos int, gone *state.Alloc) {
	n := l.fleet.nodes[pos].node
	free, after := l.free(pos), minus(plus(l.free(pos), heldBy(&gone.Resources)), a.on(n))
	l.setFree(pos, room{
		CPU: min(free.CPU, after.CPU), MemoryMB: min(free.MemoryMB, after.MemoryMB), DiskMB: min(free.DiskMB, after.DiskMB),
	})
	ports := slices.DeleteFunc(staticOf(a), l.ports[pos].Has)
	l.setPorts(pos, l.ports[pos].With(ports...))
	k := kept{pos: pos, res: minus(free, l.free(pos)), ports: ports}
	if a.piecemeal() {
		held := l.stocks[pos]
		next, _ := choosePieces(a, n, held.without(piecesOf(&gone.Resources)))
		k.pieces.cores = slices.DeleteFunc(next.cores, held.hasCore)
		k.pieces.devices = slices.DeleteFunc(next.devices, held.hasDevice)
		l.takePieces(pos, k.pieces)
	}
	l.kept = append(l.kept, k)
}

// kept is room that is kept for a copy of the job being decided.
type kept struct {
	pos    int
	res    room
	ports  []int
	pieces pieces
}

// release gives up what was kept.
func (l *ledger) release() {
	for _, k := range l.kept {
		l.setFree(k.pos, plus(l.free(k.pos), k.res))
		l.setPorts(k.pos, l.ports[k.pos].Without(k.ports...))
		l.givePieces(k.pos, k.pieces)
	}
	l.kept = nil
}

// hasRoom reports whether a copy has room among what a node has much of.
func hasRoom(a *ask, n *state.Node, free room, ports *state.PortSet) bool {
	if a.byNode {
		if n.Resources.MHzPerCore <= 0 || !within(a.on(n), free) {
			return false
		}
	} else if !within(a.res, free) {
		return false
	}
	return hasPorts(a, n, ports)
}

// hasPorts reports whether a node has the ports of a copy.
func hasPorts(a *ask, n *state.Node, ports *state.PortSet) bool {
	for _, p := range a.static {
		if ports.Has(p.Value) {
			return false
		}
	}
	return a.dynamic == 0 || freeDynamic(a, n, ports) >= a.dynamic
}

// hasPieces reports whether a node has the cores and devices of a copy.
func hasPieces(a *ask, n *state.Node, taken *stock) bool {
	_, ok := choosePieces(a, n, taken)
	return ok
}

// choosePieces picks the cores and devices of a copy: the lowest free cores, and of the devices that it likes best the first free
// ones. The slices are the caller's.
func choosePieces(a *ask, n *state.Node, taken *stock) (p pieces, ok bool) {
	if a.named > namedBytes {
		return p, false
	}
	if a.cores > 0 {
		free := taken.freeCores(&n.Resources)
		if len(free) < a.cores {
			return p, false
		}
		p.cores = slices.Clone(free[:a.cores])
	}
	if len(a.devices) > 0 {
		p.devices, _, ok = findDevices(a.devices, &n.Resources, taken)
		return p, ok
	}
	return p, true
}

func (l *ledger) takePieces(pos int, p pieces) {
	if !p.none() {
		l.ownNamed()
		l.touch(pos)
		l.stocks[pos] = l.stocks[pos].with(&l.fleet.nodes[pos].node.Resources, p)
	}
}

func (l *ledger) givePieces(pos int, p pieces) {
	if !p.none() {
		l.ownNamed()
		l.touch(pos)
		l.stocks[pos] = l.stocks[pos].without(p)
	}
}

// freeDynamic counts the free ports of a node's dynamic range beside those that the group takes by number.
func freeDynamic(a *ask, n *state.Node, ports *state.PortSet) int {
	lo, hi := dynamicRange(n)
	free := dynamicPorts(n, ports)
	for _, p := range a.static {
		if p.Value >= lo && p.Value <= hi && !ports.Has(p.Value) {
			free--
		}
	}
	return free
}

// dynamicPorts counts the free ports of a node's dynamic range.
func dynamicPorts(n *state.Node, taken *state.PortSet) int {
	lo, hi := dynamicRange(n)
	if hi < lo {
		return 0
	}
	return hi - lo + 1 - taken.TakenBetween(lo, hi)
}

func dynamicRange(n *state.Node) (lo, hi int) {
	return max(1, n.Resources.MinDynamicPort), min(65535, n.Resources.MaxDynamicPort)
}

// take gives a copy its room on a node and returns what it has to itself there.
func (l *ledger) take(a *ask, pos int, salt uint64) *names {
	l.setFree(pos, minus(l.free(pos), l.viewOf(a).of(pos).want))
	if !a.asksNames() {
		return nil
	}
	n, got := l.fleet.nodes[pos].node, &names{}
	if a.dynamic+len(a.static) > 0 {
		lo, hi := dynamicRange(n)
		got.ports = l.ports[pos].Pick(lo, hi, a.dynamic, salt, a.static)
		l.setPorts(pos, l.ports[pos].With(append(staticOf(a), got.ports...)...))
	}
	if a.piecemeal() {
		got.pieces, _ = choosePieces(a, n, l.stocks[pos])
		l.takePieces(pos, got.pieces)
	}
	return got
}

// giveBack undoes take.
func (l *ledger) giveBack(a *ask, pos int, had names) {
	l.setFree(pos, plus(l.free(pos), a.on(l.fleet.nodes[pos].node)))
	l.setPorts(pos, l.ports[pos].Without(staticOf(a)...).Without(had.ports...))
	l.givePieces(pos, had.pieces)
}

func staticOf(a *ask) []int {
	out := make([]int, 0, len(a.static))
	for _, p := range a.static {
		out = append(out, p.Value)
	}
	return out
}

func portsOf(a *state.Alloc) []int {
	out := make([]int, 0, len(a.Ports))
	for _, p := range a.Ports {
		out = append(out, p.HostPort)
	}
	return out
}
