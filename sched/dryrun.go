package sched

import (
	"github.com/drover-io/drover/state"
)

// DryRun says what registering a job now would do, changing nothing, in a cluster with the default options.
func DryRun(snap *state.Snapshot, job *state.Job, now int64) *state.PlanView {
	return DefaultOptions().DryRun(snap, job, now)
}

// DryRun says what registering a job now would do, changing nothing: the same pass that Reconcile makes, over the job as it
// would be stored, with the rest of the cluster as it is. Later steps of a roll-out are counted and not placed.
func (o Options) DryRun(snap *state.Snapshot, job *state.Job, now int64) *state.PlanView {
	old := snap.Job(job.Namespace, job.ID)
	row := hypothetical(snap, job)
	p := alone(snap, now, o.orDefault().Algorithm)
	out := p.decide(row)

	view := &state.PlanView{Diff: state.DiffJobs(old, row)}
	if old != nil {
		view.JobModifyIndex = old.JobModifyIndex
	}
	for _, s := range out.diff.stops {
		view.Stops = append(view.Stops, p.stopped(s.alloc, s.description))
	}
	blocked := false
	for i := range out.groups {
		g := &out.groups[i]
		view.Groups = append(view.Groups, p.planGroup(&out, g, view))
		blocked = blocked || len(g.unplaced) > 0
	}
	for _, s := range out.diff.stops { // of groups that the job no longer has
		if row.Group(s.alloc.TaskGroup) == nil {
			view.Groups = countStop(view.Groups, s.alloc.TaskGroup)
		}
	}
	if blocked {
		view.Explanation = p.explanation(&out)
	}
	return view
}

// hypothetical is the row that registering a job would store. It is the row that is there when nothing would change.
func hypothetical(snap *state.Snapshot, job *state.Job) *state.Job {
	old := snap.Job(job.Namespace, job.ID)
	row := *job
	row.Stop, row.Purge, row.Blocked, row.Version = false, false, nil, 0
	row.SubmitTime, row.CreateIndex = snap.LatestTime(), snap.Index()+1
	row.ModifyIndex, row.JobModifyIndex = snap.Index()+1, snap.Index()+1
	if old != nil && old.SpecEqual(job) {
		row = *old
		row.Stop, row.Purge = false, false
		return &row
	}
	if kept := snap.JobVersions(job.Namespace, job.ID); len(kept) > 0 {
		row.Version = kept[0].Version + 1
	}
	if old != nil {
		row.CreateIndex = old.CreateIndex
	}
	return &row
}

// planGroup counts what happens to one group and adds its copies to the view.
func (p *pass) planGroup(out *outcome, g *groupOutcome, view *state.PlanView) state.GroupPlan {
	gp := state.GroupPlan{
		TaskGroup: g.ask.group.Name, Replace: g.later + len(g.first),
		Ignore: g.keep + g.ended + g.waiting + len(g.waits), Unplaced: len(g.unplaced),
	}
	for _, s := range out.diff.stops {
		if s.alloc.TaskGroup == gp.TaskGroup {
			gp.Stop++
		}
	}
	for _, r := range g.placed {
		n := p.ledger.fleet.nodes[r.pos].node
		c := state.PlannedCopy{Name: out.diff.name(gp.TaskGroup, r.index), NodeID: n.ID, NodeName: n.Name, Reason: "new copy"}
		if r.kind == missing {
			gp.Place++
		} else {
			gp.Replace++
		}
		if r.stop != nil {
			c.AllocID, c.Reason = r.stop.ID, r.why().description
			view.Stops = append(view.Stops, p.stopped(r.stop, r.why().description))
		}
		view.Placements = append(view.Placements, c)
	}
	for _, r := range g.first {
		view.Stops = append(view.Stops, p.stopped(r.stop, r.why().description+"; its successor is placed when it has stopped"))
	}
	return gp
}

func (p *pass) stopped(a *state.Alloc, why string) state.PlannedCopy {
	return state.PlannedCopy{Name: a.Name, AllocID: a.ID, NodeID: a.NodeID, NodeName: a.NodeName, Reason: why}
}

func countStop(groups []state.GroupPlan, name string) []state.GroupPlan {
	for i := range groups {
		if groups[i].TaskGroup == name {
			groups[i].Stop++
			return groups
		}
	}
	return append(groups, state.GroupPlan{TaskGroup: name, Stop: 1})
}
