package state

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestBatchesAreOneByOne: entries that are applied together lead to what they lead to one after the other, whatever fails between them:
// results, rows, hashes, events with their indexes, and what is dirty and news. Some of them share an index.
func TestBatchesAreOneByOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &history{T: rt, store: NewStore(), twin: NewStore()}
		var entries []Entry
		var results []any
		step := func(cmd Command) {
			data, err := Encode(cmd)
			if err != nil {
				rt.Fatal(err)
			}
			if g.int("noise", 0, 19) == 0 {
				data = append(data, '}') // what cannot be decoded
			}
			if len(entries) == 0 || g.int("shares", 0, 3) > 0 {
				g.index++
			}
			entries = append(entries, Entry{Index: g.index, Term: testTerm, Data: data})
			g.last = cmd
			results = append(results, g.store.Apply(g.index, testTerm, data))
		}
		step(Lead{NodeID: "s1"})
		step(RaiseLevel{Term: testTerm, Level: 2})
		for range g.int("length", 1, 60) {
			switch g.int("refused", 0, 9) {
			case 0: // late and refused: cluster time must not move
				step(StopJob{RequestID: fmt.Sprint("r", g.index), Namespace: "default", JobID: "nobody's", Time: int64(g.index) << 40})
			case 1: // the same request twice
				cmd := StopJob{RequestID: "same", Namespace: "default", JobID: "a"}
				step(cmd)
				step(cmd)
			default:
				step(g.command())
			}
		}
		together := NewStore()
		for left, at := entries, 0; len(left) > 0; {
			n := g.int("together", 1, len(left))
			for n < len(left) && left[n].Index == left[n-1].Index {
				n++
			}
			for i, got := range together.ApplyAll(left[:n]) {
				if fmt.Sprint(got) != fmt.Sprint(results[at+i]) {
					rt.Fatalf("entry %d: %v, one by one %v", left[i].Index, got, results[at+i])
				}
			}
			left, at = left[n:], at+n
		}
		sameStores(rt, g.store, together)
	})
}

func sameStores(t rapid.TB, a, b *Store) {
	t.Helper()
	one, other := a.Snapshot(), b.Snapshot()
	if one.Index() != other.Index() {
		t.Fatalf("index %d, one by one %d", other.Index(), one.Index())
	}
	if diff := one.Hash().Diff(other.Hash()); len(diff) > 0 {
		t.Fatalf("hashes differ in %v", diff)
	}
	if !bytes.Equal(saved(t, one), saved(t, other)) {
		t.Fatal("saved snapshots differ")
	}
	checkInvariants(t, other)
	for from := range one.Index() {
		if diff := cmp.Diff(slices.Collect(one.JobsDirtySince(from)), slices.Collect(other.JobsDirtySince(from))); diff != "" {
			t.Fatalf("jobs dirty since %d:\n%s", from, diff)
		}
		if diff := cmp.Diff(slices.Collect(one.NodesDirtySince(from)), slices.Collect(other.NodesDirtySince(from))); diff != "" {
			t.Fatalf("nodes dirty since %d:\n%s", from, diff)
		}
		if diff := cmp.Diff(slices.Collect(one.JobsNewsSince(from)), slices.Collect(other.JobsNewsSince(from))); diff != "" {
			t.Fatalf("jobs news since %d:\n%s", from, diff)
		}
		if diff := cmp.Diff(slices.Collect(one.NodesNewsSince(from)), slices.Collect(other.NodesNewsSince(from))); diff != "" {
			t.Fatalf("nodes news since %d:\n%s", from, diff)
		}
		plans, _ := one.PlansSince(from)
		others, _ := other.PlansSince(from)
		if diff := cmp.Diff(plans, others); diff != "" {
			t.Fatalf("plans since %d:\n%s", from, diff)
		}
	}
	if diff := cmp.Diff(eventsOf(a), eventsOf(b)); diff != "" {
		t.Fatalf("events:\n%s", diff)
	}
}

func eventsOf(s *Store) (out []EventBatch) {
	cursor := s.EventCursor(1)
	for {
		batches, next, _ := s.Events(cursor)
		if next == cursor {
			return out
		}
		for _, b := range batches {
			if n := len(out); n > 0 && out[n-1].Index == b.Index { // applied one by one
				out[n-1].Time, out[n-1].Events = b.Time, append(out[n-1].Events, b.Events...)
				continue
			}
			out = append(out, b)
		}
		cursor = next
	}
}

// TestBatchWakesOnceForAll: whoever waits for any of the entries of a batch sees all of them.
func TestBatchWakesOnceForAll(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	a := h.place(h.job(testJob("a", 1)), 0, "n1")
	watched := map[string]*Watch{
		"job b": h.store.Watch(KeyJob("default", "b")), "job c": h.store.Watch(KeyJob("default", "c")), "jobs": h.store.Watch(KeyJobs()),
		"index": h.store.Watch(KeyIndex()), "orders": h.store.Watch(KeyNodeOrders("n1")), "alloc": h.store.Watch(KeyAlloc(a.ID)),
		"meta": h.store.Watch(KeyMeta()),
	}
	idle := h.store.Watch(KeyJob("default", "d"), KeyNode("n1"))
	plan := h.planCommand(PlanRecord{
		Namespace: "default", JobID: "a", JobModifyIndex: h.snap().Job("default", "a").JobModifyIndex, TaskGroup: a.TaskGroup,
		Index: []int{-1}, Node: []int{-1}, Stop: []StopRef{{AllocID: a.ID, ModifyIndex: a.ModifyIndex, Desired: DesiredStop}},
	})
	var entries []Entry
	for _, cmd := range []Command{plan, RegisterJob{Job: testJob("b", 1)}, AllowEvictions{}, RegisterJob{Job: testJob("c", 1)}} {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		h.index++
		entries = append(entries, Entry{Index: h.index, Term: testTerm, Data: data})
	}
	base := h.snap()
	for i, got := range h.store.ApplyAll(entries) {
		if err, failed := got.(error); failed {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	for name, w := range watched {
		select {
		case <-w.C():
		default:
			t.Errorf("who watches %s was not woken", name)
		}
	}
	select {
	case <-idle.C():
		t.Error("who watches what did not change was woken")
	default:
	}
	if got := h.snap().Job("default", "b").ModifyIndex; got != entries[1].Index {
		t.Errorf("job b was changed at %d, want %d", got, entries[1].Index)
	}
	if base.Job("default", "b") != nil || base.Index() != entries[0].Index-1 {
		t.Error("the state before was changed")
	}
}

// TestSharedEntryIsSeenWhole: what the commands of one index lead to is seen all at once, although one fails and another is large, and so
// are its events.
func TestSharedEntryIsSeenWhole(t *testing.T) {
	h := newHerd(t)
	big := CollectGarbage{Term: testTerm, Allocs: make([]string, 2*eagerRows)}
	index, base := h.index+1, h.snap()
	var entries []Entry
	for _, cmd := range []Command{
		RegisterJob{Job: testJob("a", 1)}, StopJob{Namespace: "default", JobID: "nobody's"}, big, RegisterJob{Job: testJob("b", 1)},
	} {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, Entry{Index: index, Term: testTerm, Data: data})
	}
	b := batch{s: h.store}
	for _, e := range entries {
		b.apply(e, true)
		if h.snap() != base {
			t.Fatal("a part of it is seen")
		}
	}
	b.commit()
	now := h.snap()
	if now.Index() != index || now.Job("default", "a") == nil || now.Job("default", "b") == nil {
		t.Error("something is missing")
	}
	if _, failed := b.results[1].(error); !failed || len(b.results) != len(entries) {
		t.Errorf("results %v", b.results)
	}
	batches, _, _ := h.store.Events(h.store.EventCursor(index))
	if len(batches) != 1 || len(batches[0].Events) != 2 {
		t.Errorf("%d batches of events", len(batches))
	}
}

func TestShareKey(t *testing.T) {
	a, b := ShareKey(RegisterJob{Job: testJob("a", 1)}, 2), ShareKey(RegisterJob{Job: testJob("b", 1)}, 2)
	if a == "" || a == b {
		t.Errorf("keys %q and %q", a, b)
	}
	for _, cmd := range everyCommand() {
		if key := ShareKey(cmd, 2); (key == "") != (cmd.kind() != "RegisterJob") {
			t.Errorf("%s shares as %q", cmd.kind(), key)
		}
	}
	if key := ShareKey(RegisterJob{}, 2) + ShareKey(RegisterJob{Job: testJob("a", 1)}, 1); key != "" {
		t.Errorf("no job, or one at level 1, shares as %q", key)
	}
}
