package agenttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// survey asks a server what recovering from it would mean.
func (c *Cluster) survey(n *Node) *api.RecoveryView {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	v, err := n.API.SurveyRecovery(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

func (n *Node) recover(v *api.RecoveryView, force bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := n.API.Recover(ctx, &api.RecoverRequest{NodeID: v.NodeID, LastIndex: v.LastIndex, LastTerm: v.LastTerm, Force: force})
	return err
}

// WaitLeader waits for a leader.
func (c *Cluster) WaitLeader(limit time.Duration) *Node {
	c.t.Helper()
	var l *Node
	c.Eventually(limit, func() error {
		if l = c.Leader(); l == nil {
			return errors.New("no leader")
		}
		return nil
	})
	return l
}

// TestRecover: two of three servers lose their data. The third one brings the cluster back: no task is started again, the machines
// come back by themselves, and so do the two once they are started with empty disks.
func TestRecover(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("survivor started again=%v", restarted), func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 2, Config: serversOnly(3)}, func(t *testing.T, c *Cluster) { recoverOne(t, c, restarted) })
		})
	}
}

func recoverOne(t *testing.T, c *Cluster, restarted bool) {
	survivor := c.Follower()
	if err := survivor.recover(c.survey(survivor), true); err == nil || !strings.Contains(err.Error(), "leader") {
		t.Fatalf("recovered a cluster that has a leader: %v", err)
	}
	if err := c.Run(c.Nodes[4], Job("web", 6)); err != nil {
		t.Fatal(err)
	}
	c.WaitSettled(c.Nodes[4], 6, 20*time.Second)
	time.Sleep(15 * time.Second)
	name, starts := clusterOf(t, c), c.Starts()
	lost := []*Node{}
	for _, n := range c.Servers() {
		if n != survivor {
			n.Crash()
			lost = append(lost, n)
		}
	}
	if restarted {
		survivor.Crash()
		survivor.Restart()
	}
	lost[0].Wipe()
	lost[1].Wipe()
	lost[0].Restart() // one of the two is back already, with nothing
	time.Sleep(time.Minute)
	if c.Leader() != nil {
		t.Fatal("somebody leads without a majority")
	}
	v := c.survey(survivor)
	if v.Leader != "" || len(v.Servers) < 3 || len(v.Refusals) != 0 || len(v.Risks) < 2 || v.CommitIndex == 0 || v.LastIndex < v.CommitIndex || v.InTouch == 0 {
		t.Errorf("survey: %+v", v)
	}
	if err := survivor.recover(&api.RecoveryView{NodeID: v.NodeID, LastIndex: v.LastIndex - 1, LastTerm: v.LastTerm}, true); err == nil {
		t.Error("recovered what nobody has looked at")
	}
	if err := survivor.recover(v, false); err != nil {
		t.Fatal(err)
	}
	if l := c.WaitLeader(10 * time.Second); l != survivor {
		t.Fatalf("%s leads", l.Name)
	}
	if got := clusterOf(t, c); got != name {
		t.Errorf("cluster %s is %s now", name, got)
	}
	lost[1].Restart()
	c.WaitReady(time.Minute)
	c.WaitVoters(survivor, time.Minute, c.Servers()...)
	time.Sleep(5 * time.Second)
	c.WaitSettled(c.Nodes[3], 6, time.Minute)
	c.Always(30*time.Second, func() error { return c.Settled(c.Nodes[3], 6) })
	if got := c.Starts(); got != starts {
		t.Errorf("%d tasks were started again", got-starts)
	}
	// The three are a cluster like any other: the survivor may go.
	survivor.Die()
	c.Eventually(15*time.Second, func() error { return c.Run(c.Nodes[3], Job("late", 0)) })
}

// TestRecoverRefuses: a server with an older log, and one beside whom there is a majority, are the wrong ones to recover from.
func TestRecoverRefuses(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1, Config: serversOnly(3)}, func(t *testing.T, c *Cluster) {
		old := c.Follower()
		old.Crash()
		for i := range 5 {
			if err := c.Run(c.Nodes[3], Job(fmt.Sprintf("job-%d", i), 0)); err != nil {
				t.Fatal(err)
			}
		}
		gone, newer := c.Leader(), (*Node)(nil)
		for _, n := range c.Servers() {
			if n != gone && n != old {
				newer = n
			}
		}
		gone.Crash()
		newer.Crash()
		old.Restart()
		time.Sleep(10 * time.Second)
		c.survey(old)
		// Alone it cannot be told that there is a newer log: it says so as a risk. Then the other one is back, cut off by time-outs.
		if v := c.survey(old); len(v.Refusals) != 0 || len(v.Risks) == 0 {
			t.Errorf("survey alone: %+v", v)
		}
		newer.Restart()
		c.WaitLeader(30 * time.Second) // two of three are a majority, and elect the one with the newer log
		if err := old.recover(c.survey(old), true); err == nil {
			t.Error("recovered beside a leader")
		}
		gone.Restart()
		c.WaitReady(30 * time.Second)
	})
}

// TestLeftBehind: the cluster was recovered while two servers were only cut off. When they are back they see that it went on without
// them, and take no part: nobody follows them, and no task is touched.
func TestLeftBehind(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 3, Config: serversOnly(3)}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[4], Job("web", 6)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[4], 6, 20*time.Second)
		survivor := c.Nodes[0]
		var lost []*Node
		for _, n := range c.Servers() {
			if n != survivor {
				n.Crash()
				lost = append(lost, n)
			}
		}
		time.Sleep(20 * time.Second)
		if err := survivor.recover(c.survey(survivor), false); err != nil {
			t.Fatal(err)
		}
		c.WaitLeader(10 * time.Second)
		c.WaitReady(time.Minute)
		if err := c.Run(c.Nodes[4], Job("since", 3)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[4], 9, time.Minute)
		starts := c.Starts()
		for _, n := range lost {
			n.Restart()
		}
		c.Eventually(time.Minute, func() error {
			for _, n := range lost {
				if h := n.agent.Health(); h.Server.OK || !strings.Contains(h.Server.Message, "recovered") {
					return fmt.Errorf("server %s says %q", n.Name, h.Server.Message)
				}
			}
			return nil
		})
		c.Always(time.Minute, func() error {
			if l := c.Leader(); l != survivor {
				return errors.New("the survivor does not lead")
			}
			return c.Settled(survivor, 9)
		})
		if got := c.Starts(); got != starts {
			t.Errorf("%d tasks were started", got-starts)
		}
		for _, n := range lost { // what they are told to do
			n.Stop()
			if err := os.RemoveAll(filepath.Join(n.Dir, "raft")); err != nil {
				t.Fatal(err)
			}
			n.Start()
		}
		c.WaitVoters(survivor, time.Minute, c.Servers()...)
		c.Always(10*time.Second, func() error { return c.Settled(lost[0], 9) })
	})
}

// TestEveryAddressChanged: all servers stop and come back at other addresses, then every machine does. The quorum forms by itself and
// nothing is started again.
func TestEveryAddressChanged(t *testing.T) {
	for name, config := range map[string]Options{
		"servers alone":   {Servers: 3, Clients: 2, Config: serversOnly(3)},
		"servers at work": {Servers: 3, Clients: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, config, func(t *testing.T, c *Cluster) {
				if err := c.Run(c.Nodes[4], Job("web", 8)); err != nil {
					t.Fatal(err)
				}
				c.WaitSettled(c.Nodes[4], 8, 20*time.Second)
				time.Sleep(30 * time.Second)
				starts := c.Starts()
				for round, movers := range [][]*Node{c.Servers(), c.Nodes} {
					for _, n := range movers {
						n.Crash()
					}
					for i, n := range movers {
						n.Move(fmt.Sprintf("10.%d.0.%d", round+5, i+1))
					}
					for _, n := range movers {
						n.Start()
					}
					c.WaitLeader(20 * time.Second)
					took := c.Eventually(time.Minute, func() error {
						for _, n := range c.Nodes {
							if n.agent.Self().Client && c.node(c.Leader(), n).PeerAddr != n.Host.IP()+":4647" {
								return fmt.Errorf("node %s is not known at its address", n.Name)
							}
						}
						return nil
					})
					c.WaitReady(time.Minute)
					t.Log("round", round, "all machines are ready after", took)
					time.Sleep(5 * time.Second)
					c.WaitSettled(c.Nodes[4], 8, time.Minute)
					c.Always(20*time.Second, func() error { return c.Settled(c.Nodes[3], 8) })
					if got := c.Starts(); got != starts {
						t.Errorf("round %d: %d tasks were started again", round, got-starts)
					}
					c.configured(c.Servers()...)
				}
			})
		})
	}
}

// configured checks that the log's configuration has the servers' present addresses.
func (c *Cluster) configured(servers ...*Node) {
	c.t.Helper()
	c.Eventually(time.Minute, func() error {
		var text string
		for _, s := range servers {
			text += s.agent.Self().Stats["raft"]["latest_configuration"]
		}
		for _, s := range servers {
			if !strings.Contains(text, s.Host.IP()+":4647") {
				return fmt.Errorf("%s is not at %s in %s", s.Name, s.Host.IP(), text)
			}
		}
		return nil
	})
}

// TestCopyAtAnotherAddressIsRefused: what looks like a machine that moved is a copy while the machine lives where it was.
func TestCopyAtAnotherAddressIsRefused(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 8)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[0], 8, 20*time.Second)
		original := c.Nodes[3]
		id := original.ID()
		original.Crash() // its agent is gone, its machine lives
		copied := c.Add(false)
		if err := os.CopyFS(copied.Dir, os.DirFS(original.Dir)); err != nil {
			t.Fatal(err)
		}
		if err := copied.TryStart(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if nodes, err := c.nodesOf(c.Nodes[0]); err != nil || nodes[id].Status == state.NodeStatusReady {
			t.Errorf("a copy of its data directory took the machine's place: %+v, %v", nodes[id], err)
		}
		if got := len(copied.Machine.Running()); got != 0 {
			t.Errorf("%d tasks run on the copy", got)
		}
		copied.Stop()
	})
}
