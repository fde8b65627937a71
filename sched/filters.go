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
	filterCores       = "cores"
	filterDevice      = "device"
	filterMemory      = "memory"
	filterDisk        = "disk"
	filterPort        = "port"
	filterHosts       = "distinct_hosts"
	filterProperty    = "distinct_property"
)

// miss is one filter that says no to a copy on a node. Equal misses of different nodes are the same reason.
type miss struct {
	filter string
	about  string // the status, driver, datacenter or device
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
		if ok && u.counted(lim, pos, v) < lim.max {
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
	look := nodeLook(n)
	for _, checks := range [][]*check{a.checks, a.uniques} {
		for _, c := range checks {
			if !c.passes(look) {
				out = append(out, miss{filter: filterConstraint, check: c})
			}
		}
	}
	return out
}

// shortages lists what a node has too little of.
func (l *ledger) shortages(a *ask, pos int) []miss {
	var out []miss
	n, free, ports := l.fleet.nodes[pos].node, l.free(pos), l.ports[pos]
	want := a.on(n)
	if a.byNode && n.Resources.MHzPerCore <= 0 {
		out = append(out, miss{filter: filterCPU, about: noSpeed})
	} else if want.CPU > free.CPU {
		out = append(out, miss{filter: filterCPU})
	}
	if want.MemoryMB > free.MemoryMB {
		out = append(out, miss{filter: filterMemory})
	}
	if want.DiskMB > free.DiskMB {
		out = append(out, miss{filter: filterDisk})
	}
	out = append(out, l.lackingPieces(a, pos)...)
	for _, p := range a.static {
		if ports.Has(p.Value) {
			out = append(out, miss{filter: filterPort, port: p.Value})
		}
	}
	if a.dynamic > 0 && freeDynamic(a, n, ports) < a.dynamic {
		out = append(out, miss{filter: filterPort})
	}
	return out
}

// noSpeed is what keeps copies that count in cores off a node whose agent does not know how fast its cores are.
const noSpeed = "asks for cores, the node does not say how fast its cores are"

// lackingPieces lists the cores and devices that a node does not have for a copy.
func (l *ledger) lackingPieces(a *ask, pos int) []miss {
	n := l.fleet.nodes[pos].node
	if !a.piecemeal() || hasPieces(a, n, l.stocks[pos]) {
		return nil
	}
	var out []miss
	if len(l.stocks[pos].freeCores(&n.Resources)) < a.cores {
		out = append(out, miss{filter: filterCores})
	}
	for i := range a.devices {
		if t := a.devices[i].trouble(&n.Resources, l.stocks[pos]); t != "" {
			out = append(out, miss{filter: filterDevice, about: t})
		}
	}
	if len(out) == 0 && a.named > namedBytes {
		return []miss{{filter: filterDevice, about: "a copy asks for more cores and devices than a plan can name"}}
	}
	if len(out) == 0 {
		return []miss{{filter: filterDevice, about: "each request fits, all of them together do not"}}
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
		return fmt.Sprintf("job wants node pool %q", state.PoolOf(a.job.NodePool))
	case filterDatacenter:
		return fmt.Sprintf("datacenter %q is none of %s", m.about, strings.Join(a.job.Datacenters, ", "))
	case filterDriver:
		return "driver " + m.about
	case filterConstraint:
		return fmt.Sprintf("constraint %q is false", m.check)
	case filterPort:
		if m.port == 0 {
			return fmt.Sprintf("asks %d dynamic ports, more than are free", a.dynamic)
		}
		return fmt.Sprintf("port %d is taken", m.port)
	case filterHosts:
		return "another copy is there"
	case filterProperty:
		return m.limit.reason(m.about == "unset")
	}
	return m.shortage(a)
}

// shortage is the reason for what a node has too little of.
func (m miss) shortage(a *ask) string {
	switch m.filter {
	case filterCPU:
		return a.cpuReason(m)
	case filterCores:
		return fmt.Sprintf("asks %s, more than is free", wholeCores(a.cores))
	case filterMemory:
		return fmt.Sprintf("asks %d MiB, more than is free", a.res.MemoryMB)
	case filterDisk:
		return fmt.Sprintf("asks %d MiB, more than is free", a.res.DiskMB)
	}
	return m.about // of a device
}

func wholeCores(n int) string {
	if n == 1 {
		return "1 whole core"
	}
	return fmt.Sprintf("%d whole cores", n)
}

// milliCores is how many thousandths of a core the tasks of the group ask for.
func (a *ask) milliCores() int {
	n := 0
	for i := range a.group.Tasks {
		n += a.group.Tasks[i].Resources.MilliCores
	}
	return n
}

// cpuReason says what cpu a group asks for. A group that counts in cores asks for other MHz on every node.
func (a *ask) cpuReason(m miss) string {
	switch {
	case m.about != "":
		return m.about
	case a.cores > 0:
		return fmt.Sprintf("asks %s, less cpu than that is free", wholeCores(a.cores))
	case a.byNode:
		return fmt.Sprintf("asks %dm, more than is free", a.milliCores())
	}
	return fmt.Sprintf("asks %d MHz, more than is free", a.res.CPU)
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
	want, free, of := a.on(n.node), l.free(pos), &n.node.Resources
	switch m.filter {
	case filterCPU:
		if m.about == "" {
			return fmt.Sprintf("cpu: asks %d MHz, %d MHz free of %d MHz", want.CPU, free.CPU, of.CPU)
		}
	case filterMemory:
		return fmt.Sprintf("memory: asks %d MiB, %d MiB free of %d MiB", want.MemoryMB, free.MemoryMB, of.MemoryMB)
	case filterDisk:
		return fmt.Sprintf("disk: asks %d MiB, %d MiB free of %d MiB", want.DiskMB, free.DiskMB, of.DiskMB)
	case filterCores:
		return fmt.Sprintf("cores: asks %s, %d free of %d", wholeCores(a.cores), len(l.stocks[pos].freeCores(of)), len(of.Cores))
	case filterConstraint:
		return m.check.describe(n.node)
	case filterFlapping:
		return fmt.Sprintf("flapping: %s; new work in %s", m.reason(a), time.Duration(n.heldUntil-l.now).Round(time.Second))
	case filterPool:
		return fmt.Sprintf("node pool: %s, the node is in %q", m.reason(a), state.PoolOf(n.node.NodePool))
	}
	return m.say(a)
}

// say is the filter's name and its reason, the name once.
func (m miss) say(a *ask) string {
	reason := m.reason(a)
	if strings.HasPrefix(reason, m.filter+" ") {
		return reason
	}
	return m.filter + ": " + reason
}
