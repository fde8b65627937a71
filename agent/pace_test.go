package agent

import (
	"testing"
	"time"
)

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
