package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// plainGarbage is Garbage that looks at every job and at every allocation.
func plainGarbage(snap *state.Snapshot, now int64) (cmds []state.Command, wake int64) {
	c := &collector{snap: snap, now: now}
	for j := range snap.Jobs() {
		c.job(j)
	}
	for a := range snap.Allocs() {
		if snap.Job(a.Namespace, a.JobID) != nil {
			continue
		}
		if at, over := c.ended(a); over && c.old(at, garbageAllocAfter) {
			c.alloc(a)
		}
	}
	for n := range snap.Nodes() {
		c.node(n)
	}
	if len(c.out.Allocs)+len(c.out.Jobs)+len(c.out.Nodes) == 0 {
		return nil, c.wake
	}
	c.out.Term, c.out.Time = snap.LeadTerm(), now
	return []state.Command{c.out}, c.wake
}

// sorted is what a collection of garbage removes, in an order that does not depend on how it was looked for.
func sorted(cmds []state.Command) []state.Command {
	for i, cmd := range cmds {
		c := cmd.(state.CollectGarbage)
		c.Allocs = slices.Sorted(slices.Values(c.Allocs))
		cmds[i] = c
	}
	return cmds
}
