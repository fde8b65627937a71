package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestChangesAreFoundOnce: whatever changes how often, a look finds each node that has changed since once, as the plain twin does, which
// forgets nothing.
func TestChangesAreFoundOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 6).Draw(t, "nodes")
		var c changes
		c.fit(nodes)
		twin := rapid.SliceOfN(rapid.IntRange(0, nodes-1), 0, 40).Draw(t, "changes")
		for _, pos := range twin {
			c.note(pos)
		}
		since := rapid.IntRange(0, len(twin)).Draw(t, "since")
		var want []int
		for _, pos := range slices.Backward(twin[since:]) {
			if !slices.Contains(want, pos) {
				want = append(want, pos)
			}
		}
		if got := slices.Collect(c.since(uint64(since))); !slices.Equal(got, want) {
			t.Fatalf("since %d of %v: found %v, want %v", since, twin, got, want)
		}
	})
}
