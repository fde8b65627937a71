package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newMonitor(a *app) *cobra.Command {
	var ref agentRef
	var req api.MonitorRequest
	var once bool
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Print the log of an agent as it is written",
		Long: `Print the log of an agent: its newest lines from info on, then those that come, until interrupted. Any agent can be named; the one
asked passes its log on. The level is this command's own: the agent's log file does not become more talkative.`,
		Example: "  drover monitor\n  drover monitor --log-level debug --node m3\n  drover monitor --server leader --json",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			who, err := ref.ref()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			req.Follow = !once
			r, err := c.Monitor(cmd.Context(), who, req)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }() // read to its end, or given up
			_, err = io.Copy(a.out, r)
			if cmd.Context().Err() != nil {
				return nil // interrupted: that is how it ends
			}
			if err != nil {
				return fmt.Errorf("the log broke off: %w; the agent may have stopped, ask again", err)
			}
			return nil
		},
	}
	ref.addFlags(cmd, a)
	fs := cmd.Flags()
	fs.StringVar(&req.Level, "log-level", "info", "lines of this `level` and above: trace, debug, info, warn, error")
	fs.BoolVar(&req.JSON, "json", false, "one JSON object a line")
	fs.BoolVar(&once, "once", false, "only the newest lines")
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"trace", "debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
