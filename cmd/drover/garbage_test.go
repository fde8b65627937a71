package main

import "testing"

// TestTenderGivesABusyAgentRoom: an agent that starts, or one whose heap is large, is left alone; a busy one gets room and gives it back.
func TestTenderGivesABusyAgentRoom(t *testing.T) {
	const mb, small, large = 1 << 20, 16 << 20, 4 << 30
	tn := tender{room: roomWhenBusy}
	for i, step := range []struct {
		allocated, alive uint64
		want             int
	}{
		{30 * mb, small, 100}, {0, small, 100}, // a start
		{30 * mb, small, 100}, {30 * mb, small, 800}, // the second busy look
		{4 * mb, small, 800}, {4 * mb, 2 * small, 400}, // less to do, and not nothing
		{30 * mb, large, 100}, {30 * mb, large, 100}, // enough room of its own
		{30 * mb, small, 800},
	} {
		if got := tn.look(step.allocated, step.alive); got != step.want {
			t.Errorf("look %d: %d %%, want %d", i, got, step.want)
		}
	}
	for range calmLooks - 1 {
		tn.look(mb, large)
	}
	if got := tn.look(mb, large); got != largePercent {
		t.Errorf("a large heap may grow by %d %% when it is calm, want %d", got, largePercent)
	}
	if got := tn.look(30*mb, large); got != usualPercent {
		t.Errorf("a large heap may grow by %d %% at the first busy look, want %d", got, usualPercent)
	}
	tn = tender{room: roomWhenBusy, percent: 800, working: true}
	for i := range calmLooks {
		if got, want := tn.look(mb, small), 800; i < calmLooks-1 && got != want || i == calmLooks-1 && got != usualPercent {
			t.Errorf("calm look %d: %d %%", i, got)
		}
	}
}

// TestTenderTidiesUp: what work left behind is given back when it is calm, what calm work leaves too, and a small heap is left alone.
func TestTenderTidiesUp(t *testing.T) {
	const alive = 600 << 20
	var tn tender
	times := 0
	for i := range 4 * tidyLooks {
		allocated := uint64(0)
		if i < tidyLooks { // never calm so long
			allocated = 3 * busyBytes
		}
		tn.look(allocated, alive)
		if tn.tidies(alive, 2*alive) {
			if times++; tn.calm < calmLooks {
				t.Errorf("collected at look %d, which is not calm", i)
			}
		}
		if tn.tidies(20<<20, 40<<20) || tn.tidies(alive, alive+alive/5) {
			t.Error("little garbage is collected")
		}
	}
	if times != 3 {
		t.Errorf("collected %d times, want once in %d calm looks", times, tidyLooks)
	}
}

// TestRoomOn: a small machine keeps its memory, a large one uses some of it.
func TestRoomOn(t *testing.T) {
	for total, want := range map[uint64]uint64{1 << 30: roomWhenBusy, 12 << 30: 512 << 20, 24 << 30: mostRoom, 1 << 40: mostRoom} {
		if got := roomOn(total); got != want {
			t.Errorf("%d MiB of %d", got>>20, total>>20)
		}
	}
}
