package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/state"
)

// waitGoals are what `job wait` can wait for.
func waitGoals() []string { return []string{"running", "complete", "healthy", "dead", "stopped"} }

func newJobWait(a *app) *cobra.Command {
	var goal string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait <job>",
		Short: "Wait until a job stands as wanted",
		Long: `Wait until a job stands as wanted:

  running    every copy runs, of the newest version; of a batch job, or has ended well
  healthy    as running, and nothing failed, is stopping or waits to be replaced
  complete   every copy of a batch job has ended well
  dead       nothing of it runs or will run again
  stopped    a user has stopped it, and every copy has ended

Exit code 0: it does. 1: --timeout has passed, or it cannot come to that.`,
		Example:    "  drover job wait --for running --timeout 2m hello\n  drover job run --detach sum.hcl && drover job wait --for complete sum",
		SuggestFor: []string{"await"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(waitGoals(), goal) {
				near := nearest.Name(goal, waitGoals())
				if near != "" {
					near = "; did you mean " + near + "?"
				}
				return fmt.Errorf("--for %s is none of %s%s", goal, strings.Join(waitGoals(), ", "), near)
			}
			c, job, err := a.oneJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			f := newFollower(a, c, job.Namespace, job.ID)
			f.deadline = f.started.Add(timeout)
			return (&waiter{launch: launch{follower: f, work: map[uint64]*state.Job{}}, goal: goal}).wait(cmd.Context())
		},
		ValidArgsFunction: a.completeJobs,
	}
	cmd.Flags().StringVar(&goal, "for", "running", "`what` to wait for: "+strings.Join(waitGoals(), ", "))
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(waitGoals(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// waiter waits until a job stands as wanted.
type waiter struct {
	launch
	goal string
}

func (w *waiter) wait(ctx context.Context) error {
	var pause time.Duration
	for {
		allocs, err := w.look(ctx, pause)
		if isNotFound(err) && (w.goal == "dead" || w.goal == "stopped") && w.job != nil {
			return w.say("Job %q is forgotten after %.1f s.\n", w.id, w.took())
		}
		if err != nil {
			return w.giveUp(ctx, err)
		}
		w.version = w.job.Version
		if err := w.learn(ctx, allocs); err != nil {
			return w.giveUp(ctx, err)
		}
		if why := w.hopeless(); why != "" {
			w.clear()
			return fmt.Errorf("job %q cannot become %s: %s", w.id, w.goal, why)
		}
		groups := w.picture(time.Now()).count()
		total := sum(groups)
		w.progress(total.bar(20) + " " + total.words())
		if w.reached(total, outcomeOf(groups), allocs) {
			return w.say("Job %q is %s after %.1f s.\n", w.id, w.goal, w.took())
		}
		pause = 0
		if total.Proving > 0 {
			pause = provenAfter / 4
		}
	}
}

// giveUp ends waiting without its goal.
func (w *waiter) giveUp(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, errPatience) {
		w.clear()
		return err
	}
	if err := w.say("Job %q is not %s after %.1f s%s. Look with: drover job status %s\n", w.id, w.goal, w.took(), w.last(), w.id); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return exitCode(exitInterrupted)
	}
	return exitCode(exitError)
}

// hopeless says why waiting has no end, "" while it may have.
func (w *waiter) hopeless() string {
	switch {
	case w.goal == "complete" && w.job.Type != state.JobTypeBatch:
		return "it is a " + w.job.Type + " job, whose tasks are not meant to end"
	case w.job.Stop && w.goal != "dead" && w.goal != "stopped":
		return "it is stopped; start it with drover job start " + w.id
	}
	return ""
}

// reached reports whether the job stands as wanted.
func (w *waiter) reached(t tally, o outcome, allocs []api.AllocListItem) bool {
	alive := slices.ContainsFunc(allocs, func(x api.AllocListItem) bool { return !ended(x) })
	switch w.goal {
	case "running":
		return t.Running+t.Proving+t.Complete >= t.Wanted
	case "healthy":
		return o == ready || t.batch && t.Running+t.Complete >= t.Wanted && t.Failed+t.Leaving == 0
	case "complete":
		return t.Complete >= t.Wanted
	case "stopped":
		return w.job.Stop && !alive
	}
	return !alive && (w.job.Stop || t.Wanted == 0 || t.batch && t.Complete+t.Failed >= t.Wanted && t.Missing == 0)
}
