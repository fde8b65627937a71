package state

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// mirror is what a reader of events believes of the rows.
type mirror struct {
	rows map[string]any
	last uint64
}

func (m *mirror) take(t rapid.TB, batches []EventBatch) {
	t.Helper()
	for _, b := range batches {
		if b.Index <= m.last {
			t.Fatalf("batch %d after %d: not in order", b.Index, m.last)
		}
		m.last = b.Index
		seen := map[string]bool{}
		for _, e := range b.Events {
			key := e.Topic + "/" + e.Namespace + "/" + e.Key
			if seen[key] || e.Index != b.Index || e.Type == "" || !slices.Contains(Topics(), e.Topic) {
				t.Fatalf("event %s %s of %d in batch %d: twice, or not whole", key, e.Type, e.Index, b.Index)
			}
			seen[key] = true
			switch e.Type {
			case EventJobRemoved, EventNodeDeregistration, EventAllocRemoved, EventNodePoolDeleted, EventImageRemoved:
				delete(m.rows, key)
			default:
				m.rows[key] = rowOf(e.Payload)
			}
		}
	}
}

func rowOf(p EventPayload) any {
	switch {
	case p.Allocation != nil:
		return *p.Allocation
	case p.Cluster != nil:
		return *p.Cluster
	case p.Image != nil:
		return *p.Image
	case p.Job != nil:
		return *p.Job
	case p.Node != nil:
		return *p.Node
	}
	return *p.NodePool
}

// mirrorOf is what a reader of events should believe.
func mirrorOf(s *Snapshot) map[string]any {
	rows := map[string]any{}
	for j := range s.Jobs() {
		rows["Job/"+j.Namespace+"/"+j.ID] = *j
	}
	for n := range s.Nodes() {
		rows["Node//"+n.ID] = *n
	}
	for a := range s.Allocs() {
		rows["Allocation/"+a.Namespace+"/"+a.ID] = *s.asShown(a)
	}
	for i := range s.Images() {
		rows["Image//"+i.Digest] = *i
	}
	for p := range s.NodePools() {
		if p.CreateIndex > 0 { // the built-in ones are no rows
			rows["NodePool//"+p.Name] = *p
		}
	}
	return rows
}

// TestEventsTellEverything: whoever follows the events knows every row of every table that has a topic.
func TestEventsTellEverything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &history{T: rt, store: NewStore(), twin: NewStore()}
		m := &mirror{rows: map[string]any{}}
		cursor := g.store.EventCursor(1)
		g.apply(Lead{NodeID: "s1"})
		for range rapid.IntRange(1, 60).Draw(rt, "length") {
			g.apply(g.command())
			if rapid.Bool().Draw(rt, "look") {
				continue // several entries at once
			}
			var gap *EventGap
			var batches []EventBatch
			batches, cursor, gap = g.store.Events(cursor)
			if gap != nil {
				rt.Fatalf("a gap without need: %+v", gap)
			}
			m.take(rt, batches)
			maps.DeleteFunc(m.rows, func(k string, _ any) bool { return k[:7] == "Cluster" })
			if diff := cmp.Diff(mirrorOf(g.store.Snapshot()), m.rows); diff != "" {
				rt.Fatalf("the mirror differs at %d:\n%s", g.store.Snapshot().Index(), diff)
			}
		}
	})
}

// TestEveryTableHasATopic fails when a table is added and nobody decided whether its changes are events.
func TestEveryTableHasATopic(t *testing.T) {
	topics := map[Table]string{
		TableMeta: TopicCluster, TableJobs: TopicJob, TableNodes: TopicNode, TableAllocs: TopicAllocation, TableNodePools: TopicNodePool,
		TableImages:      TopicImage,
		TableJobVersions: "", // each version was the job's row once
		TableRequests:    "", // bookkeeping
	}
	for table := range numTables {
		topic, decided := topics[table]
		if !decided {
			t.Errorf("table %s: add its topic to events.go and here, or say here why it has none", table)
		} else if topic != "" && !slices.Contains(Topics(), topic) {
			t.Errorf("table %s: topic %q is not in Topics", table, topic)
		}
	}
}

func TestEventTypes(t *testing.T) {
	h := newHerd(t)
	var got []string
	cursor := h.store.EventCursor(0)
	step := func(cmd Command) {
		t.Helper()
		h.must(cmd)
		var batches []EventBatch
		batches, cursor, _ = h.store.Events(cursor)
		for _, b := range batches {
			for _, e := range b.Events {
				got = append(got, e.Type)
			}
		}
		got = append(got, "|")
	}
	step(RegisterNode{Node: testNode("n1")})
	step(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusReady}}})
	step(RegisterJob{Job: testJob("a", 1)})
	j := h.snap().Job("default", "a")
	cmd := h.planCommand(record(j, []int{0}, []int{0}), "n1")
	step(cmd)
	a := h.snap().Alloc(AllocID(cmd.Seed, 0))
	step(Report{Nodes: []NodeReport{{NodeID: "n1", Boot: 1, Seq: 1, Allocs: []AllocReport{{ID: a.ID, Status: ClientRunning}}}}})
	step(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusDown}}})
	step(SetEligibility{NodeID: "n1", Eligibility: NodeIneligible})
	step(StopJob{Namespace: "default", JobID: "a"})
	step(Report{Nodes: []NodeReport{{NodeID: "n1", Boot: 1, Seq: 2, Allocs: []AllocReport{{ID: a.ID, Status: ClientComplete}}}}})
	step(StopJob{Namespace: "default", JobID: "a", Purge: true})
	h.index++
	h.store.ApplyCommand(h.index, testTerm+1, Lead{NodeID: "s2"})
	step(AllowEvictions{})
	step(CollectGarbage{Term: testTerm + 1, Allocs: []string{a.ID}, Nodes: []string{"n1"}})
	want := []string{
		EventNodeRegistration, "|", "|", EventJobRegistered, "|", EventAllocCreated, "|", EventAllocUpdated, "|",
		EventNodeStatus, EventAllocUpdated, "|", EventNodeEligibility, "|", EventJobDeregistered, "|",
		EventAllocUpdated, "|", EventJobRemoved, "|", EventClusterLeader, EventClusterUpdated, "|", EventNodeDeregistration, EventAllocRemoved, "|",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events:\n%s", diff)
	}
}

func TestEventsOfLostAllocationsSayLost(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	a := h.place(h.job(testJob("a", 1)), 0, "n1")
	cursor := h.store.EventCursor(0)
	h.down("n1")
	batches, _, _ := h.store.Events(cursor)
	if len(batches) != 1 || len(batches[0].Events) != 2 {
		t.Fatalf("got %+v, want the node and its allocation in one batch", batches)
	}
	e := batches[0].Events[1]
	if e.Key != a.ID || e.Payload.Allocation.ClientStatus != ClientLost || !e.Is("a") || !e.Is("n1") || e.Is("b") {
		t.Errorf("got %+v, want the allocation lost, known by its job and its node", e)
	}
	if h.snap().Alloc(a.ID).ClientStatus == ClientLost {
		t.Error("the stored row was changed")
	}
}

func TestEventsThatAreGone(t *testing.T) {
	h := newHerd(t)
	old := h.store.EventCursor(1)
	for i := range maxEvents + 10 {
		n := testNode("n1")
		n.Attributes["n"] = string(rune('a' + i%2))
		h.must(RegisterNode{Node: n})
	}
	if h.store.events.count != maxEvents {
		t.Errorf("%d events are kept, want %d", h.store.events.count, maxEvents)
	}
	batches, next, gap := h.store.Events(old)
	if gap == nil || gap.Replaced || gap.From != 1 || gap.To+1 != h.store.OldestEvent() || batches[0].Index != gap.To+1 {
		t.Fatalf("got gap %+v before %d", gap, batches[0].Index)
	}
	total := len(batches)
	for len(batches) > 0 {
		if batches, next, gap = h.store.Events(next); gap != nil {
			t.Fatalf("a second gap: %+v", gap)
		}
		total += len(batches)
	}
	if total != maxEvents {
		t.Errorf("read %d batches, want %d", total, maxEvents)
	}
}

// TestEventsOfARestoredStore: no reader of the time before may think that it knows the rows.
func TestEventsOfARestoredStore(t *testing.T) {
	h := grownHerd(t)
	early := saved(t, h.snap())
	h.must(SetEligibility{NodeID: "n1", Eligibility: NodeIneligible})
	reader := h.store.EventCursor(0)
	resumed := h.index + 1 // what the reader would name if it came back
	if err := h.store.Restore(bytes.NewReader(early)); err != nil {
		t.Fatal(err)
	}
	_, reader, gap := h.store.Events(reader)
	if gap == nil || !gap.Replaced {
		t.Errorf("a reader that stayed: gap %+v, want one", gap)
	}
	if _, _, gap = h.store.Events(h.store.EventCursor(resumed)); gap == nil {
		t.Error("a reader that came back: no gap")
	}
	h.index++ // the restore's own, as raft counts
	h.must(SetEligibility{NodeID: "n1", Eligibility: NodeIneligible})
	batches, _, gap := h.store.Events(reader)
	if gap != nil || len(batches) != 1 || batches[0].Index != h.index {
		t.Errorf("after it: %+v, gap %+v, want the entry %d", batches, gap, h.index)
	}
	fresh := NewStore()
	if err := fresh.Restore(bytes.NewReader(early)); err != nil {
		t.Fatal(err)
	}
	if _, _, gap = fresh.Events(fresh.EventCursor(fresh.Snapshot().Index() + 1)); gap != nil {
		t.Errorf("a server that started from a snapshot: gap %+v for what comes after it", gap)
	}
}

// BenchmarkRecordEvents1000 is what the events of a plan of 1,000 copies cost beside applying it.
func BenchmarkRecordEvents1000(b *testing.B) {
	h, j := wideHerd(b, 1000, maxCount)
	base := h.snap()
	next, _, changed := base.apply(h.index+1, testTerm, thousand(h, j, 0, 1000))
	b.ReportAllocs()
	for b.Loop() {
		var l eventLog
		l.record(base, next, changed)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/copy")
}
