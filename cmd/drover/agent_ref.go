package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// agentRef are the flags that name the agent that a command looks into.
type agentRef struct{ node, server string }

func (r *agentRef) addFlags(cmd *cobra.Command, a *app) {
	fs := cmd.Flags()
	fs.StringVar(&r.node, "node", "", "this `agent` instead of the one asked: its name, its node ID, or the beginning of one")
	fs.StringVar(&r.server, "server", "", "this `server`: its name, its node ID, the beginning of one, or leader")
	fs.StringVar(&r.node, "node-id", "", "the same as --node")
	fs.StringVar(&r.server, "server-id", "", "the same as --server")
	_, _ = fs.MarkHidden("node-id"), fs.MarkHidden("server-id") // they exist
	complete := func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeAgents(cmd, nil, word)
	}
	_, _ = cmd.RegisterFlagCompletionFunc("node", complete), cmd.RegisterFlagCompletionFunc("server", complete)
}

func (r *agentRef) ref() (api.AgentRef, error) {
	if r.node != "" && r.server != "" {
		return api.AgentRef{}, errors.New("--node and --server exclude each other: give one of them")
	}
	return api.AgentRef{Node: r.node, Server: r.server}, nil
}

// completeAgents offers the agents that gossip knows.
func (a *app) completeAgents(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, func(ctx context.Context, c *api.Client) ([]string, error) {
		members, err := c.AgentMembers(ctx)
		if err != nil {
			return nil, err
		}
		var out []string
		for _, m := range members.Members {
			out = offer(out, word, m.Name, roleOf(m)+" "+m.Status)
			if word != "" {
				out = offer(out, word, m.ID, m.Name+" "+m.Status)
			}
		}
		return out, nil
	})
}
