package sched

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// fleetWorld has n nodes of eight classes.
func fleetWorld(b testing.TB, n int) *world {
	w := newWorld(b, Options{})
	for i := range n {
		w.index++
		result := w.store.ApplyCommand(w.index, w.term, state.RegisterNode{Time: w.now, Node: &state.Node{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Name: fmt.Sprintf("n%d", i), Datacenter: fmt.Sprintf("dc%d", i%2), NodePool: "default",
			PeerAddr: fmt.Sprintf("n%d:4647", i), Boot: 1, Level: state.MaxLevel,
			Attributes: map[string]string{"kernel.name": "linux", "cpu.numcores": fmt.Sprint(4 << (i % 4)), "unique.hostname": fmt.Sprint(i)},
			Meta:       map[string]string{"rack": fmt.Sprintf("r%d", i%100), "zone": fmt.Sprintf("z%d", i%25)},
			Drivers:    map[string]state.DriverInfo{"fake": {Detected: true, Healthy: true}},
			Resources:  state.NodeResources{CPU: 16000, MemoryMB: 65536, DiskMB: 500000, MinDynamicPort: 20000, MaxDynamicPort: 32000},
		}})
		if err, bad := result.(error); bad {
			b.Fatal(err)
		}
	}
	return w
}

// BenchmarkPlace places 2,000 copies on an empty fleet, as one job, as ten, and as 2,000 jobs of one copy.
func BenchmarkPlace(b *testing.B) {
	for _, nodes := range []int{1000, 5000} {
		for _, jobs := range []int{1, 10, 2000} {
			b.Run(fmt.Sprintf("nodes=%d/jobs=%d", nodes, jobs), func(b *testing.B) { benchmarkPlace(b, nodes, jobs, nil) })
		}
	}
}

// BenchmarkWishes is the same with affinities and with a spread over 25 zones, and with one over all nodes, which no class shares.
func BenchmarkWishes(b *testing.B) {
	shapes := map[string]func(*state.Job){
		"affinity": func(j *state.Job) {
			j.Affinities = []state.Affinity{{LTarget: "${attr.cpu.numcores}", Operand: "=", RTarget: "32", Weight: 50}, {LTarget: "${node.datacenter}", Operand: "=", RTarget: "dc1", Weight: 20}}
		},
		"spread":        func(j *state.Job) { j.Spreads = []state.Spread{{Attribute: "${meta.zone}", Weight: 50}} },
		"spread-unique": func(j *state.Job) { j.Spreads = []state.Spread{{Attribute: "${node.unique.id}", Weight: 50}} },
	}
	for _, shape := range slices.Sorted(maps.Keys(shapes)) {
		for _, jobs := range []int{1, 10, 2000} {
			b.Run(fmt.Sprintf("%s/nodes=5000/jobs=%d", shape, jobs), func(b *testing.B) { benchmarkPlace(b, 5000, jobs, shapes[shape]) })
		}
	}
}

func benchmarkPlace(b *testing.B, nodes, jobs int, change func(*state.Job)) {
	w := fleetWorld(b, nodes)
	for i := range jobs {
		j := job(fmt.Sprintf("job%d", i))
		j.TaskGroups[0].Count = 2000 / jobs
		j.TaskGroups[0].Networks = []state.Network{{Mode: "host", DynamicPorts: []state.Port{{Label: "http"}}}}
		j.Constraints = []state.Constraint{{LTarget: "${attr.cpu.numcores}", Operand: ">=", RTarget: "8"}}
		if change != nil {
			change(j)
		}
		w.index++
		w.store.ApplyCommand(w.index, w.term, state.RegisterJob{Job: j, Time: w.now})
	}
	w.cur.fleet = nil
	placed, bytes := 0, 0
	start := time.Now()
	for b.Loop() {
		cmds, _, _ := Reconcile(w.snap(), w.cur, w.now)
		for _, r := range cmds[0].(state.ApplyPlan).Records {
			placed += len(r.Index)
		}
		data, err := state.Encode(cmds[0])
		if err != nil {
			b.Fatal(err)
		}
		bytes = len(data)
	}
	b.ReportMetric(float64(placed)/time.Since(start).Seconds(), "placements/s")
	b.ReportMetric(float64(bytes)/float64(placed/b.N), "bytes/placement")
}

// BenchmarkIdle is a pass over a large cluster in which nothing changed.
func BenchmarkIdle(b *testing.B) {
	w := fleetWorld(b, 5000)
	j := job("web")
	j.TaskGroups[0].Count = 2000
	w.register(j)
	w.settle()
	for b.Loop() {
		if cmds, _, _ := Reconcile(w.snap(), w.cur, w.now); len(cmds) > 0 {
			b.Fatal("there is something to do")
		}
	}
}
