package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/e2e/fleet"
)

// idle is what the cluster does while everything runs and nothing happens.
type idle struct {
	polls   float64 // a second
	servers float64 // processors that the three servers keep busy
	agents  float64 // and the agents
}

// watchRest measures the cluster at rest.
func (b *bench) watchRest(ctx context.Context) error {
	before, err := b.use(ctx)
	if err != nil {
		return err
	}
	if err := b.profileAgents("agents-rest.pprof"); err != nil {
		return err
	}
	g, resting := errgroup.WithContext(ctx)
	g.Go(func() error { return b.profileCPU(resting, "cpu-rest.pprof", b.restFor) })
	g.Go(func() error { return fleet.Pause(resting, b.restFor) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := b.profileAgents(""); err != nil {
		return err
	}
	after, err := b.use(ctx)
	if err != nil {
		return err
	}
	seconds := b.restFor.Seconds()
	for i := range after.servers {
		b.idle.servers += (after.servers[i].cpu - before.servers[i].cpu).Seconds() / seconds
	}
	b.idle.agents, b.idle.polls = (after.agents-before.agents).Seconds()/seconds, float64(after.polls-before.polls)/seconds
	return nil
}
