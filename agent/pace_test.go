package agent

import (
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// TestFlood: one large plan is no flood, large plans for longer are one, until they end.
func TestFlood(t *testing.T) {
	var p pace
	now, last := time.Unix(1000, 0), state.AppliedPlan{Index: 100}
	for i, c := range []struct {
		placed int // by the plans since the look before; 0: there was none
		want   bool
	}{
		{10, false}, {floodPlan, false}, {10, false}, {floodPlan, false}, {0, false},
		{floodPlan, false}, {2 * floodPlan, true}, {floodPlan, true}, {10, false},
		{floodPlan, false}, {floodPlan, true}, {0, false},
	} {
		now = now.Add(floodLook)
		if c.placed > 0 {
			last.Index, last.Placed = last.Index+3, c.placed
		}
		if got := p.look(now, last); got != c.want {
			t.Errorf("look %d: %t, want %t", i, got, c.want)
		}
		if got := p.look(now.Add(floodLook/2), state.AppliedPlan{Index: last.Index + 1, Placed: floodPlan - 1}); got != c.want {
			t.Errorf("between looks %d and %d: %t", i, i+1, got)
		}
	}
}

// TestPace: a few are told at once, a flood waits its turns and no longer than its patience, and what was a flood is over once it is.
func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	const patience = 5 * time.Second
	for i := range newsAhead + 1 {
		if wait := p.turn(now, patience); wait > 0 {
			t.Fatalf("number %d waits %s after a pause, want none", i, wait)
		}
	}
	for i := range 1000 {
		if wait, want := p.turn(now, patience), time.Duration(i+1)*newsEvery; wait != want {
			t.Fatalf("number %d of a flood waits %s, want %s", i, wait, want)
		}
	}
	for range 10000 {
		if wait := p.turn(now, patience); wait > patience {
			t.Fatalf("one waits %s, longer than it asked for", wait)
		}
	}
	now = now.Add(patience)
	if wait := p.turn(now, patience); wait > newsEvery {
		t.Errorf("one waits %s after the flood", wait)
	}
	// A steady thousand a second, a third of them here, never waits.
	p, now = pace{}, time.Unix(2000, 0)
	for range 5000 {
		now = now.Add(3 * time.Millisecond)
		if wait := p.turn(now, patience); wait > 0 {
			t.Fatalf("one of a steady flow waits %s", wait)
		}
	}
}
