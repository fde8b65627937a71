package agenttest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func inBubble(t *testing.T, o Options, f func(t *testing.T, c *Cluster)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, dir, o)
		defer c.Close()
		if !o.Idle {
			c.WaitReady(30 * time.Second)
		}
		f(t, c)
	})
}

func TestThreeServersFormAndRun(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[1], Job("web", 6)); err != nil {
			t.Fatal(err)
		}
		c.WaitRunning(c.Nodes[2], "web", 6, 10*time.Second)
		if got := c.Tasks(); got != 6 {
			t.Errorf("tasks on the machines: got %d, want 6", got)
		}
	})
}

func TestLeaderKilledUnderLoadLosesNothing(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		l := c.Leader()
		var others []*Node
		for _, n := range c.Nodes {
			if n != l {
				others = append(others, n)
			}
		}
		acked := []string{}
		for i := range 40 {
			if i == 20 {
				l.Crash()
			}
			id := fmt.Sprintf("job-%d", i)
			if err := c.Run(others[i%2], Job(id, 0)); err == nil {
				acked = append(acked, id)
			}
		}
		if len(acked) < 35 {
			t.Errorf("writes acknowledged: got %d of 40", len(acked))
		}
		c.Eventually(10*time.Second, func() error {
			jobs, _, err := api.All(t.Context(), others[0].API.Jobs, api.QueryOptions{})
			if err != nil {
				return err
			}
			have := map[string]bool{}
			for _, j := range jobs {
				have[j.ID] = true
			}
			for _, id := range acked {
				if !have[id] {
					t.Fatalf("acknowledged job %s is lost", id)
				}
			}
			return nil
		})
	})
}

func TestAgentKilledRestartsNothing(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 8)); err != nil {
			t.Fatal(err)
		}
		c.WaitRunning(c.Nodes[0], "web", 8, 10*time.Second)
		before := c.Starts()
		victim := c.Nodes[3]
		victim.Crash()
		c.Eventually(time.Minute, func() error {
			st, err := c.NodeStatus(c.Nodes[0])
			if err == nil && st[victim.Name] != state.NodeStatusDisconnected {
				err = fmt.Errorf("node %s is %s, want disconnected", victim.Name, st[victim.Name])
			}
			return err
		})
		victim.Restart()
		c.WaitReady(30 * time.Second)
		c.WaitRunning(c.Nodes[0], "web", 8, 10*time.Second)
		time.Sleep(20 * time.Second)
		if got := c.Starts(); got != before {
			t.Errorf("tasks started: got %d, want %d as before", got, before)
		}
	})
}

func TestMachineDiesWorkMoves(t *testing.T) {
	for _, leader := range []bool{false, true} {
		t.Run(fmt.Sprintf("leader=%v", leader), func(t *testing.T) {
			inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
				if err := c.Run(c.Nodes[0], Job("web", 6)); err != nil {
					t.Fatal(err)
				}
				c.WaitRunning(c.Nodes[0], "web", 6, 10*time.Second)
				var victim, via *Node
				for _, n := range c.Nodes {
					if (n == c.Leader()) == leader {
						victim = n
					} else {
						via = n
					}
				}
				limit := 10 * time.Second
				if leader {
					limit = 20 * time.Second
				}
				victim.Die()
				took := c.Eventually(limit, func() error {
					allocs, err := c.Allocs(via, "web")
					if err != nil {
						return err
					}
					n := 0
					for _, a := range allocs {
						if a.ClientStatus == state.ClientRunning && a.NodeName != victim.Name && a.DesiredStatus == state.DesiredRun {
							n++
						}
					}
					if n != 6 {
						return fmt.Errorf("%d of 6 copies run elsewhere", n)
					}
					return nil
				})
				t.Logf("work runs elsewhere after %s", took)
				// The machine comes back: what was moved is not run twice.
				c.Net.Restart(victim.Host)
				victim.Start()
				c.WaitReady(30 * time.Second)
				time.Sleep(30 * time.Second)
				if got := c.Tasks(); got != 6 {
					t.Errorf("tasks on the machines after its return: got %d, want 6", got)
				}
			})
		})
	}
}

func TestMostMachinesCutOffMovesNothing(t *testing.T) {
	for _, tc := range []struct{ servers, cut int }{{3, 2}, {5, 4}} {
		t.Run(fmt.Sprintf("%d of %d", tc.cut, tc.servers), func(t *testing.T) {
			inBubble(t, Options{Servers: tc.servers}, func(t *testing.T, c *Cluster) {
				if err := c.Run(c.Nodes[0], Job("web", 10)); err != nil {
					t.Fatal(err)
				}
				c.WaitRunning(c.Nodes[0], "web", 10, 10*time.Second)
				before := c.Starts()
				for _, n := range c.Nodes[:tc.cut] {
					c.Net.Isolate(n.Host)
				}
				time.Sleep(time.Minute)
				c.Net.Heal()
				c.WaitReady(time.Minute)
				c.WaitRunning(c.Nodes[0], "web", 10, 30*time.Second)
				time.Sleep(20 * time.Second)
				if got := c.Starts(); got != before {
					t.Errorf("tasks started: got %d, want %d as before", got, before)
				}
			})
		})
	}
}

func TestMinorityRefusesWritesAndMarksReads(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		lone := c.Nodes[0]
		for _, n := range c.Nodes[1:] {
			n.Die()
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		err := c.Run(lone, Job("late", 1))
		if err == nil {
			t.Fatal("a minority accepted a write")
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("a write failed after %s, want within 5 s", took)
		}
		t.Log(err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, meta, err := lone.API.Jobs(ctx, api.QueryOptions{Stale: true})
		if err != nil {
			t.Fatalf("stale read: %v", err)
		}
		if meta.KnownLeader || meta.LastContact < 5*time.Second {
			t.Errorf("stale read is not marked: known leader %v, last contact %s", meta.KnownLeader, meta.LastContact)
		}
	})
}
