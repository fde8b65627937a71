package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/drover-io/drover/e2e/fleet"
)

// usage is what everything had used at one moment.
type usage struct {
	servers []serverUse
	agents  time.Duration // processor time of the process of the agents
	polls   int64
	rows    int64
	reports int64
}

// serverUse is what one server had used, and what its log was made of.
type serverUse struct {
	cpu     time.Duration
	rss     int64              // at rest
	max     int64              // resident at most so far
	heap    float64            // bytes of the Go heap in use, garbage included
	entries map[string]float64 // bytes of applied log entries by kind of command
	terms   float64            // that it has led
	gcs     uint64             // collections of the heap
}

// use reads what everything has used.
func (b *bench) use(ctx context.Context) (u usage, err error) {
	for _, s := range b.servers {
		used, err := s.Usage()
		if err != nil {
			return u, err
		}
		m, err := s.API.Metrics(ctx)
		if err != nil {
			return u, fmt.Errorf("read the metrics of server %s: %w", s.Name, err)
		}
		one := serverUse{cpu: used.CPU, rss: used.RSS, max: used.Max, entries: map[string]float64{}}
		for _, v := range m.Counters {
			switch v.Name {
			case "drover_raft_applied_bytes_total":
				one.entries[v.Labels["kind"]] = v.Value
			case "drover_raft_terms_led_total":
				one.terms = v.Value
			}
		}
		for _, v := range m.Gauges {
			if v.Name == "go_memstats_heap_inuse_bytes" {
				one.heap = v.Value
			}
		}
		for _, v := range m.Samples {
			if v.Name == "go_gc_duration_seconds" {
				one.gcs = v.Count
			}
		}
		u.servers = append(u.servers, one)
	}
	used, err := b.agents.Usage()
	if err != nil {
		return u, err
	}
	c, err := b.agents.Counts()
	u.agents, u.polls, u.rows, u.reports = used.CPU, c.Polls, c.Rows, c.Reports
	return u, err
}

// restFor is how long servers rest before their memory is read: a calm agent gives back what a burst of work left behind.
const restFor = 2 * time.Minute

// settleFor is how long they rest before the first submission.
const settleFor = 25 * time.Second

// rest waits, and reads the servers' memory again.
func (b *bench) rest(ctx context.Context, u *usage) error {
	if err := fleet.Pause(ctx, restFor); err != nil {
		return err
	}
	now, err := b.use(ctx)
	if err != nil {
		return err
	}
	for i, s := range now.servers {
		u.servers[i].rss, u.servers[i].heap, u.servers[i].max = s.rss, s.heap, s.max
	}
	return nil
}

// logBytes is what entries of some kinds took between two moments, on the server that applied the most of them in one life: a
// server that was started again counts from its start.
func logBytes(before, after usage, kinds ...string) float64 {
	most := 0.0
	for i := range after.servers {
		sum := 0.0
		for _, kind := range kinds {
			sum += after.servers[i].entries[kind] - before.servers[i].entries[kind]
		}
		most = max(most, sum)
	}
	return most
}

// maxProfile is how long a processor profile of the leader lasts at most.
const maxProfile = 20 * time.Second

// profileCPU writes what the leader spends its time on from now on, when that is asked for.
func (b *bench) profileCPU(ctx context.Context, file string, d time.Duration) error {
	if b.profiles == "" {
		return nil
	}
	err := b.profile(ctx, "profile", min(d, maxProfile), file)
	if err != nil && b.killLeader {
		fmt.Fprintln(os.Stderr, "no processor profile:", err) // it was killed
		return nil
	}
	return err
}

// profileHeap writes what the leader holds in memory and what it has allocated so far, when that is asked for.
func (b *bench) profileHeap(ctx context.Context, phase string) error {
	if b.profiles == "" {
		return nil
	}
	if err := b.profile(ctx, "heap", 0, "heap"+phase+".pprof"); err != nil {
		return err
	}
	return b.profile(ctx, "allocs", 0, "allocs"+phase+".pprof")
}

// profileAgents writes what the agents spend their time on from now on, when that is asked for; "" ends it.
func (b *bench) profileAgents(file string) error {
	if b.profiles == "" {
		return nil
	}
	if file == "" {
		return b.agents.Profile("")
	}
	name, err := filepath.Abs(filepath.Join(b.profiles, file))
	if err != nil {
		return err
	}
	return b.agents.Profile(name)
}

func (b *bench) profile(ctx context.Context, name string, d time.Duration, file string) error {
	l, err := b.servers.Leader(ctx)
	if err != nil {
		return err
	}
	return l.Profile(ctx, name, d, filepath.Join(b.profiles, file))
}
