package state

import (
	"iter"
	"slices"
)

// maxPlans bounds the applied plans that a snapshot remembers.
const maxPlans = 64

// AppliedPlan is what a snapshot remembers of a plan.
type AppliedPlan struct {
	Index  uint64
	Seed   [16]byte
	Whole  bool // nothing of it was dropped
	Placed int  // copies
}

// news is what has changed that whoever knows all plans could not foresee: less than what is dirty. A copy that a plan placed is no
// news, nor is that it runs. Bookkeeping like the dirty indexes.
type news struct {
	jobs, nodes dirtyIndex
	plans       []AppliedPlan // the latest, oldest first; never changed once it is here
}

func newNews() news { return news{jobs: newDirtyIndex(), nodes: newDirtyIndex()} }

func (n news) clone() news { return news{jobs: n.jobs.clone(), nodes: n.nodes.clone(), plans: n.plans} }

// noteAlloc notes a change of an allocation, unless its node only says that it runs, or how.
func (t *tx) noteAlloc(old, a *Alloc) {
	if !old.TerminalClient() && !a.TerminalClient() && old.DesiredStatus == a.DesiredStatus && old.Migrate == a.Migrate {
		return
	}
	t.next.news.jobs.mark(rowKey(a.Namespace, a.JobID), t.index)
	t.next.news.nodes.mark(a.NodeID, t.index)
}

// notePlan remembers a plan that was applied.
func (t *tx) notePlan(c *ApplyPlan, r PlanResult) {
	plans := t.next.news.plans
	plans = plans[max(0, len(plans)+1-maxPlans):]
	t.next.news.plans = append(slices.Clone(plans), AppliedPlan{Index: t.index, Seed: c.Seed, Whole: len(r.Dropped) == 0, Placed: r.Placed})
}

// LastPlan is the plan applied last; the zero value when this server has applied none.
func (s *Snapshot) LastPlan() AppliedPlan {
	if n := len(s.news.plans); n > 0 {
		return s.news.plans[n-1]
	}
	return AppliedPlan{}
}

// PlansSince returns the plans applied after index, oldest first, and whether these are all.
func (s *Snapshot) PlansSince(index uint64) (plans []AppliedPlan, all bool) {
	known := s.news.plans
	i := len(known)
	for i > 0 && known[i-1].Index > index {
		i--
	}
	return known[i:], i > 0 || len(known) < maxPlans
}

// JobsNewsSince yields those of JobsDirtySince of which more has changed than that plans placed copies of them and that their copies
// run.
func (s *Snapshot) JobsNewsSince(index uint64) iter.Seq[JobKey] {
	return func(yield func(JobKey) bool) {
		for key := range s.news.jobs.since(index) {
			if !yield(splitKey(key)) {
				return
			}
		}
	}
}

// NodesNewsSince yields those of NodesDirtySince of which more has changed than that plans placed copies there and that their copies
// run.
func (s *Snapshot) NodesNewsSince(index uint64) iter.Seq[string] { return s.news.nodes.since(index) }
