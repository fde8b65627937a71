package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newJobStop(a *app) *cobra.Command {
	var purge, detach, yes bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:        "stop <job>",
		Short:      "Stop all copies of a job",
		Long:       "Stop all copies of a job and wait until they have ended. Interrupting the command only ends the waiting.",
		Example:    "  drover job stop hello\n  drover job stop --purge hello   # and forget it",
		SuggestFor: []string{"rm", "remove", "delete", "kill"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			job, err := c.FindJob(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			resp, err := c.StopJob(cmd.Context(), job.ID, purge, api.WriteOptions{Namespace: job.Namespace})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Job %q is asked to stop.\n", job.ID)
			if detach {
				return nil
			}
			f := newFollower(a, c, job.Namespace, job.ID)
			f.since, f.deadline = resp.Index, f.started.Add(timeout)
			return f.followStop(cmd.Context())
		},
		ValidArgsFunction: a.completeJobs,
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "forget the job once its copies have ended")
	cmd.Flags().BoolVar(&detach, "detach", false, "return at once instead of waiting for the copies to end")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "accepted for scripts; nothing is asked")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

// followStop waits until every copy of a job has ended.
func (f *follower) followStop(ctx context.Context) error {
	for {
		allocs, err := f.look(ctx, 0)
		if isNotFound(err) { // purged, and forgotten already
			return f.say("All copies have ended after %.1f s, and the job is forgotten.\n", f.took())
		}
		if err != nil {
			return f.leave(ctx, err, "The cluster goes on stopping it.")
		}
		left, silent := 0, 0
		for _, x := range allocs {
			switch x.ClientStatus {
			case state.ClientPending, state.ClientRunning:
				left++
			case state.ClientUnknown:
				silent++
			}
		}
		f.printCopies(allocs)
		if left > 0 || f.seen < f.since {
			f.progress(fmt.Sprintf("%s still running", plural(left, "copy")))
			continue
		}
		if silent > 0 {
			return f.say("All copies that can be reached have ended after %.1f s; %s on silent machines will stop when those are heard of.\n",
				f.took(), plural(silent, "copy"))
		}
		return f.say("All copies have ended after %.1f s.\n", f.took())
	}
}

// say removes the progress line and prints.
func (f *follower) say(format string, args ...any) error {
	f.clear()
	_, err := fmt.Fprintf(io.Writer(f.app.out), format, args...)
	return err
}
