package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/drover-io/drover/state"
)

// How long rows are kept that nobody needs, in cluster time.
const (
	garbageAllocAfter = 4 * time.Hour  // allocations that have ended and were followed by another, or whose job is over
	garbageJobAfter   = 4 * time.Hour  // jobs of which nothing runs or will run
	garbageNodeAfter  = 24 * time.Hour // nodes that are down and have no allocations
	garbagePerJob     = 100            // ended allocations kept of one job, however young
	garbageBatch      = 2000           // rows removed by one command; an ID costs about 40 bytes
)

// Garbage removes rows that nobody needs any more: at most one CollectGarbage of bounded size. What a slot that is still wanted
// was last said of is kept however old: without it a batch copy that is complete would run again.
func Garbage(snap *state.Snapshot, now int64) (cmds []state.Command, wake int64) {
	c := &collector{snap: snap, now: now}
	used := map[state.JobKey]bool{}
	for k := range snap.JobsOfAllocs() {
		used[k] = true
		if snap.AllocsOver(k) > 0 && snap.Job(k.Namespace, k.ID) == nil {
			c.orphans(k)
		}
	}
	for j := range snap.Jobs() {
		// Of a job whose allocations all run there is nothing to collect: a state of a million rows is not read for nothing.
		if k := (state.JobKey{Namespace: j.Namespace, ID: j.ID}); !used[k] || snap.AllocsOver(k) > 0 {
			c.job(j)
		}
	}
	for n := range snap.Nodes() {
		c.node(n)
	}
	if len(c.out.Allocs)+len(c.out.Jobs)+len(c.out.Nodes) == 0 {
		return nil, c.wake
	}
	if c.full() {
		c.wake = now
	}
	c.out.Term, c.out.Time = snap.LeadTerm(), now
	return []state.Command{c.out}, c.wake
}

// anyAge is what GarbageNow adds to the time, so that everything is old enough.
const anyAge = 100 * 365 * 24 * time.Hour

// GarbageNow is Garbage for an operator who does not want to wait: what is over goes, however young it is. What Garbage keeps at any
// age stays.
func GarbageNow(snap *state.Snapshot, now int64) []state.Command {
	cmds, _ := Garbage(snap, now+int64(anyAge))
	for i, cmd := range cmds {
		if c, ok := cmd.(state.CollectGarbage); ok {
			c.Time = now
			cmds[i] = c
		}
	}
	return cmds
}

// collector gathers what one command removes.
type collector struct {
	snap *state.Snapshot
	now  int64
	out  state.CollectGarbage
	wake int64
}

func (c *collector) full() bool {
	return len(c.out.Allocs)+len(c.out.Jobs)+len(c.out.Nodes) >= garbageBatch
}

// old reports whether something that ended at a time has been kept for long enough, and notes when it will have been.
func (c *collector) old(ended int64, after time.Duration) bool {
	due := ended + int64(after)
	if due <= c.now {
		return true
	}
	c.wake = earlier(c.wake, due)
	return false
}

// ended reports whether nothing of the allocation runs or will run again, and since when.
func (c *collector) ended(a *state.Alloc) (at int64, over bool) {
	if a.TerminalClient() {
		return max(a.ClientModifyTime, a.CreateTime), true
	}
	n := c.snap.Node(a.NodeID)
	if n == nil {
		return a.CreateTime, a.TerminalDesired()
	}
	return max(n.StatusUpdatedAt, a.CreateTime), a.TerminalDesired() && n.Status == state.NodeStatusDown
}

// job collects a job that is over, or what its living copies have left behind.
func (c *collector) job(j *state.Job) {
	last := c.lastWords(j)
	var superseded []*state.Alloc
	alive, latest := false, j.SubmitTime
	for a := range c.snap.AllocsByJob(j.Namespace, j.ID) {
		at, over := c.ended(a)
		latest = max(latest, at)
		switch {
		case !over:
			alive = true
		case last[slotKey{a.TaskGroup, a.Index}] != a:
			superseded = append(superseded, a)
		}
	}
	if !alive && c.snap.JobStatus(j) == state.JobStatusDead && c.old(latest, garbageJobAfter) {
		if !c.full() {
			c.out.Jobs = append(c.out.Jobs, state.JobKey{Namespace: j.Namespace, ID: j.ID})
		}
		for a := range c.snap.AllocsByJob(j.Namespace, j.ID) {
			c.alloc(a)
		}
		return
	}
	slices.SortFunc(superseded, func(a, b *state.Alloc) int { return -cmp.Compare(a.CreateIndex, b.CreateIndex) })
	for i, a := range superseded {
		at, _ := c.ended(a)
		if i >= garbagePerJob || c.old(at, garbageAllocAfter) {
			c.alloc(a)
		}
	}
}

// slotKey names one copy of a job.
type slotKey struct {
	group string
	index int
}

// lastWords returns, for every slot that a job wants, the newest allocation.
func (c *collector) lastWords(j *state.Job) map[slotKey]*state.Alloc {
	last := map[slotKey]*state.Alloc{}
	if j.Stop {
		return last
	}
	for a := range c.snap.AllocsByJob(j.Namespace, j.ID) {
		g := j.Group(a.TaskGroup)
		if g == nil || a.Index >= g.Count {
			continue
		}
		k := slotKey{a.TaskGroup, a.Index}
		if b := last[k]; b == nil || newer(a, b) {
			last[k] = a
		}
	}
	return last
}

// orphans collects the ended allocations of a job that is gone.
func (c *collector) orphans(k state.JobKey) {
	for a := range c.snap.AllocsByJob(k.Namespace, k.ID) {
		if at, over := c.ended(a); over && c.old(at, garbageAllocAfter) {
			c.alloc(a)
		}
	}
}

func (c *collector) alloc(a *state.Alloc) {
	if !c.full() {
		c.out.Allocs = append(c.out.Allocs, a.ID)
	}
}

// node collects a node that has been down for long and is named by nothing.
func (c *collector) node(n *state.Node) {
	if n.Status != state.NodeStatusDown || c.full() {
		return
	}
	for range c.snap.AllocsByNode(n.ID) {
		return
	}
	if c.old(n.StatusUpdatedAt, garbageNodeAfter) {
		c.out.Nodes = append(c.out.Nodes, n.ID)
	}
}
