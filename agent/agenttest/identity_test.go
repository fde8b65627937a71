package agenttest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/state"
)

// TestWipedNode: a machine whose data directory is lost keeps its ID and its work, also when the work has been moved meanwhile.
func TestWipedNode(t *testing.T) {
	for _, moved := range []bool{false, true} {
		t.Run(fmt.Sprintf("moved=%v", moved), func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 2, Config: shortGrace}, func(t *testing.T, c *Cluster) {
				victim, via := c.Nodes[3], c.Nodes[4]
				if err := c.Run(via, Job("web", 10)); err != nil {
					t.Fatal(err)
				}
				c.WaitSettled(via, 10, 20*time.Second)
				if len(victim.Machine.Running()) == 0 {
					t.Fatal("nothing runs on the machine: the test shows nothing")
				}
				id, before := victim.ID(), c.Starts()
				victim.Crash()
				if moved {
					c.WaitStatus(via, state.NodeStatusDown, 2*time.Minute, victim)
					c.Eventually(20*time.Second, func() error { return c.runningElsewhere(via, victim, 10) })
				}
				victim.Wipe()
				victim.Restart()
				c.WaitReady(30 * time.Second)
				if got := victim.ID(); got != id {
					t.Errorf("node ID after the wipe: got %s, want %s", got, id)
				}
				time.Sleep(5 * time.Second) // what runs is reported anew, pending first
				c.Always(10*time.Second, func() error { return c.Settled(via, 10) })
				if got := c.Starts(); !moved && got != before {
					t.Errorf("tasks started: got %d, want %d as before", got, before)
				}
				if nodes, err := c.NodeStatus(via); err != nil || len(nodes) != 5 {
					t.Errorf("nodes: got %v, %v; want 5", nodes, err)
				}
			})
		})
	}
}

// TestWipedServer: a server that lost its log has no vote until it is caught up, whether it has its old ID back or a new one.
func TestWipedServer(t *testing.T) {
	for _, copies := range []int{9, 0} { // work is what tells the wiped server its ID
		t.Run(fmt.Sprintf("copies=%d", copies), func(t *testing.T) {
			inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
				victim := c.Follower()
				via := c.Others(victim)[0]
				if err := c.Run(via, Job("web", copies)); err != nil {
					t.Fatal(err)
				}
				c.WaitSettled(via, copies, 20*time.Second)
				id, before := victim.ID(), c.Starts()
				victim.Crash()
				time.Sleep(5 * time.Second)
				victim.Wipe()
				victim.Restart()
				if again := victim.ID() == id; again != (copies > 0) {
					t.Errorf("the wiped server has its old ID: %v", again)
				}
				without := false
				c.Eventually(3*time.Minute, func() error {
					voters, err := c.Voters(via)
					without = without || err == nil && len(voters) == 2
					if err == nil && (!without || len(voters) != 3) {
						err = fmt.Errorf("voters: %v", voters)
					}
					return err
				})
				if !without {
					t.Error("the old vote was never taken away")
				}
				c.WaitVoters(via, time.Minute, c.Nodes...)
				c.Eventually(30*time.Second, func() error {
					if n := c.node(via, victim); n.Status != state.NodeStatusReady {
						return fmt.Errorf("node is %s", n.Status)
					}
					return nil
				})
				c.WaitSettled(via, copies, 20*time.Second)
				if got := c.Starts(); got != before {
					t.Errorf("tasks started: got %d, want %d as before", got, before)
				}
				// The new member counts: without one of the others there is still a majority.
				via.Die()
				c.Eventually(10*time.Second, func() error { return c.Run(victim, Job("late", 0)) })
			})
		})
	}
}

// TestEveryServerWiped: with no log anywhere a new cluster begins; nobody waits for ever.
func TestEveryServerWiped(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		for _, n := range c.Nodes {
			n.Crash()
		}
		for _, n := range c.Nodes {
			n.Wipe()
			n.Restart()
		}
		c.WaitReady(time.Minute)
		c.WaitVoters(c.Nodes[0], 30*time.Second, c.Nodes...)
	})
}

// TestClonedNode: of two live machines with one node ID the second is refused by name, by gossip and, where it does not gossip,
// by the registration. The first one's work is untouched, although the second has its records.
func TestClonedNode(t *testing.T) {
	for _, gossips := range []bool{true, false} {
		t.Run(fmt.Sprintf("gossips=%v", gossips), func(t *testing.T) {
			o := Options{Servers: 3, Clients: 1}
			o.Config = func(i int, cfg *agent.Config) {
				if i == 4 && !gossips {
					cfg.Server.RetryJoin = nil
					cfg.Client.Servers = []string{"10.0.0.1:4647", "10.0.0.2:4647"}
				}
			}
			inBubble(t, o, func(t *testing.T, c *Cluster) {
				if err := c.Run(c.Nodes[0], Job("web", 8)); err != nil {
					t.Fatal(err)
				}
				c.WaitSettled(c.Nodes[0], 8, 20*time.Second)
				before := c.Starts()
				first, second := c.Nodes[3], c.Add(false)
				if err := os.CopyFS(second.Dir, os.DirFS(first.Dir)); err != nil {
					t.Fatal(err)
				}
				second.Start()
				if gossips {
					// Not at once: it could be the first machine, at another address since a moment ago.
					c.Eventually(45*time.Second, func() error { return second.endedWith("has this node's ID") })
				} else {
					time.Sleep(10 * time.Second)
					if err := second.agent.Health().Client; err.OK || !strings.Contains(err.Message, "has this ID") {
						t.Errorf("health of the second machine: got %+v, want the refusal", *err)
					}
				}
				c.Always(10*time.Second, func() error { return c.Settled(c.Nodes[0], 8) })
				if n := c.node(c.Nodes[0], first); n.PeerAddr != first.Host.IP()+":4647" || n.Status != state.NodeStatusReady {
					t.Errorf("the first machine's node is %s at %s", n.Status, n.PeerAddr)
				}
				if got := c.Starts(); got != before {
					t.Errorf("tasks started: got %d, want %d as before", got, before)
				}
			})
		})
	}
}

// endedWith says whether the agent ended by itself, with an error that has these words.
func (n *Node) endedWith(words string) error {
	select {
	case err := <-n.done:
		n.done <- err // for whoever asks next
		if err == nil || !strings.Contains(err.Error(), words) {
			return fmt.Errorf("agent %s ended with %w, want %q", n.Name, errors.Join(err, errors.ErrUnsupported), words)
		}
		return nil
	default:
		return fmt.Errorf("agent %s runs", n.Name)
	}
}

// TestAgentOfAnotherCluster: an agent that belongs to one cluster and is pointed at another is refused by name, and harms neither.
func TestAgentOfAnotherCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Options{})
		lost, byGossip := false, true
		ours := New(t, dir, Options{Servers: 3, Net: network})
		defer ours.Close()
		theirs := New(t, dir, Options{Servers: 1, Clients: 1, Net: network, Subnet: "10.1.0", Config: func(i int, cfg *agent.Config) {
			if i == 1 && lost {
				cfg.Server.RetryJoin = []string{"10.0.0.1", "10.0.0.2"}
				if !byGossip {
					cfg.Server.RetryJoin, cfg.Client.Servers = nil, []string{"10.0.0.1:4647"}
				}
			}
		}})
		defer theirs.Close()
		ours.WaitReady(30 * time.Second)
		theirs.WaitReady(30 * time.Second)
		if err := theirs.Run(theirs.Nodes[0], Job("web", 4)); err != nil {
			t.Fatal(err)
		}
		theirs.WaitSettled(theirs.Nodes[0], 4, 20*time.Second)
		stray := theirs.Nodes[1]
		for _, byGossip = range []bool{true, false} {
			stray.Stop()
			lost = true
			stray.Start()
			ours.Eventually(20*time.Second, func() error { return stray.endedWith("belongs to") })
			if got := theirs.Tasks(); got != 4 {
				t.Errorf("tasks of the other cluster: got %d, want 4", got)
			}
		}
		stray.Stop()
		lost = false
		stray.Start()
		theirs.WaitReady(30 * time.Second)
		theirs.WaitSettled(theirs.Nodes[0], 4, 20*time.Second)
		if nodes, err := ours.NodeStatus(ours.Nodes[0]); err != nil || len(nodes) != 3 {
			t.Errorf("our nodes: got %v, %v; want 3", nodes, err)
		}
	})
}
