package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/internal/waitfor"
)

const (
	// maxFanOut is within how many ms of its acknowledgement a change must reach 99 of 100 watchers.
	maxFanOut = 200
	// maxIdle is how many KiB an idle watcher may take in the server.
	maxIdle = 32
	// changers is how many users change jobs at the same time.
	changers = 4
	// idleFor is how long watchers wait before anything happens, and before their memory is read.
	idleFor = 3 * time.Second
)

// crowd is many watchers of one server, each with a connection of its own and one job that it watches.
type crowd struct {
	rig      *rig
	watchers []*watcher
	early    atomic.Int64 // answers that came before the change: the watcher asked again
}

// watcher waits for one change of one job.
type watcher struct {
	w     *wire
	job   int
	sawAt time.Time
	saw   api.JobView
	index uint64
}

// change is what was done to a job.
type change struct {
	at       time.Time // of the acknowledgement
	modified uint64    // the job's JobModifyIndex by it
}

// openCrowd has n watchers ask the leader for what is newer than now. All watch one job, or each of the jobs is watched by as many.
func openCrowd(ctx context.Context, r *rig, n int, one bool) (*crowd, error) {
	c := &crowd{rig: r, watchers: make([]*watcher, n)}
	g, dialing := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range n {
		g.Go(func() error {
			w, err := dial(dialing, r.leader.HTTP(), 2048)
			if err != nil {
				return err
			}
			c.watchers[i] = &watcher{w: w, job: i % heldJobs}
			if one {
				c.watchers[i].job = 0
			}
			return c.watchers[i].ask(r.leader.HTTP(), r.index)
		})
	}
	if err := g.Wait(); err != nil {
		c.close()
		return nil, fmt.Errorf("connect the watchers: %w", err)
	}
	_, err := waitfor.True(ctx, time.Minute, 100*time.Millisecond, func(ctx context.Context) error {
		m, err := gauges(ctx, r.leader, "drover_http_watchers")
		if err == nil && m["drover_http_watchers"] < float64(n) {
			err = fmt.Errorf("%v of %d watchers wait", m["drover_http_watchers"], n)
		}
		return err
	})
	if err != nil {
		c.close()
	}
	return c, err
}

func (c *crowd) close() {
	for _, w := range c.watchers {
		if w != nil && w.w != nil {
			w.w.close()
		}
	}
}

// ask begins a blocking read.
func (w *watcher) ask(host string, index uint64) error {
	return w.w.send(get(host, "/v1/job/"+heldJob(w.job).ID+"?wait=5m&index="+strconv.FormatUint(index, 10)))
}

// wait reads answers until the job has the priority.
func (w *watcher) wait(host string, priority int, early *atomic.Int64) error {
	for {
		a, err := w.w.read()
		if err != nil {
			return err
		}
		at := time.Now()
		if a.status != 200 {
			return fmt.Errorf("a watcher was answered %d: %s", a.status, a.body)
		}
		var j api.JobView
		if err := json.Unmarshal(a.body, &j); err != nil {
			return err
		}
		if j.Priority == priority {
			w.sawAt, w.saw, w.index = at, j, a.index
			return nil
		}
		early.Add(1)
		if err := w.ask(host, a.index); err != nil {
			return err
		}
	}
}

// fan changes some jobs, and waits until every watcher saw it. The times are in ms, from each change's acknowledgement.
func (c *crowd) fan(ctx context.Context, jobs, priority int) (times []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	stop := context.AfterFunc(ctx, c.close) // whoever still reads is let go
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(c.watchers))
	for i, w := range c.watchers {
		wg.Go(func() { errs[i] = w.wait(c.rig.leader.HTTP(), priority, &c.early) })
	}
	changes := make([]change, jobs)
	g, changing := errgroup.WithContext(ctx)
	g.SetLimit(changers)
	for i := range jobs {
		g.Go(func() error {
			j := heldJob(i)
			j.Priority = priority
			res, err := c.rig.leader.API.RegisterJob(changing, &api.JobRegisterRequest{Job: j}, api.WriteOptions{})
			if err != nil {
				return fmt.Errorf("change job %s: %w", j.ID, err)
			}
			changes[i] = change{at: time.Now(), modified: res.JobModifyIndex}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		cancel()
		wg.Wait()
		return nil, err
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, w := range c.watchers {
		done := changes[w.job]
		if w.saw.JobModifyIndex != done.modified || w.index < done.modified {
			return nil, fmt.Errorf("job %s was changed at index %d, and its watcher was answered index %d with the change of %d",
				w.saw.ID, done.modified, w.index, w.saw.JobModifyIndex)
		}
		times = append(times, max(0, w.sawAt.Sub(done.at).Seconds()*1e3))
	}
	return times, nil
}

// watched are the figures of the watchers, filled run by run.
type watched struct {
	fan, herd, idle *figure
	p50, stack      []float64
	heap            []float64
	early           int64
}

// measureWatchers has 10,000 watchers wait, says what they cost, and then changes every job once.
func measureWatchers(ctx context.Context, o options) ([]*figure, error) {
	if err := fleet.RaiseFileLimit(uint64(o.watchers) + 256); err != nil {
		return nil, err
	}
	f := &watched{
		fan:  &figure{name: "watch-fan-out-p99", unit: "ms", sense: atMost, bound: maxFanOut},
		herd: &figure{name: "watch-one-row-p99", unit: "ms"},
		idle: &figure{name: "idle-watcher", unit: "KiB", sense: atMost, bound: maxIdle},
	}
	for range o.runs {
		if err := withRig(ctx, o, func(r *rig) error { return f.run(ctx, r) }); err != nil {
			return nil, err
		}
	}
	f.fan.add("watchers", o.watchers)
	f.fan.add("jobs", heldJobs)
	f.fan.add("p50_ms", round(median(f.p50)))
	f.fan.add("answers_too_early", f.early)
	f.fan.add("note", "every watcher saw the change of its own job, at that change's index")
	f.herd.add("watchers", o.watchers)
	f.herd.add("note", "all of them watch one job, which is changed once")
	f.idle.add("stack_kib", round(median(f.stack)))
	f.idle.add("heap_kib", round(median(f.heap)))
	f.idle.add("note", "growth of the leader's resident set, garbage included, by watcher")
	return []*figure{f.fan, f.herd, f.idle}, nil
}

// run is one run on a new cluster.
func (f *watched) run(ctx context.Context, r *rig) error {
	const stacks, heap = "go_memstats_stack_inuse_bytes", "go_memstats_heap_inuse_bytes"
	before, err := r.leader.Usage()
	if err != nil {
		return err
	}
	mem, err := gauges(ctx, r.leader, stacks, heap)
	if err != nil {
		return err
	}
	all, err := openCrowd(ctx, r, r.watchers, false)
	if err != nil {
		return err
	}
	defer all.close()
	if err := fleet.Pause(ctx, idleFor); err != nil {
		return err
	}
	after, err := r.leader.Usage()
	if err != nil {
		return err
	}
	memAfter, err := gauges(ctx, r.leader, stacks, heap)
	if err != nil {
		return err
	}
	each := func(bytes float64) float64 { return bytes / 1024 / float64(r.watchers) }
	f.idle.values = append(f.idle.values, each(float64(after.RSS-before.RSS)))
	f.stack = append(f.stack, each(memAfter[stacks]-mem[stacks]))
	f.heap = append(f.heap, each(memAfter[heap]-mem[heap]))
	if r.profiles != "" {
		if err := r.leader.Profile(ctx, "heap", 0, r.profiles+"/watchers-heap.pprof"); err != nil {
			return err
		}
	}
	runtime.GC() // of this program, now and not while it measures
	stop := r.profile(ctx, fleet.Servers{r.leader}, "watch-fan-out", warmUp+r.lasts)
	times, err := all.fan(ctx, heldJobs, 51)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	f.fan.values, f.p50 = append(f.fan.values, part(times, 0.99)), append(f.p50, part(times, 0.5))
	f.early += all.early.Load()
	all.close()
	views, err := r.servers.WaitQuiet(ctx, time.Minute, time.Second)
	if err != nil {
		return err
	}
	r.index = views[0].Index
	herd, err := openCrowd(ctx, r, r.watchers, true)
	if err != nil {
		return err
	}
	defer herd.close()
	if times, err = herd.fan(ctx, 1, 52); err != nil {
		return err
	}
	f.herd.values = append(f.herd.values, part(times, 0.99))
	return nil
}

// gauges reads some gauges of a server.
func gauges(ctx context.Context, s *fleet.Server, names ...string) (map[string]float64, error) {
	m, err := s.API.Metrics(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of server %s: %w", s.Name, err)
	}
	out := map[string]float64{}
	for _, g := range m.Gauges {
		for _, name := range names {
			if g.Name == name {
				out[name] = g.Value
			}
		}
	}
	return out, nil
}
