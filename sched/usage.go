package sched

import "github.com/drover-io/drover/state"

// usage counts where a job's copies are, for anti-affinity and for the limits.
type usage struct {
	fleet  *fleet
	groups map[string]map[int]int    // group → node → copies
	counts map[string]map[string]int // limit → host or value → copies
	limits map[string][]*limit       // group → the limits that its copies count for
	spread map[string][]*spreadCount // group → its spreads
}

// spreadCount counts a group's copies by the value that their nodes have for the attribute of a spread.
type spreadCount struct {
	*spread
	copies map[string]int
}

func newUsage(f *fleet, asks []*ask) *usage {
	u := &usage{
		fleet: f, groups: map[string]map[int]int{}, counts: map[string]map[string]int{}, limits: map[string][]*limit{},
		spread: map[string][]*spreadCount{},
	}
	for _, a := range asks {
		u.groups[a.group.Name] = map[int]int{}
		u.limits[a.group.Name] = a.limits
		for _, l := range a.limits {
			u.counts[l.counts] = map[string]int{}
		}
		for _, s := range a.spreads {
			u.spread[a.group.Name] = append(u.spread[a.group.Name], &spreadCount{s, map[string]int{}})
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
	u.addOn(group, u.fleet.nodes[pos].node, by)
}

// addOn is add for what is counted by host or by value.
func (u *usage) addOn(group string, n *state.Node, by int) {
	for _, l := range u.limits[group] {
		if v, ok := l.value(n); ok {
			u.counts[l.counts][v] += by
		}
	}
	for _, s := range u.spread[group] {
		s.copies[s.value(nodeLook(n))] += by
	}
}

// value is what a copy on the node counts for.
func (l *limit) value(n *state.Node) (string, bool) {
	if l.hosts {
		return n.ID, true
	}
	return interpolate(l.target, nodeLook(n))
}

// own are the nodes that have copies which count beside one of the group.
func (u *usage) own(a *ask) map[int]int {
	if !a.apart || len(u.groups) == 1 {
		return u.groups[a.group.Name]
	}
	all := map[int]int{}
	for _, nodes := range u.groups {
		for pos, n := range nodes {
			all[pos] += n
		}
	}
	return all
}

// exceeded returns the first limit that another copy on the node would break, or nil.
func (u *usage) exceeded(a *ask, pos int) *limit {
	n := u.fleet.nodes[pos].node
	for _, l := range a.limits {
		if v, ok := l.value(n); !ok || u.counts[l.counts][v] >= l.max {
			return l
		}
	}
	return nil
}

// beside counts the copies that a new one on the node would share it with. Where hosts must differ all copies in that scope
// count, so that nodes which are out of the question come last.
func (u *usage) beside(a *ask, pos int) int {
	if !a.apart {
		return u.groups[a.group.Name][pos]
	}
	n := 0
	for _, nodes := range u.groups {
		n += nodes[pos]
	}
	return n
}
