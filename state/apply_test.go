package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
)

func TestClusterRow(t *testing.T) {
	h := newHerd(t)
	h.must(InitCluster{ClusterID: "another", Time: 5})
	if got := h.snap().ClusterID(); got != "herd" {
		t.Errorf("cluster ID %q, want the first one", got)
	}
	if s := h.snap(); s.LeadTerm() != testTerm || s.LeadIndex() != 2 || s.LeadNode() != "s1" || s.Level() != 1 {
		t.Errorf("lead %d %d %q level %d", s.LeadTerm(), s.LeadIndex(), s.LeadNode(), s.Level())
	}
	h.must(Lead{NodeID: "s1", Time: 6})
	if got := h.snap().LeadIndex(); got != 2 {
		t.Errorf("lead index %d after a second Lead of the term, want 2", got)
	}
	h.must(AllowEvictions{Time: 4})
	if got := h.snap().EvictionsAllowedAt(); got != 6 {
		t.Errorf("evictions allowed at %d, want the cluster time 6: it never goes back", got)
	}
	h.refuse(AllowEvictions{Time: -1}, ErrInvalid)
	h.refuse(AllowEvictions{Time: maxTime + 1}, ErrInvalid)
	h.must(RaiseLevel{Term: testTerm, Level: 1})
	h.refuse(RaiseLevel{Term: testTerm, Level: MaxLevel + 1}, ErrOutgrown)

	h.index++
	err, _ := h.store.ApplyCommand(h.index, testTerm-1, Lead{NodeID: "s2"}).(error)
	if !errors.Is(err, ErrStaleTerm) {
		t.Errorf("Lead of an older term: %v", err)
	}
	if err, _ := h.store.ApplyCommand(h.index+1, testTerm, nil).(error); !errors.Is(err, ErrInvalid) {
		t.Errorf("no command: %v", err)
	}
}

func TestOnlyTheLeadersTerm(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	for _, term := range []uint64{testTerm - 1, testTerm + 1, 0} {
		h.refuse(RaiseLevel{Term: term, Level: 1}, ErrStaleTerm)
		h.refuse(SetNodeStatus{Term: term}, ErrStaleTerm)
		h.refuse(ApplyPlan{Term: term}, ErrStaleTerm)
		h.refuse(CollectGarbage{Term: term}, ErrStaleTerm)
	}
	h.must(ApplyPlan{Term: testTerm})
}

func TestRegisterJob(t *testing.T) {
	h := newHerd(t)
	h.refuse(RegisterJob{}, ErrInvalid)
	h.refuse(RegisterJob{Job: &Job{ID: "x"}}, ErrInvalid)
	h.refuse(RegisterJob{Job: testJob("a", 1), EnforceIndex: true, JobModifyIndex: 7}, ErrIndexMismatch)

	first := h.must(RegisterJob{Job: testJob("a", 1), EnforceIndex: true, RequestID: "r1", Time: 100}).(RegisterJobResult)
	want := RegisterJobResult{Namespace: "default", JobID: "a", JobModifyIndex: h.index, Changed: true}
	if first != want {
		t.Fatalf("first registration %+v, want %+v", first, want)
	}
	j := h.snap().Job("default", "a")
	if j.SubmitTime != 100 || j.CreateIndex != h.index || j.ModifyIndex != h.index || j.Version != 0 {
		t.Errorf("row %+v", j)
	}

	if again := h.must(RegisterJob{Job: testJob("a", 1), EnforceIndex: true, RequestID: "r1"}); again != any(first) {
		t.Errorf("retry with the same request ID: %+v, want %+v", again, first)
	}
	h.refuse(RegisterJob{Job: testJob("b", 1), RequestID: "r1"}, ErrConflict)
	h.refuse(RegisterJob{Job: testJob("b", 1), RequestID: strings.Repeat("r", maxNameBytes+1)}, ErrLimit)
	h.refuse(RegisterJob{Job: testJob("a", 2), EnforceIndex: true}, ErrIndexMismatch)
	h.refuse(RegisterJob{Job: testJob("a", 2), EnforceIndex: true}, ErrConflict)

	same := h.must(RegisterJob{Job: testJob("a", 1)}).(RegisterJobResult)
	if same.Changed || same.JobModifyIndex != first.JobModifyIndex {
		t.Errorf("same specification: %+v", same)
	}
	changed := h.must(RegisterJob{Job: testJob("a", 2), EnforceIndex: true, JobModifyIndex: first.JobModifyIndex}).(RegisterJobResult)
	if !changed.Changed || changed.Version != 1 || changed.JobModifyIndex != h.index {
		t.Errorf("new specification: %+v", changed)
	}
	batch := testJob("a", 2)
	batch.Type = JobTypeBatch
	h.refuse(RegisterJob{Job: batch}, ErrConflict)
	if v := h.snap().JobVersion("default", "a", 0); v == nil || v.TaskGroups[0].Count != 1 {
		t.Errorf("version 0 is %+v", v)
	}
}

func TestStoppedJobStartsAgain(t *testing.T) {
	h := newHerd(t)
	n, j := h.node("n1"), h.job(testJob("a", 1))
	a := h.place(j, 0, n.ID)
	h.must(StopJob{Namespace: "default", JobID: "a"})
	if got := h.snap().Job("default", "a"); !got.Stop || got.JobModifyIndex != h.index {
		t.Fatalf("stopped row %+v", got)
	}
	index := h.index
	h.must(StopJob{Namespace: "default", JobID: "a"})
	if got := h.snap().Job("default", "a").ModifyIndex; got != index {
		t.Errorf("stopping twice modified the row at %d", got)
	}
	r := h.must(RegisterJob{Job: testJob("a", 1)}).(RegisterJobResult)
	if r.Changed || r.Version != 0 || r.JobModifyIndex != h.index || h.snap().Job("default", "a").Stop {
		t.Errorf("registering a stopped job again: %+v", r)
	}
	h.refuse(StopJob{Namespace: "default", JobID: "none"}, ErrNotFound)
	h.refuse(StopJob{Namespace: "other", JobID: "a"}, ErrNotFound)
	if got := h.snap().Alloc(a.ID).DesiredStatus; got != DesiredRun {
		t.Errorf("StopJob wrote the allocation's desired status %q; that is the leader's", got)
	}
}

func TestJobVersionsAreKeptWhileUsed(t *testing.T) {
	h := newHerd(t)
	n := h.node("n1")
	a := h.place(h.job(testJob("a", 1)), 0, n.ID)
	for i := range 10 {
		h.job(testJob("a", i+2))
	}
	versions := func() (out []uint64) {
		for _, v := range h.snap().JobVersions("default", "a") {
			out = append(out, v.Version)
		}
		return out
	}
	if diff := cmp.Diff([]uint64{10, 9, 8, 7, 6, 5, 0}, versions()); diff != "" {
		t.Fatalf("versions (-want +got):\n%s", diff)
	}
	h.report(a, 1, ClientFailed)
	h.must(StopJob{Namespace: "default", JobID: "a"})
	h.must(CollectGarbage{Term: testTerm, Allocs: []string{a.ID}})
	if diff := cmp.Diff([]uint64{10, 9, 8, 7, 6, 5}, versions()); diff != "" {
		t.Fatalf("versions after the allocation was collected (-want +got):\n%s", diff)
	}
}

func TestPurge(t *testing.T) {
	h := newHerd(t)
	n, j := h.node("n1"), h.job(testJob("a", 2))
	a, b := h.place(j, 0, n.ID), h.place(j, 1, n.ID)
	h.must(StopJob{Namespace: "default", JobID: "a", Purge: true})
	j = h.snap().Job("default", "a")
	if j == nil || h.snap().JobStatus(j) != JobStatusRunning {
		t.Fatalf("the row must stay while copies run: %+v", j)
	}
	rec := record(j, []int{-1, -1}, []int{-1, -1})
	rec.Stop = []StopRef{stopRef(h.snap().Alloc(a.ID)), stopRef(h.snap().Alloc(b.ID))}
	if got := h.plan(rec); got.Stopped != 2 {
		t.Fatalf("plan %+v", got)
	}
	h.report(a, 1, ClientComplete)
	if h.snap().Job("default", "a") == nil {
		t.Fatal("the row went while a copy held resources")
	}
	h.report(b, 1, ClientComplete)
	if h.snap().Job("default", "a") != nil {
		t.Fatal("the row stayed after the last report")
	}
	if h.snap().JobVersion("default", "a", 0) == nil {
		t.Error("version 0 went although allocations refer to it")
	}
	if r := h.job(testJob("a", 2)); r.Version != 1 {
		t.Errorf("registered after a purge at version %d, want 1: 0 is still referred to", r.Version)
	}
	h.must(StopJob{Namespace: "default", JobID: "a", Purge: true})
	if h.snap().Job("default", "a") != nil {
		t.Error("a job without copies is purged at once")
	}
	h.must(CollectGarbage{Term: testTerm, Allocs: allocIDs(h.snap())})
	if got := h.snap().JobVersions("default", "a"); len(got) != 0 || h.snap().AllocCount() != 0 {
		t.Errorf("%d versions, %d allocations left", len(got), h.snap().AllocCount())
	}
}

func TestPurgeWaitsForLostCopies(t *testing.T) {
	h := newHerd(t)
	n, j := h.node("n1"), h.job(testJob("a", 1))
	a := h.place(j, 0, n.ID)
	h.must(StopJob{Namespace: "default", JobID: "a", Purge: true})
	h.down("n1")
	j = h.snap().Job("default", "a")
	if j == nil {
		t.Fatal("the row went although the copy would run again if its node came back")
	}
	rec := record(j, []int{-1}, []int{-1})
	rec.Stop = []StopRef{stopRef(h.snap().Alloc(a.ID))}
	h.plan(rec)
	if h.snap().Job("default", "a") != nil {
		t.Error("the row stayed")
	}
}

func TestStopAlloc(t *testing.T) {
	h := newHerd(t)
	a := h.place(h.job(testJob("a", 1)), 0, h.node("n1").ID)
	done := h.must(StopAlloc{AllocID: a.ID, RequestID: "r"})
	if !h.snap().Alloc(a.ID).Migrate {
		t.Error("not marked")
	}
	if again := h.must(StopAlloc{AllocID: a.ID, RequestID: "r"}); again != done {
		t.Errorf("retry: %+v, want %+v", again, done)
	}
	h.report(a, 1, ClientFailed)
	h.refuse(StopAlloc{AllocID: a.ID}, ErrConflict)
	h.refuse(StopAlloc{AllocID: "none"}, ErrNotFound)
}

func TestRequestsAreBounded(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	for i := range maxRequests + 10 {
		h.index++
		h.store.ApplyCommand(h.index, testTerm, SetEligibility{NodeID: "n1", Eligibility: NodeEligible, RequestID: fmt.Sprint("r", i)})
	}
	s := h.snap()
	if got := s.requests.rows.Len(); got != maxRequests {
		t.Errorf("%d results, want %d", got, maxRequests)
	}
	if s.requests.get("r9") != nil || s.requests.get("r10") == nil {
		t.Error("the oldest must go first")
	}
}

func TestAllocIDs(t *testing.T) {
	seen := map[string]bool{}
	for n := range 10_000 {
		id := AllocID([16]byte{1}, n)
		if seen[id[:8]] || len(id) != 36 || id[14] != '8' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatalf("ID %q of %d", id, n)
		}
		seen[id[:8]] = true
	}
	if AllocID([16]byte{1}, 0) == AllocID([16]byte{2}, 0) {
		t.Error("the seed does not matter")
	}
	same := func(seed [16]byte, n int) bool { return AllocID(seed, n) == AllocID(seed, n) }
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

// TestApplyGuardsItself hands the state machine what Encode would have refused.
func TestApplyGuardsItself(t *testing.T) {
	for name, alter := range map[string]func(j *Job){
		"namespace":      func(j *Job) { j.Namespace = "a\x00b" },
		"id":             func(j *Job) { j.ID = "" },
		"type":           func(j *Job) { j.Type = "system" },
		"no groups":      func(j *Job) { j.TaskGroups = nil },
		"group name":     func(j *Job) { group(j).Name = "../x" },
		"same groups":    func(j *Job) { j.TaskGroups = append(j.TaskGroups, *group(j)) },
		"count":          func(j *Job) { group(j).Count = -1 },
		"no tasks":       func(j *Job) { group(j).Tasks = nil },
		"task name":      func(j *Job) { task(j).Name = ".." },
		"negative cpu":   func(j *Job) { task(j).Resources.CPU = -1 },
		"endless memory": func(j *Job) { task(j).Resources.MemoryMB = 1 << 62 },
		"negative disk":  func(j *Job) { group(j).EphemeralDisk.SizeMB = -1 },
		"networks":       func(j *Job) { group(j).Networks = make([]Network, 2) },
		"static port":    func(j *Job) { withPorts(j, []int{0}, 0) },
	} {
		h := newHerd(t)
		j := testJob("a", 1)
		alter(j)
		if err, _ := h.store.ApplyCommand(h.index+1, testTerm, RegisterJob{Job: j}).(error); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Encode(RegisterJob{Job: j}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: encode: %v", name, err)
		}
	}
	for name, alter := range map[string]func(n *Node){
		"id":     func(n *Node) { n.ID = "" },
		"boot":   func(n *Node) { n.Boot = 1 << 63 },
		"cpu":    func(n *Node) { n.Resources.CPU = -1 },
		"memory": func(n *Node) { n.Resources.MemoryMB = 1 << 62 },
		"ports":  func(n *Node) { n.Resources.MaxDynamicPort = 1 << 20 },
	} {
		h := newHerd(t)
		n := testNode("n1")
		alter(n)
		if err, _ := h.store.ApplyCommand(h.index+1, testTerm, RegisterNode{Node: n}).(error); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Encode(RegisterNode{Node: n}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: encode: %v", name, err)
		}
	}
}
