package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// restartOptions are the flags of `job restart`.
type restartOptions struct {
	groups, tasks []string
	batchSize     string
	batchWait     string
	onError       string
	reschedule    bool
	yes           bool
	timeout       time.Duration
}

func newJobRestart(a *app) *cobra.Command {
	var o restartOptions
	var all bool
	cmd := &cobra.Command{
		Use:   "restart <job>",
		Short: "Restart the copies of a job, a few at a time",
		Long: `Restart the tasks of a job's copies where they are, a few copies at a time: the next ones when those before run again. With --reschedule
each copy is stopped and another placed in its stead. The job does not change.`,
		Example: "  drover job restart hello\n  drover job restart --batch-size 25% --batch-wait 30s hello\n  drover job restart --group web --task server hello",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, job, err := a.oneJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			r := &restart{restartOptions: o, a: a, c: c, job: job, started: time.Now(), answers: bufio.NewReader(a.in)}
			return r.run(cmd.Context())
		},
		ValidArgsFunction: a.completeJobs,
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&o.groups, "group", nil, "only copies of this `group` (repeat for more)")
	fs.StringArrayVar(&o.tasks, "task", nil, "only this `task` of each copy (repeat for more)")
	fs.BoolVar(&all, "all-tasks", false, "accepted for scripts; all tasks are restarted unless --task names some")
	fs.StringVar(&o.batchSize, "batch-size", "1", "how many copies at a time: a `number`, or a percentage such as 25%")
	fs.StringVar(&o.batchWait, "batch-wait", "0s", "how long to wait between batches, or ask")
	fs.StringVar(&o.onError, "on-error", "ask", "when a copy cannot be restarted: ask, or fail at once")
	fs.BoolVar(&o.reschedule, "reschedule", false, "stop the copies and have others placed, also elsewhere")
	fs.BoolVarP(&o.yes, "yes", "y", false, "go on without asking")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for each batch to run again")
	cmd.MarkFlagsMutuallyExclusive("reschedule", "task")
	_ = cmd.RegisterFlagCompletionFunc("on-error", cobra.FixedCompletions([]string{"ask", "fail"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *restartOptions) check() error {
	if _, err := o.size(100); err != nil {
		return err
	}
	if o.onError != "ask" && o.onError != "fail" {
		return fmt.Errorf("--on-error %s is neither ask nor fail", o.onError)
	}
	if o.batchWait == "ask" {
		return nil
	}
	if d, err := time.ParseDuration(o.batchWait); err != nil || d < 0 {
		return fmt.Errorf("--batch-wait %s is neither ask nor a duration such as 30s", o.batchWait)
	}
	return nil
}

// size is how many of n copies a batch has.
func (o *restartOptions) size(n int) (int, error) {
	text, percent := strings.CutSuffix(o.batchSize, "%")
	size, err := strconv.Atoi(text)
	if err != nil || size < 1 || percent && size > 100 {
		return 0, fmt.Errorf("--batch-size %s is neither a number of copies, 1 or more, nor a percentage such as 25%%", o.batchSize)
	}
	if percent {
		size = max(1, n*size/100)
	}
	return size, nil
}

// restart restarts the copies of one job.
type restart struct {
	restartOptions
	a       *app
	c       *api.Client
	job     api.JobListItem
	started time.Time
	answers *bufio.Reader
}

func (r *restart) say(format string, args ...any) {
	fmt.Fprintf(r.a.out, "  %5.1fs  %s\n", time.Since(r.started).Seconds(), fmt.Sprintf(format, args...))
}

func (r *restart) run(ctx context.Context) error {
	copies, err := r.copies(ctx)
	if err != nil {
		return err
	}
	if len(copies) == 0 {
		return fmt.Errorf("no copy of job %q that runs is meant; `drover job allocs %s` lists them", r.job.ID, r.job.ID)
	}
	size, err := r.size(len(copies))
	if err != nil {
		return err
	}
	fmt.Fprintf(r.a.out, "Restarting %s of job %q, %d at a time.\n", plural(len(copies), "copy"), r.job.ID, min(size, len(copies)))
	failed, done := 0, 0
	for batch := range slices.Chunk(copies, size) {
		if done > 0 {
			if err := r.between(ctx); err != nil {
				return err
			}
		}
		if err := r.batch(ctx, batch); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed++
			if err := r.goOn(err); err != nil {
				return err
			}
		}
		done += len(batch)
	}
	if failed > 0 {
		fmt.Fprintf(r.a.out, "Done after %.1f s, with trouble in %s.\n", time.Since(r.started).Seconds(), plural(failed, "batch"))
		return exitCode(exitError)
	}
	if len(copies) == 1 {
		_, err = fmt.Fprintf(r.a.out, "The copy restarted after %.1f s.\n", time.Since(r.started).Seconds())
		return err
	}
	_, err = fmt.Fprintf(r.a.out, "All %s restarted after %.1f s.\n", plural(len(copies), "copy"), time.Since(r.started).Seconds())
	return err
}

// copies are those that run and are meant, in the order of their names.
func (r *restart) copies(ctx context.Context) ([]api.AllocListItem, error) {
	all, err := r.allocs(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.AllocListItem
	for _, x := range all {
		if x.DesiredStatus == state.DesiredRun && x.ClientStatus == state.ClientRunning && (len(r.groups) == 0 || slices.Contains(r.groups, x.TaskGroup)) {
			out = append(out, x)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].TaskGroup != out[j].TaskGroup {
			return out[i].TaskGroup < out[j].TaskGroup
		}
		return out[i].Index < out[j].Index
	})
	return out, nil
}

func (r *restart) allocs(ctx context.Context) ([]api.AllocListItem, error) {
	list := func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return r.c.JobAllocations(ctx, r.job.ID, q)
	}
	all, _, err := api.All(ctx, list, api.QueryOptions{Namespace: r.job.Namespace})
	return all, err
}

// batch restarts some copies at once and waits until they run again.
func (r *restart) batch(ctx context.Context, copies []api.AllocListItem) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	errs := make([]error, len(copies))
	var g errgroup.Group
	g.SetLimit(16)
	for i, x := range copies {
		g.Go(func() error {
			errs[i] = r.one(ctx, x)
			return nil
		})
	}
	_ = g.Wait() // each has its own error
	for i, x := range copies {
		if errs[i] != nil {
			r.say("%s  %s  %s", shortID(x.ID, false), x.Name, brief(errs[i]))
			errs[i] = fmt.Errorf("restart %s (%s): %w", x.Name, shortID(x.ID, false), errs[i])
		} else {
			r.say("%s  %s  restarted", shortID(x.ID, false), x.Name)
		}
	}
	return errors.Join(errs...)
}

// one restarts one copy and waits until it, or the one in its stead, runs.
func (r *restart) one(ctx context.Context, x api.AllocListItem) error {
	w := api.WriteOptions{Namespace: x.Namespace}
	if r.reschedule {
		if _, err := r.c.StopAllocation(ctx, x.ID, w); err != nil {
			return err
		}
		return r.until(ctx, func() (bool, error) {
			all, err := r.allocs(ctx)
			return slices.ContainsFunc(all, func(y api.AllocListItem) bool {
				return y.Name == x.Name && y.CreateIndex > x.CreateIndex && y.ClientStatus == state.ClientRunning
			}), err
		})
	}
	tasks := r.tasks
	if len(tasks) == 0 {
		tasks = []string{""}
	}
	for _, task := range tasks {
		if _, err := r.c.RestartAllocation(ctx, x.ID, task, w); err != nil {
			return err
		}
	}
	return r.until(ctx, func() (bool, error) {
		now, _, err := r.c.Allocation(ctx, x.ID, api.QueryOptions{Namespace: x.Namespace})
		if err != nil {
			return false, err
		}
		if ended(api.AllocListItem{ClientStatus: now.ClientStatus}) {
			return false, fmt.Errorf("it is %s: %s", now.ClientStatus, orElse(now.ClientDescription, "no reason was reported"))
		}
		return now.ClientStatus == state.ClientRunning && r.again(x.TaskStates, now.TaskStates), nil
	})
}

// again reports whether the tasks that were meant have started since.
func (r *restart) again(before, now map[string]state.TaskState) bool {
	for name, was := range before {
		if len(r.tasks) > 0 && !slices.Contains(r.tasks, name) || was.State != state.TaskRunning {
			continue
		}
		if is := now[name]; is.State != state.TaskRunning || is.StartedAt <= was.StartedAt {
			return false
		}
	}
	return true
}

// until looks again and again until it is so.
func (r *restart) until(ctx context.Context, so func() (bool, error)) error {
	for {
		done, err := so()
		if ctx.Err() != nil {
			return fmt.Errorf("it does not run again within %s", r.timeout)
		}
		if done || err != nil {
			return err
		}
		rest(ctx, troublePause)
	}
}

// between waits between two batches.
func (r *restart) between(ctx context.Context) error {
	if r.batchWait == "ask" {
		return r.ask("Restart the next batch?")
	}
	d, err := time.ParseDuration(r.batchWait)
	if err != nil {
		return err
	}
	if d > 0 && !rest(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// goOn decides about the next batch after an error.
func (r *restart) goOn(err error) error {
	if r.onError == "fail" || !r.yes && !isTerminal(r.a.in) {
		return err
	}
	return r.ask("Go on all the same?")
}

func (r *restart) ask(question string) error {
	if r.yes {
		return nil
	}
	return r.a.confirm(r.answers, question)
}
