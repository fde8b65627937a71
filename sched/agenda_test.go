package sched

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// slowReady is the plain twin of agenda.ready: it asks every mark.
func (a agenda) slowReady(gained []opening, now int64) map[state.JobKey]bool {
	out := map[state.JobKey]bool{}
	a.marks.Scan(func(m marked) bool {
		if m.due != 0 && m.due <= now {
			out[m.key] = true
		}
		for _, w := range m.unplaced {
			for _, n := range gained {
				if slices.Contains(w.homes, n.node.ID) || n.takesWork(now) && n.fits(w.ask) && w.ask.suits(n.node) && passAll(w.ask.uniques, n.node) {
					out[m.key] = true
				}
			}
		}
		return true
	})
	return out
}

// TestTheAgendaForgetsNobody: after any history those are ready whom the plain twin finds, and the indexes hold what the marks say.
func TestTheAgendaForgetsNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, w: newWorld(t, Options{PlanCopies: rapid.SampledFrom([]int{1, 3, 50}).Draw(t, "plan copies")})}
		for range rapid.IntRange(1, 5).Draw(t, "nodes") {
			h.addNode()
		}
		for range rapid.IntRange(5, 40).Draw(t, "events") {
			h.event()
			cur := h.w.cur
			if cur.fleet == nil || len(cur.fleet.nodes) == 0 {
				continue
			}
			var gained []opening
			for _, pos := range rapid.SliceOf(rapid.IntRange(0, len(cur.fleet.nodes)-1)).Draw(t, "gained") {
				cur.fleet.take()
				gained = append(gained, cur.fleet.opening(pos))
			}
			now := h.w.now + rapid.SampledFrom([]int64{0, 1e9, 1e12}).Draw(t, "later")
			got := map[state.JobKey]bool{}
			cur.agenda.ready(gained, now, func(k state.JobKey) { got[k] = true })
			if want := cur.agenda.slowReady(gained, now); !maps.Equal(got, want) {
				t.Fatalf("ready are %v, should be %v", got, want)
			}
			again := newAgenda()
			cur.agenda.marks.Scan(func(m marked) bool { again.set(m.key, m.mark); return true })
			for what, lens := range map[string][2]int{
				"pending": {cur.agenda.pending.Len(), again.pending.Len()}, "due": {cur.agenda.due.Len(), again.due.Len()},
				"wants": {cur.agenda.wants.Len(), again.wants.Len()}, "homes": {cur.agenda.homes.Len(), again.homes.Len()},
			} {
				if lens[0] != lens[1] {
					t.Fatalf("%s holds %d, the marks say %d", what, lens[0], lens[1])
				}
			}
		}
	})
}

// BenchmarkBlocked is a pass after one copy has ended and its place is taken anew, beside so many jobs that fit nowhere: half of
// them ask for too much, half for nodes that do not exist.
func BenchmarkBlocked(b *testing.B) {
	for _, blocked := range []int{0, 1000, 10000} {
		b.Run(fmt.Sprintf("blocked=%d", blocked), func(b *testing.B) {
			w := fleetWorld(b, 100)
			w.register(job("web", func(j *state.Job) { j.Type, j.TaskGroups[0].Count = state.JobTypeBatch, 500 }))
			for i := range blocked {
				w.register(job(fmt.Sprintf("blocked%d", i), func(j *state.Job) {
					if i%2 == 0 {
						j.TaskGroups[0].Tasks[0].Resources.MemoryMB = 10_000_000
					} else {
						j.Constraints = []state.Constraint{{LTarget: "${attr.kernel.name}", Operand: "=", RTarget: "plan9"}}
					}
				}))
			}
			w.settle()
			var running []*state.Alloc
			for a := range w.snap().AllocsByJob("default", "web") {
				running = append(running, a)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				b.StopTimer()
				w.report(running[i%len(running)], state.ClientFailed)
				i++
				b.StartTimer()
				if cmds, next, _ := Reconcile(w.snap(), w.cur, w.now); len(cmds) > 0 {
					b.Fatalf("there is something to do: %v", cmds)
				} else {
					w.cur = next
				}
			}
		})
	}
}
