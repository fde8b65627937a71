package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
)

// maxInFlight bounds the submissions of the steady phase that are not acknowledged: a cluster that cannot follow is not buried.
const maxInFlight = 256

// steady is what the second phase measured.
type steady struct {
	took        time.Duration // of the submissions
	copies      int           // that agents got
	p50, p99    time.Duration // from before the submission until the agent had the copy
	slowest     time.Duration
	latencies   int
	leader      time.Duration // the median of agents that wait at the leader
	began       time.Time
	collections uint32  // of the heap of all agents meanwhile
	late        []int64 // when copies came that took longer than fleet.Late

	before, after usage
}

// flow submits jobs at a steady rate and waits until the agents have every copy.
func (b *bench) flow(ctx context.Context) error {
	before, err := b.agents.Latencies() // those of before are not asked for
	if err != nil {
		return err
	}
	b.steady.collections = before.Collections
	c, err := b.agents.Counts()
	if err != nil {
		return err
	}
	if b.steady.before, err = b.use(ctx); err != nil {
		return err
	}
	jobs, base := b.steadyJobs(), c.Held
	every := time.Duration(float64(time.Second) * float64(b.steadyOf) / float64(b.rate))
	tick := time.NewTicker(every)
	defer tick.Stop()
	g, sending := errgroup.WithContext(ctx)
	g.SetLimit(maxInFlight + 1)
	g.Go(func() error { return b.profileCPU(sending, "cpu-steady.pprof", b.steadyFor) })
	began := time.Now()
	b.steady.began = began
	for i := range jobs {
		select {
		case <-tick.C:
		case <-sending.Done():
			return g.Wait()
		}
		j := fleet.Job("steady", b.shape, i, b.steadyOf)
		b.wanted[j.ID] = b.steadyOf
		fleet.Stamp(j)
		g.Go(func() error { return b.register(sending, i, &api.JobRegisterRequest{Job: j}) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.steady.took = time.Since(began)
	if err := b.arrived(ctx, base, jobs*b.steadyOf); err != nil {
		return err
	}
	if b.steady.after, err = b.use(ctx); err != nil {
		return err
	}
	return b.profileHeap(ctx, "-steady")
}

// arrived waits until the agents have the copies, and takes their latencies.
func (b *bench) arrived(ctx context.Context, base int64, copies int) error {
	for moved, last := time.Now(), base; ; {
		c, err := b.agents.Counts()
		if err != nil {
			return err
		}
		if c.Held-base >= int64(copies) {
			break
		}
		if c.Held != last {
			moved, last = time.Now(), c.Held
		}
		if time.Since(moved) > b.limit {
			return fmt.Errorf("the agents have %d of the %d copies of the steady phase, and nothing happened for %s", c.Held-base, copies, b.limit)
		}
		if err := fleet.Pause(ctx, lookEvery); err != nil {
			return err
		}
	}
	c, err := b.agents.Latencies()
	if err != nil {
		return err
	}
	b.steady.copies, b.steady.late = copies, c.Late
	b.steady.collections = c.Collections - b.steady.collections - 1 // the last one is that of the question
	if n := len(c.AtLeader); n > 0 {
		b.steady.leader = time.Duration(c.AtLeader[n/2])
	}
	if n := len(c.Latencies); n > 0 {
		at := func(part float64) time.Duration { return time.Duration(c.Latencies[int(part*float64(n-1))]) }
		b.steady.latencies, b.steady.p50, b.steady.p99, b.steady.slowest = n, at(0.5), at(0.99), at(1)
	}
	return nil
}
