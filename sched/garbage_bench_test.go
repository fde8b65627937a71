package sched

import (
	"fmt"
	"testing"

	"github.com/drover-io/drover/state"
)

// BenchmarkGarbage looks for garbage among 100,000 allocations that all run, as a leader does once a minute between two passes,
// and in the plain way, which reads each of them.
func BenchmarkGarbage(b *testing.B) {
	w := fleetWorld(b, 1000)
	for i := range 100 {
		w.register(job(fmt.Sprintf("job%d", i), func(j *state.Job) {
			j.TaskGroups[0].Count = 1000
			j.TaskGroups[0].Tasks[0].Resources = state.Resources{CPU: 1, MemoryMB: 10}
		}))
	}
	w.settle()
	if n := w.snap().AllocCount(); n != 100_000 {
		b.Fatalf("%d allocations", n)
	}
	for name, look := range map[string]func(*state.Snapshot, int64) ([]state.Command, int64){"counted": Garbage, "plain": plainGarbage} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if cmds, _ := look(w.snap(), w.now); len(cmds) > 0 {
					b.Fatal("there is garbage")
				}
			}
		})
	}
}
