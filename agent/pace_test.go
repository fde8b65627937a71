package agent

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
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
	p = pace{next: now, late: time.Hour}
	p.turn(now, "huge", 1<<50)
	if wait, most := p.turn(now, "next", 1), slowest*(newsEvery+mostOrders*orderEvery); wait != most {
		t.Errorf("one waits %s behind one that is to be told more than there can be, want %s", wait, most)
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

// TestAwaitTurn: while there is a flood a node that is only to run more is told later, and told when it is over, or has
// lasted long.
func TestAwaitTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{store: state.NewStore()}
		ask := func(since uint64, wait time.Duration) (later bool, took time.Duration) {
			began := time.Now()
			later, err := s.awaitTurn(t.Context(), &api.PollRequest{NodeID: nodeA, Since: since, Index: 1}, began.Add(wait))
			if err != nil {
				t.Fatal(err)
			}
			return later, time.Since(began)
		}
		flood := func() { s.pace.since, s.pace.looked = time.Now(), time.Now() }
		if later, took := ask(1, time.Second); later || took > 0 {
			t.Errorf("without a flood: later %t, after %s", later, took)
		}
		flood()
		if later, took := ask(1, floodLook/2); !later || took != floodLook/2 {
			t.Errorf("in a flood: later %t after %s, want it when the poll ends", later, took)
		}
		flood()
		if later, took := ask(1, time.Second); later || took != floodLook {
			t.Errorf("a flood that ends: later %t after %s, want to be told after %s", later, took, floodLook)
		}
		s.pace.since, s.pace.looked = time.Now().Add(-floodFirst), time.Now()
		if later, took := ask(1, time.Second); later || took > 0 {
			t.Errorf("in a long flood: later %t, after %s", later, took)
		}
		closing := make(chan struct{})
		close(closing)
		flood()
		later, err := s.awaitTurn(t.Context(), &api.PollRequest{NodeID: nodeA, Index: 1, Closing: closing}, time.Now().Add(time.Minute))
		if !later || err != nil {
			t.Errorf("a server that stops: %t, %v", later, err)
		}
	})
}

// TestMayWait: only what nobody has to do anything about waits for more.
func TestMayWait(t *testing.T) {
	one := func(status, task string, failed bool) state.AllocReport {
		return state.AllocReport{Status: status, Tasks: map[string]state.TaskState{"a": {State: state.TaskRunning}, "b": {State: task, Failed: failed}}}
	}
	for _, c := range []struct {
		news []state.AllocReport
		want bool
	}{
		{nil, true},
		{[]state.AllocReport{one(state.ClientRunning, state.TaskRunning, false), one(state.ClientPending, state.TaskPending, false)}, true},
		{[]state.AllocReport{one(state.ClientRunning, state.TaskRunning, false), one(state.ClientComplete, state.TaskDead, false)}, false},
		{[]state.AllocReport{one(state.ClientFailed, state.TaskDead, true)}, false},
		{[]state.AllocReport{one(state.ClientRunning, state.TaskDead, false)}, false},
		{[]state.AllocReport{one(state.ClientRunning, state.TaskRunning, true)}, false},
		{make([]state.AllocReport, runtime.MaxReport), false},
	} {
		if got := mayWait(c.news); got != c.want {
			t.Errorf("%+v: %t", c.news, got)
		}
	}
}
