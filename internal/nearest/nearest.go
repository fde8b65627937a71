package nearest

import (
	"slices"
	"strings"
)

// maxName bounds what is compared: whoever sends a longer name gets no suggestion, and no work is done for it.
const maxName = 128

// Name returns the name closest to given, upper and lower case being the same, or "" when none is close: at most a third of its
// letters, one to three, may differ. Of several equally close ones it is the first.
func Name(given string, names []string) string {
	if len(given) > maxName {
		return ""
	}
	best, limit := "", 1+min(3, max(1, len(given)/3))
	for _, n := range names {
		if d := distance(strings.ToLower(given), strings.ToLower(n), limit); d < limit {
			best, limit = n, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between a and b; it stops counting at limit.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit {
		return limit
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		if slices.Min(cur) >= limit {
			return limit
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
