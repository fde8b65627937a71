package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// TestFlood: one large plan is no flood, large plans for longer are one, until they end.
func TestFlood(t *testing.T) {
	var p pace
	now, last, began := time.Unix(1000, 0), state.AppliedPlan{Index: 100}, time.Time{}
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
		switch {
		case !c.want:
			began = time.Time{}
		case began.IsZero():
			began = now
		}
		if got := p.look(now, last); !got.Equal(began) {
			t.Errorf("look %d: since %s, want %s", i, got, began)
		}
		if got := p.look(now.Add(floodLook/2), state.AppliedPlan{Index: last.Index + 1, Placed: floodPlan - 1}); !got.Equal(began) {
			t.Errorf("between looks %d and %d: since %s", i, i+1, got)
		}
	}
}

// TestPace: a few are told at once; many wait their turns, the longer the more there is to tell; a node keeps its turn while it asks again,
// and a steady flow never waits.
func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	node := func(i int) string { return fmt.Sprintf("n%d", i) }
	ahead := int(newsAhead/(newsEvery+orderEvery)) + 1
	for i := range ahead {
		if wait := p.turn(now, node(i), 1); wait > 0 {
			t.Fatalf("number %d waits %s after a pause, want none", i, wait)
		}
	}
	const orders = 200
	each := newsEvery + orders*orderEvery
	first := p.turn(now, node(1000), orders)
	if first > newsEvery+orderEvery {
		t.Fatalf("the first that waits waits %s", first)
	}
	for i := 1; i < 1000; i++ {
		if wait, want := p.turn(now, node(1000+i), orders), first+time.Duration(i)*each; wait != want {
			t.Fatalf("number %d of a flood waits %s, want %s", i, wait, want)
		}
	}
	later := now.Add(first + 500*each)
	if wait := p.turn(later, node(1500), orders); wait != 0 {
		t.Errorf("one whose turn it is waits %s", wait)
	}
	if wait := p.turn(later, node(1501), orders); wait != each {
		t.Errorf("the next one waits %s, want %s", wait, each)
	}
	p.told(node(1500))
	if wait := p.turn(later, node(1500), orders); wait < 400*each {
		t.Errorf("one that was told has another turn after %s", wait)
	}
	now = now.Add(first + 2000*each)
	if wait := p.turn(now, "new", 1); wait > 0 {
		t.Errorf("one waits %s after the flood", wait)
	}
	now = now.Add(2 * keepTurn)
	if p.turn(now, "another", 1); len(p.turns) > 0 {
		t.Errorf("the turns of %d nodes that never came are kept", len(p.turns))
	}
	p, now = pace{}, time.Unix(2000, 0)
	for i := range 5000 { // a thousand a second, a third of them here
		now = now.Add(3 * time.Millisecond)
		if wait := p.turn(now, node(i), 1); wait > 0 {
			t.Fatalf("one of a steady flow waits %s", wait)
		}
		p.told(node(i))
	}
}
