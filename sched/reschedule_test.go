package sched

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

func TestDelayFunctions(t *testing.T) {
	s := func(n ...int) (out []time.Duration) {
		for _, v := range n {
			out = append(out, time.Duration(v)*time.Second)
		}
		return out
	}
	for _, c := range []struct {
		function string
		delay    int
		longest  int
		want     []time.Duration
	}{
		{state.DelayConstant, 5, 0, s(5, 5, 5, 5)},
		{state.DelayExponential, 5, 60, s(5, 10, 20, 40, 60, 60)},
		{state.DelayExponential, 30, 3600, s(30, 60, 120, 240, 480, 960, 1920, 3600, 3600)},
		{state.DelayFibonacci, 5, 60, s(5, 5, 10, 15, 25, 40, 60, 60, 60)},
	} {
		p := state.ReschedulePolicy{
			Unlimited: true, Delay: time.Duration(c.delay) * time.Second, DelayFunction: c.function,
			MaxDelay: time.Duration(c.longest) * time.Second,
		}
		a := &state.Alloc{AllocGroup: &state.AllocGroup{}, AllocNode: &state.AllocNode{}, ClientModifyTime: int64(time.Hour)}
		for i, want := range c.want {
			got, again := rescheduleDelay(p, a)
			if !again || got != want {
				t.Errorf("%s: delay %d is %s, want %s", c.function, i, got, want)
			}
			placed := a.ClientModifyTime + int64(got)
			a.RescheduleEvents = append(a.RescheduleEvents, state.RescheduleEvent{Time: placed, Delay: int64(got)})
			if len(a.RescheduleEvents) > 8 {
				a.RescheduleEvents = a.RescheduleEvents[1:]
			}
			a.ClientModifyTime = placed // it fails at once
		}
	}
}

func TestDelaysBeginAnew(t *testing.T) {
	p := state.ReschedulePolicy{Unlimited: true, Delay: 5 * time.Second, DelayFunction: state.DelayFibonacci, MaxDelay: time.Minute}
	a := &state.Alloc{ClientModifyTime: int64(10 * time.Minute), RescheduleEvents: []state.RescheduleEvent{
		{Time: int64(time.Minute), Delay: int64(25 * time.Second)}, {Time: int64(2 * time.Minute), Delay: int64(40 * time.Second)},
	}}
	if got, _ := rescheduleDelay(p, a); got != 5*time.Second {
		t.Errorf("after eight good minutes: got %s", got)
	}
	a.RescheduleEvents = append(a.RescheduleEvents, state.RescheduleEvent{Time: a.ClientModifyTime, Delay: int64(5 * time.Second)})
	if got, _ := rescheduleDelay(p, a); got != 5*time.Second {
		t.Errorf("the sequence begins 1, 1: got %s", got)
	}
	a.RescheduleEvents = append(a.RescheduleEvents, state.RescheduleEvent{Time: a.ClientModifyTime, Delay: int64(5 * time.Second)})
	if got, _ := rescheduleDelay(p, a); got != 10*time.Second {
		t.Errorf("and goes on 2: got %s", got)
	}
}

func TestDelayNeverOverflows(t *testing.T) {
	p := state.ReschedulePolicy{Unlimited: true, Delay: time.Hour, DelayFunction: state.DelayExponential, MaxDelay: math.MaxInt64}
	a := &state.Alloc{RescheduleEvents: []state.RescheduleEvent{{Delay: math.MaxInt64 / 2 * 2}}}
	if got, _ := rescheduleDelay(p, a); got <= 0 {
		t.Errorf("got %s", got)
	}
}

func TestAttempts(t *testing.T) {
	ago := func(minutes ...int) (out []state.RescheduleEvent) {
		for _, m := range minutes {
			out = append(out, state.RescheduleEvent{Time: int64(2*time.Hour) - int64(m)*int64(time.Minute)})
		}
		return out
	}
	for i, c := range []struct {
		attempts  int
		unlimited bool
		events    []state.RescheduleEvent
		want      bool
	}{
		{0, false, nil, false},
		{1, false, nil, true},
		{1, false, ago(10), false},
		{1, false, ago(61), true}, // outside the interval of an hour
		{2, false, ago(61, 10), true},
		{2, false, ago(20, 10), false},
		{0, true, ago(5, 4, 3, 2, 1), true},
		{50, false, ago(8, 7, 6, 5, 4, 3, 2, 1), false}, // more are not remembered
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := state.ReschedulePolicy{Attempts: c.attempts, Unlimited: c.unlimited, Interval: time.Hour, Delay: time.Second}
			a := &state.Alloc{AllocGroup: &state.AllocGroup{}, AllocNode: &state.AllocNode{}, ClientModifyTime: int64(2 * time.Hour), RescheduleEvents: c.events}
			if _, got := rescheduleDelay(p, a); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
