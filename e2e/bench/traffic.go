package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/state"
)

const (
	users       = 32
	warmUp      = 2 * time.Second
	registerFor = 10 * time.Second
	readFor     = 5 * time.Second
	readJob     = "read" // registered once, for the readers
)

// traffic is what users do to a cluster: every one of them has connections of its own, and asks the servers in turn.
type traffic struct {
	herd   *herd.Herd
	leader int             // index of the node that leads
	users  [][]*api.Client // by user, by node
	job    *state.Job      // registered again and again under other names

	mu   sync.Mutex
	next int // number of the next job
}

// result is what a while of traffic came to.
type result struct {
	done, forwarded int
	took            time.Duration
	times           []float64 // milliseconds
}

func (r result) rate() float64    { return float64(r.done) / r.took.Seconds() }
func (r result) latency() float64 { return median(r.times) }

// action is one request of a user to a server.
type action func(ctx context.Context, c *api.Client) error

func newTraffic(ctx context.Context, h *herd.Herd) (*traffic, error) {
	t := &traffic{herd: h}
	leader, err := h.Leader(ctx)
	if err != nil {
		return nil, err
	}
	for range users {
		var clients []*api.Client
		for i, n := range h.Nodes {
			if n == leader {
				t.leader = i
			}
			c, err := api.New(api.Config{Addr: n.Addr(), Retries: -1})
			if err != nil {
				return nil, err
			}
			clients = append(clients, c)
		}
		t.users = append(t.users, clients)
	}
	if t.job, err = emptyJob(readJob); err != nil {
		return nil, err
	}
	_, err = register(ctx, h.Nodes[0].API, t.job)
	return t, err
}

func (t *traffic) close() {
	for _, clients := range t.users {
		for _, c := range clients {
			c.Close()
		}
	}
}

// run has all users repeat an action for a while. A request that fails ends it: there is nothing here that may.
func (t *traffic) run(ctx context.Context, d time.Duration, do action) (result, error) {
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	results := make([]result, len(t.users))
	errs := make([]error, len(t.users))
	began := time.Now()
	var wg sync.WaitGroup
	for u := range t.users {
		wg.Go(func() { results[u], errs[u] = t.repeat(ctx, until, u, do) })
	}
	wg.Wait()
	sum := result{took: time.Since(began)}
	for _, r := range results {
		sum.done, sum.forwarded, sum.times = sum.done+r.done, sum.forwarded+r.forwarded, append(sum.times, r.times...)
	}
	err := errors.Join(errs...)
	if err == nil && sum.done == 0 {
		err = errors.New("nothing was answered")
	}
	return sum, err
}

// repeat is one user's part. What is under way at the end is waited for.
func (t *traffic) repeat(ctx, until context.Context, user int, do action) (result, error) {
	var r result
	for i := user; until.Err() == nil; i++ {
		at := i % len(t.herd.Nodes)
		began := time.Now()
		if err := do(ctx, t.users[user][at]); err != nil {
			return r, fmt.Errorf("user %d asks %s: %w", user, t.herd.Nodes[at].Name, err)
		}
		r.times = append(r.times, time.Since(began).Seconds()*1e3)
		r.done++
		if at != t.leader {
			r.forwarded++
		}
	}
	return r, nil
}

// register is an action: a job that is new.
func (t *traffic) register(ctx context.Context, c *api.Client) error {
	t.mu.Lock()
	t.next++
	id := fmt.Sprintf("write-%d", t.next)
	t.mu.Unlock()
	job := *t.job
	job.ID, job.Name = id, id
	_, err := register(ctx, c, &job)
	return err
}

// read is an action: one job, of any server or of the leader.
func (t *traffic) read(stale bool) action {
	return func(ctx context.Context, c *api.Client) error {
		_, _, err := c.Job(ctx, readJob, api.QueryOptions{Stale: stale})
		return err
	}
}
