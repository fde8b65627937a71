package sched

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// TestPlansAreBounded plans as much as can be planned, with the longest names and all the ports there may be.
func TestPlansAreBounded(t *testing.T) {
	long := strings.Repeat("x", 120)
	for _, c := range []struct {
		name  string
		ports int
		count int
	}{{"plain", 0, 4500}, {"many ports", 60, 1200}} {
		t.Run(c.name, func(t *testing.T) {
			w := fleetWorld(t, 300)
			w.register(job(long, func(j *state.Job) {
				g := &j.TaskGroups[0]
				g.Count, g.Tasks[0].Resources.CPU = c.count, 10
				g.Tasks[0].Resources.MemoryMB, g.EphemeralDisk.SizeMB = 20, 100
				g.Tasks[0].LogConfig.Disabled = true
				g.ReschedulePolicy.DelayFunction = state.DelayConstant
				if c.ports > 0 {
					g.Networks = []state.Network{{Mode: "host"}}
				}
				for i := range c.ports {
					g.Networks[0].DynamicPorts = append(g.Networks[0].DynamicPorts, state.Port{Label: fmt.Sprint("p", i)})
				}
			}))
			checkPlans(t, w)
			failed := state.Report{Time: w.now}
			for a := range w.snap().Allocs() { // all of it fails
				failed.Nodes = append(failed.Nodes, state.NodeReport{
					NodeID: a.NodeID, Boot: 1, Seq: 1, Allocs: []state.AllocReport{{ID: a.ID, Status: state.ClientFailed}},
				})
			}
			w.must(failed)
			w.now += int64(time.Minute)
			checkPlans(t, w)
			w.must(state.StopJob{Namespace: "default", JobID: long, Time: w.now})
			checkPlans(t, w)
		})
	}
}

func checkPlans(t *testing.T, w *world) {
	t.Helper()
	total, estimate := 0, 0
	for {
		cmds, next, _ := Reconcile(w.snap(), w.cur, w.now)
		w.cur = next
		if len(cmds) == 0 {
			break
		}
		copies := 0
		for _, r := range cmds[0].(state.ApplyPlan).Records {
			copies += len(r.Index)
		}
		total += copies
		data, err := state.Encode(cmds[0])
		if err != nil || len(data) > planBytes || copies > 2000 {
			t.Fatalf("a plan of %d copies has %d bytes: %v", copies, len(data), err)
		}
		estimate = max(estimate, len(data))
		if r := w.must(cmds[0]).(state.PlanResult); len(r.Dropped) > 0 {
			t.Fatalf("refused: %s", r.Dropped[0].Reason)
		}
	}
	if total == 0 {
		t.Fatal("nothing was planned")
	}
	t.Logf("%d copies, the largest plan has %d bytes", total, estimate)
}

// TestAWholeGroupIsOneRecord as long as one entry can hold it; then it goes in pieces, begun only when all of it fits.
func TestAWholeGroupIsOneRecord(t *testing.T) {
	w := fleetWorld(t, 600)
	big := func(ports, count int) *state.Job {
		return job(fmt.Sprintf("whole%d", ports), func(j *state.Job) {
			j.AllAtOnce = true
			g := &j.TaskGroups[0]
			g.Count, g.Tasks[0].Resources.CPU = count, 10
			g.Networks = []state.Network{{Mode: "host"}}
			for i := range ports {
				g.Networks[0].DynamicPorts = append(g.Networks[0].DynamicPorts, state.Port{Label: fmt.Sprint("p", i)})
			}
		})
	}
	w.register(big(1, 3000))
	plan, result, _ := w.pass()
	if result.Placed != 3000 || len(plan.Records) != 1 || !plan.Records[0].Atomic {
		t.Fatalf("placed %d in %d records", result.Placed, len(plan.Records))
	}
	w.settle()
	w.register(big(60, 3000)) // a megabyte of ports
	if n := w.settle(); n < 2 {
		t.Fatalf("placed in %d passes", n)
	}
	if got := w.latest("whole60.whole60[2999]"); got.DesiredStatus != state.DesiredRun {
		t.Fatalf("the last copy is %+v", got)
	}
	huge := big(41, 2000)
	huge.TaskGroups[0].Tasks[0].Resources.MemoryMB = 40000 // one to a node
	w.register(huge)
	if plan, result, _ := w.pass(); plan == nil || result.Placed != 0 || len(plan.Blocked) != 1 {
		t.Fatalf("placed %d of what does not fit as a whole", result.Placed)
	}
}

func TestTheBestOfSeveralLiveCopiesIsKept(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a")
	w.node("b")
	w.status("b", state.NodeStatusDisconnected)
	alloc := func(id, node, client string, version, created uint64) *state.Alloc {
		return &state.Alloc{ID: id, AllocNode: &state.AllocNode{NodeID: node}, AllocGroup: &state.AllocGroup{JobVersion: version}, ClientStatus: client, CreateIndex: created, DesiredStatus: state.DesiredRun}
	}
	for _, c := range []struct {
		name string
		a, b *state.Alloc // a is kept
	}{
		{"the wanted version", alloc("1", "a", "pending", 2, 9), alloc("2", "a", "running", 1, 5)},
		{"the one that runs", alloc("1", "a", "running", 2, 9), alloc("2", "a", "pending", 2, 5)},
		{"the one that is heard of", alloc("1", "a", "pending", 2, 9), alloc("2", "b", "running", 2, 5)},
		{"the older one", alloc("1", "a", "running", 2, 5), alloc("2", "a", "running", 2, 9)},
		{"the first of equals", alloc("1", "a", "running", 2, 5), alloc("2", "a", "running", 2, 5)},
	} {
		for _, live := range [][]*state.Alloc{{c.a, c.b}, {c.b, c.a}} {
			d := &jobDiff{job: &state.Job{Version: 2}}
			if got := d.keepOne(w.snap(), live); got != c.a || len(d.stops) != 1 || d.stops[0].alloc != c.b {
				t.Errorf("%s: kept %s", c.name, got.ID)
			}
		}
	}
}

// TestSeedsNeverRepeat: two passes over one snapshot, or over one index of two histories, give their copies different IDs.
func TestSeedsNeverRepeat(t *testing.T) {
	base := Cursor{cluster: "c", generation: 1, term: 2, index: 3, passes: 4, now: 5}
	seen := map[[16]byte]string{base.seed(): "base"}
	for name, c := range map[string]Cursor{
		"cluster": {cluster: "d", generation: 1, term: 2, index: 3, passes: 4, now: 5}, "generation": {cluster: "c", generation: 2, term: 2, index: 3, passes: 4, now: 5},
		"term": {cluster: "c", generation: 1, term: 3, index: 3, passes: 4, now: 5}, "index": {cluster: "c", generation: 1, term: 2, index: 4, passes: 4, now: 5},
		"pass": {cluster: "c", generation: 1, term: 2, index: 3, passes: 5, now: 5}, "time": {cluster: "c", generation: 1, term: 2, index: 3, passes: 4, now: 6},
	} {
		if other, twice := seen[c.seed()]; twice {
			t.Errorf("another %s has the seed of %s", name, other)
		}
		seen[c.seed()] = name
	}
	if base.seed() != (Cursor{cluster: "c", generation: 1, term: 2, index: 3, passes: 4, now: 5}).seed() {
		t.Error("a seed is not repeatable")
	}
}
