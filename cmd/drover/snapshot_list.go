package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// keptSnapshot is a scheduled snapshot and the server that has it.
type keptSnapshot struct {
	Server string
	api.SnapshotFile
}

func newSnapshotList(a *app) *cobra.Command {
	var s shape
	var server string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the snapshots that the servers have taken by themselves",
		Long: `List the snapshots that the servers have taken by themselves, the newest first: server { snapshots { interval = "1h" } } in their
configuration. Every server takes its own and keeps them on its disk. To go back to one, run restore with its path on that server.`,
		Example: "  drover operator snapshot list\n  drover operator snapshot list --server s1 --json",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			servers := []string{server}
			if server == "" {
				if servers, err = liveServers(cmd.Context(), c); err != nil {
					return err
				}
			}
			answer, rows, scheduled := []*api.SnapshotFiles{}, []keptSnapshot(nil), false
			for _, id := range servers {
				v, err := c.SnapshotFiles(cmd.Context(), api.AgentRef{Server: id})
				if err != nil {
					return err
				}
				answer, scheduled = append(answer, v), scheduled || v.Interval > 0
				for _, f := range v.Files {
					rows = append(rows, keptSnapshot{v.Name, f})
				}
				if v.LastError != "" {
					fmt.Fprintf(a.err, "Warning: the last snapshot on %s failed (%s since its agent was started): %s\n", v.Name, plural(v.Failures, "failure"), v.LastError)
				}
			}
			empty := "No snapshots yet."
			if !scheduled {
				empty = "No snapshots are scheduled; server { snapshots { interval = \"1h\" } } in a server's configuration does."
			}
			return printList(a.out, s, list[keptSnapshot]{
				items: rows, answer: answer, name: func(k keptSnapshot) string { return k.Path }, empty: empty,
				columns: []column[keptSnapshot]{
					{head: "Server", cell: func(k keptSnapshot) string { return k.Server }},
					{head: "Taken", cell: func(k keptSnapshot) string { return when(k.Time) }},
					{head: "Unchanged Until", cell: func(k keptSnapshot) string { return when(k.Confirmed) }},
					{head: "Index", cell: func(k keptSnapshot) string { return strconv.FormatUint(k.Index, 10) }},
					{head: "Size", cell: func(k keptSnapshot) string { return fmt.Sprintf("%d bytes", k.Bytes) }},
					{head: "File", cell: func(k keptSnapshot) string { return k.Path }},
				},
			})
		},
	}
	s.addFlags(cmd)
	cmd.Flags().StringVar(&server, "server", "", "only this `server`: its name, its node ID, the beginning of one, or leader; all when not given")
	_ = cmd.RegisterFlagCompletionFunc("server", a.completeAgents) // it exists
	return cmd
}

// liveServers are the IDs of the servers that live, in the order of their names.
func liveServers(ctx context.Context, c *api.Client) ([]string, error) {
	members, err := c.AgentMembers(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range members.Members {
		if m.Server && (m.Status == api.MemberAlive || m.Status == api.MemberSuspect) {
			out = append(out, m.ID)
		}
	}
	return out, nil
}
