package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestABucketKeepsTheBest: what a bucket was filled with stands in order, none of what it passed over is better than that, nor than what
// it says of them, and it keeps as many as it should unless it expected more than there was. The plain twin sorts all.
func TestABucketKeepsTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		score := rapid.SampledFrom([]*rapid.Generator[float64]{
			rapid.Float64Range(-1, 1), rapid.SampledFrom([]float64{-1, 0, 1e-300, 0.5}), rapid.Float64Range(0.5, 0.5+1e-15), rapid.Float64Range(-1e300, 1e300),
		}).Draw(t, "scores")
		var all []candidate
		for pos, s := range rapid.SliceOfN(score, 0, 120).Draw(t, "candidates") {
			all = append(all, candidate{pos: pos, score: s})
		}
		b := &bucket{keep: rapid.IntRange(1, 40).Draw(t, "keep"), best: candidate{score: none}}
		b.most = rapid.IntRange(b.keep+1, 3*b.keep+1).Draw(t, "most")
		sampled := rapid.Bool().Draw(t, "sampled")
		if sampled {
			for i := 0; i < len(all); i += 3 {
				b.offer(all[i])
			}
			b.expect(rapid.IntRange(1, b.keep).Draw(t, "expected"))
		}
		for _, c := range all {
			if c.score > b.best.score {
				b.offer(c)
			}
		}
		b.filled(newMemory())
		slices.SortFunc(all, candidate.compare)
		switch {
		case !slices.Equal(b.kept, all[:len(b.kept)]):
			t.Fatalf("keeps %v of %v", b.kept, all)
		case !sampled && len(b.kept) < min(b.keep, len(all)):
			t.Fatalf("keeps %d of %d, should keep %d", len(b.kept), len(all), b.keep)
		case len(b.kept) < len(all) && b.best.score < all[len(b.kept)].score:
			t.Fatalf("says %v of what it does not keep, the best of that is %v", b.best, all[len(b.kept)])
		}
	})
}
