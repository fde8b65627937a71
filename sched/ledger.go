package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// ledger is a fleet with what a plan in the making takes from it. It belongs to one pass; the fleet below it stays as it is.
// A plan that is dropped therefore leaves nothing behind: what it did comes back through the next snapshot, or not at all.
type ledger struct {
	fleet     *fleet
	now       int64
	algorithm Algorithm
	works     []bool // takes new work at all
	free      []state.AllocResources
	ports     []*portSet
	verdicts  map[*ask]map[*class]bool
	kept      []kept
}

func newLedger(f *fleet, now int64, algorithm Algorithm) *ledger {
	l := &ledger{
		fleet: f, now: now, algorithm: algorithm,
		works:    make([]bool, len(f.nodes)),
		free:     make([]state.AllocResources, len(f.nodes)),
		ports:    make([]*portSet, len(f.nodes)),
		verdicts: map[*ask]map[*class]bool{},
	}
	for i, n := range f.nodes {
		l.works[i], l.free[i], l.ports[i] = n.takesWork(now), n.free, n.ports
	}
	return l
}

// open reports whether a node takes work and is of the kind that the group asks for.
func (l *ledger) open(a *ask, pos int) bool {
	if !l.works[pos] {
		return false
	}
	n := l.fleet.nodes[pos]
	known := l.verdicts[a]
	if known == nil {
		known = map[*class]bool{}
		l.verdicts[a] = known
	}
	ok, asked := known[n.class]
	if !asked {
		ok = a.suits(n.node)
		known[n.class] = ok
	}
	return ok && passAll(a.uniques, n.node)
}

// fits reports whether one more copy has room on a node.
func (l *ledger) fits(a *ask, pos int) bool {
	return hasRoom(a, l.fleet.nodes[pos].node, l.free[pos], l.ports[pos])
}

// fitsWithout reports whether a copy would have room on the node of an allocation once that has ended.
func (l *ledger) fitsWithout(a *ask, pos int, gone *state.Alloc) bool {
	return hasRoom(a, l.fleet.nodes[pos].node, plus(l.free[pos], gone.Resources), l.ports[pos].without(portsOf(gone)...))
}

// exchange keeps the room of an allocation, once it has ended, for a copy that is to follow it on its node: no other copy of the
// job may count on it. What the allocation holds beyond that is not free before. It lasts until release: other jobs see what is.
func (l *ledger) exchange(a *ask, pos int, gone *state.Alloc) {
	free, after := l.free[pos], minus(plus(l.free[pos], gone.Resources), a.res)
	l.free[pos] = state.AllocResources{
		CPU: min(free.CPU, after.CPU), MemoryMB: min(free.MemoryMB, after.MemoryMB), DiskMB: min(free.DiskMB, after.DiskMB),
	}
	ports := slices.DeleteFunc(staticOf(a), l.ports[pos].has)
	l.ports[pos] = l.ports[pos].with(ports...)
	l.kept = append(l.kept, kept{pos, minus(free, l.free[pos]), ports})
}

// kept is room that is kept for a copy of the job being decided.
type kept struct {
	pos   int
	res   state.AllocResources
	ports []int
}

// release gives up what was kept.
func (l *ledger) release() {
	for _, k := range l.kept {
		l.free[k.pos] = plus(l.free[k.pos], k.res)
		l.ports[k.pos] = l.ports[k.pos].without(k.ports...)
	}
	l.kept = nil
}

func hasRoom(a *ask, n *state.Node, free state.AllocResources, ports *portSet) bool {
	if !within(a.res, free) {
		return false
	}
	for _, p := range a.static {
		if ports.has(p.Value) {
			return false
		}
	}
	return a.dynamic == 0 || freeDynamic(a, n, ports) >= a.dynamic
}

// freeDynamic counts the free ports of a node's dynamic range beside those that the group takes by number.
func freeDynamic(a *ask, n *state.Node, ports *portSet) int {
	lo, hi := max(1, n.Resources.MinDynamicPort), min(65535, n.Resources.MaxDynamicPort)
	if hi < lo {
		return 0
	}
	free := hi - lo + 1 - ports.takenBetween(lo, hi)
	for _, p := range a.static {
		if p.Value >= lo && p.Value <= hi && !ports.has(p.Value) {
			free--
		}
	}
	return free
}

// take gives a copy its room on a node and returns its dynamic ports.
func (l *ledger) take(a *ask, pos int, salt uint64) []int {
	r := l.fleet.nodes[pos].node.Resources
	l.free[pos] = minus(l.free[pos], a.res)
	picked := l.ports[pos].pick(max(1, r.MinDynamicPort), min(65535, r.MaxDynamicPort), a.dynamic, salt, a.static)
	l.ports[pos] = l.ports[pos].with(staticOf(a)...).with(picked...)
	return picked
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

// usage counts where a job's copies are, for anti-affinity and for the limits.
type usage struct {
	fleet  *fleet
	groups map[string]map[int]int    // group → node → copies
	counts map[string]map[string]int // limit → host or value → copies
	limits map[string][]*limit       // group → the limits that its copies count for
}

func newUsage(f *fleet, asks []*ask) *usage {
	u := &usage{fleet: f, groups: map[string]map[int]int{}, counts: map[string]map[string]int{}, limits: map[string][]*limit{}}
	for _, a := range asks {
		u.groups[a.group.Name] = map[int]int{}
		u.limits[a.group.Name] = a.limits
		for _, l := range a.limits {
			u.counts[l.key()] = map[string]int{}
		}
	}
	return u
}

// add counts by more (or, negative, fewer) copies of a group on a node.
func (u *usage) add(group string, pos, by int) {
	if pos < 0 || u.groups[group] == nil {
		return
	}
	u.groups[group][pos] += by
	n := u.fleet.nodes[pos].node
	for _, l := range u.limits[group] {
		if v, ok := l.value(n); ok {
			u.counts[l.key()][v] += by
		}
	}
}

// value is what a copy on the node counts for.
func (l *limit) value(n *state.Node) (string, bool) {
	if l.hosts {
		return n.ID, true
	}
	return interpolate(l.target, n)
}

// exceeded returns the first limit that another copy on the node would break, or nil.
func (u *usage) exceeded(a *ask, pos int) *limit {
	n := u.fleet.nodes[pos].node
	for _, l := range a.limits {
		if v, ok := l.value(n); !ok || u.counts[l.key()][v] >= l.max {
			return l
		}
	}
	return nil
}

// beside counts the copies that a new one on the node would share it with. Where hosts must differ all copies in that scope
// count, so that nodes which are out of the question come last.
func (u *usage) beside(a *ask, pos int) int {
	if slices.ContainsFunc(a.limits, func(l *limit) bool { return l.hosts && l.scope == "" }) {
		n := 0
		for _, nodes := range u.groups {
			n += nodes[pos]
		}
		return n
	}
	return u.groups[a.group.Name][pos]
}
