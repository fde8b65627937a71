package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// picture is all that one look at a job sees.
type picture struct {
	job    *state.Job // as stored
	allocs []api.AllocListItem
	// same reports whether a copy placed with a version of the job can stand for one of the newest.
	same func(version uint64, group string) bool
	// proven reports whether a copy that runs has done so for long enough to believe it.
	proven func(x api.AllocListItem) bool
}

// tally counts how the copies of one group stand. Every wanted copy is in exactly one of the first eight; Leaving and Unplaced
// come beside them.
type tally struct {
	Group    string
	Wanted   int
	Running  int // long enough
	Proving  int // for a moment
	Starting int
	Complete int // of a batch job, well
	Failed   int
	Old      int // of a version that is on its way out
	Missing  int // not placed yet
	Unknown  int // on a node that is silent

	Leaving  int // copies beyond the wanted ones that have not ended
	Unplaced int // of Old, Missing, Failed and Kept: those that no node takes
	Kept     int // of the others: placed with an older version that asks for the same
	parallel int // how many may be replaced at a time; 0 means all
	batch    bool
	failed   []api.AllocListItem
}

// outcome is what following a job has come to.
type outcome int

// Outcomes, in the order in which one of a group stands for the whole job.
const (
	ready   outcome = iota // every copy is as wanted
	failing                // some failed, nothing else is due
	blocked                // some cannot be placed, nothing else is due
	going                  // something is still to come
)

// slotView is one wanted copy: its group and number, and what there is of it.
type slotView struct{ best api.AllocListItem }

// slotsOf finds for every copy that is desired to run the allocation that counts: a live one, or else the newest. They come in the
// order of their names.
func slotsOf(allocs []api.AllocListItem) []slotView {
	best := map[string]api.AllocListItem{}
	for _, x := range allocs {
		if x.DesiredStatus != state.DesiredRun {
			continue
		}
		old, known := best[x.Name]
		if !known || ended(old) && !ended(x) || ended(old) == ended(x) && x.CreateIndex > old.CreateIndex {
			best[x.Name] = x
		}
	}
	var out []slotView
	for _, name := range sortedKeys(best) {
		out = append(out, slotView{best[name]})
	}
	return out
}

// count says how every group of a job stands, also groups that the job no longer has while copies of them run.
func (p picture) count() []tally {
	byGroup := map[string]*tally{}
	for i := range p.job.TaskGroups {
		g := &p.job.TaskGroups[i]
		t := &tally{Group: g.Name, parallel: g.Update.MaxParallel, batch: p.job.Type == state.JobTypeBatch}
		if !p.job.Stop {
			t.Wanted, t.Missing = g.Count, g.Count
		}
		if p.job.Blocked != nil {
			t.Unplaced = p.job.Blocked.Groups[g.Name]
		}
		byGroup[g.Name] = t
	}
	of := func(group string) *tally {
		if byGroup[group] == nil {
			byGroup[group] = &tally{Group: group}
		}
		return byGroup[group]
	}
	for _, s := range slotsOf(p.allocs) {
		if t := of(s.best.TaskGroup); s.best.Index < t.Wanted {
			p.add(t, s.best)
		} else if heeds(s.best) {
			t.Leaving++
		}
	}
	for _, x := range p.allocs {
		if x.DesiredStatus != state.DesiredRun && heeds(x) {
			of(x.TaskGroup).Leaving++
		}
	}
	var out []tally
	for _, name := range sortedKeys(byGroup) {
		out = append(out, *byGroup[name])
	}
	return out
}

// heeds reports whether a copy has not ended and its node can be told to end it.
func heeds(x api.AllocListItem) bool {
	return x.ClientStatus == state.ClientPending || x.ClientStatus == state.ClientRunning
}

// add counts one wanted copy.
func (p picture) add(t *tally, x api.AllocListItem) {
	same := x.JobVersion == p.job.Version || p.same(x.JobVersion, x.TaskGroup)
	if x.ClientStatus == state.ClientLost || ended(x) && !same {
		return // it is placed again
	}
	t.Missing--
	*p.countOf(t, x, same)++
	if same && x.JobVersion != p.job.Version {
		t.Kept++
	}
}

// countOf is the count that a copy belongs to.
func (p picture) countOf(t *tally, x api.AllocListItem, same bool) *int {
	switch {
	case x.ClientStatus == state.ClientUnknown:
		return &t.Unknown
	case !same:
		return &t.Old
	case x.ClientStatus == state.ClientPending:
		return &t.Starting
	case x.ClientStatus == state.ClientRunning && (t.batch || p.proven(x)):
		return &t.Running
	case x.ClientStatus == state.ClientRunning:
		return &t.Proving
	case x.ClientStatus == state.ClientComplete && t.batch:
		return &t.Complete
	}
	t.failed = append(t.failed, x) // failed, or a service that ended although it should not
	return &t.Failed
}

// outcome is what following one group has come to.
func (t tally) outcome() outcome {
	waiting := t.Missing + t.Old
	switch {
	case t.Starting+t.Proving > 0, t.batch && t.Running > 0:
		return going
	case t.Unplaced > 0 && waiting <= t.Unplaced && waiting+t.Failed+t.Kept > 0:
		return blocked // Kept: a node suits the job no more, and no other does
	case waiting == 0 && t.Failed == 0 && t.Unknown+t.Leaving == 0:
		return ready
	case t.Failed > 0 && waiting == 0:
		return failing
	case t.Failed > 0 && t.Missing == 0 && t.parallel > 0 && t.Failed >= t.parallel:
		return failing // the roll-out waits for what failed
	}
	return going
}

// outcomeOf is what following all groups has come to.
func outcomeOf(groups []tally) outcome {
	worst := ready
	for _, t := range groups {
		worst = max(worst, t.outcome())
	}
	return worst
}

// sum adds the groups up.
func sum(groups []tally) tally {
	var s tally
	for _, t := range groups {
		s.Wanted += t.Wanted
		s.Running += t.Running
		s.Proving += t.Proving
		s.Starting += t.Starting
		s.Complete += t.Complete
		s.Failed += t.Failed
		s.Old += t.Old
		s.Missing += t.Missing
		s.Unknown += t.Unknown
		s.Leaving += t.Leaving
		s.Unplaced += t.Unplaced
		s.Kept += t.Kept
		s.batch = s.batch || t.batch
		s.failed = append(s.failed, t.failed...)
	}
	sort.SliceStable(s.failed, func(i, j int) bool { return s.failed[i].CreateIndex > s.failed[j].CreateIndex })
	return s
}

// words are the counts that are not 0: "2 of 3 running, 1 starting".
func (t tally) words() string {
	done, what := t.Running+t.Proving, "running"
	if t.batch {
		done, what = t.Complete, "complete"
	}
	parts := []string{fmt.Sprintf("%d of %d %s", done, t.Wanted, what)}
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	if t.batch {
		add(t.Running, "running")
	}
	add(t.Starting, "starting")
	add(max(0, t.Missing-t.Unplaced), "to be placed")
	add(t.Unplaced, "without a node")
	add(t.Old, "of an older version")
	add(t.Failed, "failed")
	add(t.Unknown, "on silent nodes")
	add(t.Leaving, "stopping")
	return strings.Join(parts, ", ")
}

// bar shows how many of the wanted copies are there.
func (t tally) bar(width int) string {
	full, done := width, t.Running+t.Proving
	if t.batch {
		done = t.Complete
	}
	if t.Wanted > 0 {
		full = min(width, width*done/t.Wanted)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}
