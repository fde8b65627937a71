package sched

import (
	"cmp"
	"slices"

	"github.com/tidwall/btree"

	"github.com/drover-io/drover/state"
)

// importance is the order in which jobs are looked at: higher priority first, then older.
type importance struct {
	priority int
	created  uint64
	key      state.JobKey
}

func importanceOf(j *state.Job) importance {
	return importance{j.Priority, j.CreateIndex, state.JobKey{Namespace: j.Namespace, ID: j.ID}}
}

func (i importance) compare(o importance) int {
	return cmp.Or(cmp.Compare(o.priority, i.priority), cmp.Compare(i.created, o.created), compareKeys(i.key, o.key))
}

// jobOf is a job's row. A job whose row is gone wants nothing.
func jobOf(snap *state.Snapshot, k state.JobKey) *state.Job {
	if j := snap.Job(k.Namespace, k.ID); j != nil {
		return j
	}
	return &state.Job{Namespace: k.Namespace, ID: k.ID, Stop: true}
}

// todo is the jobs that a pass looks at, most important first: those of which something changed, and those that the passes before
// left. These stand in order already, so that a pass with room for few costs what those few cost, however many there are.
type todo struct {
	snap   *state.Snapshot
	fresh  []*state.Job
	keys   map[state.JobKey]bool // of fresh as it was first
	left   btree.IterG[importance]
	unread bool // left stands at a job that has not been taken
}

// newTodo returns a list of jobs that are looked at for the reason of what changed, and others.
func newTodo(snap *state.Snapshot, keys map[state.JobKey]bool, pending *btree.BTreeG[importance]) *todo {
	t := &todo{snap: snap, fresh: make([]*state.Job, 0, len(keys)), keys: keys, left: pending.Iter()}
	for k := range keys {
		t.fresh = append(t.fresh, jobOf(snap, k))
	}
	slices.SortFunc(t.fresh, func(a, b *state.Job) int { return importanceOf(a).compare(importanceOf(b)) })
	t.unread = t.left.First()
	t.skip()
	return t
}

// skip passes over jobs that are among the fresh ones: what was left of these may say what is no longer so.
func (t *todo) skip() {
	for t.unread && t.keys[t.left.Item().key] {
		t.unread = t.left.Next()
	}
}

func (t *todo) empty() bool { return len(t.fresh) == 0 && !t.unread }

// next takes the most important job.
func (t *todo) next() *state.Job {
	if !t.unread || len(t.fresh) > 0 && importanceOf(t.fresh[0]).compare(t.left.Item()) < 0 {
		job := t.fresh[0]
		t.fresh = t.fresh[1:]
		return job
	}
	job := jobOf(t.snap, t.left.Item().key)
	t.unread = t.left.Next()
	t.skip()
	return job
}
