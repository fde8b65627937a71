package sched

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/drover-io/drover/state"
)

// suggest names changes that would make nodes fit, those for most nodes first. Each is the one thing that such a node lacks;
// only when no node lacks just one thing, what the nearest node lacks is named together.
func (l *ledger) suggest(a *ask, t *tally) []state.Suggestion {
	var out []state.Suggestion
	add := func(change string, nodes int) {
		for i := range out {
			if out[i].Change == change {
				out[i].Nodes += nodes
				return
			}
		}
		out = append(out, state.Suggestion{Change: change, Nodes: nodes})
	}
	for _, m := range t.order {
		if nodes := t.only[m]; len(nodes) > 0 {
			add(l.remedy(m, a, nodes))
		}
	}
	if near := l.nearest(a, t); len(out) == 0 && near >= 0 {
		all := ""
		for i, m := range t.misses[near] {
			change, _ := l.remedy(m, a, []int{near})
			if i > 0 {
				all += "; and "
			}
			all += change
		}
		add(all, 1)
	}
	slices.SortStableFunc(out, func(a, b state.Suggestion) int { return cmp.Compare(b.Nodes, a.Nodes) })
	return out
}

// remedy is the smallest change that makes at least one of the nodes fit, which lack nothing else, and how many then do.
func (l *ledger) remedy(m miss, a *ask, nodes []int) (change string, fits int) {
	group := a.group.Name
	switch m.filter {
	case filterCPU:
		return l.lower("cpu", "MHz", a, nodes, func(r state.AllocResources) int { return r.CPU })
	case filterMemory:
		return l.lower("memory", "MiB", a, nodes, func(r state.AllocResources) int { return r.MemoryMB })
	case filterDisk:
		return l.lower("disk", "MiB", a, nodes, func(r state.AllocResources) int { return r.DiskMB })
	case filterConstraint:
		return fmt.Sprintf("remove constraint %q from group %s", m.check, group), len(nodes)
	case filterHosts:
		return fmt.Sprintf("remove distinct_hosts from group %s, or add nodes", group), len(nodes)
	case filterProperty:
		if m.about != "" {
			return fmt.Sprintf("set %s on the nodes, or remove distinct_property from group %s", m.limit.target, group), len(nodes)
		}
		return fmt.Sprintf("raise distinct_property %s of group %s to %d", m.limit.target, group, m.limit.max+1), len(nodes)
	case filterPort:
		if m.port == 0 {
			return fmt.Sprintf("ask fewer dynamic ports in group %s, or widen the nodes' dynamic range", group), len(nodes)
		}
		return fmt.Sprintf("free port %d, or make it dynamic in group %s", m.port, group), len(nodes)
	case filterPool:
		pool := poolOf(l.fleet.nodes[nodes[0]].node.NodePool)
		same := 0
		for _, pos := range nodes {
			if poolOf(l.fleet.nodes[pos].node.NodePool) == pool {
				same++
			}
		}
		return fmt.Sprintf("run the job in node pool %q", pool), same
	case filterDatacenter:
		return fmt.Sprintf("add %q to the job's datacenters", m.about), len(nodes)
	}
	return l.remedyNodes(m, nodes)
}

// remedyNodes is what an operator could do for the nodes.
func (l *ledger) remedyNodes(m miss, nodes []int) (change string, fits int) {
	switch m.filter {
	case filterStatus:
		return fmt.Sprintf("bring back nodes that are %s", m.about), len(nodes)
	case filterEligibility:
		return "make nodes eligible: drover node eligibility --enable ID", len(nodes)
	case filterFlapping:
		return "wait until nodes have stopped flapping", len(nodes)
	case filterDriver:
		return fmt.Sprintf("repair driver on nodes: %s", m.about), len(nodes)
	}
	return "change " + m.filter, len(nodes)
}

// lower suggests to ask for as much of a resource as the nodes have free at most.
func (l *ledger) lower(what, unit string, a *ask, nodes []int, of func(state.AllocResources) int) (change string, fits int) {
	most := 0
	for _, pos := range nodes {
		most = max(most, of(l.free[pos]))
	}
	for _, pos := range nodes {
		if of(l.free[pos]) >= most {
			fits++
		}
	}
	if most <= 0 {
		return fmt.Sprintf("free %s on the nodes: they have none left for group %s", what, a.group.Name), len(nodes)
	}
	return fmt.Sprintf("lower %s of group %s to %d %s or less", what, a.group.Name, most, unit), fits
}
