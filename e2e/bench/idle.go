package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/e2e/herd"
)

const (
	maxIdleMemory = 60               // MB
	maxIdleCPU    = 1                // % of a core
	settle        = 20 * time.Second // after the start: elections, first registrations, memory given back
	watchFor      = 30 * time.Second
	sampleEvery   = time.Second
)

// measureIdle looks at agents that have nothing to do: as many agents --dev as there are runs, at the same time, and then the servers
// of a cluster.
func measureIdle(ctx context.Context, o options) ([]figure, error) {
	memory := figure{bench: "idle-memory", unit: "MB", sense: atMost, bound: maxIdleMemory}
	cpu := figure{bench: "idle-cpu", unit: "% of a core", sense: atMost, bound: maxIdleCPU}
	daemonMemory := figure{bench: "idle-containerd-memory", unit: "MB"}
	daemonCPU := figure{bench: "idle-containerd-cpu", unit: "% of a core"}
	err := onWire(o, func(w *herd.Wire) error {
		var agents, daemons []int
		for i := range o.runs {
			s, err := newSolo(w, o, fmt.Sprintf("idle%d", i+1))
			if err != nil {
				return err
			}
			if _, err := s.startReady(ctx); err != nil {
				return err
			}
			agent, err := s.agentPID()
			if err != nil {
				return err
			}
			agents = append(agents, agent)
			if herd.OuterUID() != 0 {
				continue // no containers, so no containerd
			}
			daemon, err := s.containerdPID()
			if err != nil {
				return err
			}
			daemons = append(daemons, daemon)
		}
		return watchIdle(ctx, agents, daemons, []*figure{&memory, &cpu, &daemonMemory, &daemonCPU})
	})
	if err != nil {
		return nil, err
	}
	figures := []figure{memory, cpu}
	if len(daemonMemory.values) > 0 {
		figures = append(figures, daemonMemory, daemonCPU)
	}
	servers, err := measureIdleCluster(ctx, o)
	return append(figures, servers...), err
}

// watchIdle fills figures: memory and processor of the agents, then of the daemons.
func watchIdle(ctx context.Context, agents, daemons []int, figures []*figure) error {
	used, err := watchProcesses(ctx, append(append([]int(nil), agents...), daemons...))
	if err != nil {
		return err
	}
	for i, u := range used {
		at := 0
		if i >= len(agents) {
			at = 2
		}
		figures[at].values = append(figures[at].values, float64(u.rss)/megabyte)
		figures[at+1].values = append(figures[at+1].values, u.share())
	}
	for i := range figures {
		figures[i].add("seconds", watchFor.Seconds())
	}
	figures[0].add("note", "resident set, the largest of the samples, one a second")
	return nil
}

// watched is what a process used while it was watched.
type watched struct {
	rss int64 // the largest seen
	cpu time.Duration
	of  time.Duration
}

func (w watched) share() float64 { return 100 * w.cpu.Seconds() / w.of.Seconds() }

// watchProcesses watches processes for a while, after they have settled.
func watchProcesses(ctx context.Context, pids []int) ([]watched, error) {
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	out := make([]watched, len(pids))
	g, ctx := errgroup.WithContext(ctx)
	for i, pid := range pids {
		g.Go(func() (err error) {
			out[i], err = watch(ctx, pid)
			return err
		})
	}
	return out, g.Wait()
}

func watch(ctx context.Context, pid int) (watched, error) {
	first, err := gauge.ReadUsage(pid)
	if err != nil {
		return watched{}, err
	}
	began := time.Now()
	w := watched{rss: first.RSS}
	for w.of < watchFor {
		if err := sleep(ctx, sampleEvery); err != nil {
			return w, err
		}
		now, err := gauge.ReadUsage(pid)
		if err != nil {
			return w, err
		}
		w.rss, w.cpu, w.of = max(w.rss, now.RSS), now.CPU-first.CPU, time.Since(began)
	}
	return w, nil
}

// measureIdleCluster watches three servers that also run work and a machine that only does, for information.
func measureIdleCluster(ctx context.Context, o options) ([]figure, error) {
	roles := []string{"leader", "follower", "client"}
	memory, cpu := map[string]*figure{}, map[string]*figure{}
	for _, role := range roles {
		memory[role] = &figure{bench: "idle-" + role + "-memory", unit: "MB"}
		cpu[role] = &figure{bench: "idle-" + role + "-cpu", unit: "% of a core"}
	}
	err := withHerd(ctx, o, herd.Options{Servers: 3, Clients: 1}, func(h *herd.Herd) error {
		var pids []int
		for _, n := range h.Nodes {
			pid, err := programPID(n.Machine, o.drover, "agent")
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		used, err := watchProcesses(ctx, pids)
		if err != nil {
			return err
		}
		leader, err := h.Leader(ctx)
		if err != nil {
			return err
		}
		for i, u := range used {
			role := "client"
			switch n := h.Nodes[i]; {
			case n == leader:
				role = "leader"
			case n.Server:
				role = "follower"
			}
			memory[role].values = append(memory[role].values, float64(u.rss)/megabyte)
			cpu[role].values = append(cpu[role].values, u.share())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	memory["leader"].add("note", "of three servers that also run work, beside one machine that only does")
	var figures []figure
	for _, role := range roles {
		figures = append(figures, *memory[role], *cpu[role])
	}
	return figures, nil
}

// withHerd runs fn with a cluster that has formed, and ends it.
func withHerd(ctx context.Context, o options, opts herd.Options, fn func(*herd.Herd) error) error {
	opts.Dir, opts.Drover = o.dir, o.drover
	h, err := herd.New(opts)
	if err != nil {
		return err
	}
	if _, err = h.WaitReady(ctx, formTimeout); err != nil {
		err = fmt.Errorf("form a cluster: %w", err)
	} else {
		err = fn(h)
	}
	return errors.Join(err, h.Destroy(), removeDisks(o.dir))
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
