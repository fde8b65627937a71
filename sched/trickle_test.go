package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/drover-io/drover/state"
)

// trickleWorld has so many jobs of so many copies each, all placed, and their nodes' word that they run in batches, in random order.
func trickleWorld(tb testing.TB, jobs, count, batches int) (w *world, reports [][]state.NodeReport) {
	w = fleetWorld(tb, 1000)
	for i := range jobs {
		w.index++
		w.store.ApplyCommand(w.index, w.term, state.RegisterJob{Time: w.now, Job: job(fmt.Sprintf("job%d", i), func(j *state.Job) {
			g := &j.TaskGroups[0]
			g.Count, g.EphemeralDisk.SizeMB, g.Tasks[0].Resources.CPU, g.Tasks[0].Resources.MemoryMB = count, 10, 10, 10
			g.Tasks[0].LogConfig = state.LogConfig{MaxFiles: 1, MaxFileSizeMB: 1}
		})})
	}
	w.settle()
	var all []*state.Alloc
	for a := range w.snap().Allocs() {
		all = append(all, a)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	for chunk := range slices.Chunk(all, (len(all)+batches-1)/batches) {
		var nodes []state.NodeReport
		for _, a := range chunk {
			w.seqs++
			nodes = append(nodes, state.NodeReport{NodeID: a.NodeID, Boot: 1, Seq: w.seqs, Allocs: []state.AllocReport{{ID: a.ID, Status: state.ClientRunning}}})
		}
		reports = append(reports, nodes)
	}
	return w, reports
}

// TestRunningIsNoNews: that copies run makes no job be looked at again, unless copies of it wait for that.
func TestRunningIsNoNews(t *testing.T) {
	w, reports := trickleWorld(t, 3, 20, 4)
	for i, nodes := range reports {
		if i == 1 {
			w.register(job("job1", func(j *state.Job) { // a new version: one copy after the other
				g := &j.TaskGroups[0]
				*g = *w.snap().Job("default", "job1").Group("job1")
				g.Tasks = slices.Clone(g.Tasks)
				g.Tasks[0].Config = map[string]any{"image": "v2"}
			}))
		}
		w.must(state.Report{Time: w.now, Nodes: nodes})
		_, dirty, _ := w.cur.advance(w.snap(), w.now)
		var names []string
		for !dirty.empty() {
			names = append(names, dirty.next().ID)
		}
		want := []string{"job1"}
		if i == 0 {
			want = nil
		}
		if !slices.Equal(names, want) {
			t.Errorf("after report %d jobs %v are looked at, want %v", i, names, want)
		}
		w.settle()
	}
}

// BenchmarkTrickle is the passes of 100 batches of reports: 100 jobs of 1,000 copies begin to run on 1,000 nodes.
func BenchmarkTrickle(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w, reports := trickleWorld(b, 100, 1000, 100)
		for _, nodes := range reports {
			w.must(state.Report{Time: w.now, Nodes: nodes})
			b.StartTimer()
			if cmds, next, _ := Reconcile(w.snap(), w.cur, w.now); len(cmds) > 0 {
				b.Fatalf("there is something to do: %v", cmds)
			} else {
				w.cur = next
			}
			b.StopTimer()
		}
		b.StartTimer()
	}
}
