package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newOperator(a *app) *cobra.Command {
	return noun("operator", "Steer the servers themselves", "  drover operator raft list-peers\n  drover operator snapshot save backup.snap",
		noun("raft", "The servers that replicate the state", "  drover operator raft list-peers",
			newRaftPeers(a),
			newRaftRemove(a),
			newRaftTransfer(a),
		),
		noun("snapshot", "Save the cluster's state, or put a saved one back", "  drover operator snapshot save backup.snap",
			newSnapshotSave(a),
			newSnapshotRestore(a),
			newSnapshotInspect(a),
			newSnapshotList(a),
		),
		noun("evictions", "The guard that keeps a network fault from moving everything", "  drover operator evictions status",
			newEvictionsStatus(a),
			newEvictionsAllow(a),
		),
		newScheduler(a),
		newOperatorAPI(a),
		newOperatorMetrics(a),
		newOperatorDebug(a),
		newRecover(a),
	)
}

func newRaftPeers(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:     "list-peers",
		Short:   "List the servers of the Raft configuration",
		Example: "  drover operator raft list-peers\n  drover operator raft list-peers --stale   # ask any server, not the leader",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			conf, err := fetch(r, api.QueryOptions{}, func(q api.QueryOptions) (*api.RaftConfiguration, api.QueryMeta, error) {
				return c.RaftConfiguration(cmd.Context(), q)
			})
			if err != nil {
				return err
			}
			return printList(a.out, s, list[api.RaftPeer]{
				items: conf.Servers, answer: conf, name: func(p api.RaftPeer) string { return p.ID },
				columns: []column[api.RaftPeer]{
					{head: "Node", cell: func(p api.RaftPeer) string { return orDash(p.Node) }},
					{head: "ID", cell: func(p api.RaftPeer) string { return p.ID }},
					{head: "Address", cell: func(p api.RaftPeer) string { return p.Address }},
					{head: "State", cell: peerState},
					{head: "Voter", cell: func(p api.RaftPeer) string { return strconv.FormatBool(p.Voter) }},
				},
			})
		},
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	return cmd
}

func peerState(p api.RaftPeer) string {
	if p.Leader {
		return "leader"
	}
	return "follower"
}

func newRaftRemove(a *app) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "remove-peer <server>",
		Short: "Take a dead server out of the Raft configuration",
		Long: `Take a server out of the Raft configuration, a dead one as a rule: one that lives and gossips is taken in anew. It is refused when of
the servers with a vote that would remain no majority answers, and for the last one; what to do then is said.`,
		Example: "  drover operator raft remove-peer 8f3c2a10-54d1-4b0e-9f2b-d4a7f0c2e811",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && id != "" && id != args[0]:
				return fmt.Errorf("the argument names server %s, --peer-id names %s: say one", args[0], id)
			case len(args) == 1:
				id = args[0]
			case id == "":
				return errors.New("name the server by its ID; `drover operator raft list-peers` lists them")
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
	cmd.Flags().StringVar(&id, "peer-id", "", "the server's `ID`, as list-peers shows it")
	return cmd
}

func newRaftTransfer(a *app) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:     "transfer-leadership",
		Short:   "Give leadership to another server",
		Example: "  drover operator raft transfer-leadership\n  drover operator raft transfer-leadership --peer-id 8f3c2a10-54d1-4b0e-9f2b-d4a7f0c2e811",
		Args:    arguments(0, 0),
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
	cmd.Flags().StringVar(&id, "peer-id", "", "`ID` of the server to lead; the fittest when not given")
	return cmd
}

func newEvictionsStatus(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say how the eviction guard stands in each node pool",
		Example: "  drover operator evictions status",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			view, err := c.Evictions(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a.out, s, list[api.PoolGuard]{
				items: view.Pools, answer: view, name: func(p api.PoolGuard) string { return p.NodePool },
				empty: "The guard holds nothing back: no machine is silent.",
				columns: []column[api.PoolGuard]{
					{head: "Node Pool", cell: func(p api.PoolGuard) string { return p.NodePool }},
					{head: "Nodes", cell: func(p api.PoolGuard) string { return strconv.Itoa(p.Nodes) }},
					{head: "Silent", cell: func(p api.PoolGuard) string { return strconv.Itoa(p.Silent) }},
					{head: "Holding", cell: func(p api.PoolGuard) string { return strconv.FormatBool(p.Holding) }},
					{head: "Reason", cell: func(p api.PoolGuard) string { return orDash(p.Reason) }},
				},
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
		Args:    arguments(0, 0),
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
