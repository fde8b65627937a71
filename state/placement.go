package state

import (
	"fmt"
	"slices"
)

// assignPorts gives a copy the group's static ports and the planned dynamic ones.
func assignPorts(g *TaskGroup, n *Node, dynamic []int) []AllocPort {
	static, wanted := staticPorts(g), dynamicPorts(g)
	if len(static)+len(wanted) == 0 {
		return nil
	}
	out := make([]AllocPort, 0, len(static)+len(wanted))
	add := func(p Port, hostPort int) {
		to := p.To
		if to <= 0 {
			to = hostPort
		}
		out = append(out, AllocPort{Label: p.Label, HostIP: n.HostIP, HostPort: hostPort, To: to})
	}
	for _, p := range static {
		add(p, p.Value)
	}
	for i, p := range wanted {
		add(p, dynamic[i])
	}
	return out
}

// previous returns the allocation that a new copy follows: the one that it stops, when that is of its slot, or the one whose
// failure it answers. The latter may have been collected since.
func (r *referee) previous(k slot, victim *Alloc, event RescheduleEvent) (prev *Alloc, reason string) {
	sameSlot := func(a *Alloc) bool {
		return a != nil && a.Namespace == r.job.Namespace && a.JobID == r.job.ID && a.TaskGroup == k.group && a.Index == k.index
	}
	if event.PrevAllocID != "" {
		failed := r.tx.next.Alloc(event.PrevAllocID)
		if failed != nil && !sameSlot(failed) {
			return nil, "rescheduled allocation is of another slot"
		}
		return failed, ""
	}
	if sameSlot(victim) {
		return victim, ""
	}
	return nil, ""
}

// rescheduleEvents carries the history of a slot along while the job's version stays, so that its attempts are counted.
func rescheduleEvents(prev *Alloc, event RescheduleEvent, a *Alloc) []RescheduleEvent {
	var out []RescheduleEvent
	if prev != nil && prev.JobVersion == a.JobVersion {
		out = slices.Clone(prev.RescheduleEvents)
	}
	if event != (RescheduleEvent{}) {
		out = append(out, event)
	}
	return lastOf(out, maxRescheduleEvents)
}

// promise makes the row of a new copy.
func (r *referee) promise(id idKey, k slot, at *planNode, holds AllocResources, ports []AllocPort) *Alloc {
	text, name := r.texts.of(id, r.job.ID, r.group.Name, k.index)
	return &Alloc{
		ID:            text,
		AllocGroup:    r.groupOf(holds),
		AllocNode:     at.named(),
		Index:         k.index,
		Name:          name,
		Ports:         ports,
		DesiredStatus: DesiredRun,
		ClientStatus:  ClientPending,
		CreateTime:    r.tx.now,
	}
}

// groupOf is what a copy has in common with the one placed before it, or a part of its own.
func (r *referee) groupOf(holds AllocResources) *AllocGroup {
	if g := r.shared; g != nil && len(holds.Cores)+len(holds.Devices) == 0 && g.Resources.Same(&holds) {
		return g
	}
	g := &AllocGroup{
		Namespace: r.job.Namespace, JobID: r.job.ID, JobVersion: r.job.Version, JobType: r.job.Type, TaskGroup: r.group.Name,
		Priority: r.job.Priority, Resources: holds,
	}
	r.shared = g
	return g
}

// commit writes a copy that has passed: what it stops, what it follows, and itself.
func (r *referee) commit(id idKey, a *Alloc, at *planNode, rec *PlanRecord, c int, victim, prev *Alloc, superseded []*Alloc) {
	for _, s := range superseded {
		next := ""
		if s == prev {
			next = a.ID
		}
		r.stop(s, StopRef{Desired: DesiredStop, Description: fmt.Sprintf("replaced by %s while its node was lost", a.ID)}, next)
	}
	if victim != nil {
		next := ""
		if victim == prev {
			next = a.ID
		}
		r.stop(victim, rec.Stop[c], next)
	}
	if prev != nil && prev != victim && !slices.Contains(superseded, prev) {
		p := *prev
		p.NextAllocation = a.ID
		r.tx.putAlloc(&p)
	}
	if r.owner == nil {
		r.owner = r.tx.next.allocs.byJob.edit(rowKey(a.Namespace, a.JobID))
	}
	r.wanted.add(a.Index, r.tx.addAlloc(id, a, r.owner, at.owner))
	r.result.Placed++
}

// stop writes that an allocation is to end. One that is to end already keeps its first reason.
func (r *referee) stop(victim *Alloc, ref StopRef, next string) {
	a := *victim
	if next != "" {
		a.NextAllocation = next
	}
	if !victim.TerminalDesired() {
		a.DesiredStatus, a.DesiredDescription = ref.Desired, truncate(ref.Description, maxTextBytes)
		r.result.Stopped++
		if w := r.groups[groupKey{JobKey{a.Namespace, a.JobID}, a.TaskGroup}]; w != nil {
			id, _ := parseID(a.ID)
			w.drop(a.Index, r.tx.next.allocs.ids.serial(id))
		}
	}
	r.tx.putAlloc(&a)
}
