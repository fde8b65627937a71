package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
)

const (
	// submitters is how many clients submit at the same time.
	submitters = 32
	// lookEvery is how often the progress is looked at.
	lookEvery = 100 * time.Millisecond
	// still is how long the log must rest before the servers are compared.
	still = 2 * time.Second
)

// bench is one run.
type bench struct {
	options
	servers fleet.Servers
	agents  *fleet.Agents
	wanted  map[string]int // job → copies

	before, after usage // of the first phase
	samples       []sample
	placed        time.Duration // from the first submission until every copy was in the log
	running       time.Duration // and until the log said of every copy that it runs
	submitting    time.Duration // until the last submission was acknowledged
	outage        time.Duration // after the leader was killed, until the next copy was placed
	steady        steady
	idle          idle
	verdict       fleet.Verdict
}

// sample is how far the cluster was.
type sample struct {
	at      time.Duration
	placed  int
	held    int64
	running int64
}

func (b *bench) run(ctx context.Context) error {
	if _, err := b.servers.WaitQuiet(ctx, time.Minute, still); err != nil {
		return fmt.Errorf("wait until the nodes are registered everywhere: %w", err)
	}
	err := fleet.Pause(ctx, settleFor)
	if err != nil {
		return err
	}
	if b.before, err = b.use(ctx); err != nil {
		return err
	}
	if err := b.place(ctx); err != nil {
		return err
	}
	views, err := b.servers.WaitQuiet(ctx, 5*time.Minute, still)
	if err != nil {
		return fmt.Errorf("wait until everything is said: %w", err)
	}
	if b.after, err = b.use(ctx); err != nil {
		return err
	}
	if err := b.rest(ctx, &b.after); err != nil {
		return err
	}
	if err := b.profileHeap(ctx, ""); err != nil {
		return err
	}
	if b.restFor > 0 {
		if err := b.watchRest(ctx); err != nil {
			return err
		}
	}
	if b.rate > 0 {
		if err := b.flow(ctx); err != nil {
			return err
		}
		if views, err = b.servers.WaitQuiet(ctx, 5*time.Minute, still); err != nil {
			return fmt.Errorf("wait until everything is said: %w", err)
		}
	}
	if b.verdict, err = fleet.Check(ctx, b.servers, views, b.wanted); err != nil {
		return err
	}
	return b.print()
}

// place submits every job and watches until all their copies run.
func (b *bench) place(ctx context.Context) error {
	if err := b.profileAgents("agents.pprof"); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	g.Go(func() error {
		err := b.submit(ctx)
		b.submitting = time.Since(began)
		return err
	})
	g.Go(func() error { return b.profileCPU(ctx, "cpu.pprof", maxProfile) })
	g.Go(func() error { return b.watch(ctx, began) })
	return errors.Join(g.Wait(), b.profileAgents(""))
}

// submit registers the jobs from several clients that ask the servers in turn. A write whose outcome is unknown is sent again with
// its request ID, as every client of the API should.
func (b *bench) submit(ctx context.Context) error {
	for i := range b.jobs {
		b.wanted[fleet.Job("c1m", b.shape, i, b.count).ID] = b.count
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(submitters)
	for i := range b.jobs {
		g.Go(func() error {
			return b.register(ctx, i, &api.JobRegisterRequest{Job: fleet.Job("c1m", b.shape, i, b.count)})
		})
	}
	return g.Wait()
}

// register stores one job through the i-th server, or the next one while that does not answer.
func (b *bench) register(ctx context.Context, i int, req *api.JobRegisterRequest) error {
	w := api.WriteOptions{RequestID: api.NewRequestID()}
	until := time.Now().Add(b.limit)
	for try := i; ; try++ {
		_, err := b.servers[try%len(b.servers)].API.RegisterJob(ctx, req, w)
		if err == nil {
			return nil
		}
		var e *api.Error
		refused := errors.As(err, &e) && (e.Code == api.CodeInvalid || e.Code == api.CodeTooLarge)
		if refused || ctx.Err() != nil || time.Now().After(until) {
			return fmt.Errorf("register job %s: %w", req.Job.ID, err)
		}
		if err := fleet.Pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// watch notes the progress until every copy runs. Nothing may stand still for longer than the limit.
func (b *bench) watch(ctx context.Context, began time.Time) error {
	all := b.copies()
	moved, killed := time.Now(), time.Time{}
	for last := (sample{}); ; {
		now, err := b.look(ctx, began, last)
		if err != nil {
			return err
		}
		if now.placed > last.placed && !killed.IsZero() && b.outage == 0 {
			b.outage = time.Since(killed)
		}
		if now.further(last) {
			moved = time.Now()
		}
		last = now
		if b.done(now) {
			return nil
		}
		if b.killLeader && killed.IsZero() && now.placed >= all/2 {
			if killed, err = b.killTheLeader(ctx); err != nil {
				return err
			}
		}
		if time.Since(moved) > b.limit {
			return b.stuck(ctx, now)
		}
		if err := fleet.Pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// look notes how far the cluster is.
func (b *bench) look(ctx context.Context, began time.Time, last sample) (sample, error) {
	c, err := b.agents.Counts()
	if err != nil {
		return last, err
	}
	now := sample{placed: b.servers.Rows(ctx, "allocs"), held: c.Held, running: c.Running, at: time.Since(began)}
	now.placed = max(now.placed, last.placed) // servers that are started again know less for a moment
	b.samples = append(b.samples, now)
	return now, nil
}

// further reports whether anything happened since another look.
func (s sample) further(last sample) bool {
	return s.placed != last.placed || s.running != last.running || s.held != last.held
}

// done notes when all were placed and when all ran, and reports whether that is all.
func (b *bench) done(now sample) bool {
	all := b.copies()
	if now.placed >= all && b.placed == 0 {
		b.placed = now.at
	}
	if now.placed < all || now.running < int64(all) {
		return false
	}
	b.running = now.at
	return true
}

// stuck says why nothing goes on.
func (b *bench) stuck(ctx context.Context, now sample) error {
	why := ""
	c, err := b.agents.Counts()
	if err != nil {
		return err
	}
	if l, err := b.servers.Leader(ctx); err == nil {
		for id := range b.wanted {
			if j, _, err := l.API.Job(ctx, id, api.QueryOptions{}); err == nil && j.Blocked != nil {
				why = fmt.Sprintf("; job %s is blocked: %s", id, j.Blocked.Reason)
				break
			}
		}
	}
	return fmt.Errorf("nothing happened for %s: %d of %d copies are placed, agents have %d, %d run; the agents' last failure: %q%s",
		b.limit, now.placed, b.copies(), now.held, now.running, c.Failure, why)
}

// killTheLeader kills -9 the leader and starts it again from its data directory.
func (b *bench) killTheLeader(ctx context.Context) (at time.Time, err error) {
	l, err := b.servers.Leader(ctx)
	if err != nil {
		return at, err
	}
	if err := l.Kill(); err != nil {
		return at, err
	}
	at = time.Now()
	fmt.Printf("killed the leader, %s, and started it again\n", l.Name)
	return at, l.Start()
}
