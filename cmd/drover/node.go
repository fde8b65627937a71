package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newNodeEligibility(a *app) *cobra.Command {
	var enable, disable, self bool
	cmd := &cobra.Command{
		Use:     "eligibility --enable|--disable <node>",
		Short:   "Let a machine take new work, or not",
		Example: "  drover node eligibility --disable m2\n  drover node eligibility --enable m2",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if enable == disable {
				return errors.New("say either --enable or --disable")
			}
			want := state.NodeEligible
			if disable {
				want = state.NodeIneligible
			}
			c, n, err := a.oneNode(cmd.Context(), args, self)
			if err != nil {
				return err
			}
			if _, err := c.SetEligibility(cmd.Context(), n.ID, want, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Node %s (%s) is %s now.\n", n.Name, shortID(n.ID, false), want)
			return nil
		},
		ValidArgsFunction: a.completeNodes,
	}
	cmd.Flags().BoolVar(&enable, "enable", false, "take new work")
	cmd.Flags().BoolVar(&disable, "disable", false, "take no new work; what runs there runs on")
	cmd.Flags().BoolVar(&self, "self", false, "the machine of the agent asked")
	return cmd
}

func newNodeLost(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lost <node>",
		Short: "Say that a machine is gone: its work is placed elsewhere at once",
		Long: `Say that a machine is gone for good, or that its work may be started elsewhere although the cluster cannot tell whether it
still runs there. If the machine lives after all it stops what was placed elsewhere as soon as it is heard of again.`,
		Example: "  drover node lost m2",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, n, err := a.oneNode(cmd.Context(), args, false)
			if err != nil {
				return err
			}
			if _, err := c.DeclareNodeLost(cmd.Context(), n.ID, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Node %s (%s) is declared lost; its work is placed elsewhere.\n", n.Name, shortID(n.ID, false))
			return nil
		},
		ValidArgsFunction: a.completeNodes,
	}
}

// oneNode finds the node that the command line means.
func (a *app) oneNode(ctx context.Context, args []string, self bool) (*api.Client, api.NodeListItem, error) {
	c, err := a.client()
	if err != nil {
		return nil, api.NodeListItem{}, err
	}
	if self {
		me, err := c.AgentSelf(ctx)
		if err != nil {
			return nil, api.NodeListItem{}, err
		}
		args = []string{me.NodeID}
	}
	if len(args) != 1 {
		return nil, api.NodeListItem{}, errors.New("name a node: its name, its ID, or the beginning of one; `drover node status` lists them")
	}
	n, err := c.FindNode(ctx, args[0], api.QueryOptions{})
	return c, n, err
}
