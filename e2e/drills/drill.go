package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/e2e/herd"
)

// drill is one fault, and how it is made and judged.
type drill struct {
	name             string
	driver           string
	servers, clients int
	lane             int           // drills of one lane follow each other, lanes run at the same time
	each             time.Duration // about how long a run takes on two cores
	bound, boundP50  time.Duration // of the seconds measured; 0 means none
	counts           []string      // the counters beside lost and restarted that apply
	minAcked         int           // per ten runs

	prepare func(context.Context, *rig) error                       // once, after the herd has formed
	run     func(context.Context, *rig, int) (time.Duration, error) // one fault: what is measured
	finish  func(context.Context, *rig) error                       // once, after the last run
}

// Counters that apply to some drills only.
const (
	countMoved    = "moved"          // copies placed anew although nothing had to be
	countOrphans  = "orphans"        // processes that the cluster does not know
	countDoubled  = "doubled"        // copies beyond the first of a slot
	countLogLines = "log_lines_lost" // numbered lines that a log does not have
)

// drills are all of them, in the order in which they run.
func drills() []drill {
	return slices.Concat(writeDrills(), agentDrills(), deathDrills(), cutDrills(), frozenDrills(), wipedDrills())
}

func (d drill) setUp() time.Duration { return 15 * time.Second }

// tally is what the runs of a drill add up to.
type tally struct {
	acked, lost, restarted int
	extra                  map[string]int
	seconds                []float64
}

// line is what is printed of a drill. The optional counters are those of drill.counts.
type line struct {
	Fault     string  `json:"fault"`
	Driver    string  `json:"driver"`
	Runs      int     `json:"runs"`
	Acked     int     `json:"acked"`
	Lost      int     `json:"lost"`
	Restarted int     `json:"restarted"`
	P50       float64 `json:"seconds_p50"`
	Max       float64 `json:"seconds_max"`
	BoundP50  float64 `json:"bound_p50,omitempty"`
	Bound     float64 `json:"bound_seconds,omitempty"`
	Moved     *int    `json:"moved,omitempty"`
	Orphans   *int    `json:"orphans,omitempty"`
	Doubled   *int    `json:"doubled,omitempty"`
	LogLines  *int    `json:"log_lines_lost,omitempty"`
	Breach    string  `json:"breach,omitempty"`
}

// perform runs a drill on a herd of its own and prints its line.
func (d drill) perform(ctx context.Context, o options) error {
	r, err := d.open(o)
	if err != nil {
		return err
	}
	runs, err := d.repeat(ctx, r, o.runs)
	breaches := d.breaches(r.tally, runs, o.runs)
	if err != nil {
		breaches = append(breaches, err.Error())
	}
	d.print(r.tally, runs, breaches)
	if len(breaches) > 0 {
		err = errors.New(strings.Join(breaches, "; "))
	}
	return errors.Join(err, r.close(err != nil && o.keepLogs))
}

func (d drill) open(o options) (*rig, error) {
	dir, err := os.MkdirTemp("", "drover-drill-")
	if err != nil {
		return nil, err
	}
	r := &rig{drill: d, hello: o.hello, dir: dir, tally: tally{extra: map[string]int{}}}
	opts := herd.Options{Dir: dir, Drover: o.drover, Servers: d.servers, Clients: d.clients, Driver: d.driver}
	if r.herd, err = herd.New(opts); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

// repeat forms the herd and runs the fault. It ends at the first run that could not be made or judged.
func (d drill) repeat(ctx context.Context, r *rig, want int) (runs int, err error) {
	took, err := r.herd.WaitReady(ctx, time.Minute)
	if err != nil {
		return 0, fmt.Errorf("form the herd: %w", err)
	}
	r.progress("herd of %d formed in %.1f s", len(r.herd.Nodes), took.Seconds())
	if err := d.prepare(ctx, r); err != nil {
		return 0, fmt.Errorf("prepare: %w", err)
	}
	for i := range want {
		began := time.Now()
		took, err := d.run(ctx, r, i)
		if err != nil {
			return i, fmt.Errorf("run %d: %w", i+1, err)
		}
		r.tally.seconds = append(r.tally.seconds, took.Seconds())
		r.progress("run %d of %d: %.2f s (the run took %.0f s); %s", i+1, want, took.Seconds(), time.Since(began).Seconds(), r.tally.String())
	}
	if d.finish == nil {
		return want, nil
	}
	return want, d.finish(ctx, r)
}

// String is the counters that are not zero.
func (t tally) String() string {
	s := fmt.Sprintf("acked %d, lost %d, restarted %d", t.acked, t.lost, t.restarted)
	for _, name := range []string{countMoved, countOrphans, countDoubled, countLogLines} {
		if n := t.extra[name]; n != 0 {
			s += fmt.Sprintf(", %s %d", name, n)
		}
	}
	return s
}

func (t tally) p50() float64 {
	if len(t.seconds) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(t.seconds))
	return s[len(s)/2]
}

func (t tally) max() float64 {
	if len(t.seconds) == 0 {
		return 0
	}
	return slices.Max(t.seconds)
}

// breaches says what was not kept.
func (d drill) breaches(t tally, runs, want int) []string {
	var out []string
	zero := func(name string, n int) {
		if n != 0 {
			out = append(out, fmt.Sprintf("%s is %d, want 0", name, n))
		}
	}
	zero("lost", t.lost)
	zero("restarted", t.restarted)
	for _, name := range d.counts {
		zero(name, t.extra[name])
	}
	if least := d.minAcked * want / 10; t.acked < least && runs == want {
		out = append(out, fmt.Sprintf("only %d writes were acknowledged, want %d", t.acked, least))
	}
	if d.bound > 0 && t.max() > d.bound.Seconds() {
		out = append(out, fmt.Sprintf("the longest took %.2f s, want ≤ %s", t.max(), d.bound))
	}
	if d.boundP50 > 0 && t.p50() > d.boundP50.Seconds() {
		out = append(out, fmt.Sprintf("the median is %.2f s, want ≤ %s", t.p50(), d.boundP50))
	}
	return out
}

func (d drill) print(t tally, runs int, breaches []string) {
	l := line{
		Fault: d.name, Driver: d.driver, Runs: runs, Acked: t.acked, Lost: t.lost, Restarted: t.restarted,
		P50: round(t.p50()), Max: round(t.max()), BoundP50: d.boundP50.Seconds(), Bound: d.bound.Seconds(), Breach: strings.Join(breaches, "; "),
	}
	for name, field := range map[string]**int{
		countMoved: &l.Moved, countOrphans: &l.Orphans, countDoubled: &l.Doubled, countLogLines: &l.LogLines,
	} {
		if slices.Contains(d.counts, name) {
			n := t.extra[name]
			*field = &n
		}
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // a struct of numbers and strings
	}
	fmt.Println("DRILL " + string(text))
}

func round(s float64) float64 { return float64(int(s*1000+0.5)) / 1000 }
