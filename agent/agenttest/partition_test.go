package agenttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/state"
)

// jobIDs asks for the jobs that an agent knows of.
func jobIDs(via *Node) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	jobs, _, err := api.All(ctx, via.API.Jobs, api.QueryOptions{})
	have := map[string]bool{}
	for _, j := range jobs {
		have[j.ID] = true
	}
	return have, err
}

// noneLost fails the test when a job that was acknowledged is not there.
func (c *Cluster) noneLost(via *Node, acked []string) {
	c.t.Helper()
	c.Eventually(10*time.Second, func() error {
		have, err := jobIDs(via)
		for _, id := range acked {
			if err == nil && !have[id] {
				c.t.Fatalf("acknowledged job %s is lost", id)
			}
		}
		return err
	})
}

func TestLeaderInTheMinority(t *testing.T) {
	inBubble(t, Options{Servers: 5}, func(t *testing.T, c *Cluster) {
		l := c.Leader()
		rest := c.Others(l)
		minority, majority := []*Node{l, rest[0]}, rest[1:]
		if err := c.Run(l, Job("web", 10)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(l, 10, 20*time.Second)
		c.Split(minority, majority)
		var acked []string
		for i := range 12 { // some at once, while the old leader still believes in itself, some when there is a new one
			id := fmt.Sprintf("cut-%d", i)
			if err := c.Run(minority[i%2], Job(id, 0)); err == nil {
				acked = append(acked, id)
			}
			id = fmt.Sprintf("rest-%d", i)
			if err := c.Run(majority[i%3], Job(id, 0)); err == nil {
				acked = append(acked, id)
			}
			time.Sleep(300 * time.Millisecond)
		}
		if len(acked) < 10 {
			t.Errorf("writes acknowledged: got %d, want those of the majority at least", len(acked))
		}
		// Two of five are silent for a majority: that is more than a third, so nothing moves.
		time.Sleep(20 * time.Second)
		before := c.Starts()
		c.Net.Heal()
		c.WaitReady(time.Minute)
		c.noneLost(l, acked)
		c.WaitSettled(majority[0], 10, 30*time.Second)
		c.Always(10*time.Second, func() error { return c.Settled(l, 10) })
		if got := c.Starts(); got != before {
			t.Errorf("tasks started after healing: got %d, want %d", got, before)
		}
	})
}

// TestOneCutOff: one of six is less than a third. Its work moves, and when it is back nothing runs twice.
func TestOneCutOff(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 3}, func(t *testing.T, c *Cluster) {
		for _, victim := range []*Node{c.Leader(), c.Nodes[4]} {
			if victim.agent.IsLeader() {
				if err := c.Run(victim, Job("web", 12)); err != nil {
					t.Fatal(err)
				}
			}
			via := c.Others(victim)[0]
			c.WaitSettled(via, 12, 30*time.Second)
			generation := c.node(via, victim).Generation
			c.Split([]*Node{victim}, c.Others(victim))
			c.WaitStatus(via, state.NodeStatusDown, 20*time.Second, victim)
			c.Eventually(20*time.Second, func() error { return c.runningElsewhere(via, victim, 12) })
			c.Net.Heal()
			c.WaitReady(time.Minute)
			c.WaitSettled(via, 12, 30*time.Second)
			after := c.node(via, victim)
			if after.Generation <= generation || len(after.Returns) == 0 {
				t.Errorf("returned node has generation %d, returns %v; want above %d and one", after.Generation, after.Returns, generation)
			}
			c.Always(10*time.Second, func() error { return c.Settled(via, 12) })
		}
	})
}

// node asks an agent for the row of another one's node.
func (c *Cluster) node(via, of *Node) *state.Node {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n, _, err := via.API.Node(ctx, of.ID(), api.QueryOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return n.Node
}

// runningElsewhere says how many copies are missing that should run on other machines than the victim.
func (c *Cluster) runningElsewhere(via, victim *Node, count int) error {
	allocs, err := c.Allocs(via, "web")
	n := 0
	for _, a := range allocs {
		if a.ClientStatus == state.ClientRunning && a.NodeName != victim.Name && a.DesiredStatus == state.DesiredRun {
			n++
		}
	}
	if err == nil && n != count {
		err = fmt.Errorf("%d of %d copies run elsewhere", n, count)
	}
	return err
}

// TestHalfTheProtocols: what is cut is only gossip, or only TCP. Either way the machines live and nothing may be moved.
func TestHalfTheProtocols(t *testing.T) {
	for _, tc := range []struct {
		name  string
		proto simnet.Proto
		want  string // of the node meanwhile
	}{
		{"gossip", simnet.Gossip, state.NodeStatusReady},
		{"tcp", simnet.TCP, state.NodeStatusDisconnected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
				if err := c.Run(c.Nodes[0], Job("web", 10)); err != nil {
					t.Fatal(err)
				}
				c.WaitSettled(c.Nodes[0], 10, 20*time.Second)
				before := c.Starts()
				victims := []*Node{c.Follower(), c.Nodes[4]}
				via := c.Nodes[3]
				c.Split(victims, c.Others(victims...), tc.proto)
				time.Sleep(12 * time.Second)
				c.WaitStatus(via, tc.want, 20*time.Second, victims...)
				c.Always(20*time.Second, func() error {
					status, err := c.NodeStatus(via)
					for _, v := range victims {
						if err == nil && status[v.Name] != tc.want {
							err = fmt.Errorf("node %s is %s", v.Name, status[v.Name])
						}
					}
					return err
				})
				c.Net.Heal()
				c.WaitReady(time.Minute)
				c.WaitSettled(via, 10, 20*time.Second)
				if got := c.Starts(); got != before {
					t.Errorf("tasks started: got %d, want %d as before", got, before)
				}
			})
		})
	}
}
