package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

const (
	// maxIdle bounds how long the leader waits before it looks again although nothing changed: a net under every missed wake.
	maxIdle = 10 * time.Second
	// garbageEvery is how often garbage is looked for, also by a leader that is never done: a fleet whose copies fail and are replaced all the
	// time leaves rows behind that each look at its jobs reads.
	garbageEvery = 10 * time.Second
	// garbageRests is how many times as long as a look took the next one waits at least.
	garbageRests = 20
)

// decide is the leader's loop: observe a whole picture, decide, commit, wait until something changed or a time asked for. No
// event's content is ever acted upon.
func (t *term) decide(ctx context.Context) error {
	opts := t.s.schedOptions()
	d := decider{term: t, opts: opts, cursor: sched.NewCursor(opts)}
	for ctx.Err() == nil {
		changed := t.s.store.Watch(state.KeyAll())
		seen := t.watch.changed()
		start := time.Now()
		busy, wake, err := d.pass(ctx)
		t.s.a.metrics.passSeconds.Observe(time.Since(start).Seconds())
		switch {
		case err != nil:
		case busy:
			err = d.rest(ctx)
		default:
			err = t.idle(ctx, changed, seen, wake)
		}
		changed.Stop()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// decider is what the leader's loop remembers from one pass to the next.
type decider struct {
	*term
	opts   sched.Options
	cursor sched.Cursor
	guard  sched.Guard
	sweep  int64 // cluster time of the next look for garbage
	vain   int   // passes in a row of which the referee dropped everything

	lossSeen   lossSeen // at the last look for lost nodes
	lossLooked int64    // cluster time of it
	lossWake   int64    // cluster time at which to look again at the latest; 0 for never
}

const (
	// vainRest and maxVainRest bound the pause behind passes of which the referee dropped everything: each of them is an entry in the
	// log, and what planner and referee see differently does not change by asking again at once.
	vainRest    = 20 * time.Millisecond
	maxVainRest = 2 * time.Second
)

// rest waits after passes in vain, longer each time; after one that did something it does not wait.
func (d *decider) rest(ctx context.Context) error {
	if wait := restAfter(d.vain); wait > 0 {
		return pause(ctx, wait)
	}
	return nil
}

// restAfter is the pause behind so many passes in vain. The first is forgiven: somebody was faster.
func restAfter(vain int) time.Duration {
	if vain < 2 {
		return 0
	}
	return min(vainRest<<min(vain-2, 10), maxVainRest)
}

// count notes whether a pass did anything: all that it committed were plans of which nothing was applied, or not.
func (d *decider) count(results []any) {
	for _, r := range results {
		if p, ok := r.(state.PlanResult); !ok || p.Placed+p.Stopped > 0 || len(p.Dropped) == 0 {
			d.vain = 0
			return
		}
	}
	d.vain++
}

// pass runs the deciders in a fixed order, each on the result of those before. busy is true when something was committed: look
// again at once.
func (d *decider) pass(ctx context.Context) (busy bool, wake int64, err error) {
	store, now := d.s.store, d.clock.Now()
	if led := store.Snapshot().LeadTerm(); led != d.number {
		// A backup was restored: it knows no leader. The term begins again, before anybody's command fails for that.
		return false, 0, fmt.Errorf("the state was replaced, it knows term %d: %w", led, state.ErrStaleTerm)
	}
	cmds := d.nodeLoss(store.Snapshot(), now)
	wake = d.lossWake
	judged, err := d.commitAll(ctx, cmds)
	if err != nil {
		return false, 0, fmt.Errorf("judge nodes: %w", err)
	}
	cmds, next, later := sched.Reconcile(store.Snapshot(), d.cursor, d.clock.Now())
	placed, err := d.commitAll(ctx, cmds)
	if err != nil {
		return false, 0, fmt.Errorf("place work: %w", err)
	}
	if len(cmds) > 0 {
		d.count(append(judged, placed...))
	}
	d.cursor, wake = next, earliest(wake, later)
	swept, err := d.collect(ctx, now)
	if err != nil {
		return false, 0, fmt.Errorf("collect garbage: %w", err)
	}
	return len(cmds) > 0 || swept, earliest(wake, d.sweep), nil
}

// collect removes garbage when it is time to look for some. What is more than fits into one entry goes soon after.
func (d *decider) collect(ctx context.Context, now int64) (some bool, err error) {
	if now < d.sweep {
		return false, nil
	}
	start := time.Now()
	cmds, wake := sched.Garbage(d.s.store.Snapshot(), now)
	took := time.Since(start)
	results, err := d.commitAll(ctx, cmds)
	more := wake == now && slices.ContainsFunc(results, func(r any) bool { return r != any(state.CollectGarbageResult{}) })
	d.sweep = now + int64(restAfterLook(took, more))
	return len(cmds) > 0, err
}

// restAfterLook is how long no garbage is looked for after a look that took so long. more: it found more than one entry removes, and the
// entry removed some.
func restAfterLook(took time.Duration, more bool) time.Duration {
	if more {
		return garbageRests * took
	}
	return max(garbageEvery, garbageRests*took)
}

// lossSeen is what a look for lost nodes depends on, beside the time.
type lossSeen struct {
	nodes   uint64          // index at which a node last changed
	allowed int64           // when an operator let the guard go
	watched <-chan struct{} // replaced with every observation that is news
}

// nodeLoss looks for lost nodes, when there is news of nodes, it is time, or it was not looked for a while: it reads every node, which
// is more than most passes are about.
func (d *decider) nodeLoss(snap *state.Snapshot, now int64) []state.Command {
	seen := lossSeen{snap.NodesIndex(), snap.EvictionsAllowedAt(), d.watch.changed()}
	due := now-d.lossLooked >= int64(watchEvery) || d.lossWake > 0 && now >= d.lossWake
	if seen == d.lossSeen && !due {
		return nil
	}
	cmds, guard, wake := sched.NodeLoss(snap, d.watch.observations(), d.guard, now, d.opts)
	d.guard, d.lossWake, d.lossSeen, d.lossLooked = guard, wake, seen, now
	d.watch.publish(guard)
	return cmds
}

// idle waits for a change, an observation or a time asked for.
func (t *term) idle(ctx context.Context, changed *state.Watch, seen <-chan struct{}, wake int64) error {
	wait := maxIdle
	if wake > 0 {
		wait = min(wait, max(0, time.Duration(wake-t.clock.Now())))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed.C():
	case <-seen:
	case <-timer.C:
	}
	return nil
}

// earliest is the sooner of two times to look again, 0 meaning never.
func earliest(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// commitAll commits a decider's commands in order, and returns what applying each answered. What the referee drops is logged and
// decided again: its jobs are dirty.
func (t *term) commitAll(ctx context.Context, cmds []state.Command) ([]any, error) {
	var results []any
	for _, cmd := range cmds {
		value, _, err := t.s.commit(ctx, cmd)
		switch {
		case errors.Is(err, state.ErrStaleTerm):
			return results, err
		case err != nil && ctx.Err() != nil:
			return results, ctx.Err()
		case err != nil:
			return results, err
		}
		results = append(results, value)
		if r, ok := value.(state.PlanResult); ok {
			t.s.a.metrics.planned(r)
			for _, d := range r.Dropped {
				t.log.Debug("plan refused in part", "record", d.Record, "copy", d.Copy, "reason", d.Reason)
			}
		}
	}
	return results, nil
}

// schedOptions are the deciders' settings of this server's configuration.
func (s *server) schedOptions() sched.Options {
	c := s.a.cfg.Server
	return sched.Options{Algorithm: sched.Algorithm(c.Algorithm), LostAfter: c.LostAfter, EvictionHold: c.EvictionHold}
}
