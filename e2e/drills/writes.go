package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/jobspecs"
	"github.com/drover-io/drover/state"
)

const (
	writers      = 16
	acksBefore   = 200 // per run, before the fault
	acksAfter    = 50  // per run, after it
	writeTimeout = 6 * time.Second
)

// writes are the jobs whose registration was acknowledged, of all runs.
type writes struct {
	mu    sync.Mutex
	job   *state.Job
	acks  []ack
	tried int
}

// ack is one acknowledged write.
type ack struct {
	id          string
	begun, done time.Time
}

func writeDrills() []drill {
	base := drill{
		driver: herd.DriverExec, servers: 3, lane: 1, each: 3 * time.Second, bound: 5 * time.Second, boundP50: 2 * time.Second,
		minAcked: 2000, prepare: prepareWrites, finish: everythingEverywhere,
	}
	leader, follower := base, base
	leader.name, follower.name = "leader-kill", "follower-kill"
	leader.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		return killUnderWrites(ctx, r, i, func(lead *herd.Node) *herd.Node { return lead })
	}
	follower.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		return killUnderWrites(ctx, r, i, func(lead *herd.Node) *herd.Node {
			for off := range r.herd.Nodes {
				if n := r.herd.Nodes[(i+off)%len(r.herd.Nodes)]; n != lead {
					return n
				}
			}
			return nil
		})
	}
	return []drill{leader, follower}
}

// prepareWrites reads the job that is registered again and again under other names: of no copies, so that only the log works.
func prepareWrites(_ context.Context, r *rig) error {
	text, err := r.jobFile("w", work{})
	if err != nil {
		return err
	}
	job, diags := jobspecs.Parse(jobspecs.Source{Name: "write", Data: []byte(text)}, jobspecs.Inputs{})
	if diags.HasErrors() {
		return diags
	}
	r.writes.job = job
	return nil
}

// killUnderWrites kills one agent -9 while jobs are registered through all of them, and measures the time to the first write that
// was begun after it and acknowledged.
func killUnderWrites(ctx context.Context, r *rig, run int, choose func(lead *herd.Node) *herd.Node) (time.Duration, error) {
	lead, err := r.herd.Leader(ctx)
	if err != nil {
		return 0, err
	}
	victim := choose(lead)
	before := r.writes.count()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() { r.write(writing, run, w) })
	}
	enough := func(n int) error {
		_, err := waitfor.True(ctx, 30*time.Second, 5*time.Millisecond, func(context.Context) error {
			if got := r.writes.count() - before; got < n {
				return fmt.Errorf("%d of %d writes are acknowledged", got, n)
			}
			return nil
		})
		return err
	}
	err = enough(acksBefore)
	killed := time.Now()
	if err == nil {
		err = victim.KillAgent(ctx)
	}
	var took time.Duration
	if err == nil {
		took, err = r.writes.firstAfter(ctx, killed)
	}
	if err == nil {
		err = enough(r.writes.count() - before + acksAfter)
	}
	stop()
	wg.Wait()
	if err != nil {
		return 0, fmt.Errorf("with %s dead: %w", victim.Name, err)
	}
	if err := victim.StartAgent(); err != nil {
		return 0, err
	}
	if _, err := r.herd.WaitReady(ctx, time.Minute); err != nil {
		return 0, err
	}
	r.tally.acked = r.writes.count()
	return took, r.missing(ctx, victim, false)
}

// write registers jobs until ctx ends, each through the next agent. A write that fails may have happened: it does not count.
func (r *rig) write(ctx context.Context, run, writer int) {
	for seq := 0; ctx.Err() == nil; seq++ {
		n := r.herd.Nodes[(writer+seq)%len(r.herd.Nodes)]
		job := *r.writes.job
		job.ID = fmt.Sprintf("w-%d-%d-%d", run, writer, seq)
		job.Name = job.ID
		a := ack{id: job.ID, begun: time.Now()}
		call, cancel := context.WithTimeout(ctx, writeTimeout)
		_, err := n.API.RegisterJob(call, &api.JobRegisterRequest{Job: &job}, api.WriteOptions{})
		cancel()
		if err == nil {
			a.done = time.Now()
			r.writes.add(a)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond): // a dead agent refuses at once
		}
	}
}

func (w *writes) add(a ack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = append(w.acks, a)
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acks)
}

// firstAfter is how long after t the first write that was begun after t was acknowledged.
func (w *writes) firstAfter(ctx context.Context, t time.Time) (took time.Duration, err error) {
	_, err = waitfor.True(ctx, 30*time.Second, 5*time.Millisecond, func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, a := range w.acks {
			if a.begun.After(t) && (took == 0 || a.done.Sub(t) < took) {
				took = a.done.Sub(t)
			}
		}
		if took == 0 {
			return fmt.Errorf("no write is acknowledged")
		}
		return nil
	})
	return took, err
}

// everythingEverywhere reads every acknowledged write back from each server's own copy of the state.
func everythingEverywhere(ctx context.Context, r *rig) error {
	for _, n := range r.herd.Nodes {
		if err := r.missing(ctx, n, true); err != nil {
			return fmt.Errorf("read from %s: %w", n.Name, err)
		}
	}
	return nil
}

// missing counts the acknowledged writes that a node does not have: by its own state when own, else by the leader's.
func (r *rig) missing(ctx context.Context, n *herd.Node, own bool) error {
	lost := 0
	// A server's own state may be a moment behind: what is lost stays lost.
	_, err := waitfor.True(ctx, 20*time.Second, 200*time.Millisecond, func(ctx context.Context) error {
		have, err := jobs(ctx, n, own)
		if err != nil {
			return err
		}
		lost = 0
		for _, a := range r.writes.acks {
			if !have[a.id] {
				lost++
			}
		}
		if lost > 0 && own {
			return fmt.Errorf("%d acknowledged writes are missing", lost)
		}
		return nil
	})
	r.tally.lost += lost
	return err
}

// jobs are the IDs of every job.
func jobs(ctx context.Context, n *herd.Node, own bool) (map[string]bool, error) {
	out := map[string]bool{}
	q := api.QueryOptions{Stale: own, PerPage: 1000}
	for {
		page, meta, err := n.API.Jobs(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, j := range page {
			out[j.ID] = true
		}
		if meta.NextToken == "" {
			return out, nil
		}
		q.NextToken = meta.NextToken
	}
}
