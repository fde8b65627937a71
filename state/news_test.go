package state

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkNews fails unless news are among what is dirty, and all is news that is more than a new copy or a node's word that one runs.
func checkNews(t rapid.TB, old, now *Snapshot, jobs map[JobKey]bool, nodes map[string]bool) {
	newsJobs, newsNodes := map[JobKey]bool{}, map[string]bool{}
	for k := range now.JobsNewsSince(old.Index()) {
		newsJobs[k] = true
		if !jobs[k] {
			t.Fatalf("job %v is news and not dirty", k)
		}
	}
	for id := range now.NodesNewsSince(old.Index()) {
		newsNodes[id] = true
		if !nodes[id] {
			t.Fatalf("node %s is news and not dirty", id)
		}
	}
	for key := range rowsDiffer(rowsOf(old.jobs), rowsOf(now.jobs)) {
		if !newsJobs[splitKey(key)] {
			t.Fatalf("the row of job %q changed and is no news", key)
		}
	}
	for id := range rowsDiffer(rowsOf(old.nodes), rowsOf(now.nodes)) {
		if !newsNodes[id] {
			t.Fatalf("the row of node %s changed and is no news", id)
		}
	}
	for id := range rowsDiffer(allocsOf(old), allocsOf(now)) {
		before, after := old.Alloc(id), now.Alloc(id)
		if after != nil && !after.TerminalClient() {
			was := DesiredRun
			if before != nil {
				was = before.DesiredStatus
			}
			if after.DesiredStatus == was && after.Migrate == (before != nil && before.Migrate) {
				continue
			}
		}
		a := cmp.Or(after, before)
		if !newsJobs[JobKey{a.Namespace, a.JobID}] || !newsNodes[a.NodeID] {
			t.Fatalf("allocation %s changed from %+v to %+v and is no news", id, before, after)
		}
	}
}

// TestNews: what plans place and what runs is no news, everything else is.
func TestNews(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	j := h.job(testJob("a", 3))
	key := JobKey{j.Namespace, j.ID}
	since := func() (jobs []JobKey, nodes []string) {
		s := h.snap()
		for k := range s.JobsNewsSince(h.index - 1) {
			jobs = append(jobs, k)
		}
		return jobs, slices.Collect(s.NodesNewsSince(h.index - 1))
	}
	expect := func(what string, jobNews, nodeNews bool) {
		t.Helper()
		jobs, nodes := since()
		if slices.Contains(jobs, key) != jobNews || slices.Contains(nodes, "n1") != nodeNews {
			t.Errorf("%s: news are jobs %v and nodes %v", what, jobs, nodes)
		}
		if !slices.Contains(slices.Collect(h.snap().JobsDirtySince(h.index-1)), key) {
			t.Errorf("%s: the job is not dirty", what)
		}
	}
	expect("a job", true, false)
	a := h.place(j, 0, "n1")
	expect("a copy", false, false)
	h.report(a, 1, ClientRunning)
	expect("it runs", false, false)
	h.report(a, 2, ClientFailed)
	expect("it failed", true, true)
	b := h.place(j, 1, "n1")
	h.must(StopAlloc{AllocID: b.ID})
	expect("it is to move", true, true)
	c := h.planCommand(record(j, []int{1}, []int{0}), "n1") // the slot is taken
	h.must(c)
	expect("a plan that was dropped", true, false)
	plans, all := h.snap().PlansSince(h.index - 1)
	if len(plans) != 1 || !all || plans[0].Whole || plans[0].Seed != c.Seed || plans[0].Index != h.index {
		t.Errorf("the last plan is %+v, %v", plans, all)
	}
	if plans, _ := h.snap().PlansSince(0); len(plans) != 3 || !plans[0].Whole {
		t.Errorf("the plans are %+v", plans)
	}
	for range maxPlans {
		h.must(h.planCommand(record(j, []int{1}, []int{0}), "n1"))
	}
	if plans, all := h.snap().PlansSince(0); len(plans) != maxPlans || all {
		t.Errorf("%d plans are remembered, all is %v", len(plans), all)
	}
}
