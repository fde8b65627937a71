package agenttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/state"
)

// shortGrace makes a disconnected node lost after half a minute instead of five.
func shortGrace(_ int, c *agent.Config) { c.Server.LostAfter = 30 * time.Second }

// TestFalseAlarm: gossip calls a node dead that answers and renews its lease. Nothing happens, not even for a moment.
func TestFalseAlarm(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		l, victim := c.Leader(), c.Nodes[3]
		c.Net.Isolate(victim.Host, simnet.Gossip)
		dead := false
		c.Always(30*time.Second, func() error {
			members, err := l.API.AgentMembers(t.Context())
			if err != nil {
				return err
			}
			for _, m := range members.Members {
				dead = dead || m.Name == victim.Name && m.Status == api.MemberFailed
			}
			if n := c.node(l, victim); n.Status != state.NodeStatusReady {
				return fmt.Errorf("node is %s: %s", n.Status, n.StatusDescription)
			}
			return nil
		})
		if !dead {
			t.Error("gossip never called the node dead: the test shows nothing")
		}
	})
}

// TestAgentHung: a stopped agent (SIGSTOP) keeps its work, gets no more, and is ready again when it goes on.
func TestAgentHung(t *testing.T) {
	for _, server := range []bool{false, true} {
		t.Run(fmt.Sprintf("server=%v", server), func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
				victim := c.Nodes[3]
				if server {
					victim = c.Leader()
				}
				via := c.Others(victim)[0]
				if err := c.Run(via, Job("web", 10)); err != nil {
					t.Fatal(err)
				}
				c.WaitSettled(via, 10, 20*time.Second)
				before := c.Starts()
				c.Net.Freeze(victim.Host)
				took := c.WaitStatus(via, state.NodeStatusDisconnected, 30*time.Second, victim)
				t.Log("disconnected after", took)
				if err := c.Run(via, Job("late", 5)); err != nil {
					t.Fatal(err)
				}
				for _, a := range c.WaitRunning(via, "late", 5, 20*time.Second) {
					if a.NodeName == victim.Name {
						t.Error("a copy was placed on a node whose agent hangs")
					}
				}
				time.Sleep(15 * time.Second)
				c.Net.Thaw(victim.Host)
				c.WaitReady(30 * time.Second)
				c.WaitSettled(via, 15, 20*time.Second)
				if got := c.Starts(); got != before+5 {
					t.Errorf("tasks started: got %d, want %d", got, before+5)
				}
			})
		})
	}
}

// TestRefusedThenLost: the agent died, its machine lives. The node is disconnected, keeps its work for the grace, and is lost
// after it; when the agent comes back its old work ends.
func TestRefusedThenLost(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2, Config: shortGrace}, func(t *testing.T, c *Cluster) {
		victim, via := c.Nodes[4], c.Nodes[3]
		if err := c.Run(via, Job("web", 10)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 10, 20*time.Second)
		before := c.Starts()
		victim.Crash()
		c.WaitStatus(via, state.NodeStatusDisconnected, 20*time.Second, victim)
		c.Always(25*time.Second, func() error {
			status, err := c.NodeStatus(via)
			if err == nil && status[victim.Name] != state.NodeStatusDisconnected {
				err = fmt.Errorf("node is %s within its grace", status[victim.Name])
			}
			if got := c.Starts(); got != before {
				err = errors.Join(err, fmt.Errorf("%d tasks were started within the grace", got-before))
			}
			return err
		})
		c.WaitStatus(via, state.NodeStatusDown, 30*time.Second, victim)
		c.Eventually(20*time.Second, func() error { return c.runningElsewhere(via, victim, 10) })
		victim.Restart()
		c.WaitReady(30 * time.Second)
		c.WaitSettled(via, 10, 20*time.Second)
	})
}

// TestSilenceForOneVoter: one server hears nothing of a machine that refuses the others' connections. That is no majority: the
// machine lives, whether or not the one is the leader.
func TestSilenceForOneVoter(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		victim, l := c.Nodes[3], c.Leader()
		c.Split([]*Node{victim}, []*Node{l})
		victim.Crash()
		c.WaitStatus(l, state.NodeStatusDisconnected, 20*time.Second, victim)
		c.Always(20*time.Second, func() error {
			status, err := c.NodeStatus(l)
			if err == nil && status[victim.Name] != state.NodeStatusDisconnected {
				err = fmt.Errorf("node is %s", status[victim.Name])
			}
			return err
		})
	})
}

// TestDeclaredLost: the operator's word moves the work at once, whatever the grace; a node that lives comes back.
func TestDeclaredLost(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		victim, via := c.Nodes[4], c.Nodes[3]
		if err := c.Run(via, Job("web", 10)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 10, 20*time.Second)
		id := victim.ID()
		victim.Crash()
		c.WaitStatus(via, state.NodeStatusDisconnected, 20*time.Second, victim)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := via.API.DeclareNodeLost(ctx, id, api.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.Eventually(5*time.Second, func() error { return c.runningElsewhere(via, victim, 10) })
		victim.Restart()
		c.WaitReady(30 * time.Second)
		c.WaitSettled(via, 10, 20*time.Second)
	})
}

// TestLeaderMachineDiesClientsStay: the nodes that asked the dead leader for orders find another server before anybody thinks
// that they are gone.
func TestLeaderMachineDiesClientsStay(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 6}, func(t *testing.T, c *Cluster) {
		l := c.Leader()
		via := c.Others(l)[0]
		if err := c.Run(via, Job("web", 18)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 18, 20*time.Second)
		time.Sleep(10 * time.Second) // everybody knows the leader
		l.Die()
		c.Always(20*time.Second, func() error {
			status, err := c.NodeStatus(via)
			if err != nil {
				return nil // no leader for a moment
			}
			for _, n := range c.Others(l) {
				if status[n.Name] != state.NodeStatusReady {
					return fmt.Errorf("node %s is %s, and nothing is wrong with it", n.Name, status[n.Name])
				}
			}
			return nil
		})
		c.Eventually(time.Second, func() error { return c.runningElsewhere(via, l, 18) })
	})
}
