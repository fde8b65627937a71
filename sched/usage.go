package sched

import "github.com/drover-io/drover/state"

// usage counts where a job's copies are, for anti-affinity, for the limits and for spreads.
type usage struct {
	ledger *ledger
	groups map[string]*groupUsage
	counts map[string]map[string]int // distinct_property → value → copies
}

// groupUsage counts the copies of one group.
type groupUsage struct {
	ask     *ask
	copies  *census
	limits  []*limit // those that count by value
	spreads []*spreadCount
	wishes  *wishTable // knows the values of nodes; nil for a group without spreads
}

// spreadCount counts a group's copies by the value that their nodes have for the attribute of a spread.
type spreadCount struct {
	*spread
	copies map[string]int
}

func (l *ledger) newUsage(asks []*ask) *usage {
	u := &usage{ledger: l, groups: make(map[string]*groupUsage, len(asks))}
	for _, a := range asks {
		g := &groupUsage{ask: a, copies: l.memory.census(len(l.fleet.nodes))}
		u.groups[a.group.Name] = g
		for _, lim := range a.limits {
			if lim.hosts { // copies tells
				continue
			}
			g.limits = append(g.limits, lim)
			if u.counts == nil {
				u.counts = map[string]map[string]int{}
			}
			u.counts[lim.counts] = map[string]int{}
		}
		for _, s := range a.spreads {
			g.spreads = append(g.spreads, &spreadCount{s, map[string]int{}})
		}
		if len(g.spreads) > 0 {
			g.wishes = l.memory.wishesOf(a, len(l.fleet.classes), len(l.fleet.nodes))
		}
	}
	return u
}

// release lets other jobs use what this one counted with.
func (u *usage) release() {
	for _, g := range u.groups {
		u.ledger.memory.giveBack(g.copies)
		g.copies = nil
	}
}

// add counts by more (or, negative, fewer) copies of a group on a node.
func (u *usage) add(group string, pos, by int) {
	g := u.groups[group]
	if pos < 0 || g == nil {
		return
	}
	g.copies.add(pos, by)
	if len(g.limits) > 0 {
		u.addLimited(g, u.ledger.fleet.nodes[pos].node, by)
	}
	if g.wishes != nil {
		g.addValues(g.wishes.ask(g.ask, u.ledger, pos).values, by)
	}
}

// addAway is add for a node that may be none of the fleet.
func (u *usage) addAway(group string, n *state.Node, by int) {
	g, pos := u.groups[group], u.ledger.fleet.position(n.ID)
	switch {
	case pos >= 0:
		u.add(group, pos, by)
	case g != nil:
		u.addLimited(g, n, by)
		_, values := g.ask.wishesOn(n)
		g.addValues(values, by)
	}
}

// addLimited counts what limits count by value.
func (u *usage) addLimited(g *groupUsage, n *state.Node, by int) {
	for _, l := range g.limits {
		if v, ok := l.value(n); ok {
			u.counts[l.counts][v] += by
		}
	}
}

// addValues counts what spreads count, given a node's value for each.
func (g *groupUsage) addValues(values []string, by int) {
	for i, s := range g.spreads {
		s.copies[values[i]] += by
	}
}

// value is what a copy on the node counts for, and whether the node has it.
func (l *limit) value(n *state.Node) (string, bool) {
	if l.hosts {
		return n.ID, true
	}
	return interpolate(l.target, nodeLook(n))
}

// counted is how many copies on a node, or on those that have a value, count for a limit.
func (u *usage) counted(l *limit, pos int, value string) int {
	switch {
	case !l.hosts:
		return u.counts[l.counts][value]
	case l.scope == "":
		return u.all(pos)
	}
	return u.groups[l.scope].copies.on(pos)
}

// exceeded returns the first limit that another copy on the node would break, or nil.
func (u *usage) exceeded(a *ask, pos int) *limit {
	for _, l := range a.limits {
		if l.hosts {
			if u.counted(l, pos, "") >= l.max {
				return l
			}
			continue
		}
		if v, ok := l.value(u.ledger.fleet.nodes[pos].node); !ok || u.counted(l, pos, v) >= l.max {
			return l
		}
	}
	return nil
}

// own yields the nodes that have copies which count beside one of the group, or had some. A node may come twice.
func (u *usage) own(a *ask) func(yield func(pos int) bool) {
	return func(yield func(int) bool) {
		for _, g := range u.groups {
			if !a.apart && g.ask.group.Name != a.group.Name {
				continue
			}
			for _, pos := range g.copies.places {
				if !yield(int(pos)) {
					return
				}
			}
		}
	}
}

// beside counts the copies that a new one on the node would share it with. Where hosts must differ all copies in that scope
// count, so that nodes which are out of the question come last.
func (u *usage) beside(a *ask, pos int) int {
	if a.apart {
		return u.all(pos)
	}
	return u.copies(a).on(pos)
}

// copies are those of a group.
func (u *usage) copies(a *ask) *census { return u.groups[a.group.Name].copies }

// all counts the job's copies on a node.
func (u *usage) all(pos int) int {
	n := 0
	for _, g := range u.groups {
		n += g.copies.on(pos)
	}
	return n
}

// census counts something by node, by its place in the fleet. To empty it costs what it counts, so that few jobs need a new one.
type census struct {
	counts []int32 // twice the count, and 1 for a place that was counted at
	places []int32 // those, each once
}

func (c *census) add(pos, by int) {
	if c.counts[pos] == 0 {
		c.counts[pos] = 1
		c.places = append(c.places, int32(pos))
	}
	c.counts[pos] += int32(2 * by)
}

func (c *census) on(pos int) int { return int(c.counts[pos] >> 1) }

// census returns an empty one, of so many nodes.
func (m *memory) census(nodes int) *census {
	for n := len(m.censuses); n > 0; n-- {
		c := m.censuses[n-1]
		m.censuses = m.censuses[:n-1]
		if len(c.counts) == nodes {
			return c
		}
	}
	return &census{counts: make([]int32, nodes)}
}

// giveBack keeps a census that nobody needs any more.
func (m *memory) giveBack(c *census) {
	for _, pos := range c.places {
		c.counts[pos] = 0
	}
	c.places = c.places[:0]
	if len(m.censuses) < maxCensuses {
		m.censuses = append(m.censuses, c)
	}
}
