package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// exitUnplaced is the exit code of `job run` when a copy could not be placed.
const exitUnplaced = exitCode(2)

// provenAfter is how long a copy must have been seen running before it counts: most mistakes of a job file end a task at once.
const provenAfter = time.Second

// runOptions are the flags of `job run`.
type runOptions struct {
	file       jobFile
	pin        pinning
	out        shape
	detach     bool
	enforce    bool
	checkIndex uint64
	timeout    time.Duration

	printOnly  bool // --output
	keepCounts bool
	ignored    []string // flags that were given and mean nothing here
}

// addForeignFlags takes flags that scripts of another tool give, and that mean nothing here; that is said when they are given.
func (o *runOptions) addForeignFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.Int("eval-priority", 0, "accepted with a warning: there are no evaluations to order")
	fs.Bool("policy-override", false, "accepted with a warning: there are no policies")
	fs.Bool("verbose", false, "accepted for scripts")
	for _, name := range []string{"eval-priority", "policy-override", "verbose"} {
		_ = fs.MarkHidden(name) // it exists
	}
}

// foreign are the foreign flags that were given.
func foreign(cmd *cobra.Command) []string {
	var out []string
	for _, name := range []string{"eval-priority", "policy-override"} {
		if cmd.Flags().Changed(name) {
			out = append(out, name)
		}
	}
	return out
}

func newJobRun(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run <file>",
		Short: "Run a job, or a changed one, and follow it until its copies run",
		Long: `Run a job and follow its copies: those of a service until they have run for a moment and those of older versions have ended, those
of a batch job until they have ended. Interrupting the command only ends the following; the job goes on.

Exit code 0: every copy runs, or of a batch job has ended well, or you detached. 1: an error, a copy that failed, or --timeout.
2: a copy cannot be placed; every reason is printed.`,
		Example: `  drover job run hello.nomad.hcl
  drover job run -var copies=3 hello.nomad.hcl
  drover job run --detach - < hello.nomad.hcl`,
		SuggestFor: []string{"start", "apply", "create", "submit", "up"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.enforce, o.ignored = cmd.Flags().Changed("check-index"), foreign(cmd)
			return runJob(cmd.Context(), a, o, args[0])
		},
	}
	o.file.addFlags(cmd)
	o.pin.addFlags(cmd)
	o.out.addProgramFlags(cmd)
	cmd.Flags().Lookup("json").Usage = "print the answer as JSON and return at once"
	cmd.Flags().Lookup("template").Usage += ", and return at once"
	cmd.Flags().BoolVar(&o.detach, "detach", false, "return at once instead of following the copies")
	cmd.Flags().Uint64Var(&o.checkIndex, "check-index", 0, "run only if the job's modify index is this one; 0: only if there is no such job")
	cmd.Flags().BoolVar(&o.printOnly, "output", false, "print the job as it would be sent, in JSON, and run nothing")
	cmd.Flags().BoolVar(&o.keepCounts, "preserve-counts", false, "leave the number of copies of groups that exist as it is")
	o.addForeignFlags(cmd)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for the copies to start")
	return cmd
}

func runJob(ctx context.Context, a *app, o runOptions, path string) error {
	job, err := o.file.parse(a, path)
	if err != nil {
		return err
	}
	for _, name := range o.ignored {
		fmt.Fprintf(a.err, "Warning: --%s changes nothing here.\n", name)
	}
	if o.printOnly {
		return writeJSON(a.out, map[string]any{"Job": job})
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	started := time.Now()
	req := &api.JobRegisterRequest{Job: job, EnforceIndex: o.enforce, JobModifyIndex: o.checkIndex, PreserveCounts: o.keepCounts}
	resp, err := o.pin.register(ctx, a, c, req)
	if err != nil {
		return err
	}
	for _, w := range resp.Warnings {
		fmt.Fprintln(a.err, "Warning:", w)
	}
	if o.out.given() {
		return o.out.print(a.out, resp, nil)
	}
	sayRegistered(a.out, resp)
	if o.detach {
		fmt.Fprintf(a.out, "Look at it with: drover job status %s\n", resp.ID)
		return nil
	}
	f := newFollower(a, c, resp.Namespace, resp.ID)
	f.since, f.started, f.deadline, f.many = resp.Index, started, started.Add(o.timeout), copies(job) > manyCopies
	return (&launch{follower: f, spec: job, pin: req.Pin, version: resp.Version, work: map[uint64]*state.Job{}}).follow(ctx)
}

// sayRegistered says what a registration did.
func sayRegistered(w io.Writer, resp *api.JobRegisterResponse) {
	writePins(w, resp.Pins)
	switch {
	case !resp.Changed:
		fmt.Fprintf(w, "Job %q is unchanged, version %d.\n", resp.ID, resp.Version)
	case resp.Version == 0:
		fmt.Fprintf(w, "Job %q is registered.\n", resp.ID)
	default:
		fmt.Fprintf(w, "Job %q is updated to version %d.\n", resp.ID, resp.Version)
	}
}

// launch follows the copies of one version of a job until they run.
type launch struct {
	*follower
	spec    *state.Job
	pin     string // how its tags were treated
	version uint64
	work    map[uint64]*state.Job // versions that copies were placed with
}

// follow prints what happens until every copy is settled, or cannot be.
func (l *launch) follow(ctx context.Context) error {
	const goesOn = "The job goes on."
	var wait time.Duration
	for {
		allocs, err := l.look(ctx, wait)
		if err != nil {
			return l.leave(ctx, err, goesOn)
		}
		if l.job.Stop || l.job.Version != l.version {
			return l.overtaken()
		}
		if err := l.learn(ctx, allocs); err != nil {
			return l.leave(ctx, err, goesOn)
		}
		l.printCopies(allocs)
		groups := l.picture(time.Now()).count()
		total := sum(groups)
		l.progress(total.bar(20) + " " + total.words())
		if total.batch && total.Starting+total.Missing+total.Old == 0 {
			l.deadline = time.Time{} // all have started: how long they take is their own business
		}
		wait = 0
		if total.Proving > 0 {
			wait = provenAfter / 4
		}
		result := outcomeOf(groups)
		if result == failing && total.batch && l.triedAgain(ctx, total.failed) || result == ready && !l.confirmed(ctx, total) {
			result, wait = going, provenAfter
		}
		if result != going {
			return l.finish(ctx, result, total)
		}
	}
}

// picture is what the last look saw, at a time.
func (l *launch) picture(now time.Time) picture {
	for _, x := range l.allocs {
		if key := lifeOf(x); x.ClientStatus == state.ClientRunning && l.running[key].IsZero() {
			l.running[key] = now
		}
	}
	return picture{
		job: l.job, allocs: l.allocs,
		same: func(version uint64, group string) bool {
			then := l.work[version]
			return then != nil && state.SameWork(then, l.job, group)
		},
		proven: func(x api.AllocListItem) bool {
			return x.CreateIndex < l.since || now.Sub(l.running[lifeOf(x)]) >= provenAfter
		},
	}
}

// lifeOf names a copy between two restarts of its tasks.
func lifeOf(x api.AllocListItem) string {
	restarts := 0
	for _, t := range x.TaskStates {
		restarts += t.Restarts
	}
	return fmt.Sprintf("%s %d", x.ID, restarts)
}

// learn reads the versions of the job that copies were placed with.
func (l *launch) learn(ctx context.Context, allocs []api.AllocListItem) error {
	missing := false
	for _, x := range allocs {
		_, known := l.work[x.JobVersion]
		missing = missing || x.JobVersion != l.version && !known
	}
	if !missing {
		return nil
	}
	resp, _, err := l.c.JobVersions(ctx, l.id, api.QueryOptions{Namespace: l.namespace})
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err == nil { // else the next look asks again
		for _, j := range resp.Versions {
			l.work[j.Version] = j
		}
	}
	for _, x := range allocs {
		if _, known := l.work[x.JobVersion]; err == nil && !known {
			l.work[x.JobVersion] = nil // it is gone: such a copy is replaced
		}
	}
	return nil
}

// confirmed asks the scheduler whether it has nothing left to do, when copies of older versions are to stay: whether their nodes
// still suit the job is its business.
func (l *launch) confirmed(ctx context.Context, t tally) bool {
	if t.Kept == 0 {
		return true
	}
	view, err := l.c.PlanJobAs(ctx, &api.JobPlanRequest{Job: l.spec, Pin: l.pin}, api.QueryOptions{Namespace: l.namespace})
	if err != nil {
		return false
	}
	for _, g := range view.Groups {
		if g.Place+g.Stop+g.Replace+g.Unplaced > 0 {
			return false
		}
	}
	return true
}

// triedAgain reports whether one of the failed copies of a batch job will be placed again soon.
func (l *launch) triedAgain(ctx context.Context, failed []api.AllocListItem) bool {
	for _, x := range failed {
		g := l.job.Group(x.TaskGroup)
		if g == nil || g.ReschedulePolicy.Unlimited {
			continue // for ever: nobody should wait for that
		}
		row, _, err := l.c.Allocation(ctx, x.ID, api.QueryOptions{Namespace: l.namespace})
		if err != nil || !g.ReschedulePolicy.Exhausted(row.Alloc) {
			return true
		}
	}
	return false
}

func (l *launch) overtaken() error {
	what := fmt.Sprintf("replaced by version %d", l.job.Version)
	if l.job.Stop {
		what = "stopped"
	}
	if err := l.say("Somebody else's command came in between: the job was %s. Look with: drover job status %s\n", what, l.id); err != nil {
		return err
	}
	return exitCode(exitError)
}

// finish says how it ended.
func (l *launch) finish(ctx context.Context, result outcome, t tally) error {
	l.clear()
	switch result {
	case blocked:
		return l.finishBlocked(ctx, t)
	case failing:
		return l.finishFailed(ctx, t)
	}
	switch {
	case t.Wanted == 0:
		return l.say("The job asks for no copies, and none runs.\n")
	case t.batch && t.Wanted == 1:
		return l.say("The copy ended well after %.1f s.\n", l.took())
	case t.batch:
		return l.say("All %d copies ended well after %.1f s.\n", t.Wanted, l.took())
	case t.Wanted == 1:
		return l.say("The copy runs after %.1f s.\n", l.took())
	}
	return l.say("All %d copies run after %.1f s.\n", t.Wanted, l.took())
}

// someOf is how many of the copies.
func someOf(n, all int) string {
	if all == 1 {
		return "The copy"
	}
	return fmt.Sprintf("%d of %d copies", n, all)
}

func (l *launch) finishBlocked(ctx context.Context, t tally) error {
	if err := l.say("%s cannot be placed:\n", someOf(t.Unplaced, t.Wanted)); err != nil {
		return err
	}
	e, _, err := l.c.ExplainJob(ctx, l.id, api.QueryOptions{Namespace: l.namespace})
	if err != nil {
		return coded{err, int(exitUnplaced)}
	}
	if err := writeExplanation(l.app.out, e); err != nil {
		return err
	}
	l.writeFailed(ctx, t.failed)
	var more []string
	if n := t.Old + min(t.Kept, t.Unplaced); n > 0 {
		more = append(more, fmt.Sprintf("Meanwhile %s of an older version may run on.", plural(n, "copy")))
	}
	more = append(more, "They are placed as soon as a node has room. Look again with: drover job why "+l.id)
	if err := l.say("%s\n", strings.Join(more, " ")); err != nil {
		return err
	}
	return exitUnplaced
}

// writeFailed says why copies failed, and what the newest wrote last where that can be read.
func (l *launch) writeFailed(ctx context.Context, failed []api.AllocListItem) {
	last, err := readCrash(failed, func(id string) (*api.AllocView, error) {
		row, _, err := l.c.Allocation(ctx, id, api.QueryOptions{Namespace: l.namespace})
		return row, err
	})
	if err != nil {
		last = nil // why they failed is known without
	}
	writeFailed(l.app.out, failed, last)
}

func (l *launch) finishFailed(ctx context.Context, t tally) error {
	if err := l.say("%s failed after %.1f s.\n", someOf(t.Failed, t.Wanted), l.took()); err != nil {
		return err
	}
	l.writeFailed(ctx, t.failed)
	if t.Old > 0 {
		fmt.Fprintf(l.app.out, "%s of an older version run on; the update goes on when what failed runs.\n", plural(t.Old, "copy"))
	}
	fmt.Fprintf(l.app.out, "The cluster tries again as far as the job's reschedule block allows. Look with: drover job status %s\n", l.id)
	return exitCode(exitError)
}
