package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// expected is what will be once the plan of a pass has been applied whole. The next pass begins from it when the snapshot says so: the
// nodes and jobs that the plan is about need no second look.
type expected struct {
	seed    [16]byte
	columns columns
	settled []state.JobKey // jobs with nothing left to do then
}

// met reports whether what happened after the cursor's index is known: no plan that was not expected, and the expected one whole.
func (c Cursor) met(snap *state.Snapshot) bool {
	plans, all := snap.PlansSince(c.index)
	switch {
	case !all:
		return false
	case c.plan == nil:
		return len(plans) == 0
	}
	return len(plans) == 1 && plans[0].Whole && plans[0].Seed == c.plan.seed
}

// expect is what a plan leads to.
func (l *ledger) expect(seed [16]byte, settled []state.JobKey) *expected {
	for _, pos := range l.fleet.flapping {
		l.setWorks(pos, l.fleet.nodes[pos].ready())
	}
	l.finish()
	return &expected{seed: seed, columns: l.columns, settled: settled}
}

// after is the fleet with what a plan took.
func (f *fleet) after(e *expected) *fleet {
	next := *f
	next.columns, next.shared = e.columns, true
	return &next
}

// settles reports whether nothing is left to do for a job once what the plan has for it was applied.
func (o *outcome) settles() bool {
	if !o.whole || len(o.diff.stops) > 0 {
		return false
	}
	for i := range o.groups {
		g := &o.groups[i]
		if g.later+len(g.first)+len(g.waits)+len(g.unplaced) > 0 ||
			slices.ContainsFunc(g.placed, func(p placement) bool { return p.stop != nil }) {
			return false
		}
	}
	return true
}

// rolls reports whether copies wait until others run.
func (o *outcome) rolls() bool {
	return slices.ContainsFunc(o.groups, func(g groupOutcome) bool { return g.later > 0 })
}
