package sched

import (
	"math"
	"time"

	"github.com/drover-io/drover/state"
)

// rescheduleDelay says how long after its end a failed copy is replaced, and whether it is at all. It counts in cluster time,
// from the copy's last report; what the node's own clock says is never looked at.
func rescheduleDelay(p state.ReschedulePolicy, failed *state.Alloc) (delay time.Duration, again bool) {
	if p.Exhausted(failed) {
		return 0, false
	}
	return nextDelay(p, failed.RescheduleEvents, failed.ClientModifyTime), true
}

// nextDelay is the delay after the ones that events tell of. A copy that ran longer than the longest delay has proven itself: its
// delays begin anew.
func nextDelay(p state.ReschedulePolicy, events []state.RescheduleEvent, ended int64) time.Duration {
	if len(events) == 0 {
		return p.Delay
	}
	last := events[len(events)-1]
	longest := p.MaxDelay
	if longest <= 0 {
		longest = math.MaxInt64
	}
	if p.DelayFunction == state.DelayConstant || ended-last.Time > int64(longest) {
		return p.Delay
	}
	next := 2 * time.Duration(last.Delay)
	if p.DelayFunction == state.DelayFibonacci {
		next = p.Delay                                                  // the sequence begins 1, 1, 2, 3, 5
		if n := len(events); n > 1 && events[n-2].Delay <= last.Delay { // otherwise it has just begun anew
			next = time.Duration(last.Delay) + time.Duration(events[n-2].Delay)
		}
	}
	if next < p.Delay { // overflow, or a policy whose delay was raised
		next = p.Delay
	}
	return min(next, longest)
}
