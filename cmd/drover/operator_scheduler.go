package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newScheduler(a *app) *cobra.Command {
	return noun("scheduler", "How the cluster places", "  drover operator scheduler get-config\n  drover operator scheduler set-config --scheduler-algorithm spread",
		newSchedulerGet(a),
		newSchedulerSet(a),
	)
}

func newSchedulerGet(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:     "get-config",
		Short:   "Show how the cluster places",
		Example: "  drover operator scheduler get-config\n  drover operator scheduler get-config --json",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := fetch(r, api.QueryOptions{}, func(q api.QueryOptions) (*api.SchedulerConfigResponse, api.QueryMeta, error) {
				return c.SchedulerConfig(cmd.Context(), q)
			})
			if err != nil {
				return err
			}
			return s.print(a.out, got, func(w io.Writer) error { return writeSchedulerConfig(w, got.SchedulerConfig) })
		},
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	return cmd
}

func writeSchedulerConfig(w io.Writer, c *state.SchedulerConfig) error {
	return facts(w, "Scheduler Algorithm", c.SchedulerAlgorithm, "Memory Oversubscription", strconv.FormatBool(c.MemoryOversubscriptionEnabled),
		"Reject Job Registration", strconv.FormatBool(c.RejectJobRegistration), "Modify Index", strconv.FormatUint(c.ModifyIndex, 10))
}

func newSchedulerSet(a *app) *cobra.Command {
	var req api.SchedulerConfigRequest
	var check uint64
	cmd := &cobra.Command{
		Use:   "set-config",
		Short: "Change how the cluster places; what is not named stays",
		Long: `Change how the cluster places. What runs stays where it is; the new setting counts for what is placed from now on.

binpack fills machines one after the other, so that large asks still find room; spread keeps all equally free. With memory
oversubscription tasks may grow to their memory_max. A node pool may say otherwise for its jobs: drover node pool apply.`,
		Example: "  drover operator scheduler set-config --scheduler-algorithm spread\n  drover operator scheduler set-config --memory-oversubscription=true",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			changed := cmd.Flags().Changed
			if !changed("scheduler-algorithm") && !changed("memory-oversubscription") && !changed("reject-job-registration") {
				return errors.New("nothing to set: give --scheduler-algorithm, --memory-oversubscription or --reject-job-registration")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, _, err := c.SchedulerConfig(cmd.Context(), api.QueryOptions{})
			if err != nil {
				return err
			}
			now := got.SchedulerConfig
			if !changed("scheduler-algorithm") {
				req.SchedulerAlgorithm = now.SchedulerAlgorithm
			}
			if !changed("memory-oversubscription") {
				req.MemoryOversubscriptionEnabled = now.MemoryOversubscriptionEnabled
			}
			if !changed("reject-job-registration") {
				req.RejectJobRegistration = now.RejectJobRegistration
			}
			cas := now.ModifyIndex // what somebody else sets meanwhile is not undone
			if changed("check-index") {
				cas = check
			}
			if _, err := c.SetSchedulerConfig(cmd.Context(), req, &cas, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "The scheduler configuration is set.")
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&req.SchedulerAlgorithm, "scheduler-algorithm", "", "`binpack` or spread")
	fs.BoolVar(&req.MemoryOversubscriptionEnabled, "memory-oversubscription", false, "let tasks grow to their memory_max")
	fs.BoolVar(&req.RejectJobRegistration, "reject-job-registration", false, "refuse new and changed jobs")
	fs.Uint64Var(&check, "check-index", 0, "only when the stored modify `index` is this one")
	_ = cmd.RegisterFlagCompletionFunc("scheduler-algorithm",
		cobra.FixedCompletions([]string{state.AlgorithmBinPack, state.AlgorithmSpread}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
