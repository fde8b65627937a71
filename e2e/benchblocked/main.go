package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/state"
)

// options are the command line.
type options struct {
	drover  string
	dir     string
	nodes   int
	jobs    int // that fail and are replaced
	count   int // copies of each
	blocked int // jobs that fit nowhere
	rate    int // copies that fail a second
	lasts   time.Duration
	raft    time.Duration // the servers' raft_timeout
	profile string        // file for a processor profile of the leader while jobs are blocked; "" takes none
}

func main() {
	fleet.Main()
	var o options
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary of the servers")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "directory on a real disk, for the servers' data while this runs")
	flag.IntVar(&o.nodes, "nodes", 1000, "simulated nodes")
	flag.IntVar(&o.jobs, "jobs", 200, "jobs whose copies fail and are replaced")
	flag.IntVar(&o.count, "count", 100, "copies of each of them")
	flag.IntVar(&o.blocked, "blocked", 10_000, "jobs that fit nowhere")
	flag.IntVar(&o.rate, "rate", 1000, "copies that fail a second")
	flag.DurationVar(&o.lasts, "for", time.Minute, "how long they fail, once without and once with the blocked jobs")
	flag.DurationVar(&o.raft, "raft-timeout", fleet.RaftTimeout, "the servers' raft_timeout: longer where others use the machine too")
	flag.StringVar(&o.profile, "profile", "", "file for a processor profile of the leader while jobs are blocked")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "\nbench-blocked failed:", strings.ReplaceAll(err.Error(), "\n", "\n                      "))
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if min(o.nodes, o.jobs, o.count, o.blocked, o.rate) < 1 || o.lasts < time.Second {
		return errors.New("--nodes, --jobs, --count, --blocked and --rate want 1 or more, --for 1s or more")
	}
	if err := herd.Absolute(&o.drover, &o.dir); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp(o.dir, "drover-blocked-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	ctx, cancel := herd.Interruptible()
	defer cancel()
	if err := gauge.PrintMachine(o.dir); err != nil {
		return err
	}
	fmt.Printf("agents are simulated: %d in one process; they neither gossip nor run anything; the servers have %s\n", o.nodes, fleet.Setting)
	servers, err := fleet.StartServers(ctx, o.drover, o.dir, 3, o.raft)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	plan := fleet.Plan{Nodes: o.nodes, Copies: o.jobs * o.count}
	agents, err := fleet.StartAgents(ctx, servers, plan, time.Minute+time.Duration(o.nodes)*50*time.Millisecond)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agents.Close()) }()
	return measure(ctx, bench{o, servers, agents})
}

// bench is one run.
type bench struct {
	options
	servers fleet.Servers
	agents  *fleet.Agents
}

// submitters is how many clients submit at the same time.
const submitters = 32

// still is how long nothing may be written to the log before it counts as quiet.
const still = 3 * time.Second

func measure(ctx context.Context, b bench) error {
	if err := b.submit(ctx, b.jobs, b.churning); err != nil {
		return err
	}
	if _, err := b.servers.WaitQuiet(ctx, 5*time.Minute, still); err != nil {
		return fmt.Errorf("wait until the copies run: %w", err)
	}
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	without, err := b.churn(ctx)
	if err != nil {
		return err
	}
	if err := b.submit(ctx, b.blocked, b.tooLarge); err != nil {
		return err
	}
	if err := b.waitBlocked(ctx); err != nil {
		return err
	}
	var with figures
	g, both := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		with, err = b.churn(both)
		return err
	})
	g.Go(func() error { return b.profileLeader(both) })
	if err := g.Wait(); err != nil {
		return err
	}
	return b.print(without, with)
}

// warmUp has copies fail until as many that have ended are kept as in the phases that are compared: each pass reads those of its jobs.
func (b bench) warmUp(ctx context.Context) error {
	b.lasts = min(b.lasts, 30*time.Second)
	_, err := b.churn(ctx)
	return err
}

// churning is a job whose copies are replaced five seconds after they failed, for ever.
func (b *bench) churning(i int) *state.Job {
	j := fleet.Job("churn", "plain", i, b.count)
	j.TaskGroups[0].ReschedulePolicy = state.ReschedulePolicy{Delay: 5 * time.Second, DelayFunction: state.DelayConstant, Unlimited: true}
	return j
}

// tooLarge is a job that fits on no node.
func (b *bench) tooLarge(i int) *state.Job {
	j := fleet.Job("blocked", "plain", i, 1)
	j.TaskGroups[0].Tasks[0].Resources.MemoryMB = 10_000_000
	return j
}

func (b *bench) submit(ctx context.Context, n int, job func(int) *state.Job) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(submitters)
	for i := range n {
		g.Go(func() error {
			j := job(i)
			_, err := b.servers[i%len(b.servers)].API.RegisterJob(ctx, &api.JobRegisterRequest{Job: j}, api.WriteOptions{})
			if err != nil {
				return fmt.Errorf("register job %s: %w", j.ID, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// waitBlocked waits until the leader has said of every job that fits nowhere that it does, and the log rests.
func (b *bench) waitBlocked(ctx context.Context) error {
	if _, err := b.servers.WaitQuiet(ctx, 10*time.Minute, still); err != nil {
		return fmt.Errorf("the log does not rest while jobs are blocked: %w", err)
	}
	at, err := b.read(ctx)
	if err != nil {
		return err
	}
	if int(at.blocked) != b.options.blocked {
		return fmt.Errorf("%v jobs are blocked, want %d", at.blocked, b.options.blocked)
	}
	return nil
}

// reading is what the servers had done at one moment. What only a leader counts is added up: leadership may change.
type reading struct {
	cpu     time.Duration // of all servers
	passes  uint64
	seconds float64 // of all passes, commits included
	entries float64 // bytes of the plans in the log
	placed  float64
	terms   float64
	blocked float64
}

func (b *bench) read(ctx context.Context) (r reading, err error) {
	for _, s := range b.servers {
		used, err := s.Usage()
		if err != nil {
			return r, err
		}
		m, err := s.API.Metrics(ctx)
		if err != nil {
			return r, fmt.Errorf("read the metrics of server %s: %w", s.Name, err)
		}
		r.cpu += used.CPU
		r.add(m)
	}
	return r, nil
}

// add adds what one server counts.
func (r *reading) add(m *api.MetricsView) {
	for _, v := range append(m.Counters, m.Gauges...) {
		switch {
		case v.Name == "drover_raft_applied_bytes_total" && v.Labels["kind"] == "ApplyPlan":
			r.entries = max(r.entries, v.Value) // every server applies every entry
		case v.Name == "drover_sched_copies_placed_total":
			r.placed += v.Value
		case v.Name == "drover_raft_terms_led_total":
			r.terms += v.Value
		case v.Name == "drover_jobs_blocked":
			r.blocked = max(r.blocked, v.Value)
		}
	}
	for _, v := range m.Samples {
		if v.Name == "drover_sched_pass_seconds" {
			r.passes, r.seconds = r.passes+v.Count, r.seconds+v.Sum
		}
	}
}

// figures are what one phase came to.
type figures struct {
	Replaced float64 `json:"replaced"`
	Passes   uint64  `json:"passes"`
	PassMS   float64 `json:"pass_ms"`
	CPU      float64 `json:"cpu_s_per_1000"` // of the three servers
	LogBytes float64 `json:"plan_bytes_per_replacement"`
	Terms    float64 `json:"elections"` // while it lasted
}

// churn has copies fail for a while and says what replacing them took.
func (b *bench) churn(ctx context.Context) (f figures, err error) {
	before, err := b.read(ctx)
	if err != nil {
		return f, err
	}
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for left := int(b.lasts / every); left > 0; left-- {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return f, ctx.Err()
		}
		if _, err := b.agents.Fail(max(1, int(float64(b.rate)*every.Seconds()))); err != nil {
			return f, err
		}
	}
	if _, err := b.servers.WaitQuiet(ctx, 5*time.Minute, 7*time.Second); err != nil { // longer than the delay of a replacement
		return f, fmt.Errorf("wait until all is replaced: %w", err)
	}
	after, err := b.read(ctx)
	if err != nil {
		return f, err
	}
	f.Replaced, f.Passes = after.placed-before.placed, after.passes-before.passes
	if f.Replaced < 1 || f.Passes < 1 {
		return f, fmt.Errorf("nothing was replaced: %+v", f)
	}
	f.PassMS = round((after.seconds - before.seconds) * 1000 / float64(f.Passes))
	f.CPU = round((after.cpu - before.cpu).Seconds() * 1000 / f.Replaced)
	f.Terms = after.terms - before.terms
	f.LogBytes = round((after.entries - before.entries) / f.Replaced)
	return f, nil
}

// profileLeader writes what the leader spends its time on, when that is asked for.
func (b *bench) profileLeader(ctx context.Context) error {
	if b.profile == "" {
		return nil
	}
	l, err := b.servers.Leader(ctx)
	if err != nil {
		return err
	}
	return l.Profile(ctx, "profile", min(b.lasts, 30*time.Second), b.profile)
}

// What may grow by how much: the figures of a shared machine waver.
const (
	mostGrowth    = 1.25
	mostLogGrowth = 1.05
)

func (b *bench) print(without, with figures) error {
	fmt.Printf("%-28s %12s %12s\n", "blocked jobs", "0", fmt.Sprint(b.options.blocked))
	for _, row := range []struct {
		name string
		a, b any
	}{
		{"copies replaced", without.Replaced, with.Replaced}, {"passes", without.Passes, with.Passes}, {"ms per pass", without.PassMS, with.PassMS},
		{"servers' cpu s per 1,000", without.CPU, with.CPU}, {"plan bytes per copy", without.LogBytes, with.LogBytes},
		{"elections", without.Terms, with.Terms},
	} {
		fmt.Printf("%-28s %12v %12v\n", row.name, row.a, row.b)
	}
	pass, cpu, log := round(with.PassMS/without.PassMS), round(with.CPU/without.CPU), round(with.LogBytes/without.LogBytes)
	holds := cpu <= mostGrowth && log <= mostLogGrowth // the length of a pass also says how busy the machine is
	text, err := json.Marshal(struct {
		Bench   string  `json:"bench"`
		Nodes   int     `json:"nodes"`
		Copies  int     `json:"copies"`
		Blocked int     `json:"blocked"`
		Rate    int     `json:"failures_per_second"`
		Without figures `json:"without"`
		With    figures `json:"with"`
		Pass    float64 `json:"pass_ratio"`
		CPU     float64 `json:"cpu_ratio"`
		Log     float64 `json:"log_ratio"`
		Bound   float64 `json:"bound"`
		LogMost float64 `json:"log_bound"`
		Holds   bool    `json:"holds"`
	}{"blocked", b.nodes, b.jobs * b.count, b.options.blocked, b.rate, without, with, pass, cpu, log, mostGrowth, mostLogGrowth, holds})
	if err != nil {
		return err
	}
	fmt.Println("BENCH " + string(text))
	if !holds {
		return fmt.Errorf("with %d blocked jobs a replaced copy takes %v × the processor time and %v × the log; want at most %v and %v",
			b.options.blocked, cpu, log, mostGrowth, mostLogGrowth)
	}
	return nil
}

// round keeps three digits behind the point.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
