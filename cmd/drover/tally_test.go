package main

import (
	"fmt"
	"testing"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// world builds pictures: version 2 of a job with one group "g". Version 1 asks for something else, version 0 for the same.
type world struct {
	job    *state.Job
	allocs []api.AllocListItem
	young  map[string]bool // that have not run long enough
}

func service(count int) *world {
	return &world{young: map[string]bool{}, job: &state.Job{ID: "j", Type: state.JobTypeService, Version: 2, TaskGroups: []state.TaskGroup{
		{Name: "g", Count: count, Update: state.UpdateStrategy{MaxParallel: 1}},
	}}}
}

func batch(count int) *world {
	w := service(count)
	w.job.Type = state.JobTypeBatch
	return w
}

func (w *world) parallel(n int) *world {
	w.job.TaskGroups[0].Update.MaxParallel = n
	return w
}

func (w *world) blocked(n int) *world {
	w.job.Blocked = &state.Blocked{Groups: map[string]int{"g": n}}
	return w
}

// has adds a copy: its number, version, desired and client status. Later ones are newer.
func (w *world) has(index int, version uint64, desired, client string) *world {
	return w.hasIn("g", index, version, desired, client)
}

func (w *world) hasIn(group string, index int, version uint64, desired, client string) *world {
	n := len(w.allocs)
	w.allocs = append(w.allocs, api.AllocListItem{
		ID: fmt.Sprintf("a%d", n), Name: fmt.Sprintf("j.%s[%d]", group, index), TaskGroup: group, Index: index, JobVersion: version,
		DesiredStatus: desired, ClientStatus: client, CreateIndex: uint64(10 + n),
	})
	return w
}

func (w *world) justStarted() *world {
	w.young[w.allocs[len(w.allocs)-1].ID] = true
	return w
}

func (w *world) picture() picture {
	return picture{
		job: w.job, allocs: w.allocs,
		same:   func(version uint64, _ string) bool { return version == 0 },
		proven: func(x api.AllocListItem) bool { return !w.young[x.ID] },
	}
}

const (
	runs  = state.DesiredRun
	stops = state.DesiredStop
)

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name  string
		w     *world
		want  outcome
		words string
	}{
		{"nothing placed yet", service(2), going, "0 of 2 running, 2 to be placed"},
		{"placed", service(2).has(0, 2, runs, "pending").has(1, 2, runs, "pending"), going, "0 of 2 running, 2 starting"},
		{"one runs", service(2).has(0, 2, runs, "running").has(1, 2, runs, "pending"), going, "1 of 2 running, 1 starting"},
		{"all run", service(2).has(0, 2, runs, "running").has(1, 2, runs, "running"), ready, "2 of 2 running"},
		{"one runs for a moment", service(2).has(0, 2, runs, "running").has(1, 2, runs, "running").justStarted(), going, "2 of 2 running"},
		{"no copies wanted", service(0), ready, "0 of 0 running"},
		{"no copies wanted, one runs", service(0).has(0, 2, runs, "running"), going, "0 of 0 running, 1 stopping"},
		{"no copies wanted, one was told to stop", service(0).has(0, 1, stops, "running"), going, "0 of 0 running, 1 stopping"},
		{"no copies wanted, all have ended", service(0).has(0, 1, stops, "complete"), ready, "0 of 0 running"},

		{"count lowered, not stopped yet", service(1).has(0, 2, runs, "running").has(1, 0, runs, "running"), going, "1 of 1 running, 1 stopping"},
		{"count lowered, stopping", service(1).has(0, 0, runs, "running").has(1, 0, stops, "running"), going, "1 of 1 running, 1 stopping"},
		{"count lowered, stopped", service(1).has(0, 0, runs, "running").has(1, 0, stops, "complete"), ready, "1 of 1 running"},
		{"count lowered, the surplus is on a dead node", service(1).has(0, 0, runs, "running").has(1, 0, runs, "lost"), ready, "1 of 1 running"},
		{"count raised, old copies stay", service(2).has(0, 0, runs, "running").has(1, 2, runs, "running"), ready, "2 of 2 running"},
		{"group removed, its copies still run", service(1).has(0, 0, runs, "running").hasIn("gone", 0, 0, runs, "running"), going, "1 of 1 running, 1 stopping"},
		{"group removed", service(1).has(0, 0, runs, "running").hasIn("gone", 0, 0, stops, "complete"), ready, "1 of 1 running"},

		{"old version runs", service(2).has(0, 1, runs, "running").has(1, 1, runs, "running"), going, "0 of 2 running, 2 of an older version"},
		{"roll-out half done", service(2).has(0, 1, stops, "complete").has(1, 1, runs, "running").has(0, 2, runs, "running"), going, "1 of 2 running, 1 of an older version"},
		{"roll-out: slot empty between two", service(1).has(0, 1, stops, "complete"), going, "0 of 1 running, 1 to be placed"},
		{"roll-out: old copy still stopping", service(1).has(0, 1, stops, "running").has(0, 2, runs, "running"), going, "1 of 1 running, 1 stopping"},
		{"roll-out done", service(1).has(0, 1, stops, "complete").has(0, 2, runs, "running"), ready, "1 of 1 running"},
		{"roll-out: old copy stops on a silent node", service(1).has(0, 1, stops, "unknown").has(0, 2, runs, "running"), ready, "1 of 1 running"},
		{"roll-out waits for a failed copy", service(2).has(0, 1, stops, "complete").has(1, 1, runs, "running").has(0, 2, runs, "failed"), failing,
			"0 of 2 running, 1 of an older version, 1 failed"},
		{"roll-out of two at a time goes on beside a failed copy", service(3).parallel(2).has(0, 2, runs, "failed").has(1, 2, runs, "running").has(2, 1, runs, "running"), going,
			"1 of 3 running, 1 of an older version, 1 failed"},
		{"everything at once goes on beside a failed copy", service(2).parallel(0).has(0, 2, runs, "failed").has(1, 1, runs, "running"), going,
			"0 of 2 running, 1 of an older version, 1 failed"},
		{"old failed copy will be replaced", service(1).has(0, 1, runs, "failed"), going, "0 of 1 running, 1 to be placed"},

		{"one failed", service(2).has(0, 2, runs, "running").has(1, 2, runs, "failed"), failing, "1 of 2 running, 1 failed"},
		{"one failed, one still starts", service(2).has(0, 2, runs, "pending").has(1, 2, runs, "failed"), going, "0 of 2 running, 1 starting, 1 failed"},
		{"failed, and its successor runs", service(1).has(0, 2, runs, "failed").has(0, 2, runs, "running"), ready, "1 of 1 running"},
		{"failed, and its successor too", service(1).has(0, 2, runs, "failed").has(0, 2, runs, "failed"), failing, "0 of 1 running, 1 failed"},
		{"a service that ended well has failed", service(1).has(0, 2, runs, "complete"), failing, "0 of 1 running, 1 failed"},
		{"lost with its node", service(1).has(0, 2, runs, "lost"), going, "0 of 1 running, 1 to be placed"},
		{"lost, and replaced", service(1).has(0, 2, runs, "lost").has(0, 2, runs, "running"), ready, "1 of 1 running"},
		{"on a silent node", service(2).has(0, 2, runs, "running").has(1, 2, runs, "unknown"), going, "1 of 2 running, 1 on silent nodes"},

		{"none fits", service(2).blocked(2), blocked, "0 of 2 running, 2 without a node"},
		{"some fit", service(3).blocked(2).has(0, 2, runs, "running"), blocked, "1 of 3 running, 2 without a node"},
		{"some fit and start", service(3).blocked(2).has(0, 2, runs, "pending"), going, "0 of 3 running, 1 starting, 2 without a node"},
		{"more to be placed than are blocked", service(3).blocked(1), going, "0 of 3 running, 2 to be placed, 1 without a node"},
		{"old copies that nothing can replace", service(2).blocked(2).has(0, 1, runs, "running").has(1, 1, runs, "running"), blocked,
			"0 of 2 running, 2 without a node, 2 of an older version"},
		{"a failed copy finds no other node", service(1).blocked(1).has(0, 2, runs, "failed"), blocked, "0 of 1 running, 1 without a node, 1 failed"},

		{"a copy whose node suits the job no more", service(1).blocked(1).has(0, 0, runs, "running"), blocked, "1 of 1 running, 1 without a node"},

		{"batch runs", batch(2).has(0, 2, runs, "running").has(1, 2, runs, "complete"), going, "1 of 2 complete, 1 running"},
		{"batch done", batch(2).has(0, 2, runs, "complete").has(1, 2, runs, "complete"), ready, "2 of 2 complete"},
		{"batch done by an older version that did the same", batch(1).has(0, 0, runs, "complete"), ready, "1 of 1 complete"},
		{"batch done by an older version that did something else", batch(1).has(0, 1, runs, "complete"), going, "0 of 1 complete, 1 to be placed"},
		{"batch: one failed, one runs", batch(2).has(0, 2, runs, "failed").has(1, 2, runs, "running"), going, "0 of 2 complete, 1 running, 1 failed"},
		{"batch: one failed", batch(2).has(0, 2, runs, "failed").has(1, 2, runs, "complete"), failing, "1 of 2 complete, 1 failed"},

		{"run again after a stop", service(1).has(0, 2, stops, "complete"), going, "0 of 1 running, 1 to be placed"},
		{"run again after a stop, placed", service(1).has(0, 2, stops, "complete").has(0, 2, runs, "running"), ready, "1 of 1 running"},
		{"two live copies of one slot: the newer counts", service(1).has(0, 1, runs, "running").has(0, 2, runs, "running"), ready, "1 of 1 running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups := c.w.picture().count()
			if got := outcomeOf(groups); got != c.want {
				t.Errorf("outcome %d, want %d: %+v", got, c.want, groups)
			}
			total := sum(groups)
			if got := total.words(); got != c.words {
				t.Errorf("words %q, want %q", got, c.words)
			}
			if n := total.Running + total.Proving + total.Starting + total.Complete + total.Failed + total.Old + total.Missing + total.Unknown; n != total.Wanted {
				t.Errorf("%d copies counted, %d wanted: %+v", n, total.Wanted, total)
			}
		})
	}
}

// TestWorstGroupDecides checks that one group cannot hide another.
func TestWorstGroupDecides(t *testing.T) {
	w := service(1).has(0, 2, runs, "running")
	w.job.TaskGroups = append(w.job.TaskGroups, state.TaskGroup{Name: "h", Count: 1})
	if got := outcomeOf(w.picture().count()); got != going {
		t.Errorf("a group without copies: %d, want going", got)
	}
	w.hasIn("h", 0, 2, runs, "failed")
	if got := outcomeOf(w.picture().count()); got != failing {
		t.Errorf("a failed group: %d, want failing", got)
	}
	w.job.Blocked = &state.Blocked{Groups: map[string]int{"i": 1}}
	w.job.TaskGroups = append(w.job.TaskGroups, state.TaskGroup{Name: "i", Count: 1})
	if got := outcomeOf(w.picture().count()); got != blocked {
		t.Errorf("a blocked group beside a failed one: %d, want blocked", got)
	}
}

func TestStaysCountAsKept(t *testing.T) {
	total := sum(service(3).has(0, 0, runs, "running").has(1, 2, runs, "running").has(2, 1, runs, "running").picture().count())
	if total.Kept != 1 {
		t.Errorf("%d kept, want the one of version 0", total.Kept)
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		t    tally
		want string
	}{
		{tally{Wanted: 4, Running: 1}, "[=   ]"}, {tally{Wanted: 4, Running: 2, Complete: 2, batch: true}, "[==  ]"}, {tally{}, "[====]"}, {tally{Wanted: 3}, "[    ]"},
	} {
		if got := c.t.bar(4); got != c.want {
			t.Errorf("%+v: %q, want %q", c.t, got, c.want)
		}
	}
}
