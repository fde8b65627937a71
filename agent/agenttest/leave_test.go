package agenttest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/gossip"
	"github.com/drover-io/drover/state"
)

// leave asks an agent to leave.
func (n *Node) leave(force bool) (*api.LeaveResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return n.API.LeaveAgent(ctx, api.AgentRef{}, force)
}

// WaitEnded waits until an agent has ended by itself, without an error, and puts it away.
func (c *Cluster) WaitEnded(n *Node, limit time.Duration) {
	c.t.Helper()
	c.Eventually(limit, func() error {
		err, ended := n.Ended()
		if !ended {
			return fmt.Errorf("agent %s still runs", n.Name)
		}
		if err != nil {
			c.t.Fatalf("agent %s ended: %v", n.Name, err)
		}
		return nil
	})
	n.Stop()
}

// memberStatus is what an agent's gossip says of a node.
func (c *Cluster) memberStatus(via *Node, name string) string {
	c.t.Helper()
	for _, m := range via.agent.Members() {
		if m.Name == name {
			return m.Status
		}
	}
	return ""
}

// TestServerLeaves: a follower, then the leader goes. The others go on with fewer voters and nobody waits for an election; whoever
// has left is not taken in again while it still gossips, and may come back later.
func TestServerLeaves(t *testing.T) {
	inBubble(t, Options{Servers: 5, Clients: 1, Config: serversOnly(5)}, func(t *testing.T, c *Cluster) {
		client := c.Nodes[5]
		if err := c.Run(client, Job("web", 3)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(client, 3, 20*time.Second)
		starts := c.Starts()
		var gone []*Node
		for _, next := range []func() *Node{c.Follower, c.Leader} {
			n := next()
			stop := c.load("leave-"+n.Name, client)
			resp, err := n.leave(false)
			if err != nil {
				t.Fatal(err)
			}
			if !resp.Server || resp.Name != n.Name || resp.Client {
				t.Errorf("%+v", resp)
			}
			c.WaitEnded(n, 10*time.Second)
			gone = append(gone, n)
			stay := c.Servers()
			for i := 0; i < len(stay); {
				if stay[i].Running() {
					i++
				} else {
					stay = append(stay[:i], stay[i+1:]...)
				}
			}
			c.WaitVoters(client, 5*time.Second, stay...)
			c.Eventually(5*time.Second, func() error {
				if got := c.memberStatus(stay[0], n.Name); got != string(gossip.Left) {
					return fmt.Errorf("%s is %q to the others", n.Name, got)
				}
				return nil
			})
			if acked, failed := stop(); len(failed) > 0 || len(acked) == 0 {
				t.Errorf("while %s left %d writes were acknowledged, failed: %v", n.Name, len(acked), failed)
			}
			c.Always(20*time.Second, func() error {
				voters, err := c.Voters(client)
				if err == nil && len(voters) != len(stay) {
					err = fmt.Errorf("voters %v", voters)
				}
				return err
			})
		}
		gone[0].Start()
		c.WaitVoters(client, time.Minute, append(c.Others(gone[0], gone[1], client), gone[0])...)
		c.WaitSettled(client, 3, 20*time.Second)
		if got := c.Starts(); got != starts {
			t.Errorf("%d tasks were started again", got-starts)
		}
	})
}

// TestUnsafeLeaveIsRefused: a server that the others need stays, and everything is as before.
func TestUnsafeLeaveIsRefused(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1, Config: serversOnly(3)}, func(t *testing.T, c *Cluster) {
		dead := c.Follower()
		dead.Die()
		time.Sleep(5 * time.Second)
		lead := c.Leader()
		for _, n := range c.Servers() {
			if n == dead {
				continue
			}
			_, err := n.leave(true)
			if err == nil || !strings.Contains(err.Error(), "of which 1 answers and 2 must") || !strings.Contains(err.Error(), "bring back server "+dead.Name) {
				t.Fatalf("%s left: %v", n.Name, err)
			}
			if err, ended := n.Ended(); ended {
				t.Fatalf("agent %s ended: %v", n.Name, err)
			}
		}
		if c.Leader() != lead {
			t.Error("leadership moved although nobody left")
		}
		c.WaitVoters(c.Nodes[3], time.Second, c.Servers()...)
		if err := c.Run(c.Nodes[3], Job("on", 1)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMachineLeaves: one on which work runs stays, unless forced; then its work runs on and is found again. One without work is down
// at once, and welcome again.
func TestMachineLeaves(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2, Config: serversOnly(3)}, func(t *testing.T, c *Cluster) {
		via, busy, idle := c.Nodes[0], c.Nodes[3], c.Nodes[4]
		job := Job("web", 2)
		job.TaskGroups[0].Constraints = []state.Constraint{{LTarget: "${node.unique.name}", Operand: "=", RTarget: busy.Name}}
		if err := c.Run(via, job); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 2, 20*time.Second)
		starts := c.Starts()

		if _, err := busy.leave(false); err == nil || !strings.Contains(err.Error(), "allocations run on "+busy.Name+": 2") || !strings.Contains(err.Error(), "--drain") {
			t.Fatalf("left with work on it: %v", err)
		}
		resp, err := idle.leave(false)
		if err != nil || !resp.Down || resp.Allocations != 0 {
			t.Fatalf("%+v, %v", resp, err)
		}
		c.WaitEnded(idle, 10*time.Second)
		c.WaitStatus(via, state.NodeStatusDown, time.Second, idle)
		c.Always(10*time.Second, func() error {
			if have, err := c.NodeStatus(via); err != nil || have[idle.Name] != state.NodeStatusDown {
				return fmt.Errorf("node is %q, %w", have[idle.Name], err)
			}
			return nil
		})

		if resp, err = busy.leave(true); err != nil || resp.Down || resp.Allocations != 2 {
			t.Fatalf("%+v, %v", resp, err)
		}
		c.WaitEnded(busy, 10*time.Second)
		time.Sleep(time.Minute)
		if got := len(busy.Machine.Running()); got != 2 {
			t.Errorf("%d tasks run on the machine whose agent has left, want 2", got)
		}
		idle.Start()
		busy.Start()
		c.WaitStatus(via, state.NodeStatusReady, 30*time.Second, idle, busy)
		c.WaitSettled(via, 2, 30*time.Second)
		if got := c.Starts(); got != starts {
			t.Errorf("%d tasks were started again", got-starts)
		}
	})
}
