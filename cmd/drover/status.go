package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// newStatus is the top-level status: of whatever the word names.
func newStatus(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:     "status [job, allocation or node]",
		Short:   "List jobs, or show whatever the name or the beginning of an ID names",
		Example: "  drover status\n  drover status hello\n  drover status 8f3c",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listJobs(ctx, a, c, s)
			}
			job, err := c.FindJob(ctx, args[0], api.QueryOptions{})
			if err == nil {
				return showJob(ctx, a, c, job.ID, s, false, false)
			}
			if !isNotFound(err) {
				return err
			}
			if x, err := c.FindAllocation(ctx, args[0], api.QueryOptions{}); err == nil {
				return showAlloc(ctx, a, c, x.ID, s, false)
			} else if !isNotFound(err) {
				return err
			}
			if n, err := c.FindNode(ctx, args[0], api.QueryOptions{}); err == nil {
				return showNode(ctx, a, c, n.ID, s, false)
			} else if !isNotFound(err) {
				return err
			}
			return fmt.Errorf("no job, allocation or node begins with %q; list them with `drover job status`, `drover alloc status`, `drover node status`", args[0])
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	return cmd
}
