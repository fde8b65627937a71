package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

// row is one line of the table.
type row struct {
	Bench       string   `json:"bench"`
	Nodes       int      `json:"nodes"`
	Shape       string   `json:"shape"`
	Jobs        int      `json:"jobs"`
	Count       int      `json:"count"`
	PerSecond   float64  `json:"placements_per_second"`
	CPU         float64  `json:"cpu_us_per_placement"`
	Allocations float64  `json:"allocations_per_placement"`
	Packing     float64  `json:"packing"`                       // percent of the nodes in use
	VsBestFit   *float64 `json:"packing_vs_best_fit,omitempty"` // percentage points more than the exhaustive search; of plain and constraint
	Passes      int      `json:"passes"`
	Bound       float64  `json:"bound_cpu_us,omitempty"`
	Holds       bool     `json:"holds"`
}

// spent is what the planner has used.
type spent struct {
	wall, cpu      time.Duration
	mallocs, bytes uint64
}

// collectorCost is what a byte that is allocated costs the collector: it goes through all that lives each time as many bytes were allocated
// as live. Cycles begin when they will, most of them for the sake of what applies the plans: what runs beside a pass by chance is not the
// planner's.
func collectorCost() (perByte float64) {
	runtime.GC() // also ends what is under way
	before := processor(unix.CLOCK_PROCESS_CPUTIME_ID)
	runtime.GC()
	used := processor(unix.CLOCK_PROCESS_CPUTIME_ID) - before
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(used) / float64(m.HeapAlloc)
}

// measure places the jobs of one row once.
func measure(nodes int, shape string, jobs, count int) row {
	w := newWorld(nodes)
	_, cur, _ := sched.Reconcile(w.store.Snapshot(), sched.NewCursor(sched.Options{}), w.now) // a term's first look at the fleet
	before := machinesOf(w.store.Snapshot(), nodes)
	w.submit(shape, jobs, count)
	runtime.LockOSThread() // its processor time is counted
	defer runtime.UnlockOSThread()
	perByte := collectorCost()
	var used spent
	placed, passes := 0, 0
	for {
		var plan *state.ApplyPlan
		plan, cur = used.pass(w, cur)
		if plan == nil {
			break
		}
		result := w.apply(*plan).(state.PlanResult)
		if len(result.Dropped) > 0 {
			panic(fmt.Sprintf("a copy was refused: %+v", result.Dropped[0]))
		}
		placed, passes = placed+result.Placed, passes+1
	}
	if placed != jobs*count {
		panic(fmt.Sprintf("%d of %d copies were placed", placed, jobs*count))
	}
	used.cpu += time.Duration(perByte * float64(used.bytes))
	n := float64(placed)
	r := row{
		Bench: "sched", Nodes: nodes, Shape: shape, Jobs: jobs, Count: count, Passes: passes,
		PerSecond: n / used.wall.Seconds(), CPU: float64(used.cpu.Nanoseconds()) / 1000 / n, Allocations: float64(used.mallocs) / n,
		Packing: packing(machinesOf(w.store.Snapshot(), nodes)),
	}
	if shape == "plain" || shape == "constraint" {
		exhaust(before, shape == "constraint", jobs, count)
		more := r.Packing - packing(before)
		r.VsBestFit = &more
	}
	return r
}

// pass runs the planner once and counts what it used.
func (s *spent) pass(w *world, cur sched.Cursor) (*state.ApplyPlan, sched.Cursor) {
	snap := w.store.Snapshot()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	cpu, start := processor(unix.CLOCK_THREAD_CPUTIME_ID), time.Now()
	cmds, next, _ := sched.Reconcile(snap, cur, w.now)
	s.wall += time.Since(start)
	s.cpu += processor(unix.CLOCK_THREAD_CPUTIME_ID) - cpu
	runtime.ReadMemStats(&m1)
	s.mallocs, s.bytes = s.mallocs+m1.Mallocs-m0.Mallocs, s.bytes+m1.TotalAlloc-m0.TotalAlloc
	if len(cmds) == 0 {
		return nil, next
	}
	plan := cmds[0].(state.ApplyPlan)
	return &plan, next
}

// processor is the time that this process, or thread, has used, to the nanosecond: what getrusage(2) says of a thread is brought up to date
// every few milliseconds only, which is longer than a pass.
func processor(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// median is the middle row of several, by CPU.
func median(rows []row) row {
	slices.SortFunc(rows, func(a, b row) int {
		switch {
		case a.CPU < b.CPU:
			return -1
		case a.CPU > b.CPU:
			return 1
		}
		return 0
	})
	return rows[len(rows)/2]
}
