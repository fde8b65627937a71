package state

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Sizes of the benchmark of applying: as in make bench-c1m.
const (
	benchNodes = 5000
	benchPlan  = 1000 // copies of a plan, each on a node of its own, as the planner spreads the copies of a job
)

// flood is a million copies being placed, by plans and reports as they stand in the log.
type flood struct {
	b     *testing.B
	h     *herd
	rng   *rand.Rand
	nodes []string
	fresh map[string][]string // node → allocations that have not been reported
	seqs  uint64
}

func newFlood(b *testing.B) *flood {
	f := &flood{b: b, h: newHerd(b), rng: rand.New(rand.NewPCG(1, 2)), fresh: map[string][]string{}}
	f.h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	for range benchNodes {
		n := testNode(idKey{f.rng.Uint64(), f.rng.Uint64()}.String())
		n.Name, n.HostIP = fmt.Sprintf("node-%04d", len(f.nodes)), "10.0.0.1"
		n.Resources.CPU, n.Resources.MemoryMB, n.Resources.DiskMB = 1<<29, 1<<29, 1<<29
		f.h.must(RegisterNode{Node: n})
		f.nodes = append(f.nodes, n.ID)
	}
	return f
}

// plan registers a job and returns the entry that places it on the even or on the odd nodes.
func (f *flood) plan(number int) []byte {
	j := f.h.job(testJob(fmt.Sprintf("job-%04d", number), benchPlan))
	index, node := make([]int, benchPlan), make([]int, benchPlan)
	ids := make([]string, benchPlan)
	for i, at := range f.rng.Perm(benchNodes / 2)[:benchPlan] {
		index[i], node[i], ids[i] = i, i, f.nodes[at*2+number%2]
	}
	cmd := f.h.planCommand(record(j, index, node), ids...)
	cmd.Time = int64(number) * int64(time.Millisecond)
	data, err := EncodeFor(cmd, MaxLevel)
	if err != nil {
		f.b.Fatal(err)
	}
	return data
}

// reports is the entry in which so many nodes say that what is new on them runs.
func (f *flood) reports(nodes int) (data []byte, copies int) {
	var said []NodeReport
	for i := 0; i < len(f.nodes) && len(said) < nodes; i++ {
		id := f.nodes[i]
		if len(f.fresh[id]) == 0 {
			continue
		}
		f.seqs++
		r := NodeReport{NodeID: id, Boot: 1, Seq: f.seqs}
		for _, alloc := range f.fresh[id] {
			at := int64(1_700_000_000_000_000_000) + int64(f.seqs)*1_000_003
			r.Allocs = append(r.Allocs, AllocReport{ID: alloc, Status: ClientRunning, Tasks: map[string]TaskState{"server": {
				State: TaskRunning, StartedAt: at, Events: []TaskEvent{{Type: "Received", Time: at - 5}, {Type: "Started", Time: at, Message: "Task started by client"}},
			}}})
		}
		copies += len(r.Allocs)
		delete(f.fresh, id)
		said = append(said, r.Packed())
	}
	data, err := Encode(PackReports(said, int64(f.h.index)))
	if err != nil {
		f.b.Fatal(err)
	}
	return data, copies
}

// apply applies an entry and returns the processor time that the process took, of the collector too.
func (f *flood) apply(data []byte) (cpu time.Duration, result any) {
	before := processorTime()
	f.h.index++
	result = f.h.store.Apply(f.h.index, testTerm, data)
	return processorTime() - before, result
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// note remembers what a plan placed, to be reported.
func (f *flood) note(data []byte) {
	cmd, err := Decode(data)
	if err != nil {
		f.b.Fatal(err)
	}
	for i := range benchPlan {
		a := f.h.snap().Alloc(AllocID(cmd.(ApplyPlan).Seed, i))
		f.fresh[a.NodeID] = append(f.fresh[a.NodeID], a.ID)
	}
}

// tally adds up what entries cost.
type tally struct {
	copies, logged int
	cpu            time.Duration
	mallocs, bytes uint64
}

func (t *tally) add(copies int, apply func() time.Duration) {
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	t.cpu += apply()
	runtime.ReadMemStats(&is)
	t.copies, t.mallocs, t.bytes = t.copies+copies, t.mallocs+is.Mallocs-was.Mallocs, t.bytes+is.TotalAlloc-was.TotalAlloc
}

func (t *tally) report(b *testing.B, name string) {
	n := float64(t.copies)
	b.ReportMetric(float64(t.cpu.Nanoseconds())/n/1000, name+"-cpu-µs/copy")
	b.ReportMetric(float64(t.mallocs)/n, name+"-mallocs/copy")
	b.ReportMetric(float64(t.bytes)/n, name+"-B/copy")
	b.ReportMetric(float64(t.logged)/n, name+"-log-B/copy")
}

// BenchmarkFlood places copies until there are so many, by plans of 1,000, each job on half of the nodes. After every eight plans the nodes say,
// fifty in one entry, that theirs run. What is told is of the last eighth: what plans and reports cost beside so many rows, decoding and the
// collector included, and what a row takes in the heap.
func BenchmarkFlood(b *testing.B) {
	benchSizes(b, func(b *testing.B, copies int) {
		for b.Loop() {
			f := newFlood(b)
			heap := heapInUse()
			var plans, reports tally
			const round = 8 // plans
			for number := 0; number < copies/benchPlan; number++ {
				last := number >= copies/benchPlan*7/8
				data := f.plan(number)
				place := func() time.Duration {
					cpu, result := f.apply(data)
					if got, ok := result.(PlanResult); !ok || got.Placed != benchPlan {
						b.Fatalf("%+v", result)
					}
					return cpu
				}
				if last {
					plans.add(benchPlan, place)
					plans.logged += len(data)
				} else {
					place()
				}
				f.note(data)
				for number%round == round-1 && len(f.fresh) > 0 {
					f.say(50, last, &reports)
				}
			}
			b.ReportMetric((float64(heapInUse())-float64(heap))/float64(f.h.snap().AllocCount()), "heap-B/row")
			plans.report(b, "plan")
			reports.report(b, "report")
			runtime.KeepAlive(f)
		}
	})
}

// say applies one entry of reports.
func (f *flood) say(nodes int, counts bool, t *tally) {
	data, copies := f.reports(nodes)
	run := func() time.Duration {
		cpu, result := f.apply(data)
		if got, ok := result.(ReportResult); !ok || got.Applied != copies {
			f.b.Fatalf("%+v, want %d", result, copies)
		}
		return cpu
	}
	if counts {
		t.add(copies, run)
		t.logged += len(data)
	} else {
		run()
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
