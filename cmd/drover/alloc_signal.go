package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newAllocSignal(a *app) *cobra.Command {
	var sig, task string
	cmd := &cobra.Command{
		Use:   "signal [-s <signal>] <alloc|job> [task]",
		Short: "Send a signal to the tasks of one copy",
		Long: `Send a signal to the first process of a task, of all tasks that run when none is named. A task that ends by it is started again as
its restart policy says; ` + "`drover alloc stop`" + ` stops a copy.`,
		Example:    "  drover alloc signal -s SIGHUP hello\n  drover alloc signal -s USR1 8f3c web",
		SuggestFor: []string{"kill"},
		Args:       arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if sig == "" {
				return fmt.Errorf("name the signal: drover alloc signal -s SIGHUP %s", args[0])
			}
			if len(args) == 2 {
				task = args[1]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			x, err := a.pickAlloc(cmd.Context(), c, args[0], false)
			if err != nil {
				return err
			}
			if _, err := c.SignalAllocation(cmd.Context(), x.ID, task, sig, api.WriteOptions{Namespace: x.Namespace}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Allocation %s (%s) was sent %s.\n", shortID(x.ID, false), x.Name, sig)
			return nil
		},
		ValidArgsFunction: a.completeTasks,
	}
	cmd.Flags().StringVarP(&sig, "signal", "s", "", "the `signal`: SIGHUP, HUP or 1")
	cmd.Flags().StringVar(&task, "task", "", "only this `task`")
	return cmd
}
