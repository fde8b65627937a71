package sched

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/drover-io/drover/state"
)

// Cursor is what Reconcile remembers from one pass to the next: the snapshot it looked at, the fleet of that snapshot, and the
// jobs to look at again although nothing may change. It is a cache: the zero Cursor means that everything is dirty, and leads to
// the same end. What it says never changes after it was returned, so it may be kept, copied, and used again when the commands of a pass
// were lost, by one goroutine at a time.
type Cursor struct {
	opts       Options
	cluster    string
	generation uint64
	term       uint64
	index      uint64
	passes     uint64 // of this cursor: two passes over one snapshot must not use one seed
	now        int64
	fleet      *fleet
	agenda     agenda
	plan       *expected // what the last plan leads to; nil when there was none
	memory     *memory   // shared with the cursor before; valid for the pass that it was handed to last
}

// NewCursor returns a cursor for which everything is dirty, with settings of its own.
func NewCursor(opts Options) Cursor { return Cursor{opts: opts} }

// continues reports whether what the cursor remembers holds for an earlier part of snap's history.
func (c Cursor) continues(snap *state.Snapshot) bool {
	return c.fleet != nil && c.cluster == snap.ClusterID() && c.generation == snap.Generation() && c.term == snap.LeadTerm() &&
		c.index <= snap.Index() && c.index >= snap.DirtyFloor()
}

// advance returns the cursor of snap, the jobs to look at, and when a node's hold ends.
func (c Cursor) advance(snap *state.Snapshot, now int64) (next Cursor, dirty *todo, released int64) {
	next = Cursor{
		opts: c.opts, cluster: snap.ClusterID(), generation: snap.Generation(), term: snap.LeadTerm(),
		index: snap.Index(), passes: c.passes + 1, now: now,
	}
	keys := map[state.JobKey]bool{}
	if !c.continues(snap) {
		next.fleet, next.agenda, next.memory = newFleet(snap), newAgenda(), newMemory()
		next.memory.pass = next.passes
		for j := range snap.Jobs() {
			keys[state.JobKey{Namespace: j.Namespace, ID: j.ID}] = true
		}
		for a := range snap.Allocs() { // jobs whose rows are gone
			keys[state.JobKey{Namespace: a.Namespace, ID: a.JobID}] = true
		}
		_, released = next.fleet.released(now, now)
		return next, newTodo(snap, keys, next.agenda.pending), released
	}
	met := c.met(snap)
	fleet, moved := c.advanceFleet(snap, met)
	next.fleet, next.memory = fleet, c.remember(moved, met)
	free, released := fleet.released(c.now, now)
	if len(free) > 0 {
		next.memory.reshape()
	}
	next.agenda = c.agenda.clone()
	c.eachDirtyJob(snap, met, func(k state.JobKey) { keys[k] = true })
	next.agenda.ready(append(moved.gained, free...), now, func(k state.JobKey) { keys[k] = true })
	return next, newTodo(snap, keys, c.agenda.pending), released
}

// advanceFleet moves the fleet forward by what has changed, or by what is news after the plan.
func (c Cursor) advanceFleet(snap *state.Snapshot, met bool) (*fleet, movement) {
	switch {
	case !met:
		return c.fleet.advance(snap, snap.NodesDirtySince(c.index))
	case c.plan == nil:
		return c.fleet.advance(snap, snap.NodesNewsSince(c.index))
	}
	return c.fleet.after(c.plan).advance(snap, snap.NodesNewsSince(c.index))
}

// eachDirtyJob calls yield with the jobs that have changed. After a plan that was met those are enough that are news, and those of
// which copies wait until others run.
func (c Cursor) eachDirtyJob(snap *state.Snapshot, met bool, yield func(state.JobKey)) {
	if !met {
		for k := range snap.JobsDirtySince(c.index) {
			yield(k)
		}
		if c.plan != nil {
			for _, k := range c.plan.settled {
				yield(k)
			}
		}
		return
	}
	for k := range snap.JobsNewsSince(c.index) {
		yield(k)
	}
	if c.agenda.rolling.Len() == 0 {
		return
	}
	for k := range snap.JobsDirtySince(c.index) {
		if _, rolls := c.agenda.rolling.Get(k); rolls {
			yield(k)
		}
	}
}

// remember takes over what the pass before has found out, as far as it still holds. Whoever uses a cursor twice finds it gone.
func (c Cursor) remember(moved movement, met bool) *memory {
	m := c.memory
	if m == nil || m.pass != c.passes || moved.rebuilt {
		m = newMemory()
	}
	m.pass = c.passes + 1
	if moved.reshaped {
		m.reshape()
	} else {
		m.begin(moved.changed, met, len(c.fleet.nodes))
	}
	return m
}

// seed derives the seed of a pass's allocation IDs from what no other pass of this cluster has in common with it.
func (c Cursor) seed() [16]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %d %d %d", c.cluster, c.generation, c.term, c.index, c.passes, c.now)
	return [16]byte(h.Sum(nil)[:16])
}

// salt moves the choice of dynamic ports from pass to pass.
func salt(seed [16]byte) uint64 { return binary.BigEndian.Uint64(seed[:8]) }
