package sched

import (
	"path"
	"slices"
	"strconv"

	"github.com/drover-io/drover/state"
)

// ask is what a task group asks of a node, ready to be held against many nodes. It never changes.
type ask struct {
	job     *state.Job
	group   *state.TaskGroup
	res     room // what a copy holds, unless byNode
	byNode  bool // it counts in cores: what that is in MHz depends on the node
	cores   int  // whole cores that a copy has for itself
	devices []deviceAsk
	named   int // bytes that naming the cores and devices of a copy takes in a plan at most
	static  []state.Port
	dynamic int      // ports that the scheduler picks
	drivers []string // sorted, each once
	checks  []*check // the same for all nodes of a class
	terms   string   // names what is asked of a class: asks of equal terms get equal answers
	uniques []*check // asked of every node
	limits  []*limit // distinct_hosts and distinct_property
	apart   bool     // its job wants all of its copies on different hosts
	likes   *affinities
	spreads []*spread
}

// limit bounds how many copies may share a host or a value of a property.
type limit struct {
	constraint state.Constraint
	hosts      bool   // distinct_hosts; otherwise distinct_property
	scope      string // the group whose copies count, "" for all of the job
	target     string // of distinct_property
	counts     string // names what the limit counts, so that a job's groups share the counts of its own limits
	max        int
}

// named names what the limit counts.
func (l limit) named() *limit {
	l.counts = strconv.FormatBool(l.hosts) + "\x00" + l.scope + "\x00" + l.target
	return &l
}

// newAsk compiles a group.
func newAsk(job *state.Job, g *state.TaskGroup) *ask {
	held := g.Resources()
	a := &ask{
		job: job, group: g, res: heldBy(&held), byNode: g.CountsCores(), cores: g.CoreCount(), devices: newDeviceAsks(g),
		limits: limitsOf(job, g), spreads: spreadsOf(job, g),
	}
	a.apart = slices.ContainsFunc(a.limits, func(l *limit) bool { return l.hosts && l.scope == "" })
	a.named = coreBytes * a.cores
	for i := range a.devices {
		a.named += deviceBytes * a.devices[i].Count
	}
	if len(g.Networks) > 0 {
		a.static = g.Networks[0].ReservedPorts
		a.dynamic = len(g.Networks[0].DynamicPorts)
	}
	add := func(cs []state.Constraint) {
		for _, c := range cs {
			if isLimit(c) {
				continue
			}
			if k := compile(c); k.unique {
				a.uniques = append(a.uniques, k)
			} else {
				a.checks = append(a.checks, k)
			}
		}
	}
	add(job.Constraints)
	add(g.Constraints)
	for i := range g.Tasks {
		t := &g.Tasks[i]
		add(t.Constraints)
		a.drivers = append(a.drivers, state.DriverOf(t))
	}
	slices.Sort(a.drivers)
	a.drivers = slices.Compact(a.drivers)
	a.terms = a.nameTerms()
	lists := [][]state.Affinity{job.Affinities, g.Affinities}
	for i := range g.Tasks {
		lists = append(lists, g.Tasks[i].Affinities)
	}
	a.likes = newAffinities(lists...)
	return a
}

// nameTerms names all that suits looks at.
func (a *ask) nameTerms() string {
	b := make([]byte, 0, 256)
	part := func(s string) { b = append(append(b, s...), 0) }
	part(state.PoolOf(a.job.NodePool))
	for _, list := range [][]string{a.job.Datacenters, a.drivers} {
		for _, s := range list {
			part(s)
		}
		part("")
	}
	for _, c := range a.checks {
		part(c.constraint.LTarget)
		part(c.constraint.Operand)
		part(c.constraint.RTarget)
	}
	return string(b)
}

// on is what a copy holds on a node.
func (a *ask) on(n *state.Node) room {
	if !a.byNode {
		return a.res
	}
	held := a.group.ResourcesOn(&n.Resources)
	return heldBy(&held)
}

// asksNames reports whether a copy asks for anything that it has to itself: ports, cores or devices.
func (a *ask) asksNames() bool { return len(a.static)+a.dynamic > 0 || a.piecemeal() }

// piecemeal reports whether a copy asks for anything that has a name: cores or devices.
func (a *ask) piecemeal() bool { return a.cores > 0 || len(a.devices) > 0 }

func isLimit(c state.Constraint) bool {
	return c.Operand == state.OperandDistinctHosts || c.Operand == state.OperandDistinctProperty
}

// limitsOf lists the limits that a group's copies must keep: the job's and its own.
func limitsOf(job *state.Job, g *state.TaskGroup) []*limit {
	var out []*limit
	add := func(cs []state.Constraint, scope string) {
		for _, c := range cs {
			switch c.Operand {
			case state.OperandDistinctHosts:
				if on, err := strconv.ParseBool(c.RTarget); err == nil && !on {
					continue
				}
				out = append(out, limit{constraint: c, hosts: true, scope: scope, max: 1}.named())
			case state.OperandDistinctProperty:
				n, err := strconv.Atoi(c.RTarget)
				if err != nil || n < 1 {
					n = 1
				}
				out = append(out, limit{constraint: c, scope: scope, target: c.LTarget, max: n}.named())
			}
		}
	}
	add(job.Constraints, "")
	add(g.Constraints, g.Name)
	return out
}

// inDatacenter reports whether one of the job's globs names the datacenter. A job without any runs everywhere.
func inDatacenter(job *state.Job, dc string) bool {
	if len(job.Datacenters) == 0 {
		return true
	}
	for _, glob := range job.Datacenters {
		if glob == dc {
			return true
		}
		if ok, err := path.Match(glob, dc); ok && err == nil {
			return true
		}
	}
	return false
}

// inPool reports whether a job of one pool may use a node of another. The pool "all" is every node.
func inPool(job, node string) bool {
	return state.PoolOf(job) == state.NodePoolAll || state.PoolOf(job) == state.PoolOf(node)
}

// driverTrouble says why a node cannot run tasks of a driver, "" when it can.
func driverTrouble(n *state.Node, driver string) string {
	info, known := n.Drivers[driver]
	switch {
	case !known || !info.Detected:
		return "not found on the node"
	case !info.Healthy:
		return "not healthy"
	}
	return ""
}

// suits reports whether all nodes of n's class may run the group, as far as what they are is concerned.
func (a *ask) suits(n *state.Node) bool {
	if !inPool(a.job.NodePool, n.NodePool) || !inDatacenter(a.job, n.Datacenter) {
		return false
	}
	for _, d := range a.drivers {
		if driverTrouble(n, d) != "" {
			return false
		}
	}
	return passAll(a.checks, n)
}

// admits reports whether a copy that is on the node already may stay there after its job changed.
func (a *ask) admits(n *state.Node) bool {
	return inPool(a.job.NodePool, n.NodePool) && inDatacenter(a.job, n.Datacenter) && passAll(a.checks, n) && passAll(a.uniques, n)
}

func passAll(checks []*check, n *state.Node) bool {
	if len(checks) == 0 {
		return true
	}
	look := nodeLook(n)
	for _, c := range checks {
		if !c.passes(look) {
			return false
		}
	}
	return true
}
