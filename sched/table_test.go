package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestATableIsAValue: whatever is drafted from whatever table, and changed, each of them says what its plain twin, a copy, says.
func TestATableIsAValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const nodes = 5
		all := []columns{newColumns(nodes)}
		twins := [][]row{make([]row, nodes)}
		for range rapid.IntRange(1, 20).Draw(t, "drafts") {
			i := rapid.IntRange(0, len(all)-1).Draw(t, "from")
			c, twin := all[i].draft(), slices.Clone(twins[i])
			for range rapid.IntRange(0, 8).Draw(t, "changes") {
				pos := rapid.IntRange(0, nodes-1).Draw(t, "pos")
				c.save(pos)
				c.rows[pos].cpu = rapid.Int32().Draw(t, "cpu")
				twin[pos].cpu = c.rows[pos].cpu
			}
			c.finish()
			all, twins = append(all, c), append(twins, twin)
			k := rapid.IntRange(0, len(all)-1).Draw(t, "look at")
			if all[k].take(); !slices.Equal(all[k].rows, twins[k]) {
				t.Fatalf("table %d says %v, should say %v", k, all[k].rows, twins[k])
			}
		}
	})
}
