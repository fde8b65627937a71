package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newOperator(a *app) *cobra.Command {
	return noun("operator", "Steer the servers themselves", "  drover operator raft list-peers\n  drover operator snapshot save backup.snap",
		noun("raft", "The servers that replicate the state", "  drover operator raft list-peers",
			newRaftPeers(a), newRaftRemove(a), newRaftTransfer(a)),
		noun("snapshot", "Save the cluster's state, or put a saved one back", "  drover operator snapshot save backup.snap",
			newSnapshotSave(a), newSnapshotRestore(a)),
		noun("evictions", "The guard that keeps a network fault from moving everything", "  drover operator evictions status",
			newEvictionsStatus(a), newEvictionsAllow(a)),
	)
}

func newRaftPeers(a *app) *cobra.Command {
	var s shape
	var stale bool
	cmd := &cobra.Command{
		Use:     "list-peers",
		Short:   "List the servers of the Raft configuration",
		Example: "  drover operator raft list-peers\n  drover operator raft list-peers --stale   # when there is no leader",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			conf, _, err := c.RaftConfiguration(cmd.Context(), api.QueryOptions{Stale: stale})
			if err != nil {
				return err
			}
			return s.print(a.out, conf, func(w io.Writer) error {
				var rows [][]string
				for _, p := range conf.Servers {
					state := "follower"
					if p.Leader {
						state = "leader"
					}
					rows = append(rows, []string{orDash(p.Node), p.ID, p.Address, state, strconv.FormatBool(p.Voter)})
				}
				return table(w, "Node|ID|Address|State|Voter", rows)
			})
		},
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVar(&stale, "stale", false, "let any server answer")
	return cmd
}

func newRaftRemove(a *app) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:     "remove-peer <server>",
		Short:   "Take a dead server out of the Raft configuration",
		Example: "  drover operator raft remove-peer 8f3c2a10-…",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				id = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.RemoveRaftPeer(cmd.Context(), id, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Server %s is no longer of the Raft configuration.\n", id)
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "peer-id", "", "the server's ID, as list-peers shows it")
	return cmd
}

func newRaftTransfer(a *app) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:     "transfer-leadership",
		Short:   "Give leadership to another server",
		Example: "  drover operator raft transfer-leadership\n  drover operator raft transfer-leadership --peer-id 8f3c2a10-…",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.TransferLeadership(cmd.Context(), id, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "Leadership handed over.")
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "peer-id", "", "the server to lead; the fittest when not given")
	return cmd
}

func newSnapshotSave(a *app) *cobra.Command {
	var stale bool
	cmd := &cobra.Command{
		Use:     "save <file>",
		Short:   "Save the cluster's state to a file",
		Example: "  drover operator snapshot save backup.snap",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, meta, err := c.SaveSnapshot(cmd.Context(), stale)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }() // read to its end
			tmp := args[0] + ".part"
			f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it holds what jobs hold
			if err != nil {
				return err
			}
			n, err := io.Copy(f, r)
			if serr := f.Sync(); err == nil {
				err = serr
			}
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return fmt.Errorf("save snapshot: %w; %s is incomplete", err, tmp)
			}
			if err := os.Rename(tmp, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "State at index %d saved to %s, %d bytes.\n", meta.Index, args[0], n)
			return nil
		},
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "let any server answer, also when there is no leader")
	return cmd
}

func newSnapshotRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "restore <file>",
		Short:   "Replace the cluster's state with a saved one",
		Example: "  drover operator snapshot restore backup.snap",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }() // only read
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if _, err := c.RestoreSnapshot(cmd.Context(), f, info.Size()); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "State restored from %s. Machines stop nothing until they have reported what runs on them.\n", args[0])
			return nil
		},
	}
}

func newEvictionsStatus(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say how the eviction guard stands in each node pool",
		Example: "  drover operator evictions status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			view, err := c.Evictions(cmd.Context())
			if err != nil {
				return err
			}
			return s.print(a.out, view, func(w io.Writer) error {
				var rows [][]string
				for _, p := range view.Pools {
					rows = append(rows, []string{
						p.NodePool, strconv.Itoa(p.Nodes), strconv.Itoa(p.Silent), strconv.FormatBool(p.Holding), orDash(p.Reason),
					})
				}
				return table(w, "Node Pool|Nodes|Silent|Holding|Reason", rows)
			})
		},
	}
	s.addFlags(cmd)
	return cmd
}

func newEvictionsAllow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "allow",
		Short:   "Let go of the guard: the silent machines are gone",
		Example: "  drover operator evictions allow",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.AllowEvictions(cmd.Context(), api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "The guard lets go; silent machines are declared down, a few at a time.")
			return nil
		},
	}
}
