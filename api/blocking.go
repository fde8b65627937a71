package api

import (
	"context"
	"errors"
	"time"

	"github.com/drover-io/drover/state"
)

// watchFor is what a blocking read waits for: keys that wake it, and whether what it reads has changed since an index. The
// second is asked when the read begins, and of every waking: many reads share a key, few of them changed. It may answer true
// without need, never false wrongly.
type watchFor struct {
	keys    []state.Key
	changed func(snap *state.Snapshot, since uint64) bool
}

// snapshot is the state to answer a read from, in the mode that it asked for.
func (c *call) snapshot(watch func(c *call) watchFor) (*state.Snapshot, error) {
	if c.opts.consistent {
		if err := c.s.b.Cluster.VerifyLeader(c.ctx); err != nil {
			return nil, err
		}
	}
	st := c.s.b.State
	if c.opts.index == 0 || watch == nil {
		return st.Snapshot(), nil
	}
	if !c.s.watchers.enter(c.s.b.Limits.MaxWatchers) {
		return nil, NewError(CodeBusy, "try again later, or ask another server", "this server has %d blocking reads already", c.s.b.Limits.MaxWatchers)
	}
	defer c.s.watchers.leave()
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	if !c.opts.stale { // a leader that leads no more would keep its readers waiting for what it does not hear of
		one := c.s.hops.add(c.s.self().PeerAddr, c.s.self().NodeID, cancel)
		defer c.s.hops.remove(one)
	}
	snap, err := c.catchUpAndWait(ctx, st, watch(c))
	if errors.Is(err, errLeaderMoved) {
		return nil, ErrNotLeader
	}
	if err != nil {
		return nil, err
	}
	if !c.opts.stale && !c.s.b.Cluster.IsLeader() {
		return nil, ErrNotLeader // lost meanwhile: the state may be old
	}
	return snap, nil
}

func (c *call) catchUpAndWait(ctx context.Context, st State, watch watchFor) (*state.Snapshot, error) {
	if err := c.catchUp(ctx, st); err != nil {
		return nil, err
	}
	return c.await(ctx, st, watch)
}

// catchUp waits until this server has seen the index asked for, and says "behind" when that takes too long. It never answers
// from an older state: whoever asks has seen a newer one.
func (c *call) catchUp(ctx context.Context, st State) error {
	deadline := time.NewTimer(min(c.waitLeft(), c.s.b.Limits.LeaderWait))
	defer deadline.Stop()
	for {
		w := st.Watch(state.KeyIndex())
		if st.Snapshot().Index() >= c.opts.index {
			w.Stop()
			return nil
		}
		select {
		case <-w.C():
			continue
		case <-deadline.C:
			w.Stop()
			return NewError(CodeBehind, "try again, or read without index", "this server is at index %d, behind %d", st.Snapshot().Index(), c.opts.index)
		case <-ctx.Done():
			w.Stop()
			return context.Cause(ctx)
		case <-c.s.life.Done():
			w.Stop()
			return errStopping()
		}
	}
}

// await waits for a change, for as long as the read wants, and returns the newest state either way.
func (c *call) await(ctx context.Context, st State, watch watchFor) (*state.Snapshot, error) {
	deadline := time.NewTimer(c.waitLeft())
	defer deadline.Stop()
	for {
		w := st.Watch(watch.keys...)
		snap := st.Snapshot()
		if snap.Index() > c.opts.index && (c.opts.index < snap.DirtyFloor() || watch.changed(snap, c.opts.index)) {
			w.Stop()
			return snap, nil
		}
		select {
		case <-w.C():
			continue
		case <-deadline.C:
			w.Stop()
			return st.Snapshot(), nil
		case <-ctx.Done():
			w.Stop()
			return nil, context.Cause(ctx)
		case <-c.s.life.Done():
			w.Stop()
			return nil, errStopping()
		}
	}
}

func errStopping() *Error {
	return NewError(CodeUnavailable, "ask another agent", "this agent is stopping")
}

// jobChanged reports whether a job, its allocations or their nodes changed.
func jobChanged(snap *state.Snapshot, since uint64, key state.JobKey) bool {
	return snap.JobChangedSince(key.Namespace, key.ID, since)
}

// anyJobChanged reports whether any did, in a namespace or in all.
func anyJobChanged(snap *state.Snapshot, since uint64, namespace string) bool {
	for k := range snap.JobsDirtySince(since) {
		if namespace == AllNamespaces || k.Namespace == namespace {
			return true
		}
	}
	return false
}

// nodeChanged reports whether a node or its allocations changed.
func nodeChanged(snap *state.Snapshot, since uint64, id string) bool {
	return snap.NodeChangedSince(id, since)
}

func watchJobs(c *call) watchFor {
	return watchFor{
		keys: []state.Key{state.KeyJobs(), state.KeyAllocs(), state.KeyNodes()},
		changed: func(snap *state.Snapshot, since uint64) bool {
			return anyJobChanged(snap, since, c.opts.namespace)
		},
	}
}

func watchJob(c *call) watchFor {
	ns, id := c.opts.namespace, c.id()
	return watchFor{
		keys: []state.Key{state.KeyJob(ns, id), state.KeyJobAllocs(ns, id), state.KeyNodes()},
		changed: func(snap *state.Snapshot, since uint64) bool {
			return jobChanged(snap, since, state.JobKey{Namespace: ns, ID: id})
		},
	}
}

func watchNodes(*call) watchFor {
	return watchFor{
		keys: []state.Key{state.KeyNodes(), state.KeyAllocs()},
		changed: func(snap *state.Snapshot, since uint64) bool {
			for range snap.NodesDirtySince(since) {
				return true
			}
			return false
		},
	}
}

func watchNode(c *call) watchFor {
	id := c.id()
	return watchFor{
		keys: []state.Key{state.KeyNode(id), state.KeyNodeAllocs(id)},
		changed: func(snap *state.Snapshot, since uint64) bool {
			return nodeChanged(snap, since, id)
		},
	}
}

func watchAllocs(c *call) watchFor { return watchJobs(c) }

func watchAlloc(c *call) watchFor {
	id := c.id()
	keys := []state.Key{state.KeyAlloc(id)}
	if a := c.s.b.State.Snapshot().Alloc(id); a != nil {
		keys = append(keys, state.KeyNode(a.NodeID)) // lost and unknown are derived from it
	}
	return watchFor{
		keys: keys,
		changed: func(snap *state.Snapshot, since uint64) bool {
			a := snap.Alloc(id)
			if a == nil || a.ModifyIndex > since {
				return true
			}
			n := snap.Node(a.NodeID)
			return n == nil || n.ModifyIndex > since
		},
	}
}
