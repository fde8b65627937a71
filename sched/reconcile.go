package sched

import (
	"maps"
	"slices"

	"github.com/drover-io/drover/state"
)

// Reconcile compares every job that may need something with its copies and returns the plan that brings it one step closer to
// what is wanted: at most one ApplyPlan of bounded size. When the work does not fit, the next pass goes on with it. A pass over
// the result of another one that returns no command has nothing left to do until wake.
//
// next is valid whether or not the commands are applied. wake is the cluster time at which to look again although nothing
// changed, 0 for never.
func Reconcile(snap *state.Snapshot, cur Cursor, now int64) (cmds []state.Command, next Cursor, wake int64) {
	next, dirty, released := cur.advance(snap, now)
	if dirty.empty() {
		return nil, next, next.agenda.wake(released)
	}
	opts := next.opts.orDefault()
	seed := next.seed()
	p := &pass{
		snap: snap, now: now, salt: salt(seed), shed: next.fleet.overfull(), algorithm: opts.Algorithm,
		ledger:  newLedger(next.fleet, next.memory, now),
		planner: newPlanner(opts.PlanCopies, next.memory.census(len(next.fleet.nodes))),
	}
	p.ledger.firstLook, p.ledger.sampleEvery = opts.firstLook, opts.sampleEvery
	cut := p.run(dirty, next.agenda)
	nodes := p.planner.nodes(next.fleet)
	next.memory.giveBack(p.planner.positions)
	wake = next.agenda.wake(released)
	if p.planner.empty() {
		p.ledger.finish()
		return nil, next, wake
	}
	if cut {
		wake = now
	}
	plan := p.planner.plan
	plan.Term, plan.Seed, plan.Time, plan.Nodes = snap.LeadTerm(), seed, now, nodes
	next.plan = p.ledger.expect(seed, p.settled)
	return []state.Command{plan}, next, wake
}

// pass is one look at the dirty jobs: what they take is off the ledger for those that come after.
type pass struct {
	snap    *state.Snapshot
	now     int64
	salt    uint64
	shed    map[string]bool // copies that their nodes must lose
	ledger  *ledger
	planner *planner
	settled []state.JobKey // jobs with nothing left to do once the plan was applied whole

	algorithm Algorithm // where neither the pool nor the cluster says
}

// run decides the jobs in order until the plan is full, notes which of them to look at again, and reports whether some
// were left out.
func (p *pass) run(jobs *todo, again agenda) (cut bool) {
	var unplaced []*state.Job
	for !jobs.empty() {
		if cut || p.planner.full() {
			cut = true
			break
		}
		job := jobs.next()
		before := p.planner.size()
		out := p.decide(job)
		key, changed := state.JobKey{Namespace: job.Namespace, ID: job.ID}, p.planner.size() != before
		if changed && out.settles() {
			p.settled, changed = append(p.settled, key), false
		}
		cut = !out.whole
		p.ledger.release()
		out.usage.release()
		m := mark{of: importanceOf(job), pending: !out.whole || out.waits() || changed, rolling: out.rolls(), due: out.due, unplaced: out.waiting()}
		if len(m.unplaced) > 0 {
			unplaced = append(unplaced, job)
		}
		again.set(key, m)
	}
	for _, job := range jobs.fresh { // what the passes before left is pending already
		again.setPending(job)
	}
	if !p.planner.empty() {
		for _, job := range unplaced { // they saw a fleet from which this plan had taken its part, and it may be dropped
			again.setPending(job)
		}
	}
	return cut
}

// outcome is what a pass did for one job.
type outcome struct {
	diff   *jobDiff
	usage  *usage
	groups []groupOutcome
	whole  bool  // everything that can be done now is in the plan
	due    int64 // when a failed copy may be replaced
}

// groupOutcome is what a pass did for one group.
type groupOutcome struct {
	*groupDiff
	placed   []placement
	first    []request // outdated or moved copies that stop now, because what replaces them has no room before
	waits    []request // these follow a copy in its place that has not ended yet
	unplaced []request // nothing can be done for these now
}

// add notes placements. Most groups have one list of them.
func (g *groupOutcome) add(placed []placement) {
	if g.placed == nil {
		g.placed = placed
	} else {
		g.placed = append(g.placed, placed...)
	}
}

// decide plans one job.
func (p *pass) decide(job *state.Job) outcome {
	out := p.prepare(diffJob(p.snap, job, p.shed, p.now))
	d := out.diff
	if n := p.planner.admitStops(d.stops); n < len(d.stops) {
		d.stops, out.whole = d.stops[:n], false
	}
	p.planner.stop(job, d.stops)
	for i := range out.groups {
		if !out.whole {
			break
		}
		out.whole = p.decideGroup(&out, &out.groups[i])
	}
	if out.whole {
		p.explainBlocked(&out)
	}
	return out
}

// prepare counts where the job's copies are, and has the ledger place them as the job's pool wants.
func (p *pass) prepare(d *jobDiff) outcome {
	p.algorithmFor(d.job)
	out := outcome{diff: d, whole: true, due: d.due}
	asks := make([]*ask, 0, len(d.groups))
	for _, gd := range d.groups {
		asks = append(asks, gd.ask)
		out.groups = append(out.groups, groupOutcome{groupDiff: gd})
	}
	out.usage = p.ledger.newUsage(asks)
	for _, a := range d.live {
		out.usage.add(a.TaskGroup, p.ledger.fleet.position(a.NodeID), 1)
	}
	return out
}

// algorithmFor has the ledger score nodes as the job's pool wants, or the cluster, or else this agent.
func (p *pass) algorithmFor(job *state.Job) {
	p.ledger.algorithm = Algorithm(p.snap.SchedulerAlgorithm(state.PoolOf(job.NodePool), string(p.algorithm)))
}

// decideGroup places what a group asks for, as far as the plan has room, and reports whether it had.
func (p *pass) decideGroup(out *outcome, g *groupOutcome) bool {
	reqs := g.requests
	if out.diff.job.AllAtOnce {
		together := atOnce(reqs)
		if !p.placeWhole(out, g, together) {
			return false
		}
		reqs = reqs[len(together):]
	}
	for len(reqs) > 0 {
		n := p.planner.admit(g.ask, reqs)
		if n == 0 {
			return false
		}
		placed, left := p.ledger.place(g.ask, out.usage, reqs[:n], p.salt)
		p.planner.place(p.ledger.fleet, g.ask, placed, false)
		g.add(placed)
		p.makeRoom(out, g, left)
		reqs = reqs[n:]
		if len(placed) == 0 && !slices.ContainsFunc(reqs, func(r request) bool { return r.kind != missing }) {
			p.makeRoom(out, g, reqs) // none of them would find more
			return true
		}
	}
	return true
}

// atOnce are the requests of an all_at_once group that are placed together or not at all: those that replace what runs come behind.
func atOnce(reqs []request) []request {
	if n := slices.IndexFunc(reqs, func(r request) bool { return r.kind == outdated }); n >= 0 {
		return reqs[:n]
	}
	return reqs
}

// placeWhole places all of some requests or none, and reports whether that is settled. Such a group may be larger than a plan
// otherwise is, but then it has the plan for itself; one that is too large for a single entry goes in pieces, begun only when all
// of it fits.
func (p *pass) placeWhole(out *outcome, g *groupOutcome, reqs []request) bool {
	if p.planner.admit(g.ask, reqs) < len(reqs) && !p.planner.young() {
		return false
	}
	placed, left := p.ledger.place(g.ask, out.usage, reqs, p.salt)
	if len(left) > 0 {
		for _, r := range placed {
			p.giveBack(out, g, r)
		}
		p.makeRoom(out, g, reqs)
		return true
	}
	settled, atomic := true, p.planner.holdsWhole(p.ledger.fleet, g.ask, reqs)
	if n := p.planner.admit(g.ask, reqs); !atomic && n < len(reqs) {
		for _, r := range placed[n:] {
			p.giveBack(out, g, r)
		}
		placed, settled = placed[:n], false
	}
	if len(placed) > 0 {
		p.planner.place(p.ledger.fleet, g.ask, placed, atomic)
		g.add(placed)
	}
	return settled
}

// giveBack undoes a placement.
func (p *pass) giveBack(out *outcome, g *groupOutcome, r placement) {
	l := p.ledger
	l.giveBack(g.ask, r.pos, r.named())
	out.usage.add(g.ask.group.Name, r.pos, -1)
	if r.kind != missing {
		out.usage.add(g.ask.group.Name, l.fleet.position(r.stop.NodeID), 1)
	}
}

// makeRoom deals with requests that found no node. A copy whose predecessor is still ending waits for its place. A copy that a
// user wants moved stops all the same. An outdated copy stops when its successor would fit in its place: on a full node old and
// new cannot run side by side. Otherwise it runs on.
func (p *pass) makeRoom(out *outcome, g *groupOutcome, left []request) {
	for _, r := range left {
		switch {
		case r.kind == missing && r.leaving != nil && p.yields(out, g, r.leaving):
			g.waits = append(g.waits, r)
		case r.kind != missing && p.leaves(out, g, r):
			g.first = append(g.first, r)
			p.planner.stop(out.diff.job, []stop{{r.stop, r.why().description}})
		default:
			g.unplaced = append(g.unplaced, r)
		}
	}
}

// leaves reports whether a copy is stopped before there is a place for its successor.
func (p *pass) leaves(out *outcome, g *groupOutcome, r request) bool {
	pos := p.ledger.fleet.position(r.stop.NodeID)
	out.usage.add(g.ask.group.Name, pos, -1)
	if p.yields(out, g, r.stop) || r.kind == migrated {
		return true
	}
	out.usage.add(g.ask.group.Name, pos, 1)
	return false
}

// yields reports whether a copy of the group would fit in the place of one that ends, and keeps that place for it.
func (p *pass) yields(out *outcome, g *groupOutcome, gone *state.Alloc) bool {
	pos := p.ledger.fleet.position(gone.NodeID)
	if pos < 0 || !p.ledger.open(g.ask, pos) || !p.ledger.fitsWithout(g.ask, pos, gone) || out.usage.exceeded(g.ask, pos) != nil {
		return false
	}
	p.ledger.exchange(g.ask, pos, gone)
	out.usage.add(g.ask.group.Name, pos, 1)
	return true
}

// waiting lists the groups that wait for room.
func (o *outcome) waiting() []waiting {
	var out []waiting
	for i := range o.groups {
		g := &o.groups[i]
		if len(g.unplaced)+len(g.waits) == 0 {
			continue
		}
		w := waiting{ask: g.ask}
		for _, r := range g.unplaced {
			switch {
			case r.kind != missing:
				w.homes = append(w.homes, r.stop.NodeID)
			case r.leaving != nil:
				w.homes = append(w.homes, r.leaving.NodeID)
			}
		}
		out = append(out, w)
	}
	return out
}

// waits reports whether a copy counts on the place of one that has not ended yet. Others may take it first: it is looked at
// again in every pass.
func (o *outcome) waits() bool {
	return slices.ContainsFunc(o.groups, func(g groupOutcome) bool { return len(g.waits) > 0 })
}

// explainBlocked writes since when, and why, copies of the job cannot be placed, when their number changed. The first reason
// stands meanwhile, although another one may have taken its place. Copies that only wait for their predecessors to end are not
// blocked.
func (p *pass) explainBlocked(out *outcome) {
	var first *groupOutcome
	counts := map[string]int{}
	for i := range out.groups {
		g := &out.groups[i]
		if n := len(g.unplaced); n > 0 {
			counts[g.ask.group.Name] = n
			if first == nil {
				first = g
			}
		}
	}
	old := out.diff.job.Blocked
	switch {
	case first == nil && old == nil, first != nil && old != nil && maps.Equal(counts, old.Groups):
		return
	case first == nil:
		p.planner.block(out.diff.job, nil)
		return
	}
	now := &state.Blocked{Since: p.now, Groups: counts, Reason: p.firstReason(out, first)}
	if old != nil {
		now.Since = old.Since
	}
	p.planner.block(out.diff.job, now)
}
