package agenttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/state"
)

// TestAnyOrder: the agents start one after the other, the machines that only run work first. Nothing begins before all servers
// are there, and then by itself.
func TestAnyOrder(t *testing.T) {
	for _, order := range [][]int{{3, 4, 2, 0, 1}, {1, 3, 0, 4, 2}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 2, Idle: true}, func(t *testing.T, c *Cluster) {
				servers := 0
				for _, i := range order {
					if c.Nodes[i].server {
						servers++
					}
					if l := c.Leader(); l != nil && servers < 3 {
						t.Fatalf("%s leads with %d of 3 servers", l.Name, servers)
					}
					c.Nodes[i].Start()
					time.Sleep(8 * time.Second)
				}
				c.WaitReady(15 * time.Second)
				c.WaitVoters(c.Nodes[4], 15*time.Second, c.Servers()...)
			})
		})
	}
}

// TestFourthServer is taken in, gets a vote, and replaces one that dies for good.
func TestFourthServer(t *testing.T) {
	o := Options{Servers: 3}
	o.Config = func(i int, c *agent.Config) {
		if i == 3 {
			c.Server.BootstrapExpect = 0 // it founds nothing
		}
	}
	inBubble(t, o, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 6)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[0], 6, 20*time.Second)
		fourth := c.Add(true)
		fourth.Start()
		took := c.WaitVoters(c.Nodes[0], 15*time.Second, c.Nodes...)
		t.Log("the fourth server votes after", took)
		c.WaitReady(15 * time.Second)
		dead := c.Follower()
		dead.Die()
		c.Always(25*time.Second, func() error {
			voters, err := c.Voters(fourth)
			if err == nil && len(voters) != 4 {
				err = fmt.Errorf("a server that was dead for a moment was removed: %v", voters)
			}
			return err
		})
		c.WaitVoters(fourth, time.Minute, c.Others(dead)...)
		// With three of three the death of one more is survived.
		c.Leader().Die()
		c.Eventually(10*time.Second, func() error { return c.Run(fourth, Job("late", 0)) })
	})
}

// TestDeadServerIsExpectedBack: without a replacement nobody is removed, however long it takes.
func TestDeadServerIsExpectedBack(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		dead := c.Follower()
		dead.Crash()
		time.Sleep(time.Minute)
		voters, err := c.Voters(c.Others(dead)[0])
		if err != nil || len(voters) != 3 {
			t.Errorf("voters after a minute: %v, %v; want all three", voters, err)
		}
		dead.Restart()
		c.WaitReady(30 * time.Second)
		c.WaitVoters(dead, 10*time.Second, c.Nodes...)
	})
}

// TestServerOutOfTouchAnswersNoPolls: a server that hears of no leader must
// not go on answering its own node from old state.
func TestServerOutOfTouchAnswersNoPolls(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		lone := c.Follower()
		c.Eventually(10*time.Second, func() error {
			if h := lone.agent.Health(); !h.Client.OK {
				return errors.New(h.Client.Message)
			}
			return nil
		})
		time.Sleep(5 * time.Second) // it has all that its node has seen: its answers would be taken
		c.Split([]*Node{lone}, c.Others(lone))
		time.Sleep(5 * time.Second)
		c.Eventually(20*time.Second, func() error {
			health := lone.agent.Health()
			if health.Client == nil || health.Client.OK {
				return errors.New("the node of a server that hears of no leader thinks itself well")
			}
			return nil
		})
		c.Net.Heal()
		c.WaitReady(time.Minute)
		c.Eventually(15*time.Second, func() error {
			if h := lone.agent.Health(); !h.Client.OK || !h.Server.OK {
				return fmt.Errorf("health after healing: %+v %+v", *h.Client, *h.Server)
			}
			return nil
		})
	})
}

// TestAnotherServerWithoutGossip: a node whose gossip is cut finds another server when the one that it asks dies.
func TestAnotherServerWithoutGossip(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		client := c.Nodes[3]
		time.Sleep(5 * time.Second)
		c.Split([]*Node{client}, c.Servers(), simnet.Gossip)
		time.Sleep(30 * time.Second) // the servers are dead to it
		c.Leader().Die()
		var via *Node
		c.Eventually(10*time.Second, func() error {
			if via = c.Leader(); via == nil {
				return errors.New("no leader")
			}
			return nil
		})
		time.Sleep(15 * time.Second)
		c.WaitStatus(via, state.NodeStatusReady, 5*time.Second, client)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, _, err := client.API.Nodes(ctx, api.QueryOptions{}); err != nil {
			t.Log("a read through the node without gossip:", err)
		}
	})
}

// removePeer asks an agent to take a server out of the configuration.
func (c *Cluster) removePeer(via *Node, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := via.API.RemoveRaftPeer(ctx, id, api.WriteOptions{})
	return err
}

// TestUnsafeRemovalIsRefused: a server without which nothing could be written any more stays, and the refusal says the figures and
// what to do; nothing has changed then. One that nobody needs goes, dead or alive.
func TestUnsafeRemovalIsRefused(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1, Config: serversOnly(3)}, func(t *testing.T, c *Cluster) {
		via, dead := c.Nodes[3], c.Follower()
		deadID := dead.ID()
		dead.Die()
		time.Sleep(3 * time.Second)
		c.Eventually(10*time.Second, func() error {
			for _, n := range c.Servers() {
				if n == dead {
					continue
				}
				err := c.removePeer(via, n.ID())
				if err == nil {
					t.Fatalf("server %s was removed while %s is dead", n.Name, dead.Name)
				}
				for _, want := range []string{"without server " + n.Name, "2 with a vote, of which 1 answers and 2 must", "bring back server " + dead.Name, "drover operator recover"} {
					if !strings.Contains(fmt.Sprint(err), want) {
						return fmt.Errorf("removing %s: %w; want %q", n.Name, err, want)
					}
				}
			}
			return nil
		})
		c.WaitVoters(via, time.Second, c.Servers()...)
		if err := c.removePeer(via, deadID); err != nil {
			t.Fatalf("remove the dead one: %v", err)
		}
		left := c.Servers()
		left = slices.DeleteFunc(left, func(n *Node) bool { return n == dead })
		c.WaitVoters(via, 5*time.Second, left...)
		if err := c.Run(via, Job("after", 1)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLiveServerMayBeRemoved: as long as the others are a majority an operator's word counts; the server is then taken in anew, for
// it still gossips.
func TestLiveServerMayBeRemoved(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		f := c.Follower()
		if err := c.removePeer(c.Leader(), f.ID()); err != nil {
			t.Fatal(err)
		}
		c.WaitVoters(c.Leader(), 30*time.Second, c.Nodes...)
	})
}
