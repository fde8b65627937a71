package main

import (
	"strings"
	"testing"
)

// TestADeathIsTold: a test that took its package with it is named, with what it said, and counts as failed.
func TestADeathIsTold(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	for _, e := range []event{
		{Action: "run", Package: "p", Test: "TestFine"}, {Action: "output", Package: "p", Test: "TestFine", Output: "fine\n"},
		{Action: "pass", Package: "p", Test: "TestFine"},
		{Action: "run", Package: "p", Test: "TestSkipped"}, {Action: "skip", Package: "p", Test: "TestSkipped"},
		{Action: "run", Package: "p", Test: "TestDeadly"}, {Action: "output", Package: "p", Test: "TestDeadly", Output: "panic: no\n"},
		{Action: "fail", Package: "p"},
		{Action: "run", Package: "q", Test: "TestWrong"}, {Action: "output", Package: "q", Test: "TestWrong", Output: "1, want 2\n"},
		{Action: "fail", Package: "q", Test: "TestWrong"}, {Action: "fail", Package: "q"},
	} {
		r.add(e)
	}
	if r.close() {
		t.Error("taken for a success")
	}
	for _, want := range []string{
		"FAIL  p TestDeadly: did not end\npanic: no\n", "FAIL  q TestWrong\n1, want 2\n", "1 passed, 2 failed, 1 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "fine") {
		t.Error("a test that passed is told of")
	}
}
