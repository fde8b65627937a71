package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/state"
)

// frozenFor is how long an agent is frozen: long enough to be noticed, far below lost_after.
const frozenFor = 20 * time.Second

func frozenDrills() []drill {
	return []drill{{
		name: "agent-frozen", driver: herd.DriverContainerd, servers: 3, lane: 2, each: 27 * time.Second,
		counts: []string{countMoved, countDoubled, countOrphans}, prepare: spread, run: freeze,
	}}
}

// freeze stops an agent, the leader's in its turn, and lets it go on. Measured is until the herd calls it ready again.
func freeze(ctx context.Context, r *rig, run int) (took time.Duration, err error) {
	victim := r.herd.Nodes[run%len(r.herd.Nodes)]
	witness := r.herd.Nodes[(run+1)%len(r.herd.Nodes)]
	before, err := r.look(ctx, witness)
	if err != nil {
		return 0, err
	}
	if err := victim.SignalAgent(syscall.SIGSTOP); err != nil {
		return 0, err
	}
	frozen := time.Now()
	defer func() {
		if err != nil {
			err = errors.Join(err, victim.SignalAgent(syscall.SIGCONT))
		}
	}()
	if _, err := waitfor.True(ctx, frozenFor, 100*time.Millisecond, func(ctx context.Context) error {
		status, err := statusOf(ctx, witness, victim)
		if err == nil && status != state.NodeStatusDisconnected {
			err = fmt.Errorf("%s is frozen and its node is %s, want %s", victim.Name, status, state.NodeStatusDisconnected)
		}
		return err
	}); err != nil {
		return 0, err
	}
	r.progress("%s was disconnected %.1f s after it was frozen", victim.Name, time.Since(frozen).Seconds())
	pause(ctx, frozenFor-time.Since(frozen))
	if err := victim.SignalAgent(syscall.SIGCONT); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := waitfor.True(ctx, time.Minute, 50*time.Millisecond, r.readyAndWhole); err != nil {
		return 0, fmt.Errorf("go on: %w", err)
	}
	took = time.Since(start)
	pause(ctx, calm)
	return took, r.judge(ctx, before)
}
