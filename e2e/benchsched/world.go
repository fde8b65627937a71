package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/drover-io/drover/state"
)

const (
	racks       = 25
	placements  = 10_000
	maxPartFull = 0.5 // of a node, before the first job comes
)

// sizes are the machines of the fleet, in equal numbers.
var sizes = [...]state.NodeResources{
	{CPU: 16_000, MemoryMB: 65_536, DiskMB: 500_000},
	{CPU: 32_000, MemoryMB: 131_072, DiskMB: 500_000},
	{CPU: 8_000, MemoryMB: 32_768, DiskMB: 250_000},
	{CPU: 48_000, MemoryMB: 98_304, DiskMB: 1_000_000},
}

// shapes are what jobs ask for beside resources.
var shapes = []string{"plain", "constraint", "distinct_hosts", "affinity", "spread"}

// world is a store and what has been applied to it.
type world struct {
	store *state.Store
	index uint64
	now   int64
}

// apply applies a command as the log would, and panics when it is refused: a benchmark's input is its own.
func (w *world) apply(cmd state.Command) any {
	w.index++
	result := w.store.ApplyCommand(w.index, 1, cmd)
	if err, refused := result.(error); refused {
		panic(fmt.Sprintf("apply %T: %v", cmd, err))
	}
	return result
}

// newWorld makes a cluster of so many nodes, each with up to half of it in use.
func newWorld(nodes int) *world {
	w := &world{store: state.NewStore(), now: int64(time.Hour)}
	w.apply(state.InitCluster{ClusterID: "bench", Time: w.now})
	w.apply(state.Lead{NodeID: "leader", Time: w.now})
	w.apply(state.RaiseLevel{Term: 1, Level: state.MaxLevel, Time: w.now})
	for i := range nodes {
		w.apply(state.RegisterNode{Time: w.now, Node: node(i)})
	}
	w.fill(nodes)
	return w
}

func nodeID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

func node(i int) *state.Node {
	r := sizes[i%len(sizes)]
	r.MinDynamicPort, r.MaxDynamicPort, r.MHzPerCore = 20000, 32000, 2000
	return &state.Node{
		ID: nodeID(i), Name: fmt.Sprintf("n%d", i), Datacenter: fmt.Sprintf("dc%d", i%2), NodePool: state.NodePoolDefault,
		PeerAddr: fmt.Sprintf("n%d:4647", i), HostIP: "10.0.0.1", Boot: 1, BootID: "boot", Level: state.MaxLevel,
		Attributes: map[string]string{"kernel.name": "linux", "cpu.numcores": fmt.Sprint(r.CPU / 2000), "unique.hostname": fmt.Sprint(i)},
		Meta:       map[string]string{"rack": rack(i)},
		Drivers:    map[string]state.DriverInfo{"fake": {Detected: true, Healthy: true}},
		Resources:  r,
	}
}

// rack gives every rack machines of every size.
func rack(i int) string { return fmt.Sprintf("r%02d", i/len(sizes)%racks) }

// fill has some copies run here and there.
func (w *world) fill(nodes int) {
	const cpu, memory = 1000, 4096
	rng := rand.New(rand.NewPCG(1, uint64(nodes)))
	var at []int
	for i := range nodes {
		r := sizes[i%len(sizes)]
		most := min(float64(r.CPU)/cpu, float64(r.MemoryMB)/memory) * maxPartFull
		for range int(rng.Float64() * (most + 1)) {
			at = append(at, i)
		}
	}
	for from := 0; from < len(at); from += fillJob {
		w.run(fmt.Sprintf("fill%d", from/fillJob), cpu, memory, at[from:min(from+fillJob, len(at))])
	}
}

// fillJob is how many copies a job that was there before has at most.
const fillJob = 2000

// run has copies of a job run on some nodes, by a plan of its own.
func (w *world) run(name string, cpu, memory int, at []int) {
	w.apply(state.RegisterJob{Job: job(name, len(at), cpu, memory), Time: w.now})
	snap := w.store.Snapshot()
	row := snap.Job("default", name)
	plan := state.ApplyPlan{Term: 1, Time: w.now, Seed: [16]byte([]byte(fmt.Sprintf("%-16s", name)))}
	rec := state.PlanRecord{Namespace: row.Namespace, JobID: row.ID, JobModifyIndex: row.JobModifyIndex, TaskGroup: row.ID}
	for k, i := range at {
		plan.Nodes = append(plan.Nodes, state.NodeRef{ID: nodeID(i), Generation: snap.Node(nodeID(i)).Generation})
		rec.Index, rec.Node = append(rec.Index, k), append(rec.Node, k)
	}
	plan.Records = []state.PlanRecord{rec}
	if got := w.apply(plan).(state.PlanResult); got.Placed != len(at) {
		panic(fmt.Sprintf("%s: placed %d of %d: %+v", name, got.Placed, len(at), got.Dropped[0]))
	}
}

// ask is what the copies of a job hold.
func ask(job int) (cpu, memory int) {
	return [...]int{50, 100, 150, 250}[job%4], [...]int{128, 256, 512, 1024}[job/4%4]
}

// submit registers jobs of a shape.
func (w *world) submit(shape string, jobs, count int) {
	for i := range jobs {
		cpu, memory := ask(i)
		j := job(fmt.Sprintf("job%05d", i), count, cpu, memory)
		switch shape {
		case "constraint":
			j.Constraints = []state.Constraint{{LTarget: "${meta.rack}", Operand: "<", RTarget: eligibleBelow}}
		case "distinct_hosts":
			j.Constraints = []state.Constraint{{Operand: state.OperandDistinctHosts, RTarget: "true"}}
		case "affinity":
			j.Affinities = []state.Affinity{
				{LTarget: "${attr.cpu.numcores}", Operand: ">=", RTarget: "16", Weight: 50},
				{LTarget: "${node.datacenter}", Operand: "=", RTarget: "dc1", Weight: 20},
			}
		case "spread":
			j.Spreads = []state.Spread{{Attribute: "${meta.rack}", Weight: 50}}
		}
		w.apply(state.RegisterJob{Job: j, Time: w.now})
	}
}

// eligibleBelow is the first rack that jobs with a constraint may not use: half of them come before it.
const eligibleBelow = "r13"

func job(name string, count, cpu, memory int) *state.Job {
	restart := state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail}
	return &state.Job{
		Namespace: "default", ID: name, Name: name, Type: state.JobTypeService, Datacenters: []string{"*"},
		NodePool: state.NodePoolDefault, Priority: 50,
		TaskGroups: []state.TaskGroup{{
			Name: name, Count: count, RestartPolicy: restart, Update: state.UpdateStrategy{MaxParallel: 1},
			ReschedulePolicy: state.ReschedulePolicy{
				Delay: 30 * time.Second, DelayFunction: state.DelayExponential, MaxDelay: time.Hour, Unlimited: true,
			},
			EphemeralDisk: state.EphemeralDisk{SizeMB: 10},
			Tasks: []state.Task{{
				Name: "main", Driver: "fake", Config: map[string]any{"image": "v1"}, RestartPolicy: restart,
				Resources: state.Resources{CPU: cpu, MemoryMB: memory},
				LogConfig: state.LogConfig{MaxFiles: 2, MaxFileSizeMB: 10}, KillTimeout: 5 * time.Second,
			}},
		}},
	}
}
