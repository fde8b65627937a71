package sched

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/drover-io/drover/state"
)

// Cursor is what Reconcile remembers from one pass to the next: the snapshot it looked at, the fleet of that snapshot, and the
// jobs to look at again although nothing may change. It is a cache: the zero Cursor means that everything is dirty, and leads to
// the same end. Its content is never changed after it was returned, so it may be kept, copied, and used again when the commands
// of a pass were lost.
type Cursor struct {
	opts       Options
	cluster    string
	generation uint64
	term       uint64
	index      uint64
	passes     uint64 // of this cursor: two passes over one snapshot must not use one seed
	now        int64
	fleet      *fleet
	marks      map[state.JobKey]mark
}

// mark is why a job is looked at again.
type mark struct {
	pending  bool      // the last plan changed it, or was too small for it, or a copy of it waits for another to end
	due      int64     // a failed copy may be replaced then; 0 for never
	unplaced []waiting // groups with copies that found no node
}

// waiting is a group with copies that found no node.
type waiting struct {
	ask   *ask
	homes []string // nodes on which a successor may fit in the place of its predecessor, though not beside it
}

// NewCursor returns a cursor for which everything is dirty, with settings of its own.
func NewCursor(opts Options) Cursor { return Cursor{opts: opts} }

// continues reports whether what the cursor remembers holds for an earlier part of snap's history.
func (c Cursor) continues(snap *state.Snapshot) bool {
	return c.fleet != nil && c.cluster == snap.ClusterID() && c.generation == snap.Generation() && c.term == snap.LeadTerm() &&
		c.index <= snap.Index() && c.index >= snap.DirtyFloor()
}

// advance returns the cursor of snap, the jobs to look at, most important first, and when a node's hold ends.
func (c Cursor) advance(snap *state.Snapshot, now int64) (next Cursor, dirty []*state.Job, released int64) {
	next = Cursor{
		opts: c.opts, cluster: snap.ClusterID(), generation: snap.Generation(), term: snap.LeadTerm(),
		index: snap.Index(), passes: c.passes + 1, now: now,
	}
	keys := map[state.JobKey]bool{}
	if !c.continues(snap) {
		next.fleet, next.marks = newFleet(snap), map[state.JobKey]mark{}
		for j := range snap.Jobs() {
			keys[state.JobKey{Namespace: j.Namespace, ID: j.ID}] = true
		}
		for a := range snap.Allocs() { // jobs whose rows are gone
			keys[state.JobKey{Namespace: a.Namespace, ID: a.JobID}] = true
		}
		_, released = next.fleet.released(now, now)
		return next, order(snap, keys), released
	}
	var gained, free []*fleetNode
	next.fleet, gained = c.fleet.advance(snap, c.index)
	free, released = next.fleet.released(c.now, now)
	gained = append(gained, free...)
	next.marks = maps.Clone(c.marks)
	for k := range snap.JobsDirtySince(c.index) {
		keys[k] = true
	}
	for k, m := range c.marks {
		if m.pending || (m.due != 0 && m.due <= now) || anyFits(m.unplaced, gained, now) {
			keys[k] = true
		}
	}
	return next, order(snap, keys), released
}

// anyFits reports whether a copy of one of the groups may have room on one of the nodes, or may stay there.
func anyFits(groups []waiting, nodes []*fleetNode, now int64) bool {
	for _, w := range groups {
		for _, n := range nodes {
			if slices.Contains(w.homes, n.node.ID) {
				return true
			}
			if n.takesWork(now) && n.fits(w.ask) && w.ask.suits(n.node) && passAll(w.ask.uniques, n.node) {
				return true
			}
		}
	}
	return false
}

// order returns the jobs of some keys: higher priority first, then older. A job whose row is gone wants nothing.
func order(snap *state.Snapshot, keys map[state.JobKey]bool) []*state.Job {
	jobs := make([]*state.Job, 0, len(keys))
	for k := range keys {
		j := snap.Job(k.Namespace, k.ID)
		if j == nil {
			j = &state.Job{Namespace: k.Namespace, ID: k.ID, Stop: true}
		}
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b *state.Job) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.CreateIndex, b.CreateIndex),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ID, b.ID),
		)
	})
	return jobs
}

// seed derives the seed of a pass's allocation IDs from what no other pass of this cluster has in common with it.
func (c Cursor) seed() [16]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %d %d %d", c.cluster, c.generation, c.term, c.index, c.passes, c.now)
	return [16]byte(h.Sum(nil)[:16])
}

// salt moves the choice of dynamic ports from pass to pass.
func salt(seed [16]byte) uint64 { return binary.BigEndian.Uint64(seed[:8]) }
