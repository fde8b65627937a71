package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newSystemGC(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove at once the jobs, allocations and machines that are over",
		Long: `Remove at once the jobs, allocations and machines that are over, instead of some hours after they ended. What runs, what may run
again, and the last word on every copy that is still wanted stay.`,
		Example: "  drover system gc",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v, err := c.CollectGarbage(cmd.Context())
			if err != nil {
				return err
			}
			return s.print(a.out, v, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Removed %s, %s and %s.\n", plural(v.Jobs, "job"), plural(v.Allocs, "allocation"), plural(v.Nodes, "machine"))
				return err
			})
		},
	}
	s.addProgramFlags(cmd)
	return cmd
}
