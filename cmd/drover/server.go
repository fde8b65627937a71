package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newServerMembers(a *app) *cobra.Command {
	var s shape
	var all, verbose bool
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
			l := memberList(verbose)
			l.items, l.answer = shown, resp
			return printList(a.out, s, l)
		},
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every agent, not only the servers")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "their IDs and API addresses too")
	return cmd
}

// memberList is how agents are listed.
func memberList(verbose bool) list[api.Member] {
	return list[api.Member]{
		empty: "This agent knows of no server yet.",
		name:  func(m api.Member) string { return m.Name },
		columns: []column[api.Member]{
			{head: "Name", cell: func(m api.Member) string { return m.Name }},
			{head: "ID", wide: !verbose, cell: func(m api.Member) string { return m.ID }},
			{head: "Address", cell: func(m api.Member) string { return m.Addr }},
			{head: "Port", cell: func(m api.Member) string { return strconv.Itoa(m.Port) }},
			{head: "Status", cell: func(m api.Member) string { return m.Status }},
			{head: "Leader", cell: func(m api.Member) string { return strconv.FormatBool(m.Leader) }},
			{head: "Raft Version", cell: func(api.Member) string { return "3" }},
			{head: "Build", cell: func(m api.Member) string { return m.Version }},
			{head: "Datacenter", cell: func(m api.Member) string { return m.Datacenter }},
			{head: "Region", cell: func(m api.Member) string { return m.Region }},
			{head: "Role", wide: true, cell: roleOf},
			{head: "API", wide: !verbose, cell: func(m api.Member) string { return m.HTTPAddr }},
			{head: "Level", wide: true, cell: func(m api.Member) string { return strconv.Itoa(m.Level) }},
		},
	}
}

func roleOf(m api.Member) string {
	if m.Server {
		return "server"
	}
	return "client"
}
