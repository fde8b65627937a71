package agenttest

import (
	"fmt"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// TestNodesSayAllOnceTheLevelIsRaised: a node that registers while the cluster cannot store all it says registers again later, by
// itself; and the cluster has a scheduler configuration by then.
func TestNodesSayAllOnceTheLevelIsRaised(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		c.Eventually(10*time.Second, func() error {
			for _, n := range c.Nodes {
				row := c.node(c.Nodes[0], n)
				if row == nil || row.Resources.MHzPerCore == 0 {
					return fmt.Errorf("node %s does not say how fast its cores are", n.Name)
				}
				if row.Level != state.MaxLevel {
					return fmt.Errorf("node %s knows level %d", n.Name, row.Level)
				}
			}
			return nil
		})
		job := Job("milli", 2)
		job.TaskGroups[0].Tasks[0].Resources = state.Resources{MilliCores: 100, MemoryMB: 10}
		if err := c.Run(c.Nodes[1], job); err != nil {
			t.Fatal(err)
		}
	})
}
