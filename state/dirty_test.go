package state

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestDirtyIndexes compares both kinds with a plain map, far beyond where they forget marks.
func TestDirtyIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := map[string]uint64{}
		some, nodes := newDirtyIndex(), nodeLog{newChangeLog()}
		there := func(key string) bool { _, known := plain[key]; return known }
		index, keys := uint64(0), rapid.IntRange(1, 700).Draw(t, "keys")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			index += 1 + rapid.Uint64Range(0, 3).Draw(t, "pause")
			first := rapid.IntRange(0, keys-1).Draw(t, "first")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				key := fmt.Sprint(first)
				delete(plain, key)
				some.retire(key, index)
				nodes.retire(key, index)
			case 1:
				old, oldNodes := some.clone(), nodes.clone()
				before := slices.Collect(old.since(0))
				some.mark("new", index)
				nodes.mark("new", index, len(plain), there)
				plain["new"] = index
				if !slices.Equal(before, slices.Collect(old.since(0))) || oldNodes.changed("new", index-1) {
					t.Fatal("what was copied has changed")
				}
			default:
				for i := range rapid.IntRange(1, 900).Draw(t, "changes") {
					key := fmt.Sprint((first + i) % keys)
					some.mark(key, index)
					nodes.mark(key, index, len(plain), there)
					plain[key] = index
				}
			}
		}
		since := rapid.Uint64Range(0, index).Draw(t, "since")
		want := map[string]bool{}
		for key, at := range plain {
			if at > since {
				want[key] = true
			}
		}
		for name, got := range map[string][]string{"index": slices.Collect(some.since(since)), "log": slices.Collect(nodes.since(since))} {
			here := map[string]bool{}
			for _, key := range got {
				if there(key) {
					here[key] = true
				}
			}
			if !maps.Equal(here, want) {
				t.Fatalf("%s: %d changed since %d, want %d", name, len(here), since, len(want))
			}
		}
		for key := range plain {
			if some.changed(key, since) != want[key] || nodes.changed(key, since) != want[key] {
				t.Fatalf("%s: changed since %d: %v, %v, want %v", key, since, some.changed(key, since), nodes.changed(key, since), want[key])
			}
		}
	})
}
