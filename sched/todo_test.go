package sched

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// TestTheMostImportantIsFirst: what is left to do and what changed come in one order, each job once, as if all were sorted. Jobs that are
// left may have been gone, or have changed, since.
func TestTheMostImportantIsFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, Options{})
		a, keys := newAgenda(), map[state.JobKey]bool{}
		for i := range rapid.IntRange(0, 12).Draw(t, "jobs") {
			register := func() {
				w.register(job(fmt.Sprintf("j%d", i), func(j *state.Job) { j.Priority = rapid.IntRange(1, 3).Draw(t, "priority") }))
			}
			register()
			key := state.JobKey{Namespace: "default", ID: fmt.Sprintf("j%d", i)}
			if rapid.Bool().Draw(t, "left") {
				a.setPending(w.snap().Job(key.Namespace, key.ID))
				if rapid.Bool().Draw(t, "changed") {
					register()
					keys[key] = true
				}
			} else {
				keys[key] = true
			}
		}
		want := slices.Collect(w.snap().Jobs())
		slices.SortFunc(want, func(a, b *state.Job) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.CreateIndex, b.CreateIndex))
		})
		var got []*state.Job
		for list := newTodo(w.snap(), keys, a.pending); !list.empty(); {
			got = append(got, list.next())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d jobs came, or in another order than the %d that there are", len(got), len(want))
		}
	})
}
