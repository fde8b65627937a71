package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

// TestServersAreCompared: every server says what it holds itself, and a read that names an index answers what is newer.
func TestServersAreCompared(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.must(state.RegisterNode{Node: testNode("n1")})
		own := func(at string, index uint64) *StateView {
			t.Helper()
			v, _, err := h.client(at).State(t.Context(), QueryOptions{Stale: true, Index: index})
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		a, b := own("s1", 0), own("s2", 0)
		if a.NodeID == b.NodeID {
			t.Errorf("both answers are of %s, each server must answer for itself", a.NodeID)
		}
		if a.Index != b.Index || cmp.Diff(a.Tables, b.Tables) != "" || a.Rows("nodes") != 1 {
			t.Errorf("servers at one index: got %+v and %+v, want one node and the same hashes", a, b)
		}
		h.must(state.RegisterNode{Node: testNode("n2")})
		if c := own("s1", a.Index); c.Rows("nodes") != 2 || cmp.Diff(a.Tables, c.Tables) == "" {
			t.Errorf("after another node: got %+v, want two and other hashes than %+v", c, a)
		}
	})
}
