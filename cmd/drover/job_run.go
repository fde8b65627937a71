package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// exitUnplaced is the exit code of `job run` when a copy could not be placed.
const exitUnplaced = exitCode(2)

func newJobRun(a *app) *cobra.Command {
	var f jobFile
	var detach, asJSON bool
	var checkIndex uint64
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "run <file>",
		Short: "Run a job, or a changed one, and follow it until its copies run",
		Long: `Run a job and follow its copies until they run. Interrupting the command detaches from the job; it goes on.

Exit code 0: every copy runs (or, of a batch job, ran). 1: something failed. 2: a copy could not be placed; the reasons are printed.`,
		Example: "  drover job run hello.nomad.hcl\n  drover job run -var copies=3 hello.nomad.hcl\n  drover job run --detach - < hello.nomad.hcl",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := f.parse(a, args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			req := &api.JobRegisterRequest{Job: job, EnforceIndex: cmd.Flags().Changed("check-index"), JobModifyIndex: checkIndex}
			resp, err := c.RegisterJob(cmd.Context(), req, api.WriteOptions{})
			if err != nil {
				return err
			}
			if asJSON {
				return shape{json: true}.print(a.out, resp, nil)
			}
			for _, w := range resp.Warnings {
				fmt.Fprintln(a.err, "Warning:", w)
			}
			what := "registered"
			if !resp.Changed {
				what = "unchanged"
			}
			fmt.Fprintf(a.out, "Job %q %s as version %d.\n", resp.ID, what, resp.Version)
			if detach {
				fmt.Fprintf(a.out, "Look at it with: drover job status %s\n", resp.ID)
				return nil
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			m := &monitor{app: a, c: c, job: job, version: resp.Version, seen: map[string]string{}, started: time.Now()}
			return m.follow(ctx)
		},
	}
	f.addFlags(cmd)
	cmd.Flags().BoolVar(&detach, "detach", false, "return at once instead of following the copies")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON and return at once")
	cmd.Flags().Uint64Var(&checkIndex, "check-index", 0, "run only if the job's modify index is this one; 0: only if there is no such job")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to follow")
	return cmd
}

// monitor follows the copies of one version of a job.
type monitor struct {
	app     *app
	c       *api.Client
	job     *state.Job
	version uint64
	seen    map[string]string // allocation → what was printed of it last
	started time.Time
	live    bool // a progress line stands at the end of the terminal
}

// tally is how far the copies are.
type tally struct {
	wanted, settled, running, failed, unplaced int
}

// follow prints what happens until every copy is settled.
func (m *monitor) follow(ctx context.Context) error {
	q := api.QueryOptions{Namespace: m.job.Namespace, Wait: api.MinWait}
	errs := 0
	for {
		allocs, meta, err := m.c.JobAllocations(ctx, m.job.ID, q)
		if ctx.Err() != nil {
			return m.detached(ctx)
		}
		if err != nil {
			// A leader may be on its way out: the job does not depend on us.
			if errs++; errs > 10 {
				m.clear()
				return err
			}
			if pause(ctx, 500*time.Millisecond) != nil {
				return m.detached(ctx)
			}
			q.Index = 0
			continue
		}
		errs = 0
		q.Index = meta.Index
		m.print(allocs)
		t := m.count(allocs)
		m.progress(t)
		job, _, err := m.c.Job(ctx, m.job.ID, api.QueryOptions{Namespace: m.job.Namespace})
		if err == nil && job.Blocked != nil {
			for _, n := range job.Blocked.Groups {
				t.unplaced += n
			}
		}
		if t.settled+t.unplaced >= t.wanted {
			return m.finish(ctx, t)
		}
	}
}

// count looks at the newest allocation of every slot.
func (m *monitor) count(allocs []api.AllocListItem) tally {
	newest := map[string]api.AllocListItem{}
	for _, x := range allocs {
		if old, ok := newest[x.Name]; x.DesiredStatus == state.DesiredRun && (!ok || x.CreateIndex > old.CreateIndex) {
			newest[x.Name] = x
		}
	}
	t := tally{wanted: copies(m.job)}
	for _, x := range newest {
		switch x.ClientStatus {
		case state.ClientRunning, state.ClientComplete:
			// Copies of an older version that still run are on their way out, unless nothing about their group changed.
			t.running++
			t.settled++
		case state.ClientFailed:
			t.failed++
			t.settled++
		}
		if x.JobVersion != m.version && m.replaced(x) {
			t.settled--
		}
	}
	return t
}

// replaced reports whether a copy of an older version is due to be replaced: another copy of its group is of this version.
func (m *monitor) replaced(x api.AllocListItem) bool {
	return m.seen["group "+x.TaskGroup] != ""
}

// print says what changed since the last look.
func (m *monitor) print(allocs []api.AllocListItem) {
	for _, x := range allocs {
		if x.JobVersion == m.version {
			m.seen["group "+x.TaskGroup] = "new"
		}
	}
	for i := len(allocs) - 1; i >= 0; i-- {
		x := allocs[i]
		status := x.DesiredStatus + " " + x.ClientStatus
		old, known := m.seen[x.ID]
		if old == status || (!known && (x.JobVersion != m.version || ended(x) && x.DesiredStatus != state.DesiredRun)) {
			m.seen[x.ID] = status
			continue
		}
		m.seen[x.ID] = status
		m.clear()
		line := fmt.Sprintf("  %5.1fs  %s  %s  %s on %s", time.Since(m.started).Seconds(), shortID(x.ID, false), x.Name, x.ClientStatus, x.NodeName)
		if x.DesiredStatus != state.DesiredRun {
			line += " (asked to stop: " + x.DesiredDescription + ")"
		}
		fmt.Fprintln(m.app.out, line)
		if x.ClientStatus == state.ClientFailed {
			for _, why := range failures(x) {
				fmt.Fprintln(m.app.out, "          ", why)
			}
		}
	}
}

// failures are the last words of an allocation's failed tasks.
func failures(x api.AllocListItem) []string {
	var out []string
	for _, name := range sortedKeys(x.TaskStates) {
		t := x.TaskStates[name]
		if !t.Failed {
			continue
		}
		for _, e := range t.Events[max(0, len(t.Events)-3):] {
			out = append(out, fmt.Sprintf("task %q: %s: %s", name, e.Type, e.Message))
		}
	}
	return out
}

// progress shows how far the copies are, on a terminal only.
func (m *monitor) progress(t tally) {
	if !m.app.terminal() {
		return
	}
	m.clear()
	const width = 30
	full := 0
	if t.wanted > 0 {
		full = min(width, width*t.running/t.wanted)
	}
	fmt.Fprintf(m.app.out, "  [%s%s] %d of %d run", strings.Repeat("=", full), strings.Repeat(" ", width-full), t.running, t.wanted)
	m.live = true
}

// clear removes the progress line.
func (m *monitor) clear() {
	if m.live {
		fmt.Fprint(m.app.out, "\r\033[K")
		m.live = false
	}
}

func (m *monitor) finish(ctx context.Context, t tally) error {
	m.clear()
	took := time.Since(m.started).Seconds()
	if t.unplaced > 0 {
		fmt.Fprintf(m.app.out, "%d of %d copies cannot be placed:\n", t.unplaced, t.wanted)
		e, _, err := m.c.ExplainJob(ctx, m.job.ID, api.QueryOptions{Namespace: m.job.Namespace})
		if err != nil {
			return err
		}
		if err := writeExplanation(m.app.out, e); err != nil {
			return err
		}
		fmt.Fprintf(m.app.out, "They are placed as soon as a node has room. Look again with: drover job why %s\n", m.job.ID)
		return exitUnplaced
	}
	if t.failed > 0 {
		fmt.Fprintf(m.app.out, "%d of %d copies failed after %.1f s. Look with: drover alloc status <id>, drover alloc logs <id>\n", t.failed, t.wanted, took)
		return exitCode(1)
	}
	fmt.Fprintf(m.app.out, "All %d copies run after %.1f s.\n", t.wanted, took)
	return nil
}

func (m *monitor) detached(ctx context.Context) error {
	m.clear()
	if ctx.Err() == context.DeadlineExceeded {
		fmt.Fprintf(m.app.out, "Not everything runs yet; the cluster goes on with it. Look with: drover job status %s\n", m.job.ID)
		return exitCode(1)
	}
	fmt.Fprintf(m.app.out, "Detached; the job goes on. Look with: drover job status %s\n", m.job.ID)
	return nil
}

// followStop waits until every copy of a job has ended.
func followStop(ctx context.Context, a *app, c *api.Client, namespace, id string, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	q := api.QueryOptions{Namespace: namespace}
	start := time.Now()
	for {
		allocs, meta, err := c.JobAllocations(ctx, id, q)
		if err != nil && ctx.Err() == nil && !isNotFound(err) {
			return err
		}
		left := 0
		for _, x := range allocs {
			if !ended(x) && x.ClientStatus != state.ClientUnknown {
				left++
			}
		}
		switch {
		case ctx.Err() != nil:
			fmt.Fprintf(a.out, "Detached; %d copies have not ended yet.\n", left)
			return nil
		case isNotFound(err), left == 0 && meta.Index >= index:
			fmt.Fprintf(a.out, "All copies have ended after %.1f s.\n", time.Since(start).Seconds())
			return nil
		}
		q.Index, q.Wait = meta.Index, api.MinWait
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
