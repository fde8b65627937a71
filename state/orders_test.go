package state

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkOrders: a node is to be told something exactly when one more allocation is to run on it, or one no longer by the leader's word.
func checkOrders(t rapid.TB, old, now *Snapshot) {
	for n := range now.Nodes() {
		told, ended, stopped := false, false, false
		for a := range now.AllocsByNode(n.ID) {
			b := old.Alloc(a.ID)
			ran := b != nil && b.IsToRun()
			told = told || a.IsToRun() != ran && (a.IsToRun() || a.TerminalDesired())
			ended = ended || ran && !a.IsToRun() && !a.TerminalDesired()
			stopped = stopped || ran && !a.IsToRun() && a.TerminalDesired()
		}
		for a := range old.AllocsByNode(n.ID) {
			gone := a.IsToRun() && now.Alloc(a.ID) == nil
			told, stopped = told || gone, stopped || gone
		}
		before, after := old.OrdersOf(n.ID), now.OrdersOf(n.ID)
		want := Orders{Run: after.Run, At: before.At, Ended: before.Ended, Stopped: before.Stopped}
		if told {
			want.At = now.Index()
		}
		if ended {
			want.Ended = now.Index()
		}
		if stopped {
			want.Stopped = now.Index()
		}
		if after != want {
			t.Fatalf("orders of node %s were %+v and are %+v, want %+v", n.ID, before, after, want)
		}
	}
}

// TestDigest: the order does not matter, what was added and taken away again leaves no trace, and sets of one size differ.
func TestDigest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), 2, 20, rapid.ID[string]).Draw(rt, "ids")
		var one, other Digest
		for _, id := range ids {
			one = one.With(id)
		}
		for _, id := range slices.Backward(ids) {
			other = other.With(id).With("x" + id)
		}
		for _, id := range ids {
			other = other.Without("x" + id)
		}
		if one != other || one.Count != len(ids) {
			rt.Fatalf("digests of the same %d allocations: %+v and %+v", len(ids), one, other)
		}
		if without := one.Without(ids[0]).With("another " + ids[0]); without == one {
			rt.Fatal("two sets have one digest")
		}
	})
}

// TestOrdersOf: what the leader wants is news for the node, what the node says itself is none, and nothing is forgotten when its last
// allocation has ended.
func TestOrdersOf(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(testJob("a", 4))
	a, b := h.place(j, 0, "n1"), h.place(j, 1, "n1")
	at := h.snap().Index()
	check := func(what string, want Orders) {
		t.Helper()
		if got := h.snap().OrdersOf("n1"); got != want {
			t.Errorf("%s: orders are %+v, want %+v", what, got, want)
		}
	}
	both := Digest{}.With(a.ID).With(b.ID)
	check("two were placed", Orders{Run: both, At: at})
	h.place(j, 2, "n2")
	h.try(reportOf(a, 1, 1, ClientRunning))
	check("one runs", Orders{Run: both, At: at})
	h.try(reportOf(a, 1, 2, ClientFailed))
	ended := h.snap().Index()
	check("one has failed", Orders{Run: Digest{}.With(b.ID), At: at, Ended: ended})
	h.try(reportOf(b, 1, 3, ClientComplete))
	check("nothing is left", Orders{At: at, Ended: h.snap().Index()})
}
