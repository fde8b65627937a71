package sched

import (
	"fmt"
	"testing"

	"github.com/drover-io/drover/state"
)

// floodWorld has many jobs of 1,000 copies dirty at once, each for half of the nodes: what a leader sees in bench-c1m.
func floodWorld(tb testing.TB, nodes, jobs int) *world {
	w := fleetWorld(tb, nodes)
	_, w.cur, _ = Reconcile(w.snap(), w.cur, w.now)
	for i := range jobs {
		w.index++
		w.store.ApplyCommand(w.index, w.term, state.RegisterJob{Time: w.now, Job: job(fmt.Sprintf("job%d", i), func(j *state.Job) {
			j.Constraints = []state.Constraint{{LTarget: "${meta.rack}", Operand: "<", RTarget: "r5"}}
			g := &j.TaskGroups[0]
			g.Count, g.EphemeralDisk.SizeMB, g.Tasks[0].Resources.CPU, g.Tasks[0].Resources.MemoryMB = 1000, 10, 10, 10
			g.Tasks[0].LogConfig = state.LogConfig{MaxFiles: 1, MaxFileSizeMB: 1}
		})})
	}
	return w
}

// BenchmarkFlood is the passes that place the first 40 of 1,000 such jobs. What applies the plans in between is not counted.
func BenchmarkFlood(b *testing.B) {
	for _, nodes := range []int{500, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			placed := 0
			for b.Loop() {
				b.StopTimer()
				w := floodWorld(b, nodes, 1000)
				b.StartTimer()
				for range 20 {
					cmds, next, _ := Reconcile(w.snap(), w.cur, w.now)
					w.cur = next
					b.StopTimer()
					w.index++
					placed += w.store.ApplyCommand(w.index, w.term, cmds[0]).(state.PlanResult).Placed
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(placed), "ns/copy")
		})
	}
}
