package main

import (
	"strings"
	"testing"
)

func TestFollowingEvents(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	x := h.begin("events", "-f", "--index", "1", "--topic", "Job:late", "--topic", "Allocation:late")
	h.must("job", "run", "--detach", h.file("early.hcl", job("early", "service", 1, "")))
	h.must("job", "run", "--detach", h.file("late.hcl", job("late", "batch", 1, `run_for = "10ms"`)))
	for _, want := range []string{"JobRegistered", "AllocationCreated", "late.g[0] is pending on n1", "late.g[0] is complete on n1"} {
		x.shows(want)
	}
	if code := x.end(); code != 0 || strings.Contains(x.out.String(), "early") {
		t.Errorf("following events, interrupted: exit %d:\n%s", code, x.out.String())
	}
	index := ""
	for _, word := range strings.Fields(x.out.String()) {
		if strings.HasPrefix(word, "#") {
			index = word[1:] // of the last
		}
	}
	if again := h.must("events", "--topic", "*:late", "--index", index); strings.Count(again, "\n") != 1 || !strings.Contains(again, "complete") {
		t.Errorf("from index %s on:\n%s", index, again)
	}
}
