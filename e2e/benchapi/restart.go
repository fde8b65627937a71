package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/state"
)

const (
	// maxRestart is how many s a server with a million allocations may take.
	maxRestart = 15
	// tailJobs are registered to have entries in the log that no snapshot has.
	tailJobs = 5000
	// lookEvery is how often a server that starts is asked.
	lookEvery = 10 * time.Millisecond
)

// measureRestart kills -9 servers that hold a million allocations and starts them again.
func measureRestart(ctx context.Context, o options) (out []*figure, err error) {
	dir, err := os.MkdirTemp(o.dir, "restart-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "world.snap")
	if err := saveWorldApart(ctx, file, o.allocs); err != nil {
		return nil, err
	}
	servers, err := fleet.StartServers(ctx, o.drover, dir, 3, o.raft)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	r := &restart{options: o, servers: servers}
	took, size, err := r.fill(ctx, file)
	if err != nil {
		return nil, err
	}
	restored := &figure{name: "restore", unit: "s", values: []float64{took.Seconds()}}
	restored.add("file_mb", round(float64(size)/1e6))
	restored.add("note", "the backup sent to the API until all three servers hold it")
	trimmed := &figure{name: "restart-snapshot", unit: "s", sense: atMost, bound: maxRestart}
	tail := &figure{name: "restart-log-tail", unit: "s", sense: atMost, bound: maxRestart}
	whole := &figure{name: "restart-all-three", unit: "s"}
	for _, f := range []*figure{trimmed, tail, whole} {
		if f == tail {
			if err := r.growTail(ctx); err != nil {
				return nil, err
			}
		}
		for i := range o.runs {
			which := fleet.Servers{servers[i%len(servers)]}
			if f == whole {
				which = servers
			}
			if err := r.again(ctx, f, which); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
		}
		f.add("allocs", o.allocs)
	}
	trimmed.add("note", "one server of three killed -9, until it answers with all it held; its snapshot and an empty log")
	tail.add("note", fmt.Sprintf("the same, with the entries of %d jobs behind the snapshot", tailJobs))
	whole.add("note", "all three at once, until the leader that they elect answers with all")
	if u, err := servers[0].Usage(); err == nil {
		trimmed.add("server_rss_mb", round(float64(u.RSS)/1e6))
	}
	return []*figure{restored, trimmed, tail, whole}, nil
}

// restart is three servers that hold the world.
type restart struct {
	options
	servers fleet.Servers
	jobs    numbers
	tables  []api.TableView // what each server must hold
	index   uint64
}

// fill restores the world into the cluster.
func (r *restart) fill(ctx context.Context, file string) (took time.Duration, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return 0, size, err
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return 0, size, err
	}
	l, err := r.servers.Leader(ctx)
	if err != nil {
		return 0, size, err
	}
	began := time.Now()
	if _, err := l.API.RestoreSnapshot(ctx, io.NopCloser(f), size); err != nil {
		return 0, size, fmt.Errorf("restore the world: %w", err)
	}
	for _, s := range r.servers {
		if _, err := waitfor.True(ctx, 5*time.Minute, 100*time.Millisecond, func(ctx context.Context) error { return r.holdsAll(ctx, s) }); err != nil {
			return 0, size, err
		}
	}
	took = time.Since(began)
	return took, size, r.note(ctx)
}

// holdsAll asks whether a server has every allocation.
func (r *restart) holdsAll(ctx context.Context, s *fleet.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	v, err := s.State(ctx)
	if err == nil && v.Rows(state.TableAllocs.String()) != r.allocs {
		err = fmt.Errorf("server %s holds %d of %d allocations", s.Name, v.Rows(state.TableAllocs.String()), r.allocs)
	}
	return err
}

// note waits until the servers hold the same and remembers what.
func (r *restart) note(ctx context.Context) error {
	views, err := r.servers.WaitQuiet(ctx, 5*time.Minute, 3*time.Second)
	if err != nil {
		return err
	}
	if differs := fleet.Differences(views); len(differs) > 0 {
		return fmt.Errorf("the servers do not hold the same: %v", differs)
	}
	r.tables, r.index = views[0].Tables, views[0].Index
	return nil
}

// growTail registers jobs: entries that the snapshot does not have.
func (r *restart) growTail(ctx context.Context) error {
	g, writing := errgroup.WithContext(ctx)
	for i := range 32 {
		g.Go(func() error {
			c, err := newRegistrar(writing, r.servers[i%len(r.servers)], &r.jobs)
			if err != nil {
				return err
			}
			defer c.close()
			for r.jobs.count() < tailJobs {
				if err := c.do(writing); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("write a log tail: %w", err)
	}
	return r.note(ctx)
}

// again kills servers, starts them, and waits until they answer with what they held. One of three answers for itself; all three are
// asked through the leader that they have to elect.
func (r *restart) again(ctx context.Context, f *figure, which fleet.Servers) error {
	for _, s := range which {
		if err := s.Kill(); err != nil {
			return err
		}
	}
	began := time.Now()
	for _, s := range which {
		if err := s.Start(); err != nil {
			return err
		}
	}
	q := api.QueryOptions{Stale: len(which) < len(r.servers)}
	if _, err := waitfor.True(ctx, 5*time.Minute, lookEvery, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		v, _, err := which[0].API.State(ctx, q)
		if err != nil {
			return err
		}
		return r.holds(v)
	}); err != nil {
		return err
	}
	f.values = append(f.values, time.Since(began).Seconds())
	if _, err := r.servers.WaitLeader(ctx, time.Minute); err != nil {
		return err
	}
	return r.note(ctx)
}

// holds reports whether a server has what it had: everything up to the last index noted, and every row of what users gave it.
func (r *restart) holds(v *api.StateView) error {
	if v.Index < r.index {
		return fmt.Errorf("server %s is at index %d, behind %d", v.NodeID, v.Index, r.index)
	}
	for _, t := range r.tables {
		if got := v.Rows(t.Name); got != t.Rows && (t.Name == state.TableAllocs.String() || t.Name == state.TableJobs.String()) {
			return fmt.Errorf("server %s holds %d rows of %s, not %d", v.NodeID, got, t.Name, t.Rows)
		}
	}
	return nil
}
