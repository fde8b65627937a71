package agent

import (
	"testing"
	"time"
)

// TestFlood: what is placed for a moment is no flood, what is placed for longer is one until it ends, and a state that remembers less than
// the one before ends it.
func TestFlood(t *testing.T) {
	const much = uint64(2 * floodRate * floodLook / time.Second)
	var p pace
	now, placed := time.Unix(1000, 0), uint64(7_000_000)
	for i, c := range []struct {
		placed uint64
		want   bool
	}{
		{0, false}, {much, false}, {0, false}, {much / 4, false}, {much / 4, false}, // a large job; a steady flow
		{much, false}, {much, true}, {much, true}, {much / 4, false}, {much, false}, {much, true},
	} {
		now, placed = now.Add(floodLook), placed+c.placed
		if got := p.look(now, placed); got != c.want {
			t.Errorf("look %d: %t, want %t", i, got, c.want)
		}
		if got := p.look(now.Add(floodLook/2), placed+10*much); got != c.want {
			t.Errorf("between looks %d and %d: %t", i, i+1, got)
		}
	}
	if p.look(now.Add(floodLook), 12) {
		t.Error("a flood goes on in a state that has placed less")
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
