package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

const (
	// maxIdle bounds how long the leader waits before it looks again although nothing changed: a net under every missed wake.
	maxIdle = 10 * time.Second
	// garbageEvery is how often garbage is looked for.
	garbageEvery = time.Minute
)

// decide is the leader's loop: observe a whole picture, decide, commit, wait until something changed or a time asked for. The
// deciders run in a fixed order, each on the result of those before. No event's content is ever acted upon.
func (t *term) decide(ctx context.Context) error {
	var (
		opts   = t.s.schedOptions()
		cursor = sched.NewCursor(opts)
		guard  sched.Guard
		swept  int64
	)
	for {
		changed := t.s.store.Watch(state.KeyAll())
		seen := t.watch.changed()
		now := t.clock.Now()

		cmds, nextGuard, wake := sched.NodeLoss(t.s.store.Snapshot(), t.watch.observations(), guard, now, opts)
		guard = nextGuard
		t.watch.publish(guard)
		if err := t.commitAll(ctx, cmds); err != nil {
			return fmt.Errorf("judge nodes: %w", err)
		}
		cmds, next, later := sched.Reconcile(t.s.store.Snapshot(), cursor, t.clock.Now())
		if err := t.commitAll(ctx, cmds); err != nil {
			return fmt.Errorf("place work: %w", err)
		}
		cursor, wake = next, earliest(wake, later)
		if len(cmds) == 0 && now-swept > int64(garbageEvery) {
			swept = now
			cmds, _ = sched.Garbage(t.s.store.Snapshot(), now)
			if err := t.commitAll(ctx, cmds); err != nil {
				return fmt.Errorf("collect garbage: %w", err)
			}
		}
		if len(cmds) > 0 {
			changed.Stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if err := t.idle(ctx, changed, seen, wake); err != nil {
			return err
		}
	}
}

// idle waits for a change, an observation or a time asked for.
func (t *term) idle(ctx context.Context, changed *state.Watch, seen <-chan struct{}, wake int64) error {
	defer changed.Stop()
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

// commitAll commits a decider's commands in order. What the referee drops is logged and decided again: its jobs are dirty.
func (t *term) commitAll(ctx context.Context, cmds []state.Command) error {
	for _, cmd := range cmds {
		value, _, err := t.s.commit(ctx, cmd)
		switch {
		case errors.Is(err, state.ErrStaleTerm):
			return err
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		}
		if r, ok := value.(state.PlanResult); ok {
			for _, d := range r.Dropped {
				t.log.Debug("plan refused in part", "record", d.Record, "copy", d.Copy, "reason", d.Reason)
			}
		}
	}
	return nil
}

// schedOptions are the deciders' settings of this server's configuration.
func (s *server) schedOptions() sched.Options {
	c := s.a.cfg.Server
	return sched.Options{Algorithm: sched.Algorithm(c.Algorithm), LostAfter: c.LostAfter, EvictionHold: c.EvictionHold}
}
