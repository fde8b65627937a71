package agent

import (
	"slices"
	"testing"

	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

// TestReadingsDoNotDependOnBatches: servers read their hashes at the same entries, however the entries came together, and never in the
// middle of one that several commands share.
func TestReadingsDoNotDependOnBatches(t *testing.T) {
	var log []consensus.Committed
	for i := range uint64(5 * hashEvery) {
		if i%7 == 3 {
			continue // an entry of raft's own
		}
		data, err := state.Encode(state.Lead{NodeID: "s", Time: int64(i)})
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + i%5/4*3 {
			log = append(log, consensus.Committed{Index: i + 1, Term: i + 1, Data: data})
		}
	}
	read := func(together int) (out []uint64, hashes []state.Hashes) {
		counted := 0
		f := &fsm{store: state.NewStore(), count: func([]byte) { counted++ }}
		for left := log; len(left) > 0; {
			n := min(together, len(left))
			for n < len(left) && left[n].Index == left[n-1].Index { // consensus hands them over together
				n++
			}
			if got := f.Apply(left[:n]); len(got) != n {
				t.Fatalf("%d results of %d entries", len(got), n)
			}
			left = left[n:]
		}
		if counted != len(log) {
			t.Errorf("%d entries were counted, want %d", counted, len(log))
		}
		for _, r := range f.Readings() {
			out, hashes = append(out, r.Index), append(hashes, r.Hashes)
		}
		return out, hashes
	}
	want, wantHashes := read(1)
	if len(want) < 5 {
		t.Fatalf("readings at %v", want)
	}
	for _, together := range []int{2, 64, len(log)} {
		if got, hashes := read(together); !slices.Equal(got, want) || !slices.Equal(hashes, wantHashes) {
			t.Errorf("%d together: readings at %v, want %v, or of other hashes", together, got, want)
		}
	}
}
