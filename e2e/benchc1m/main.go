package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/e2e/herd"
)

// options are the command line.
type options struct {
	drover     string
	dir        string // the servers' disks are below it
	nodes      int
	jobs       int
	count      int
	shape      string
	killLeader bool
	rate       int           // placements a second of the steady phase; 0 leaves it out
	steadyFor  time.Duration // how long it lasts
	steadyOf   int           // copies of each of its jobs
	limit      time.Duration // without any progress before the run is given up
	raft       time.Duration // the servers' raft_timeout
	restFor    time.Duration // how long the cluster is watched when everything runs and nothing happens; 0 leaves it out
	profiles   string        // directory for profiles of the leader and of the agents; "" takes none
}

// copies is how many are placed in the first phase.
func (o options) copies() int { return o.jobs * o.count }

// steadyJobs is how many jobs the second phase submits.
func (o options) steadyJobs() int { return int(o.steadyFor.Seconds()) * o.rate / o.steadyOf }

func parse() options {
	var o options
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary of the servers")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "directory on a real disk, for the servers' data while this runs")
	flag.IntVar(&o.nodes, "nodes", 5000, "simulated nodes")
	flag.IntVar(&o.jobs, "jobs", 1000, "jobs")
	flag.IntVar(&o.count, "count", 1000, "copies of each job")
	flag.StringVar(&o.shape, "shape", "constraint", strings.Join(fleet.Shapes(), ", "))
	flag.BoolVar(&o.killLeader, "kill-leader", false, "kill -9 the leader at half way and start it again")
	flag.IntVar(&o.rate, "rate", 1000, "placements a second of the steady phase; 0 leaves it out")
	flag.DurationVar(&o.steadyFor, "steady", 20*time.Second, "how long the steady phase lasts")
	flag.IntVar(&o.steadyOf, "steady-count", 10, "copies of each job of the steady phase")
	flag.DurationVar(&o.limit, "patience", 2*time.Minute, "how long nothing may happen before the run is given up")
	flag.DurationVar(&o.raft, "raft-timeout", fleet.RaftTimeout, "the servers' raft_timeout: longer where others use the machine too")
	flag.DurationVar(&o.restFor, "rest", 0, "how long to measure the cluster when everything runs and nothing happens; 0 leaves it out")
	flag.StringVar(&o.profiles, "profiles", "", "directory for processor and heap profiles of the leader, and of the agents' processor time")
	flag.Parse()
	return o
}

func (o options) check() error {
	if o.nodes < 1 || o.jobs < 1 || o.count < 1 || o.rate < 0 || o.steadyOf < 1 || o.steadyFor < time.Second {
		return errors.New("--nodes, --jobs, --count and --steady-count want 1 or more, --rate 0 or more, --steady 1s or more")
	}
	if o.shape == "distinct_hosts" && max(o.count, o.steadyOf) > o.nodes {
		return fmt.Errorf("%d copies on distinct hosts need as many nodes, not %d", max(o.count, o.steadyOf), o.nodes)
	}
	return fleet.CheckShape(o.shape)
}

func main() {
	fleet.Main()
	o := parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "\nbench-c1m failed:", strings.ReplaceAll(err.Error(), "\n", "\n                  "))
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	if err := herd.Absolute(&o.drover, &o.dir); err != nil {
		return err
	}
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return err
		}
	}
	if o.dir, err = os.MkdirTemp(o.dir, "drover-c1m-"); err != nil {
		return err
	}
	ctx, cancel := herd.Interruptible()
	defer cancel()
	err = measure(ctx, o)
	var figures *unmet
	if err == nil || errors.As(err, &figures) {
		return errors.Join(err, os.RemoveAll(o.dir))
	}
	logs, _ := filepath.Glob(filepath.Join(o.dir, "s*", "agent.log")) // the pattern is well formed
	for _, log := range logs {
		if text, readErr := os.ReadFile(log); readErr == nil && len(text) > 0 {
			fmt.Fprintf(os.Stderr, "\n%s ends with\n%s\n", log, text[max(0, len(text)-2000):])
		}
	}
	return errors.Join(err, os.RemoveAll(o.dir))
}

// measure starts everything, measures, and ends everything.
func measure(ctx context.Context, o options) (err error) {
	if err := gauge.PrintMachine(o.dir); err != nil {
		return err
	}
	fmt.Printf("agents are simulated: %d in one process; they neither gossip nor run anything; the servers have %s\n", o.nodes, fleet.Setting)
	servers, err := fleet.StartServers(ctx, o.drover, o.dir, 3, o.raft)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	plan := fleet.Plan{Nodes: o.nodes, Copies: o.copies()}
	if o.rate > 0 {
		plan.Copies += o.steadyJobs() * o.steadyOf
	}
	began := time.Now()
	agents, err := fleet.StartAgents(ctx, servers, plan, time.Minute+time.Duration(o.nodes)*50*time.Millisecond)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agents.Close()) }()
	fmt.Printf("%d nodes registered in %.1f s\n", o.nodes, time.Since(began).Seconds())
	b := &bench{options: o, servers: servers, agents: agents, wanted: map[string]int{}}
	return b.run(ctx)
}
