package main

import "testing"

// TestTenderGivesABusyAgentRoom: an agent that starts, or one whose heap is large, is left alone; a busy one gets room and gives it back.
func TestTenderGivesABusyAgentRoom(t *testing.T) {
	const small, large = 16 << 20, 4 << 30
	var tn tender
	for i, step := range []struct {
		cycles, alive uint64
		want          int
	}{
		{20, small, 100}, {20, small, 100}, {0, small, 100}, // a start
		{20, small, 100}, {20, small, 100}, {20, small, 800}, // the third busy look
		{2, small, 800}, {2, 2 * small, 400}, // less is collected now, and that is why
		{20, large, 100}, {20, large, 100}, {20, large, 100}, // enough room of its own
		{20, small, 800},
	} {
		if got := tn.look(step.cycles, step.alive); got != step.want {
			t.Errorf("look %d: %d %%, want %d", i, got, step.want)
		}
	}
	for i := range calmLooks {
		if got, want := tn.look(0, small), 800; i < calmLooks-1 && got != want || i == calmLooks-1 && got != usualPercent {
			t.Errorf("calm look %d: %d %%", i, got)
		}
	}
}

// TestTenderTidiesUpOnce: what a burst left behind is given back when it is over, and a small heap is left alone.
func TestTenderTidiesUpOnce(t *testing.T) {
	const alive = 600 << 20
	var tn tender
	tn.look(2, alive)
	times := 0
	for range 3 * calmLooks {
		tn.look(0, alive)
		if tn.tidies(alive, 2*alive) {
			times++
		}
		if tn.tidies(20<<20, 40<<20) || tn.tidies(alive, alive+alive/5) {
			t.Error("little garbage is collected")
		}
	}
	if times != 1 {
		t.Errorf("collected %d times", times)
	}
}
