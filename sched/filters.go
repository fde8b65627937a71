package sched

import (
	"fmt"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

// Names of the filters, in the order in which they are asked.
const (
	filterStatus      = "status"
	filterEligibility = "eligibility"
	filterFlapping    = "flapping"
	filterPool        = "node pool"
	filterDatacenter  = "datacenter"
	filterDriver      = "driver"
	filterConstraint  = "constraint"
	filterCPU         = "cpu"
	filterMemory      = "memory"
	filterDisk        = "disk"
	filterPort        = "port"
	filterHosts       = "distinct_hosts"
	filterProperty    = "distinct_property"
)

// miss is one filter that says no to a copy on a node. Equal misses of different nodes are the same reason.
type miss struct {
	filter string
	about  string // the status, driver or datacenter
	check  *check
	limit  *limit
	port   int // 0 for dynamic ports
}

// misses lists every filter that excludes a node: none exactly when placement may use it (see placer.possible).
func (l *ledger) misses(a *ask, u *usage, pos int) []miss {
	n := l.fleet.nodes[pos]
	var out []miss
	if n.node.Status != state.NodeStatusReady {
		out = append(out, miss{filter: filterStatus, about: n.node.Status})
	}
	if n.node.Eligibility != state.NodeEligible {
		out = append(out, miss{filter: filterEligibility})
	}
	if n.heldUntil > l.now {
		out = append(out, miss{filter: filterFlapping})
	}
	out = append(out, a.misfits(n.node)...)
	out = append(out, l.shortages(a, pos)...)
	for _, lim := range a.limits {
		v, ok := lim.value(n.node)
		if ok && u.counts[lim.key()][v] < lim.max {
			continue
		}
		name := filterProperty
		if lim.hosts {
			name = filterHosts
		}
		m := miss{filter: name, limit: lim}
		if !ok {
			m.about = "unset"
		}
		out = append(out, m)
	}
	return out
}

// misfits lists what a node is not that the group wants it to be.
func (a *ask) misfits(n *state.Node) []miss {
	var out []miss
	if !inPool(a.job.NodePool, n.NodePool) {
		out = append(out, miss{filter: filterPool})
	}
	if !inDatacenter(a.job, n.Datacenter) {
		out = append(out, miss{filter: filterDatacenter, about: n.Datacenter})
	}
	for _, d := range a.drivers {
		if trouble := driverTrouble(n, d); trouble != "" {
			out = append(out, miss{filter: filterDriver, about: fmt.Sprintf("%q is %s", d, trouble)})
		}
	}
	for _, checks := range [][]*check{a.checks, a.uniques} {
		for _, c := range checks {
			if !c.passes(n) {
				out = append(out, miss{filter: filterConstraint, check: c})
			}
		}
	}
	return out
}

// shortages lists what a node has too little of.
func (l *ledger) shortages(a *ask, pos int) []miss {
	var out []miss
	free, ports := l.free[pos], l.ports[pos]
	if a.res.CPU > free.CPU {
		out = append(out, miss{filter: filterCPU})
	}
	if a.res.MemoryMB > free.MemoryMB {
		out = append(out, miss{filter: filterMemory})
	}
	if a.res.DiskMB > free.DiskMB {
		out = append(out, miss{filter: filterDisk})
	}
	for _, p := range a.static {
		if ports.has(p.Value) {
			out = append(out, miss{filter: filterPort, port: p.Value})
		}
	}
	if a.dynamic > 0 && freeDynamic(a, l.fleet.nodes[pos].node, ports) < a.dynamic {
		out = append(out, miss{filter: filterPort})
	}
	return out
}

// reason is the miss in words that hold for every node that has it.
func (m miss) reason(a *ask) string {
	switch m.filter {
	case filterStatus:
		return "node is " + m.about
	case filterEligibility:
		return "node was made ineligible by an operator"
	case filterFlapping:
		return fmt.Sprintf("node came back more than %d times in %s", flapReturns, flapWindow)
	case filterPool:
		return fmt.Sprintf("job wants node pool %q", poolOf(a.job.NodePool))
	case filterDatacenter:
		return fmt.Sprintf("datacenter %q is none of %s", m.about, strings.Join(a.job.Datacenters, ", "))
	case filterDriver:
		return "driver " + m.about
	case filterConstraint:
		return fmt.Sprintf("constraint %q is false", m.check)
	case filterCPU:
		return fmt.Sprintf("asks %d MHz, more than is free", a.res.CPU)
	case filterMemory:
		return fmt.Sprintf("asks %d MiB, more than is free", a.res.MemoryMB)
	case filterDisk:
		return fmt.Sprintf("asks %d MiB, more than is free", a.res.DiskMB)
	case filterPort:
		if m.port == 0 {
			return fmt.Sprintf("asks %d dynamic ports, more than are free", a.dynamic)
		}
		return fmt.Sprintf("port %d is taken", m.port)
	case filterHosts:
		return "another copy is there"
	}
	return m.limit.reason(m.about == "unset")
}

// reason says why a distinct_property excludes a node.
func (l *limit) reason(unset bool) string {
	if unset {
		return l.target + " is not set"
	}
	return fmt.Sprintf("value of %s has %d copies already", l.target, l.max)
}

// sentence is the miss in words about one node.
func (l *ledger) sentence(m miss, a *ask, pos int) string {
	n := l.fleet.nodes[pos]
	free, of := l.free[pos], n.node.Resources
	switch m.filter {
	case filterCPU:
		return fmt.Sprintf("cpu: asks %d MHz, %d MHz free of %d MHz", a.res.CPU, free.CPU, of.CPU)
	case filterMemory:
		return fmt.Sprintf("memory: asks %d MiB, %d MiB free of %d MiB", a.res.MemoryMB, free.MemoryMB, of.MemoryMB)
	case filterDisk:
		return fmt.Sprintf("disk: asks %d MiB, %d MiB free of %d MiB", a.res.DiskMB, free.DiskMB, of.DiskMB)
	case filterConstraint:
		return m.check.describe(n.node)
	case filterFlapping:
		return fmt.Sprintf("flapping: %s; new work in %s", m.reason(a), time.Duration(n.heldUntil-l.now).Round(time.Second))
	case filterPool:
		return fmt.Sprintf("node pool: %s, the node is in %q", m.reason(a), poolOf(n.node.NodePool))
	}
	return m.filter + ": " + m.reason(a)
}
