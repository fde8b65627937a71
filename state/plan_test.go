package state

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlacedCopy(t *testing.T) {
	h := newHerd(t)
	n := h.node("n1")
	j := h.job(withPorts(testJob("a", 2), []int{8080}, 2))
	h.must(SetEligibility{NodeID: "n1", Eligibility: NodeEligible, Time: 77})
	a := h.place(j, 1, n.ID, 20001, 20002)
	want := &Alloc{
		ID: a.ID, Index: 1, Name: "a.web[1]",
		AllocGroup: &AllocGroup{
			Namespace: "default", JobID: "a", JobType: JobTypeService, TaskGroup: "web", Priority: 50,
			Resources: AllocResources{CPU: 500, MemoryMB: 256, DiskMB: 300},
		},
		AllocNode: &AllocNode{NodeID: "n1", NodeName: "n1"},
		Ports: []AllocPort{
			{Label: "sa", HostIP: "10.0.0.1", HostPort: 8080, To: 8080},
			{Label: "da", HostIP: "10.0.0.1", HostPort: 20001, To: 20001},
			{Label: "db", HostIP: "10.0.0.1", HostPort: 20002, To: 80},
		},
		DesiredStatus: DesiredRun, ClientStatus: ClientPending, CreateTime: 77, CreateIndex: h.index, ModifyIndex: h.index,
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := slices.Collect(h.snap().AllocsByNode("n1")); len(got) != 1 || got[0] != a {
		t.Errorf("by node: %v", got)
	}
	if got := slices.Collect(h.snap().AllocsByJob("default", "a")); len(got) != 1 || got[0] != a {
		t.Errorf("by job: %v", got)
	}
}

// refereeCases each change one thing about a plan that would place copy 1 of job "a" on node n1, beside copy 0.
var refereeCases = []struct {
	name   string
	alter  func(h *herd, c *ApplyPlan)
	reason string
}{
	{"nothing", func(*herd, *ApplyPlan) {}, ""},
	{"no such job", func(_ *herd, c *ApplyPlan) { c.Records[0].JobID = "b" }, "job does not exist"},
	{"another namespace", func(_ *herd, c *ApplyPlan) { c.Records[0].Namespace = "other" }, "job does not exist"},
	{"job modified", func(_ *herd, c *ApplyPlan) { c.Records[0].JobModifyIndex++ }, "job was modified"},
	{"job stopped", func(h *herd, c *ApplyPlan) {
		h.must(StopJob{Namespace: "default", JobID: "a"})
		c.Records[0].JobModifyIndex = h.index
	}, "job is stopped"},
	{"no such group", func(_ *herd, c *ApplyPlan) { c.Records[0].TaskGroup = "db" }, `job has no group "db"`},
	{"slot taken", func(_ *herd, c *ApplyPlan) { c.Records[0].Index[0] = 0 }, "slot web[0] has a live copy, ID"},
	{"index too high", func(_ *herd, c *ApplyPlan) { c.Records[0].Index[0] = 3 }, "index 3 is outside the group's count of 3"},
	{"index negative", func(_ *herd, c *ApplyPlan) { c.Records[0].Index[0] = -1 }, "index -1 is outside the group's count of 3"},
	{"no such node", func(_ *herd, c *ApplyPlan) { c.Nodes[0].ID = "n9" }, "node does not exist"},
	{"node position", func(_ *herd, c *ApplyPlan) { c.Records[0].Node[0] = 1 }, "record names no node of the plan"},
	{"node generation", func(_ *herd, c *ApplyPlan) { c.Nodes[0].Generation-- }, "node has come back since the plan was made"},
	{"node down", func(h *herd, _ *ApplyPlan) { h.down("n1") }, "node is down"},
	{"node not eligible", func(h *herd, _ *ApplyPlan) {
		h.must(SetEligibility{NodeID: "n1", Eligibility: NodeIneligible})
	}, "node is not eligible"},
	{"port taken", func(_ *herd, c *ApplyPlan) { c.Records[0].Ports[0] = 20000 }, "port 20000 is held by ID"},
	{"port outside the range", func(_ *herd, c *ApplyPlan) { c.Records[0].Ports[0] = 20100 }, "port 20100 is outside the node's dynamic range 20000-20099"},
	{"too few ports", func(_ *herd, c *ApplyPlan) { c.Records[0].Ports = nil }, "dynamic ports do not match the group"},
	{"columns differ", func(_ *herd, c *ApplyPlan) { c.Records[0].Node = nil }, "columns of the record differ in length"},
	{"stops what is unknown", func(_ *herd, c *ApplyPlan) {
		c.Records[0].Stop = []StopRef{{AllocID: "none", Desired: DesiredStop}}
	}, "allocation to stop does not exist"},
	{"stops what was modified", func(h *herd, c *ApplyPlan) {
		ref := stopRef(h.firstAlloc())
		ref.ModifyIndex--
		c.Records[0].Stop = []StopRef{ref}
	}, "allocation to stop was modified"},
	{"stops to run", func(h *herd, c *ApplyPlan) {
		ref := stopRef(h.firstAlloc())
		ref.Desired = DesiredRun
		c.Records[0].Stop = []StopRef{ref}
	}, `desired status "run" of the allocation to stop is not known`},
	{"neither", func(_ *herd, c *ApplyPlan) {
		c.Records[0].Index[0], c.Records[0].Node[0], c.Records[0].Ports = -1, -1, nil
	}, "copy is neither placed nor stopped"},
	{"reschedules another slot", func(h *herd, c *ApplyPlan) {
		c.Records[0].Reschedule = []RescheduleEvent{{PrevAllocID: h.firstAlloc().ID}}
	}, "rescheduled allocation is of another slot"},
}

func (h *herd) firstAlloc() *Alloc {
	for a := range h.snap().Allocs() {
		return a
	}
	return nil
}

func TestReferee(t *testing.T) {
	for _, atomic := range []bool{false, true} {
		for _, tc := range refereeCases {
			t.Run(tc.name, func(t *testing.T) {
				h := newHerd(t)
				h.node("n1")
				j := h.job(withPorts(testJob("a", 3), nil, 1))
				first := h.place(j, 0, "n1", 20000)
				c := h.planCommand(record(j, []int{1}, []int{0}, 20001), "n1")
				c.Records[0].Atomic = atomic
				tc.alter(h, &c)
				allocs := h.snap().Hash()[TableAllocs]
				got := h.must(c).(PlanResult)
				want := PlanResult{Placed: 1}
				if tc.reason != "" {
					want = PlanResult{Dropped: []PlanDrop{{Reason: tc.reason}}}
				}
				if atomic && len(got.Dropped) == 1 {
					want.Dropped[0].Copy = -1
					if reason, ok := cutPrefix(got.Dropped[0].Reason, "copy 0: "); ok {
						got.Dropped[0].Reason = reason
					}
				}
				for i := range got.Dropped {
					got.Dropped[i].Reason = replaceID(got.Dropped[i].Reason, first.ID)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if changed := h.snap().Hash()[TableAllocs] != allocs; changed != (tc.reason == "") {
					t.Errorf("allocations changed: %v", changed)
				}
				dirty := slices.Contains(slices.Collect(h.snap().JobsDirtySince(h.index-1)), JobKey{c.Records[0].Namespace, c.Records[0].JobID})
				if exists := h.snap().Job(c.Records[0].Namespace, c.Records[0].JobID) != nil; exists && !dirty {
					t.Error("the job is not dirty")
				}
			})
		}
	}
}

func TestRefereeKeepsCapacity(t *testing.T) {
	for name, alter := range map[string]func(*Task, *TaskGroup){
		"cpu: asks 2000 MHz, 0 of 4000 free":    func(task *Task, _ *TaskGroup) { task.Resources.CPU = 2000 },
		"memory: asks 2048 MiB, 0 of 4096 free": func(task *Task, _ *TaskGroup) { task.Resources.MemoryMB = 2048 },
		"disk: asks 5000 MiB, 0 of 10000 free":  func(_ *Task, g *TaskGroup) { g.EphemeralDisk.SizeMB = 5000 },
	} {
		h := newHerd(t)
		h.node("n1")
		j := testJob("a", 3)
		alter(&j.TaskGroups[0].Tasks[0], &j.TaskGroups[0])
		j = h.job(j)
		got := h.plan(record(j, []int{0, 1, 2}, []int{0, 0, 0}), "n1")
		want := PlanResult{Placed: 2, Dropped: []PlanDrop{{Copy: 2, Reason: name}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		// What is to stop holds until its node says that it has ended.
		stop := record(j, []int{-1}, []int{-1})
		stop.Stop = []StopRef{stopRef(h.firstAlloc())}
		victim := h.firstAlloc()
		h.plan(stop)
		if got := h.plan(record(j, []int{2}, []int{0}), "n1"); got.Placed != 0 {
			t.Errorf("%s: placed on what a stopping copy holds", name)
		}
		h.report(victim, 1, ClientComplete)
		if got := h.plan(record(j, []int{2}, []int{0}), "n1"); got.Placed != 1 {
			t.Errorf("%s: not placed on what was given back: %+v", name, got)
		}
	}
}

func TestShrunkNodeTakesNothing(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	j := testJob("a", 3)
	j = h.job(j)
	h.place(j, 0, "n1")
	small := testNode("n1")
	small.Resources.MemoryMB = 100
	h.must(RegisterNode{Node: small})
	if got := h.plan(record(j, []int{1}, []int{0}), "n1"); got.Placed != 0 {
		t.Errorf("placed on a node that is over-committed: %+v", got)
	}
}

func TestRefereeKeepsPortsApart(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(withPorts(testJob("a", 4), []int{8080}, 0))
	got := h.plan(record(j, []int{0, 1, 2}, []int{0, 0, 1}), "n1", "n2")
	if got.Placed != 2 || len(got.Dropped) != 1 || got.Dropped[0].Copy != 1 {
		t.Errorf("static port twice on a node: %+v", got)
	}
	ssh := h.job(withPorts(testJob("ssh", 1), []int{22}, 0))
	if got := reasons(h.plan(record(ssh, []int{0}, []int{0}), "n1")); !slices.Equal(got, []string{"port 22 is reserved on the node"}) {
		t.Errorf("reserved port: %v", got)
	}
	two := h.job(withPorts(testJob("two", 2), nil, 2))
	if got := reasons(h.plan(record(two, []int{0}, []int{0}, 20000, 20000), "n1")); !slices.Equal(got, []string{"port 20000 is given twice"}) {
		t.Errorf("port twice: %v", got)
	}
	// The second copy's ports are its own although the first is dropped.
	res := h.plan(record(two, []int{5, 1}, []int{0, 0}, 20000, 20001, 20002, 20003), "n1")
	if res.Placed != 1 || len(res.Dropped) != 1 {
		t.Fatalf("plan %+v", res)
	}
	for a := range h.snap().AllocsByJob("default", "two") {
		if a.Ports[0].HostPort != 20002 || a.Ports[1].HostPort != 20003 {
			t.Errorf("ports %+v", a.Ports)
		}
	}
}

func TestStopAndStartGoTogether(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(testJob("a", 1))
	old := h.place(j, 0, "n1")
	rec := record(j, []int{0}, []int{0})
	rec.Stop = []StopRef{stopRef(old)}
	bad := rec
	bad.Node = []int{7}
	if got := h.plan(bad, "n2"); got.Stopped != 0 || h.snap().Alloc(old.ID).DesiredStatus != DesiredRun {
		t.Fatalf("stopped without its replacement: %+v", got)
	}
	if got := h.plan(rec, "n2"); got.Placed != 1 || got.Stopped != 1 {
		t.Fatalf("plan %+v", got)
	}
	old = h.snap().Alloc(old.ID)
	next := h.snap().Alloc(old.NextAllocation)
	if next == nil || next.PreviousAllocation != old.ID || old.DesiredStatus != DesiredStop || old.DesiredDescription != "by the test" {
		t.Errorf("links: old %+v, new %+v", old, next)
	}
	if !h.snap().Live(next) || h.snap().Live(old) || !h.snap().Holds(old) {
		t.Error("the slot's live copy is the new one, and the old one still holds its resources")
	}
}

func TestRescheduleHistory(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	j := h.job(testJob("a", 1))
	a := h.place(j, 0, "n1")
	for i := range 10 {
		h.report(a, 1, ClientFailed)
		rec := record(j, []int{0}, []int{0})
		rec.Reschedule = []RescheduleEvent{{Time: int64(i), PrevAllocID: a.ID, PrevNodeID: "n1", Delay: 30}}
		c := h.planCommand(rec, "n1")
		if got := h.must(c).(PlanResult); got.Placed != 1 {
			t.Fatalf("replacement %d: %+v", i, got)
		}
		next := h.snap().Alloc(AllocID(c.Seed, 0))
		if next.PreviousAllocation != a.ID || h.snap().Alloc(a.ID).NextAllocation != next.ID {
			t.Fatalf("links of %+v", next)
		}
		a = next
	}
	if n := len(a.RescheduleEvents); n != maxRescheduleEvents || a.RescheduleEvents[0].Time != 2 || a.RescheduleEvents[7].Time != 9 {
		t.Errorf("events %+v", a.RescheduleEvents)
	}
	j = h.job(testJob("a", 2))
	rec := record(j, []int{0}, []int{0})
	rec.Stop = []StopRef{stopRef(a)}
	c := h.planCommand(rec, "n1")
	h.must(c)
	if next := h.snap().Alloc(AllocID(c.Seed, 0)); next.JobVersion != 1 || next.RescheduleEvents != nil {
		t.Errorf("a new version starts without a history: %+v", next)
	}
}

func TestLostCopyIsStoppedByItsReplacement(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(testJob("a", 1))
	lost := h.place(j, 0, "n1")
	h.down("n1")
	next := h.place(j, 0, "n2")
	h.must(RegisterNode{Node: testNode("n1")})
	lost = h.snap().Alloc(lost.ID)
	if h.snap().Live(lost) || lost.NextAllocation != next.ID || next.PreviousAllocation != lost.ID {
		t.Errorf("two live copies in a slot after the node came back: %+v, %+v", lost, next)
	}
	if !h.snap().Holds(lost) {
		t.Error("it holds its resources until its node has ended it")
	}
}

func TestAtomicRecord(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	victim := h.place(h.job(testJob("low", 1)), 0, "n1")
	j := h.job(testJob("a", 20))
	index, node := []int{-1, 0, 1, 2, 3, 4, 5, 6, 7}, []int{-1, 0, 0, 0, 0, 0, 0, 0, 0}
	rec := record(j, index, node)
	rec.Atomic = true
	rec.Stop = make([]StopRef, len(index))
	rec.Stop[0] = stopRef(victim)
	rec.Stop[0].Desired = DesiredEvict
	before := h.snap().Hash()
	got := h.plan(rec, "n1")
	want := PlanResult{Dropped: []PlanDrop{{Copy: -1, Reason: "copy 8: cpu: asks 500 MHz, 0 of 4000 free"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if diff := before.Diff(h.snap().Hash()); len(diff) > 0 {
		t.Fatalf("a dropped atomic record changed %v", diff)
	}
	rec.Index, rec.Node, rec.Stop = index[:8], node[:8], rec.Stop[:8]
	if got := h.plan(rec, "n1"); got.Placed != 7 || got.Stopped != 1 {
		t.Fatalf("plan %+v", got)
	}
	if v := h.snap().Alloc(victim.ID); v.DesiredStatus != DesiredEvict {
		t.Errorf("victim %+v", v)
	}
	if got := h.plan(record(j, []int{8, 9}, []int{0, 0}), "n1"); got.Placed != 0 || len(got.Dropped) != 2 {
		t.Errorf("what a rolled back record took is not counted twice, and what was placed is: %+v", got)
	}
}

func TestAtomicRecordRollsBackWhatLaterRecordsSee(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	j := h.job(testJob("a", 20))
	c := h.planCommand(record(j, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}, make([]int, 9)), "n1")
	c.Records[0].Atomic = true
	c.Records = append(c.Records, record(j, []int{0, 1, 2, 3, 4, 5, 6, 7}, make([]int, 8)))
	if got := h.must(c).(PlanResult); got.Placed != 8 || len(got.Dropped) != 1 {
		t.Errorf("plan %+v", got)
	}
}

func TestSeedUsedTwice(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	j := h.job(testJob("a", 2))
	c := h.planCommand(record(j, []int{0}, []int{0}), "n1")
	h.must(c)
	c.Records[0].Index = []int{1}
	if got := h.must(c).(PlanResult); got.Placed != 0 || got.Dropped[0].Reason != "allocation ID exists, the seed was used before" {
		t.Errorf("plan %+v", got)
	}
}

func TestBlocked(t *testing.T) {
	h := newHerd(t)
	j := h.job(testJob("a", 2))
	blocked := &Blocked{Since: 5, Groups: map[string]int{"web": 2}, Reason: "no nodes"}
	set := func(b *Blocked, index uint64) {
		h.must(ApplyPlan{Term: testTerm, Blocked: []BlockedChange{{Namespace: "default", JobID: "a", JobModifyIndex: index, Blocked: b}}})
	}
	set(blocked, j.JobModifyIndex+1)
	if h.snap().Job("default", "a").Blocked != nil {
		t.Error("of another version of the job")
	}
	set(blocked, j.JobModifyIndex)
	index := h.index
	set(blocked, j.JobModifyIndex)
	got := h.snap().Job("default", "a")
	if diff := cmp.Diff(blocked, got.Blocked); diff != "" || got.ModifyIndex != index || got.JobModifyIndex != j.JobModifyIndex {
		t.Errorf("row %+v (-want +got):\n%s", got, diff)
	}
	set(nil, j.JobModifyIndex)
	if h.snap().Job("default", "a").Blocked != nil {
		t.Error("not cleared")
	}
}
