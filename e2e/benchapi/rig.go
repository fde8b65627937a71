package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/internal/waitfor"
)

// What is in the state when it is read and watched.
const (
	heldNodes = 100
	heldJobs  = 1000
	heldCount = 10 // copies of each
)

// rig is three servers whose state holds jobs that run, on simulated nodes.
type rig struct {
	options
	servers fleet.Servers
	leader  *fleet.Server
	index   uint64 // of the state when everything ran
}

// withRig starts servers and agents, has every job placed and running, and ends all at the end.
func withRig(ctx context.Context, o options, do func(r *rig) error) (err error) {
	dir, err := os.MkdirTemp(o.dir, "held-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	servers, err := fleet.StartServers(ctx, o.drover, dir, 3, o.raft)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	agents, err := fleet.StartAgents(ctx, servers, fleet.Plan{Nodes: heldNodes, Copies: heldJobs * heldCount}, time.Minute)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agents.Close()) }()
	g, fill := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range heldJobs {
		g.Go(func() error {
			_, err := servers[i%len(servers)].API.RegisterJob(fill, &api.JobRegisterRequest{Job: heldJob(i)}, api.WriteOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("register the jobs: %w", err)
	}
	if _, err := waitfor.True(ctx, 2*time.Minute, 100*time.Millisecond, func(context.Context) error {
		c, err := agents.Counts()
		if err == nil && c.Running < heldJobs*heldCount {
			err = fmt.Errorf("%d of %d copies run", c.Running, heldJobs*heldCount)
		}
		return err
	}); err != nil {
		return err
	}
	r := &rig{options: o, servers: servers}
	views, err := servers.WaitQuiet(ctx, time.Minute, 2*time.Second)
	if err != nil {
		return err
	}
	r.index = views[0].Index
	if r.leader, err = servers.Leader(ctx); err != nil {
		return err
	}
	return do(r)
}

// profile begins a processor profile of d, and ends with one of what was allocated, of each of the servers, when that is asked for. What it returns waits for its end.
func (o options) profile(ctx context.Context, servers fleet.Servers, name string, d time.Duration) (stop func() error) {
	if o.profiles == "" {
		return func() error { return nil }
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range servers {
		g.Go(func() error {
			who := "follower-" + s.Name
			if v, err := s.State(ctx); err == nil {
				if l, err := servers.Leader(ctx); err == nil && l == s && v != nil {
					who = "leader"
				}
			}
			file := filepath.Join(o.profiles, name+"-"+who)
			if err := s.Profile(ctx, "profile", d, file+".pprof"); err != nil {
				return err
			}
			return s.Profile(ctx, "allocs", 0, file+"-allocs.pprof") // of everything since the server started
		})
	}
	return g.Wait
}
