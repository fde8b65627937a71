package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newServerJoin(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "join <address>...",
		Short: "Make the agent asked gossip with others",
		Long: `Make the agent asked gossip with others at these addresses (host, or host:port of their gossip, 4648). Agents find each other by
retry_join in their configuration; this is for one that was given none, or a wrong one.`,
		Example: "  drover server join 10.0.0.1\n  drover server join 10.0.0.1:4648 10.0.0.2:4648",
		Args:    arguments(1, 64),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.JoinAgents(cmd.Context(), args)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s answered.\n", plural(n, "agent"))
			return err
		},
	}
}

func newServerForceLeave(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "force-leave <agent>",
		Short: "Forget an agent that gossip has found dead",
		Long: `Forget an agent that gossip has found dead, on every server that can be reached; otherwise it is listed for a day. It is named by its
name, its node ID, or the beginning of one. An agent that comes back is known again. A server stays in the Raft configuration until
` + "`drover operator raft remove-peer`" + ` takes it out.`,
		Example:    "  drover server force-leave m3",
		SuggestFor: []string{"remove", "rm", "forget"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.ForceLeave(cmd.Context(), args[0], false, api.WriteOptions{}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "Agent %s is forgotten.\n", args[0])
			return err
		},
		ValidArgsFunction: a.completeAgents,
	}
}
