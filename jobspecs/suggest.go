package jobspecs

import (
	"fmt"
	"slices"
	"strings"
)

// nearest returns the name closest to given, or "" when none is close: at most a third of its letters may differ.
func nearest(given string, names []string) string {
	best, bestDist := "", 1+min(3, max(1, len(given)/3))
	for _, n := range names {
		if d := distance(strings.ToLower(given), strings.ToLower(n), bestDist); d < bestDist {
			best, bestDist = n, d
		}
	}
	return best
}

// didYouMean is the end of a message about an unknown name.
func didYouMean(given string, names []string) string {
	if n := nearest(given, names); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// hint ends a message about a name that a block does not have: the nearest one that it has, or where the name belongs.
func (s *schema) hint(given string) string {
	if near := didYouMean(given, s.names()); near != "" {
		return near
	}
	root := rootSchema()
	job := root.blocks["job"]
	group := job.blocks["group"]
	task := group.blocks["task"]
	for _, home := range []*schema{task, group, job, task.blocks["resources"], group.blocks["network"]} {
		switch n := nearest(given, home.names()); {
		case n == given:
			return fmt.Sprintf("; it stands in %s", home.Name())
		case n != "":
			return fmt.Sprintf("; did you mean %q, which stands in %s?", n, home.Name())
		}
	}
	return ""
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
