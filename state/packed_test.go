package state

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	cmpdiff "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawTasks draws task states as agents report them, few different ones.
func drawTasks(t *rapid.T) map[string]TaskState {
	out := map[string]TaskState{}
	for _, name := range rapid.SampledFrom([][]string{nil, {"t"}, {"t", "u"}}).Draw(t, "tasks") {
		ts := TaskState{State: rapid.SampledFrom([]string{TaskRunning, TaskDead}).Draw(t, "state"), StartedAt: rapid.Int64Range(0, 1<<60).Draw(t, "started")}
		for range rapid.IntRange(0, 2).Draw(t, "events") {
			ts.Events = append(ts.Events, TaskEvent{Type: "Started", Time: rapid.Int64Range(0, 1<<60).Draw(t, "at")})
		}
		if rapid.IntRange(0, 9).Draw(t, "crash") == 0 {
			ts.Crash = &CrashTail{Reason: "exit 1", Time: rapid.Int64().Draw(t, "crashed"), Stderr: []string{"oh"}}
		}
		out[name] = ts
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func sortedReports(in []AllocReport) []AllocReport {
	return slices.SortedFunc(slices.Values(in), func(a, b AllocReport) int { return cmp.Compare(a.ID, b.ID) })
}

// TestPackedReports: a packed report says what the report says, also behind JSON, and applying it leads to the same rows.
func TestPackedReports(tt *testing.T) {
	rapid.Check(tt, func(t *rapid.T) {
		h := newHerd(tt)
		h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
		n := h.node("n1")
		j := h.job(testJob("a", 6))
		ids := []string{"not-a-uuid", AllocID([16]byte{9}, 9)}
		for i := range 6 {
			ids = append(ids, h.place(j, i, n.ID).ID)
		}
		r := NodeReport{NodeID: n.ID, Boot: 1, Seq: 5}
		for _, id := range ids {
			if rapid.Bool().Draw(t, "reported") {
				r.Allocs = append(r.Allocs, AllocReport{ID: id, Status: rapid.SampledFrom([]string{ClientRunning, ClientFailed}).Draw(t, "status"), Tasks: drawTasks(t)})
			}
		}
		packed := r.Packed()
		if packed.Len() != len(r.Allocs) {
			t.Fatalf("%d allocations are packed, of %d", packed.Len(), len(r.Allocs))
		}
		data, err := Encode(Report{Nodes: []NodeReport{packed}, Time: 7})
		if err != nil {
			t.Fatal(err)
		}
		read, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmpdiff.Diff(sortedReports(r.Allocs), sortedReports(read.(Report).Nodes[0].Unpacked().Allocs)); diff != "" {
			t.Fatalf("(-said +packed and unpacked):\n%s", diff)
		}
		plain, _ := h.snap().With(h.index+1, testTerm, Report{Nodes: []NodeReport{r}, Time: 7})
		columns, _ := h.snap().With(h.index+1, testTerm, read)
		if d := plain.Hash().Diff(columns.Hash()); len(d) > 0 {
			t.Fatalf("applying the packed report leads to other %v", d)
		}
	})
}

// TestPackReports: an entry for many nodes says what each of them says.
func TestPackReports(tt *testing.T) {
	rapid.Check(tt, func(t *rapid.T) {
		h := newHerd(tt)
		h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
		j := h.job(testJob("a", 12))
		nodes := make([]NodeReport, 3)
		for i := range nodes {
			nodes[i] = NodeReport{NodeID: h.node(fmt.Sprint("n", i)).ID, Boot: 1, Seq: 5}
		}
		for i := range 12 {
			n := &nodes[i%3]
			a := AllocReport{ID: h.place(j, i, n.NodeID).ID, Status: ClientRunning, Tasks: drawTasks(t)}
			n.Allocs = append(n.Allocs, a)
		}
		said := slices.Clone(nodes)
		for i := range nodes {
			if rapid.Bool().Draw(t, "packed") {
				said[i] = nodes[i].Packed()
			}
		}
		data, err := Encode(PackReports(said, 7))
		if err != nil {
			t.Fatal(err)
		}
		read, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		plain, _ := h.snap().With(h.index+1, testTerm, Report{Nodes: nodes, Time: 7})
		columns, result := h.snap().With(h.index+1, testTerm, read)
		if d := plain.Hash().Diff(columns.Hash()); len(d) > 0 || result.(ReportResult).Applied == 0 {
			t.Fatalf("applying the packed reports leads to other %v: %+v", d, result)
		}
	})
}

// TestRunsAreSmall: what a report of copies that started alike costs in the log.
func TestRunsAreSmall(t *testing.T) {
	r := NodeReport{NodeID: AllocID([16]byte{1}, 1), Boot: 1, Seq: 1}
	const n = 200
	for i := range n {
		at := int64(1_700_000_000_000_000_000 + i)
		r.Allocs = append(r.Allocs, AllocReport{ID: AllocID([16]byte{2}, i), Status: ClientRunning, Tasks: map[string]TaskState{"task": {
			State: TaskRunning, StartedAt: at, Events: []TaskEvent{{Type: "Started", Time: at, Message: "started"}},
		}}})
	}
	plain, _ := Encode(Report{Nodes: []NodeReport{r}})
	packed, err := Encode(Report{Nodes: []NodeReport{r.Packed()}})
	for _, said := range []NodeReport{r, r.Packed()} {
		if size, real := said.Size(), len(marshal(said)); size < real || size > 2*real {
			t.Errorf("%d bytes are taken for %d", real, size)
		}
	}
	if err != nil || len(packed) > 30*n {
		t.Errorf("%d bytes an allocation packed, %d not, %v", len(packed)/n, len(plain)/n, err)
	}
}

func TestRunsThatAreNotWhole(t *testing.T) {
	h := newHerd(t)
	h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	a := h.place(h.job(testJob("a", 1)), 0, h.node("n1").ID)
	id, _ := parseID(a.ID)
	tasks := map[string]TaskState{"t": {State: TaskRunning, StartedAt: 5}}
	for name, run := range map[string]ReportRun{
		"half an ID": {Status: ClientRunning, IDs: id.append(nil)[:9]},
		"no times":   {Status: ClientRunning, IDs: id.append(nil), Tasks: tasks},
		"too many":   {Status: ClientRunning, IDs: id.append(nil), Times: []int64{1}},
		"no node":    {Status: ClientRunning, IDs: id.append(nil), Nodes: []int{1, 2}},
	} {
		bad := Report{Nodes: []NodeReport{{NodeID: "n1", Boot: 1, Seq: 9, Runs: []ReportRun{run}}}, Time: 9}
		if _, err := Encode(bad); err == nil {
			t.Errorf("%s: encoded", name)
		}
		if _, err := h.snap().NewsIn(bad.Nodes[0]); err == nil {
			t.Errorf("%s: taken for whole", name)
		}
		over := Report{Nodes: []NodeReport{{NodeID: "n1", Boot: 1, Seq: 9}}, Runs: []ReportRun{run}, Time: 9}
		if _, err := Encode(over); err == nil {
			t.Errorf("%s: encoded over nodes", name)
		}
		if after, _ := h.snap().With(h.index+1, testTerm, over); after.Alloc(a.ID).ClientStatus != ClientPending {
			t.Errorf("%s: applied over nodes", name)
		}
		after, got := h.snap().With(h.index+1, testTerm, bad)
		if got != (ReportResult{Ignored: len(run.IDs) / idBytes}) || after.Alloc(a.ID).ClientStatus != ClientPending {
			t.Errorf("%s: applied as %+v", name, got)
		}
	}
}

// TestRunsAreBounded: what one node says cannot grow a row beyond its bounds by saying it in columns.
func TestRunsAreBounded(t *testing.T) {
	h := newHerd(t)
	h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	n, j := h.node("n1"), h.job(testJob("a", 2))
	r := NodeReport{NodeID: n.ID, Boot: 1, Seq: 1}
	for i := range 2 {
		ts := TaskState{State: TaskRunning}
		for k := range 3 * MaxTaskEvents {
			ts.Events = append(ts.Events, TaskEvent{Type: "Started", Time: int64(k)})
		}
		r.Allocs = append(r.Allocs, AllocReport{ID: h.place(j, i, n.ID).ID, Status: ClientRunning, Tasks: map[string]TaskState{"t": ts}})
	}
	packed := r.Packed()
	if len(packed.Runs) != 1 {
		t.Fatalf("%d runs", len(packed.Runs))
	}
	h.must(Report{Nodes: []NodeReport{packed}})
	for _, a := range r.Allocs {
		if events := h.snap().Alloc(a.ID).TaskStates.Get("t").Events; len(events) != MaxTaskEvents || events[0].Time != 2*MaxTaskEvents {
			t.Errorf("%d events, the first of %v", len(events), events)
		}
	}
}

// TestNewsIn leaves out what is known to have ended, in columns or not.
func TestNewsIn(t *testing.T) {
	h := newHerd(t)
	h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	n, j := h.node("n1"), h.job(testJob("a", 3))
	r := NodeReport{NodeID: n.ID, Boot: 1, Seq: 1}
	for i := range 3 {
		r.Allocs = append(r.Allocs, AllocReport{ID: h.place(j, i, n.ID).ID, Status: ClientComplete})
	}
	first := r
	first.Allocs = r.Allocs[:1]
	h.must(Report{Nodes: []NodeReport{first}})
	for _, said := range []NodeReport{r, r.Packed()} {
		got, err := h.snap().NewsIn(said)
		if err != nil || got.Len() != 2 {
			t.Errorf("%d of 2 allocations are news, %v", got.Len(), err)
		}
	}
}

// TestNoTimeIsNoTime: a time that the columns make 0 is none, as it is once the row was saved and restored.
func TestNoTimeIsNoTime(t *testing.T) {
	h := newHerd(t)
	h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	n := h.node("n1")
	a := h.place(h.job(testJob("a", 1)), 0, n.ID)
	id, _ := parseID(a.ID)
	h.must(Report{Nodes: []NodeReport{{NodeID: n.ID, Boot: 1, Seq: 1, Runs: []ReportRun{{
		Status: ClientRunning, IDs: id.append(nil), Tasks: map[string]TaskState{"t": {State: TaskRunning, StartedAt: 5}}, Times: []int64{-5},
	}}}}})
	again := NewStore()
	if err := again.Restore(bytes.NewReader(saved(t, h.snap()))); err != nil {
		t.Fatal(err)
	}
	if d := h.snap().Hash().Diff(again.Snapshot().Hash()); len(d) > 0 || h.snap().Alloc(a.ID).TaskStates.Get("t").StartedAt != 0 {
		t.Errorf("restored are other %v", d)
	}
}
