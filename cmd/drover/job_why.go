package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newJobWhy(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:   "why <job>",
		Short: "Say why copies cannot be placed, and what would help",
		Long: `Say, for every group of a job, how many copies are placed, how many nodes each reason excludes, which node comes nearest and what it
lacks, and what change of the job would help.`,
		Example:    "  drover job why hello\n  drover job why --json hello",
		SuggestFor: []string{"explain"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showWhy(cmd.Context(), r, args[0], s)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	return cmd
}

func showWhy(ctx context.Context, r *reader, prefix string, s shape) error {
	c, err := r.app.client()
	if err != nil {
		return err
	}
	found, err := find(ctx, r, api.QueryOptions{}, prefix, c.FindJob)
	if err != nil {
		return err
	}
	q := api.QueryOptions{Namespace: found.Namespace}
	e, err := fetch(r, q, func(q api.QueryOptions) (*state.Explanation, api.QueryMeta, error) {
		return c.ExplainJob(ctx, found.ID, q)
	})
	if err != nil {
		return err
	}
	return s.print(r.app.out, e, func(w io.Writer) error {
		if found.Stop {
			_, err := fmt.Fprintf(w, "Job %q is stopped: it wants no copies. Run its file again to start it.\n", found.ID)
			return err
		}
		if err := writeExplanation(w, e); err != nil {
			return err
		}
		return whyFailed(ctx, r, c, w, q, found.ID)
	})
}

// whyFailed adds what went wrong with copies that were placed and failed.
func whyFailed(ctx context.Context, r *reader, c *api.Client, w io.Writer, q api.QueryOptions, id string) error {
	job, err := fetch(r, q, func(q api.QueryOptions) (*api.JobView, api.QueryMeta, error) { return c.Job(ctx, id, q) })
	if err != nil {
		return err
	}
	allocs, err := fetchAll(ctx, r, q, func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return c.JobAllocations(ctx, id, q)
	})
	if err != nil {
		return err
	}
	failed := failedNow(job.Job, allocs)
	last, err := r.crash(ctx, c, q, failed)
	if err != nil {
		return err
	}
	writeFailed(w, failed, last)
	return nil
}
