package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// newPs lists what runs, as users of other tools type it.
func newPs(a *app) *cobra.Command {
	var s shape
	var all, verbose bool
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:     "ps [job]",
		Short:   "List the copies that run, of one job or of all",
		Example: "  drover ps\n  drover ps --all hello\n  drover ps -w -o wide",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, q, list := cmd.Context(), api.QueryOptions{}, c.Allocations
			if len(args) == 1 {
				found, err := find(ctx, r, q, args[0], c.FindJob)
				if err != nil {
					return err
				}
				q.Namespace = found.Namespace
				list = func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
					return c.JobAllocations(ctx, found.ID, q)
				}
			}
			allocs, err := fetchAll(ctx, r, q, list)
			if err != nil {
				return err
			}
			if !all {
				allocs = slices.DeleteFunc(allocs, ended)
			}
			l := allocList(allocs, verbose, len(args) == 0)
			l.empty = "Nothing runs. `drover ps --all` lists what ended too, `drover job status` the jobs."
			return printList(a.out, s, l)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that ended too")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole IDs")
	return cmd
}
