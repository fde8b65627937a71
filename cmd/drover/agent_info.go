package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
)

func newAgentInfo(a *app) *cobra.Command {
	var s shape
	var ref agentRef
	cmd := &cobra.Command{
		Use:     "agent-info",
		Short:   "Describe an agent and how it stands",
		Example: "  drover agent-info\n  drover agent-info --server leader --json",
		GroupID: groupOther,
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
			self, err := c.SelfOf(cmd.Context(), who)
			if err != nil {
				return err
			}
			return s.printNamed(a.out, self, self.NodeID, func(w io.Writer) error {
				if err := facts(w, "Node ID", self.NodeID, "Name", self.Name, "Region", self.Region, "Datacenter", self.Datacenter,
					"Node Pool", orDash(self.NodePool), "Cluster ID", orDash(self.ClusterID), "Version", self.Version, "Server", strconv.FormatBool(self.Server),
					"Client", strconv.FormatBool(self.Client), "Leader", strconv.FormatBool(self.Leader), "API", self.HTTPAddr, "Peers", self.PeerAddr,
					"Gossip", self.GossipAddr, "Data", self.DataDir, "Boot", strconv.FormatUint(self.Boot, 10)); err != nil {
					return err
				}
				for _, organ := range sortedKeys(self.Stats) {
					fmt.Fprintf(w, "\n%s\n", organ)
					var pairs []string
					for _, name := range sortedKeys(self.Stats[organ]) {
						pairs = append(pairs, "  "+name, self.Stats[organ][name])
					}
					if err := facts(w, pairs...); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	s.addFlags(cmd)
	ref.addFlags(cmd, a)
	return cmd
}
