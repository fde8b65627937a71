package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
)

// workloads are jobs × copies, 10,000 copies each.
var workloads = []int{1, 10, 100, 1000} // copies of a job

// Bounds, of fleets of boundNodes: CPU in µs per placement, packing in percentage points.
const (
	boundNodes   = 5000
	boundLarge   = 8.0  // plain and constraint, jobs of 100 copies and more
	boundSingle  = 60.0 // the same, jobs of one copy
	boundWishes  = 20.0 // affinity and spread, jobs of 100 copies and more
	boundGrowth  = 1.5  // 10,000 nodes against 1,000, jobs of 100 copies and more
	boundPacking = 0.2
)

func main() {
	nodes := flag.String("nodes", "1000,5000,10000", "sizes of the fleet")
	only := flag.String("shape", strings.Join(shapes, ","), "shapes of the jobs")
	counts := flag.String("count", "1,10,100,1000", "copies of a job; there are 10,000 in all")
	runs := flag.Int("runs", 5, "times that each row is measured; the median stands")
	profile := flag.String("cpuprofile", "", "file to write a CPU profile to, of everything and not of the planner alone")
	flag.Parse()
	if flag.NArg() > 0 || *runs < 1 {
		fail("usage: benchsched [--nodes N,…] [--shape NAME,…] [--count N,…] [--runs N]")
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fail("write the profile: %v", err)
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Printf("the planner alone, %d copies, %s, %d cores, median of %d\n", placements, runtime.Version(), runtime.NumCPU(), *runs)
	fmt.Printf("%7s %-15s %7s %6s %14s %10s %9s %9s %11s\n", "nodes", "shape", "jobs", "count", "placements/s", "CPU µs", "allocs", "packing %", "vs best fit")
	var rows []row
	for _, n := range numbers(*nodes, 1_000_000) {
		for _, shape := range strings.Split(*only, ",") {
			if !slices.Contains(shapes, shape) {
				fail("there is no shape %q: name some of %s", shape, strings.Join(shapes, ", "))
			}
			for _, count := range numbers(*counts, placements) {
				rows = append(rows, rowOf(n, shape, count, *runs))
			}
		}
	}
	if !report(rows) {
		pprof.StopCPUProfile()
		os.Exit(1)
	}
}

// rowOf measures one row and prints it.
func rowOf(nodes int, shape string, count, runs int) row {
	var all []row
	for range runs {
		all = append(all, measure(nodes, shape, placements/count, count))
	}
	r := median(all)
	r.Bound, r.Holds = bound(r), true
	r.Holds = (r.Bound == 0 || r.CPU <= r.Bound) && (r.VsBestFit == nil || math.Abs(*r.VsBestFit) <= boundPacking)
	versus := "-"
	if r.VsBestFit != nil {
		versus = fmt.Sprintf("%+.3f", *r.VsBestFit)
	}
	fmt.Printf("%7d %-15s %7d %6d %14.0f %10.2f %9.1f %9.2f %11s\n", r.Nodes, r.Shape, r.Jobs, r.Count, r.PerSecond, r.CPU, r.Allocations, r.Packing, versus)
	return r
}

// bound is what a row's CPU may be, 0 for no bound.
func bound(r row) float64 {
	plain := r.Shape == "plain" || r.Shape == "constraint"
	switch {
	case r.Nodes != boundNodes:
		return 0
	case plain && r.Count >= 100:
		return boundLarge
	case plain && r.Count == 1:
		return boundSingle
	case (r.Shape == "affinity" || r.Shape == "spread") && r.Count >= 100:
		return boundWishes
	}
	return 0
}

// report prints a line for machines for each row and for what compares rows, and reports whether all bounds hold.
func report(rows []row) bool {
	all := true
	emit := func(v any, holds bool) {
		line, err := json.Marshal(v)
		if err != nil {
			fail("encode a result: %v", err)
		}
		fmt.Printf("BENCH %s\n", line)
		all = all && holds
	}
	for _, r := range rows {
		emit(r, r.Holds)
	}
	for _, large := range rows {
		for _, small := range rows {
			if large.Nodes != 10_000 || small.Nodes != 1000 || large.Shape != small.Shape || large.Count != small.Count || large.Count < 100 {
				continue
			}
			g := growth{
				Bench: "sched-growth", Shape: large.Shape, Count: large.Count, Value: large.CPU / small.CPU, Unit: "× the CPU of 1,000 nodes on 10,000",
				Bound: boundGrowth,
			}
			g.Holds = g.Value <= g.Bound
			emit(g, g.Holds)
		}
	}
	return all
}

// growth is what ten times the nodes cost.
type growth struct {
	Bench string  `json:"bench"`
	Shape string  `json:"shape"`
	Count int     `json:"count"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bound float64 `json:"bound"`
	Holds bool    `json:"holds"`
}

// numbers reads a list of whole numbers from 1 to most.
func numbers(list string, most int) []int {
	var out []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > most {
			fail("%q is not a whole number from 1 to %d", s, most)
		}
		out = append(out, n)
	}
	return out
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "benchsched: "+format+"\n", args...)
	os.Exit(2)
}
