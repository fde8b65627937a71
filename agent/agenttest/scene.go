package agenttest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/state"
)

// Split cuts every link between two sets of machines, for some protocols or for all. Whoever asks from outside reaches both.
func (c *Cluster) Split(a, b []*Node, protos ...simnet.Proto) {
	for _, x := range a {
		for _, y := range b {
			if x != y {
				c.Net.Cut(x.Host, y.Host, protos...)
			}
		}
	}
}

// Others are all nodes but these.
func (c *Cluster) Others(not ...*Node) []*Node {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(n *Node) bool { return slices.Contains(not, n) })
}

// Servers are the nodes that are servers, whether they run or not.
func (c *Cluster) Servers() []*Node {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(n *Node) bool { return !n.server })
}

// Follower is a running server that does not lead.
func (c *Cluster) Follower() *Node {
	for _, n := range c.Servers() {
		if n.agent != nil && !n.agent.IsLeader() {
			return n
		}
	}
	return nil
}

// WaitStatus waits until the cluster says this of every one of the nodes, and returns how long that took.
func (c *Cluster) WaitStatus(via *Node, status string, limit time.Duration, nodes ...*Node) time.Duration {
	c.t.Helper()
	return c.Eventually(limit, func() error {
		have, err := c.NodeStatus(via)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if have[n.Name] != status {
				return fmt.Errorf("node %s is %q, want %s", n.Name, have[n.Name], status)
			}
		}
		return nil
	})
}

// Settled says what is not as it should be when count copies of all jobs together are wanted: every one runs by the cluster's
// word and on the machine that it names, no slot has two, and nothing else runs on any machine.
func (c *Cluster) Settled(via *Node, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	allocs, _, err := api.All(ctx, via.API.Allocations, api.QueryOptions{})
	if err != nil {
		return err
	}
	where, slots := map[string]string{}, map[string]string{}
	for _, a := range allocs {
		if a.DesiredStatus != state.DesiredRun || a.ClientStatus != state.ClientRunning {
			continue
		}
		if other, twice := slots[a.Name]; twice {
			return fmt.Errorf("%s runs twice: %s and %s", a.Name, other, a.ID)
		}
		where[a.ID], slots[a.Name] = a.NodeName, a.ID
	}
	if len(where) != count {
		return fmt.Errorf("%d of %d copies run", len(where), count)
	}
	for _, n := range c.Nodes {
		for _, id := range n.Machine.Running() {
			if where[id.AllocID] != n.Name {
				return fmt.Errorf("machine %s runs %s, which the cluster has on %q", n.Name, id.AllocID, where[id.AllocID])
			}
			delete(where, id.AllocID)
		}
	}
	if len(where) > 0 {
		return fmt.Errorf("on no machine: %v", where)
	}
	return nil
}

// WaitSettled waits until Settled has nothing to say.
func (c *Cluster) WaitSettled(via *Node, count int, limit time.Duration) time.Duration {
	c.t.Helper()
	return c.Eventually(limit, func() error { return c.Settled(via, count) })
}

// Guard asks how the eviction guard stands over the default pool.
func (c *Cluster) Guard(via *Node) (api.PoolGuard, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	view, err := via.API.Evictions(ctx)
	if err != nil {
		return api.PoolGuard{}, err
	}
	for _, p := range view.Pools {
		if p.NodePool == "default" {
			return p, nil
		}
	}
	return api.PoolGuard{}, nil
}

// Voters are the names of the servers that have a vote, by an agent's word.
func (c *Cluster) Voters(via *Node) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conf, _, err := via.API.RaftConfiguration(ctx, api.QueryOptions{})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range conf.Servers {
		if s.Voter {
			out = append(out, s.Node)
		}
	}
	slices.Sort(out)
	return out, nil
}

// WaitVoters waits until exactly these servers have a vote and the configuration has nobody else.
func (c *Cluster) WaitVoters(via *Node, limit time.Duration, nodes ...*Node) time.Duration {
	c.t.Helper()
	var want []string
	for _, n := range nodes {
		want = append(want, n.Name)
	}
	slices.Sort(want)
	return c.Eventually(limit, func() error {
		have, err := c.Voters(via)
		if err == nil && !slices.Equal(have, want) {
			err = fmt.Errorf("voters are %v, want %v", have, want)
		}
		return err
	})
}
