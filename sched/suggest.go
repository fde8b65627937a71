package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
		nodes := t.only[m]
		if len(nodes) == 0 {
			continue
		}
		add(l.remedy(m, a, nodes))
		if label := m.label(); label != "" {
			add(label, len(nodes))
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
	case filterCPU, filterCores:
		return l.lowerCPU(m, a, nodes)
	case filterMemory:
		return lower("memory", "MiB", a, nodes, func(pos int) int { return l.free(pos).MemoryMB })
	case filterDisk:
		return lower("disk", "MiB", a, nodes, func(pos int) int { return l.free(pos).DiskMB })
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
		pool := state.PoolOf(l.fleet.nodes[nodes[0]].node.NodePool)
		same := 0
		for _, pos := range nodes {
			if state.PoolOf(l.fleet.nodes[pos].node.NodePool) == pool {
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
	case filterDevice:
		return fmt.Sprintf("add devices to nodes, or ask for others: %s", m.about), len(nodes)
	}
	return "change " + m.filter, len(nodes)
}

// lowerCPU suggests to ask for less cpu, in the unit that the group asks in.
func (l *ledger) lowerCPU(m miss, a *ask, nodes []int) (change string, fits int) {
	of := func(pos int) *state.NodeResources { return &l.fleet.nodes[pos].node.Resources }
	switch {
	case m.about == noSpeed:
		return fmt.Sprintf("ask for cpu in MHz in group %s", a.group.Name), len(nodes)
	case a.cores > 0:
		return lower("cores", "whole cores", a, nodes, func(pos int) int {
			n := len(l.stocks[pos].freeCores(of(pos)))
			if speed := of(pos).MHzPerCore; speed > 0 {
				n = min(n, l.free(pos).CPU/speed)
			}
			return n
		})
	case a.byNode:
		return lower("cpu", "thousandths of a core", a, nodes, func(pos int) int {
			return l.free(pos).CPU * 1000 / max(1, of(pos).MHzPerCore)
		})
	}
	return lower("cpu", "MHz", a, nodes, func(pos int) int { return l.free(pos).CPU })
}

// lower suggests to ask for as much of a resource as the nodes can give at most.
func lower(what, unit string, a *ask, nodes []int, of func(pos int) int) (change string, fits int) {
	most := 0
	for _, pos := range nodes {
		most = max(most, of(pos))
	}
	for _, pos := range nodes {
		if of(pos) >= most {
			fits++
		}
	}
	if most <= 0 {
		return fmt.Sprintf("free %s on the nodes: they have none left for group %s", what, a.group.Name), len(nodes)
	}
	return fmt.Sprintf("lower %s of group %s to %d %s or less", what, a.group.Name, most, unit), fits
}

// label is what an operator could write into the configuration of nodes that fail a constraint about their meta, "" for others.
func (m miss) label() string {
	if m.filter != filterConstraint {
		return ""
	}
	c := m.check.constraint
	key, isMeta := strings.CutPrefix(strings.TrimSpace(c.LTarget), "${meta.")
	key, closed := strings.CutSuffix(key, "}")
	if !isMeta || !closed || strings.Contains(c.RTarget, "${") {
		return ""
	}
	switch operand(c.Operand) {
	case state.OperandEqual:
		return fmt.Sprintf("set %s = %q in the client meta of nodes", key, c.RTarget)
	case state.OperandIsSet:
		return fmt.Sprintf("set %s in the client meta of nodes", key)
	}
	return ""
}
