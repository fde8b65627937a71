package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/drover-io/drover/e2e/fleet"
)

// million is what the bounds of time are said for.
const million = 1_000_000

// minForMemory is how many copies there must be for their memory to be told from the server's own.
const minForMemory = 100_000

// bound is a figure and what it may be at most.
type bound struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Most  float64 `json:"bound"`
	Holds bool    `json:"holds"`
}

// line is the line BENCH.
type line struct {
	Bench         string  `json:"bench"`
	Nodes         int     `json:"nodes"`
	Jobs          int     `json:"jobs"`
	Count         int     `json:"count"`
	Shape         string  `json:"shape"`
	Placements    int     `json:"placements"`
	SubmittedS    float64 `json:"submitted_s"`
	PlacedS       float64 `json:"placed_s"`
	RunningS      float64 `json:"running_s"`
	PerSecond     float64 `json:"placements_per_second"`
	CPU           float64 `json:"cpu_s_per_1000"`        // of the three servers together, until all ran
	AgentsCPU     float64 `json:"agents_cpu_s_per_1000"` // of the simulated agents, who share the machine
	LogBytes      float64 `json:"log_bytes_per_placement"`
	ReportBytes   float64 `json:"report_log_bytes_per_alloc"`
	BytesPerAlloc float64 `json:"bytes_per_alloc"` // of the server that grew most, resident
	HeapPerAlloc  float64 `json:"heap_bytes_per_alloc"`
	PeakBytes     int64   `json:"peak_bytes"` // resident at most, of the server that had most
	PollsPerAlloc float64 `json:"polls_per_alloc"`
	RowsPerAlloc  float64 `json:"rows_per_alloc"` // that answers to polls carried
	Terms         float64 `json:"terms"`          // more than one: leadership was lost
	RaftTimeoutS  float64 `json:"raft_timeout_s"`
	KillLeader    bool    `json:"kill_leader"`
	OutageS       float64 `json:"outage_s,omitempty"`
	SteadyRate    float64 `json:"steady_per_second,omitempty"`
	P50           float64 `json:"latency_p50_ms,omitempty"`
	P99           float64 `json:"latency_p99_ms,omitempty"`
	Slowest       float64 `json:"latency_max_ms,omitempty"`
	AtLeader      float64 `json:"latency_p50_at_leader_ms,omitempty"` // of agents that wait at the leader
	RestPolls     float64 `json:"rest_polls_per_second,omitempty"`    // when everything runs and nothing happens
	RestCores     float64 `json:"rest_servers_cores,omitempty"`       // that the three servers keep busy then
	RestAgents    float64 `json:"rest_agents_cores,omitempty"`
	Live          int     `json:"live"`
	Overcommitted int     `json:"overcommitted"`
	Lost          int     `json:"lost"`
	Doubled       int     `json:"doubled"`
	NotRunning    int     `json:"not_running"`
	NotReady      int     `json:"nodes_not_ready"`
	HashesEqual   bool    `json:"hashes_equal"`
	Simulated     string  `json:"simulated"`
	Bounds        []bound `json:"bounds"`
	Holds         bool    `json:"holds"`
}

// print prints the table and the line, and returns an error that names every bound that does not hold.
func (b *bench) print() error {
	b.table()
	l := b.line()
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	fmt.Println("BENCH " + string(text))
	var broken []error
	for _, x := range l.Bounds {
		if !x.Holds {
			broken = append(broken, fmt.Errorf("%s is %v, want at most %v", x.Name, x.Value, x.Most))
		}
	}
	if !b.verdict.HashesEqual {
		broken = append(broken, fmt.Errorf("the servers hold different states: %v", b.verdict.Differs))
	}
	if len(broken) > 0 {
		return &unmet{errors.Join(broken...)}
	}
	return nil
}

// unmet is the error of a run that went to its end and whose bounds do not all hold.
type unmet struct{ error }

// Unwrap is what does not hold.
func (u *unmet) Unwrap() error { return u.error }

func (b *bench) line() line {
	n := float64(b.copies())
	l := line{
		Bench: "c1m", Nodes: b.nodes, Jobs: b.jobs, Count: b.count, Shape: b.shape, Placements: b.copies(),
		SubmittedS: round(b.submitting.Seconds()), PlacedS: round(b.placed.Seconds()), RunningS: round(b.running.Seconds()), PerSecond: math.Round(n / b.placed.Seconds()),
		AgentsCPU: round(float64(b.after.agents-b.before.agents) / float64(time.Second) / n * 1000),
		LogBytes:  round(logBytes(b.before, b.after, "ApplyPlan", "RegisterJob") / n), ReportBytes: round(logBytes(b.before, b.after, "Report") / n),
		PollsPerAlloc: round(float64(b.after.polls-b.before.polls) / n), RowsPerAlloc: round(float64(b.after.rows-b.before.rows) / n),
		RaftTimeoutS: b.raft.Seconds(), KillLeader: b.killLeader, OutageS: round(b.outage.Seconds()),
		Live: b.verdict.Live, Overcommitted: b.verdict.Overcommitted, Lost: b.verdict.Lost, Doubled: b.verdict.Doubled, NotRunning: b.verdict.NotRunning,
		NotReady: b.verdict.NotReady, HashesEqual: b.verdict.HashesEqual,
		Simulated: "agents, without gossip and containers; server.lease_only",
	}
	var cpu time.Duration
	for i, s := range b.after.servers {
		cpu += s.cpu - b.before.servers[i].cpu
		l.BytesPerAlloc = max(l.BytesPerAlloc, math.Round(float64(s.rss-b.before.servers[i].rss)/n))
		l.PeakBytes = max(l.PeakBytes, s.max)
		l.HeapPerAlloc = max(l.HeapPerAlloc, math.Round((s.heap-b.before.servers[i].heap)/n))
		l.Terms += s.terms
	}
	l.CPU = round(cpu.Seconds() / n * 1000)
	if b.steady.latencies > 0 {
		l.SteadyRate = math.Round(float64(b.steady.copies) / b.steady.took.Seconds())
		l.P50, l.P99, l.Slowest, l.AtLeader = ms(b.steady.p50), ms(b.steady.p99), ms(b.steady.slowest), ms(b.steady.leader)
	}
	l.RestPolls, l.RestCores, l.RestAgents = round(b.idle.polls), round(b.idle.servers), round(b.idle.agents)
	l.Bounds = b.bounds(l)
	l.Holds = l.HashesEqual
	for _, x := range l.Bounds {
		l.Holds = l.Holds && x.Holds
	}
	return l
}

// bounds are those of the project, and what must never be. A run in which the leader is killed is not held to the times.
func (b *bench) bounds(l line) []bound {
	var out []bound
	add := func(name string, value, most float64) { out = append(out, bound{name, value, most, value <= most}) }
	for _, zero := range []struct {
		name string
		n    int
	}{
		{"overcommitted", l.Overcommitted}, {"lost", l.Lost}, {"doubled", l.Doubled}, {"not_running", l.NotRunning}, {"nodes_not_ready", l.NotReady},
	} {
		add(zero.name, float64(zero.n), 0)
	}
	part := float64(l.Placements) / million
	if !b.killLeader {
		add("placed_s", l.PlacedS, round(max(30*part, 1)))
		add("running_s", l.RunningS, round(max(90*part, 3)))
	}
	add("log_bytes_per_placement", l.LogBytes, 64)
	if l.Placements >= minForMemory {
		add("bytes_per_alloc", l.BytesPerAlloc, 1024)
	}
	if b.steady.latencies > 0 {
		add("latency_p50_ms", l.P50, 10)
		add("latency_p99_ms", l.P99, 50)
	}
	return out
}

// table prints how the placing went: each 100,000 copies, or each tenth of fewer.
func (b *bench) table() {
	step := 100_000
	if b.copies() <= step {
		step = max(1, b.copies()/10)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "placed\tat s\tplacements/s\tagents have\trunning\t")
	last := sample{}
	for next := step; next <= b.copies(); next += step {
		for _, s := range b.samples {
			if s.placed < next {
				continue
			}
			rate := "-" // in the same look as the step before
			if s.at > last.at {
				rate = fmt.Sprintf("%.0f", float64(s.placed-last.placed)/(s.at-last.at).Seconds())
			}
			fmt.Fprintf(w, "%d\t%.1f\t%s\t%d\t%d\t\n", next, s.at.Seconds(), rate, s.held, s.running)
			last = s
			break
		}
	}
	_ = w.Flush() // to standard output
	for i, s := range b.after.servers {
		was := b.before.servers[i]
		fmt.Printf("%s: %.1f s of processor time, %.0f MB resident (%.0f MB before, %.0f MB at most), %.0f MB of heap\n",
			b.servers[i].Name, (s.cpu - was.cpu).Seconds(), float64(s.rss)/1e6, float64(was.rss)/1e6, float64(s.max)/1e6, s.heap/1e6)
	}
	fmt.Printf("agents: %.1f s of processor time, %d polls, %d rows taken, %d reports\n",
		(b.after.agents - b.before.agents).Seconds(), b.after.polls-b.before.polls, b.after.rows-b.before.rows, b.after.reports-b.before.reports)
	b.steady.table(b.servers)
}

// table prints what each process did while the latencies were measured: a server that collects a large heap meanwhile makes the slowest slower.
func (s *steady) table(servers fleet.Servers) {
	if s.latencies == 0 {
		return
	}
	for i, now := range s.after.servers {
		was := s.before.servers[i]
		fmt.Printf("%s: %.1f s of processor time in %.1f s of latencies, %d collections, %.0f MB resident\n",
			servers[i].Name, (now.cpu - was.cpu).Seconds(), s.took.Seconds(), now.gcs-was.gcs, float64(now.rss)/1e6)
	}
	fmt.Printf("agents: %.1f s, %d collections\n", (s.after.agents - s.before.agents).Seconds(), s.collections)
	fmt.Printf("%d copies took longer than %s%s\n", len(s.late), fleet.Late, s.bursts())
}

// bursts says when the late copies came: together, for one reason each time, or all the time.
func (s *steady) bursts() string {
	var text strings.Builder
	for left := s.late; len(left) > 0; {
		n := 1
		for n < len(left) && left[n]-left[n-1] < int64(burstGap) {
			n++
		}
		fmt.Fprintf(&text, "; %d at %.1f s", n, time.Unix(0, left[0]).Sub(s.began).Seconds())
		left = left[n:]
	}
	return text.String()
}

// burstGap is what lies between two bursts at least.
const burstGap = 100 * time.Millisecond

// round keeps three digits behind the point.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func ms(d time.Duration) float64 { return round(d.Seconds() * 1000) }
