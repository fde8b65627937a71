package state

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func cutPrefix(s, prefix string) (string, bool) { return strings.CutPrefix(s, prefix) }
func replaceID(s, id string) string             { return strings.ReplaceAll(s, id, "ID") }

func TestReportOrder(t *testing.T) {
	h := newHerd(t)
	a := h.place(h.job(testJob("a", 1)), 0, h.node("n1").ID)
	h.node("n2")
	steps := []struct {
		name      string
		node      string
		boot, seq uint64
		status    string
		applied   int
		want      string
	}{
		{"first", "n1", 1, 3, ClientRunning, 1, ClientRunning},
		{"the same again", "n1", 1, 3, ClientPending, 0, ClientRunning},
		{"older", "n1", 1, 2, ClientFailed, 0, ClientRunning},
		{"another node's", "n2", 9, 9, ClientFailed, 0, ClientRunning},
		{"no known status", "n1", 1, 4, ClientLost, 0, ClientRunning},
		{"nothing new", "n1", 1, 5, ClientRunning, 0, ClientRunning},
		{"newer boot counts from 1", "n1", 2, 1, ClientPending, 1, ClientPending},
		{"older boot", "n1", 1, 99, ClientFailed, 0, ClientPending},
		{"ended", "n1", 2, 2, ClientComplete, 1, ClientComplete},
		{"after the end", "n1", 2, 3, ClientRunning, 0, ClientComplete},
		{"after the end, next boot", "n1", 3, 1, ClientFailed, 0, ClientComplete},
	}
	for i, step := range steps {
		got := h.must(Report{Time: int64(100 + i), Nodes: []NodeReport{{
			NodeID: step.node, Boot: step.boot, Seq: step.seq,
			Allocs: []AllocReport{{ID: a.ID, Status: step.status}, {ID: "unknown", Status: step.status}},
		}}}).(ReportResult)
		row := h.snap().Alloc(a.ID)
		if got.Applied != step.applied || got.Ignored != 2-step.applied || row.ClientStatus != step.want {
			t.Errorf("%s: %+v, status %s, want %s", step.name, got, row.ClientStatus, step.want)
		}
		if step.applied == 1 && (row.ClientModifyTime != int64(100+i) || row.ReportBoot != step.boot || row.ReportSeq != step.seq) {
			t.Errorf("%s: row %+v", step.name, row)
		}
	}
	if row := h.snap().Alloc(a.ID); row.DesiredStatus != DesiredRun {
		t.Errorf("a report wrote the desired status %q", row.DesiredStatus)
	}
}

func TestReportIsBounded(t *testing.T) {
	h := newHerd(t)
	a := h.place(h.job(testJob("a", 1)), 0, h.node("n1").ID)
	tasks := map[string]TaskState{strings.Repeat("n", maxNameBytes+1): {State: TaskDead}}
	for i := range maxTasks + 5 {
		ts := TaskState{State: TaskRunning}
		for k := range MaxTaskEvents + 3 {
			ts.Events = append(ts.Events, TaskEvent{Type: "Restarting", Time: int64(k), Message: strings.Repeat("é", maxTextBytes)})
		}
		tasks[fmt.Sprintf("task-%02d", i)] = ts
	}
	h.must(Report{Nodes: []NodeReport{{NodeID: "n1", Boot: 1, Seq: 1, Allocs: []AllocReport{
		{ID: a.ID, Status: ClientRunning, Description: strings.Repeat("d", 5000), Tasks: tasks},
	}}}})
	row := h.snap().Alloc(a.ID)
	if row.TaskStates.Len() != maxTasks || len(row.ClientDescription) != maxTextBytes {
		t.Errorf("%d tasks, description of %d bytes", row.TaskStates.Len(), len(row.ClientDescription))
	}
	ts, known := row.TaskStates.Map()["task-19"]
	if !known || len(ts.Events) != MaxTaskEvents || ts.Events[0].Time != 3 {
		t.Errorf("events %+v", ts.Events)
	}
	for _, e := range ts.Events {
		if len(e.Message) > maxTextBytes || !utf8.ValidString(e.Message) {
			t.Errorf("message of %d bytes", len(e.Message))
		}
	}
	h.report(a, 2, ClientFailed)
	if got := h.snap().Alloc(a.ID).TaskStates; got.Len() != maxTasks {
		t.Errorf("a report without tasks forgot %d of them", maxTasks-got.Len())
	}
}

func TestCollectGarbage(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(testJob("a", 3))
	failed, running, lost := h.place(j, 0, "n1"), h.place(j, 1, "n1"), h.place(j, 2, "n2")
	h.report(failed, 1, ClientFailed)
	next := h.place(j, 0, "n1")
	h.down("n2")
	all := CollectGarbage{Term: testTerm, Allocs: allocIDs(h.snap()), Jobs: []JobKey{{"default", "a"}, {"x", "y"}}, Nodes: []string{"n1", "n2", "n3"}}
	if got, want := h.must(all), (CollectGarbageResult{Allocs: 1}); got != any(want) {
		t.Errorf("collected %+v, want %+v", got, want)
	}
	s := h.snap()
	if s.Alloc(failed.ID) != nil || s.Alloc(running.ID) == nil || s.Alloc(lost.ID) == nil || s.Alloc(next.ID) == nil {
		t.Errorf("left: %v", allocIDs(s))
	}
	h.report(next, 1, ClientFailed)
	if got, want := h.must(all), (CollectGarbageResult{}); got != any(want) {
		t.Errorf("collected %+v, want nothing: the failed copy is the last word on its slot", got)
	}

	h.must(StopJob{Namespace: "default", JobID: "a"})
	j = h.snap().Job("default", "a")
	rec := record(j, []int{-1, -1}, []int{-1, -1})
	rec.Stop = []StopRef{stopRef(h.snap().Alloc(running.ID)), stopRef(h.snap().Alloc(lost.ID))}
	h.plan(rec)
	all.Allocs = allocIDs(h.snap())
	if got, want := h.must(all), (CollectGarbageResult{Allocs: 2, Nodes: 1}); got != any(want) {
		t.Errorf("collected %+v, want %+v: one copy still runs", got, want)
	}
	h.report(running, 1, ClientComplete)
	all.Allocs = allocIDs(h.snap())
	if got, want := h.must(all), (CollectGarbageResult{Allocs: 1, Jobs: 1}); got != any(want) {
		t.Errorf("collected %+v, want %+v", got, want)
	}
	if s := h.snap(); s.AllocCount() != 0 || s.JobCount() != 0 || s.NodeCount() != 1 || len(s.JobVersions("default", "a")) != 0 {
		t.Errorf("left: %d allocations, %d jobs, %d nodes", s.AllocCount(), s.JobCount(), s.NodeCount())
	}
}

func TestBatchCopyIsNotRunTwice(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	j := testJob("a", 1)
	j.Type = JobTypeBatch
	j = h.job(j)
	a := h.place(j, 0, "n1")
	h.report(a, 1, ClientComplete)
	h.must(CollectGarbage{Term: testTerm, Allocs: []string{a.ID}})
	if h.snap().Alloc(a.ID) == nil {
		t.Fatal("the only sign that the copy has run was collected")
	}
	h.must(CollectGarbage{Term: testTerm, Allocs: []string{a.ID}, Jobs: []JobKey{{"default", "a"}}})
	if h.snap().AllocCount() != 0 || h.snap().JobCount() != 0 {
		t.Error("a dead job and its copies go together")
	}
}

func TestServiceWithoutCopiesIsKept(t *testing.T) {
	h := newHerd(t)
	h.job(testJob("a", 0))
	h.must(CollectGarbage{Term: testTerm, Jobs: []JobKey{{"default", "a"}}})
	if h.snap().Job("default", "a") == nil {
		t.Error("a service with a count of 0 was collected")
	}
}

func TestJobStatus(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	status := func(id string) string { return h.snap().JobStatus(h.snap().Job("default", id)) }
	check := func(id, want, when string) {
		t.Helper()
		if got := status(id); got != want {
			t.Errorf("%s is %s, want %s", when, got, want)
		}
	}
	batch := testJob("batch", 1)
	batch.Type = JobTypeBatch
	batch.TaskGroups[0].ReschedulePolicy = ReschedulePolicy{Attempts: 1, Interval: 3600e9, Delay: 5e9, DelayFunction: DelayConstant}
	batch = h.job(batch)
	check("batch", JobStatusPending, "a job without copies")
	a := h.place(batch, 0, "n1")
	check("batch", JobStatusRunning, "a job with a live copy")
	h.report(a, 1, ClientFailed)
	check("batch", JobStatusPending, "a batch job that failed once of two attempts")
	rec := record(batch, []int{0}, []int{0})
	rec.Reschedule = []RescheduleEvent{{Time: 1, PrevAllocID: a.ID}}
	c := h.planCommand(rec, "n1")
	h.must(c)
	h.report(h.snap().Alloc(AllocID(c.Seed, 0)), 1, ClientFailed)
	check("batch", JobStatusDead, "a batch job whose attempts are used up")

	done := testJob("done", 1)
	done.Type = JobTypeBatch
	h.report(h.place(h.job(done), 0, "n1"), 1, ClientComplete)
	check("done", JobStatusDead, "a batch job that is complete")

	service := h.job(testJob("service", 1))
	h.report(h.place(service, 0, "n1"), 1, ClientComplete)
	check("service", JobStatusPending, "a service whose copy has ended")
	h.must(StopJob{Namespace: "default", JobID: "service"})
	check("service", JobStatusDead, "a stopped service")
	h.job(testJob("zero", 0))
	check("zero", JobStatusDead, "a job that wants no copies")
}

func TestReads(t *testing.T) {
	h := newHerd(t)
	for _, id := range []string{"web", "web-2", "db"} {
		h.job(testJob(id, 1))
	}
	other := testJob("web", 1)
	other.Namespace = "prod"
	h.job(other)
	for _, id := range []string{"n1", "n2", "m1"} {
		h.node(id)
	}
	names := func(ns, prefix string) (out []string) {
		for j := range h.snap().JobsByPrefix(ns, prefix) {
			out = append(out, j.Namespace+"/"+j.ID)
		}
		return out
	}
	for _, tc := range []struct {
		ns, prefix string
		want       []string
	}{
		{"default", "", []string{"default/db", "default/web", "default/web-2"}},
		{"default", "web", []string{"default/web", "default/web-2"}},
		{"*", "web", []string{"default/web", "default/web-2", "prod/web"}},
		{"pro", "", nil},
		{"default\x00web", "", nil},
	} {
		if diff := cmp.Diff(tc.want, names(tc.ns, tc.prefix)); diff != "" {
			t.Errorf("jobs of %q with prefix %q (-want +got):\n%s", tc.ns, tc.prefix, diff)
		}
	}
	var nodes []string
	for n := range h.snap().NodesByPrefix("n") {
		nodes = append(nodes, n.ID)
	}
	if diff := cmp.Diff([]string{"n1", "n2"}, nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	a := h.place(h.snap().Job("default", "web"), 0, "n1")
	for got := range h.snap().AllocsByPrefix(a.ID[:8]) {
		if got != a {
			t.Errorf("got %s", got.ID)
		}
	}
	if s := h.snap(); s.JobCount() != 4 || s.NodeCount() != 3 || s.AllocCount() != 1 || s.Job("default", "none") != nil ||
		s.Node("none") != nil || s.Alloc("none") != nil || s.JobVersion("default", "web", 1) != nil {
		t.Error("counts and absent rows")
	}
}
