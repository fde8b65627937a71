package state

import (
	"fmt"
	"slices"
)

// maxRescheduleEvents bounds Alloc.RescheduleEvents.
const maxRescheduleEvents = 8

// referee judges the copies of a plan by stored facts only. It is small and frozen: constraints and scores are the planner's.
type referee struct {
	tx     *tx
	plan   *ApplyPlan
	result PlanResult

	ids    idKey                // of the plan's first copy
	used   bool                 // IDs of the plan are there already
	groups map[groupKey]*wanted // that this plan has looked at
	nodes  []planNode           // of plan.Nodes, once they were looked up
	texts  texts

	// of the record being judged
	first  int // position of its first copy among those of the plan
	job    *Job
	group  *TaskGroup
	owner  *owner[jobSide] // the job
	wanted *wanted         // of the group
	judged int             // copies placed so far, of those that passed and those that did not
	shared *AllocGroup     // of the copy placed last
}

func newReferee(t *tx, plan *ApplyPlan) *referee {
	copies := 0
	for i := range plan.Records {
		copies += len(plan.Records[i].Index)
	}
	r := &referee{
		tx: t, plan: plan, ids: firstID(plan.Seed), groups: map[groupKey]*wanted{}, nodes: make([]planNode, len(plan.Nodes)), texts: texts{copies: copies},
	}
	r.used = !t.next.allocs.ids.free(r.ids, copies)
	return r
}

// openRecord checks what concerns all copies of a record, and returns why it is refused.
func (r *referee) openRecord(i int) string {
	rec := &r.plan.Records[i]
	n := len(rec.Index)
	r.job, r.group, r.owner, r.judged, r.shared = r.tx.next.Job(rec.Namespace, rec.JobID), nil, nil, 0, nil
	if len(rec.Node) != n || !columnOf(n, len(rec.Stop)) || !columnOf(n, len(rec.Reschedule)) {
		return "columns of the record differ in length"
	}
	placed := 0
	for c := range rec.Index {
		if rec.Node[c] >= 0 {
			placed++
		}
	}
	if placed == 0 {
		if r.job != nil && r.job.JobModifyIndex != rec.JobModifyIndex {
			return "job was modified"
		}
		if len(rec.Ports)+len(rec.Cores)+len(rec.Devices) > 0 {
			return "ports, cores or devices without a copy"
		}
		return ""
	}
	return r.openPlacement(rec, placed)
}

func columnOf(n, length int) bool { return length == 0 || length == n }

func (r *referee) openPlacement(rec *PlanRecord, placed int) string {
	switch {
	case r.job == nil:
		return "job does not exist"
	case r.job.JobModifyIndex != rec.JobModifyIndex:
		return "job was modified"
	case r.job.Stop:
		return "job is stopped"
	}
	r.group = r.job.Group(rec.TaskGroup)
	if r.group == nil {
		return fmt.Sprintf("job has no group %q", rec.TaskGroup)
	}
	r.wanted = r.wanting(JobKey{rec.Namespace, rec.JobID}, rec.TaskGroup)
	return columnsOf(r.group).check(rec, placed)
}

func dynamicPorts(g *TaskGroup) []Port {
	if len(g.Networks) == 0 {
		return nil
	}
	return g.Networks[0].DynamicPorts
}

func staticPorts(g *TaskGroup) []Port {
	if len(g.Networks) == 0 {
		return nil
	}
	return g.Networks[0].ReservedPorts
}

// judgeCopy checks one copy and, when nothing speaks against it, applies it. It returns the reason otherwise.
func (r *referee) judgeCopy(i, c int) string {
	rec := &r.plan.Records[i]
	place := rec.Node[c] >= 0
	var given granted
	if place {
		given = r.next(rec)
	}
	var stop StopRef
	if len(rec.Stop) > 0 {
		stop = rec.Stop[c]
	}
	victim, reason := r.checkStop(stop)
	switch {
	case reason != "":
		return reason
	case !place && victim == nil:
		return "copy is neither placed nor stopped"
	case !place && rec.Index[c] >= 0:
		return "copy has a slot and no node"
	case !place:
		r.stop(victim, stop, "")
		return ""
	}
	return r.judgePlacement(i, c, victim, given)
}

// checkStop returns the allocation that a copy stops, if any, provided that it is as the plan saw it.
func (r *referee) checkStop(ref StopRef) (victim *Alloc, reason string) {
	if ref.AllocID == "" {
		return nil, ""
	}
	a := r.tx.next.Alloc(ref.AllocID)
	switch {
	case a == nil:
		return nil, "allocation to stop does not exist"
	case a.ModifyIndex != ref.ModifyIndex:
		return nil, "allocation to stop was modified"
	case ref.Desired != DesiredStop && ref.Desired != DesiredEvict:
		return nil, fmt.Sprintf("desired status %q of the allocation to stop is not known", ref.Desired)
	}
	return a, ""
}

func (r *referee) judgePlacement(i, c int, victim *Alloc, g granted) string {
	rec := &r.plan.Records[i]
	k := slot{rec.TaskGroup, rec.Index[c]}
	if k.index < 0 || k.index >= r.group.Count {
		return fmt.Sprintf("index %d is outside the group's count of %d", k.index, r.group.Count)
	}
	superseded, reason := r.checkSlot(k, victim)
	if reason != "" {
		return reason
	}
	if rec.Node[c] >= len(r.plan.Nodes) {
		return "record names no node of the plan"
	}
	at := r.node(rec.Node[c])
	n := at.row
	if reason := checkNode(n, r.plan.Nodes[rec.Node[c]]); reason != "" {
		return reason
	}
	given := assignPorts(r.group, n, g.ports)
	ask, reason := r.askOf(n, g)
	if reason != "" {
		return reason
	}
	if reason := r.checkRoom(at, &ask, given, g.ports); reason != "" {
		return reason
	}
	var event RescheduleEvent
	if len(rec.Reschedule) > 0 {
		event = rec.Reschedule[c]
	}
	prev, reason := r.previous(k, victim, event)
	if reason != "" {
		return reason
	}
	if r.used {
		return "allocation ID exists, the seed was used before"
	}
	id := r.ids.plus(r.first + c)
	a := r.promise(id, k, at, ask, given)
	if len(superseded) > 0 && prev == nil {
		prev = superseded[0]
	}
	a.RescheduleEvents = rescheduleEvents(prev, event, a)
	if prev != nil {
		a.PreviousAllocation = prev.ID
	}
	r.commit(id, a, at, rec, c, victim, prev, superseded)
	return ""
}

// checkSlot refuses a second copy in a slot. Copies that are lost do not count, but they would run again if their node came
// back: they are returned, to be stopped together with their replacement.
func (r *referee) checkSlot(k slot, victim *Alloc) (superseded []*Alloc, reason string) {
	for _, serial := range r.wanted.of(k.index) {
		a := r.tx.next.allocs.at(serial)
		if a == victim {
			continue
		}
		if r.tx.next.Live(a) {
			return nil, fmt.Sprintf("slot %s[%d] has a live copy, %s", k.group, k.index, a.ID)
		}
		superseded = append(superseded, a)
	}
	return superseded, ""
}

// planNode is a node of the plan. A plan changes no node.
type planNode struct {
	row   *Node
	owner *owner[nodeSide] // nil while there is no row
}

func (r *referee) node(at int) *planNode {
	n, s := &r.nodes[at], r.tx.next
	if n.owner != nil && n.owner.draft == s.allocs.byNode.draft {
		return n
	}
	id := r.plan.Nodes[at].ID
	owner := s.allocs.byNode.of(id)
	if owner != nil && owner.side.row != nil && owner.side.seen == s.nodesIndex {
		n.row = owner.side.row
	} else if n.row = s.Node(id); n.row == nil {
		return n
	}
	n.owner = s.allocs.byNode.own(id, owner)
	n.owner.side.row, n.owner.side.seen = n.row, s.nodesIndex
	return n
}

// named is what allocations on the node share.
func (n *planNode) named() *AllocNode {
	side := &n.owner.side
	if side.named == nil || side.named.NodeName != n.row.Name {
		side.named = &AllocNode{NodeID: n.row.ID, NodeName: n.row.Name}
	}
	return side.named
}

func checkNode(n *Node, ref NodeRef) string {
	switch {
	case n == nil:
		return "node does not exist"
	case n.Status != NodeStatusReady:
		return "node is " + n.Status
	case n.Eligibility != NodeEligible:
		return "node is not eligible"
	case n.Generation != ref.Generation:
		return "node has come back since the plan was made"
	}
	return ""
}

// checkRoom asks whether the group's resources and the ports fit on the node beside what is held there.
func (r *referee) checkRoom(at *planNode, ask *AllocResources, given []AllocPort, dynamic []int) string {
	n, held, has := at.row, &at.owner.side.held, &at.row.Resources
	switch {
	case held.CPU+ask.CPU > has.CPU:
		return fmt.Sprintf("cpu: asks %d MHz, %d of %d free", ask.CPU, has.CPU-held.CPU, has.CPU)
	case held.MemoryMB+ask.MemoryMB > has.MemoryMB:
		return fmt.Sprintf("memory: asks %d MiB, %d of %d free", ask.MemoryMB, has.MemoryMB-held.MemoryMB, has.MemoryMB)
	case held.DiskMB+ask.DiskMB > has.DiskMB:
		return fmt.Sprintf("disk: asks %d MiB, %d of %d free", ask.DiskMB, has.DiskMB-held.DiskMB, has.DiskMB)
	}
	if reason := r.checkReserved(n, ask); reason != "" {
		return reason
	}
	return r.checkPorts(n, held.Ports, given, dynamic)
}

// checkPorts asks whether the ports are free, and the dynamic ones in the node's range.
func (r *referee) checkPorts(n *Node, taken *PortSet, given []AllocPort, dynamic []int) string {
	has := &n.Resources
	for _, p := range dynamic {
		if p < has.MinDynamicPort || p > has.MaxDynamicPort {
			return fmt.Sprintf("port %d is outside the node's dynamic range %d-%d", p, has.MinDynamicPort, has.MaxDynamicPort)
		}
	}
	for i, p := range given {
		if taken.Has(p.HostPort) {
			return fmt.Sprintf("port %d is held by %s", p.HostPort, r.portHolder(n.ID, p.HostPort))
		}
		if slices.Contains(has.ReservedPorts, p.HostPort) {
			return fmt.Sprintf("port %d is reserved on the node", p.HostPort)
		}
		if slices.ContainsFunc(given[:i], func(q AllocPort) bool { return q.HostPort == p.HostPort }) {
			return fmt.Sprintf("port %d is given twice", p.HostPort)
		}
	}
	return ""
}

// portHolder is the allocation that holds a port of a node, the last one by ID where a restore left several.
func (r *referee) portHolder(nodeID string, port int) (id string) {
	for a := range r.tx.next.AllocsByNode(nodeID) {
		if r.tx.next.Holds(a) && slices.ContainsFunc(a.Ports, func(p AllocPort) bool { return p.HostPort == port }) {
			id = a.ID
		}
	}
	return id
}
