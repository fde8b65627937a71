package main

import (
	"io"
	"strconv"

	"github.com/spf13/cobra"
)

func newServerMembers(a *app) *cobra.Command {
	var s shape
	var all bool
	cmd := &cobra.Command{
		Use:        "members",
		SuggestFor: []string{"status", "list", "ls"},
		Short:      "List the servers that gossip knows",
		Example:    "  drover server members\n  drover server members --all   # agents that only run work too",
		Args:       arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			resp, err := c.AgentMembers(cmd.Context())
			if err != nil {
				return err
			}
			shown := resp.Members[:0]
			for _, m := range resp.Members {
				if m.Server || all {
					shown = append(shown, m)
				}
			}
			resp.Members = shown
			return s.print(a.out, resp, func(w io.Writer) error {
				var rows [][]string
				for _, m := range shown {
					rows = append(rows, []string{
						m.Name, m.Addr, strconv.Itoa(m.Port), m.Status, strconv.FormatBool(m.Leader), "3", m.Version, m.Datacenter, m.Region,
					})
				}
				return table(w, "Name|Address|Port|Status|Leader|Raft Version|Build|Datacenter|Region", rows)
			})
		},
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every agent, not only the servers")
	return cmd
}
