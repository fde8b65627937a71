package agenttest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// only constrains a job to one machine.
func only(j *state.Job, n *Node) *state.Job {
	j.Constraints = []state.Constraint{{LTarget: "${node.unique.name}", Operand: state.OperandEqual, RTarget: n.Name}}
	return j
}

// TestStoppedBeforeItWasTold: copies that are stopped before their node has learnt of them end all the same, when it asks again: it
// never had them, and says so. Until then they hold its room.
func TestStoppedBeforeItWasTold(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		via, node := c.Nodes[0], c.Nodes[3]
		if err := c.Run(via, only(Job("web", 2), node)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 2, 20*time.Second)
		before := c.Starts()
		c.Net.Freeze(node.Host)
		if err := c.Run(via, only(Job("late", 3), node)); err != nil {
			t.Fatal(err)
		}
		var placed []api.AllocListItem
		c.Eventually(2*time.Second, func() (err error) {
			if placed, err = c.Allocs(via, "late"); err == nil && len(placed) != 3 {
				err = fmt.Errorf("%d copies are placed", len(placed))
			}
			return err
		})
		if _, err := via.API.StopJob(t.Context(), "late", false, api.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Second)
		c.Net.Thaw(node.Host)
		c.WaitReady(30 * time.Second)
		c.Eventually(20*time.Second, func() error {
			allocs, err := c.Allocs(via, "late")
			for _, a := range allocs {
				if a.DesiredStatus != state.DesiredStop || a.ClientStatus != state.ClientComplete {
					err = fmt.Errorf("copy %s is to %s and is %s, want it stopped and complete", a.ID, a.DesiredStatus, a.ClientStatus)
				}
			}
			return err
		})
		c.WaitSettled(via, 2, 20*time.Second)
		if got := c.Starts(); got > before {
			t.Errorf("%d tasks were started that were stopped before", got-before)
		}
	})
}

// TestStrangersAreAskedAbout: what appears on a machine and nobody knows of is asked about by name, and goes; what runs there runs on.
func TestStrangersAreAskedAbout(t *testing.T) {
	inBubble(t, Options{Servers: 1, Clients: 1}, func(t *testing.T, c *Cluster) {
		via, node := c.Nodes[0], c.Nodes[1]
		if err := c.Run(via, only(Job("web", 3), node)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 3, 20*time.Second)
		before := c.Starts()
		stranger := runtime.TaskID{AllocID: uuid.NewString(), Task: "t"}
		if err := node.Machine.Put(runtime.TaskSpec{ID: stranger}); err != nil {
			t.Fatal(err)
		}
		c.Eventually(90*time.Second, func() error {
			if n := len(node.Machine.Running()); n != 3 {
				return fmt.Errorf("%d tasks run on the machine, want 3", n)
			}
			return nil
		})
		c.Always(10*time.Second, func() error { return c.Settled(via, 3) })
		if got := c.Starts(); got > before {
			t.Errorf("%d tasks were started again", got-before)
		}
	})
}

// TestNothingToTellKeepsEverything: polls in which nothing is named, for much longer than any of them waits, end and start nothing.
func TestNothingToTellKeepsEverything(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		via := c.Nodes[3]
		if err := c.Run(via, Job("web", 8)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 8, 20*time.Second)
		before := c.Starts()
		c.Always(3*time.Minute, func() error { return c.Settled(via, 8) })
		if got := c.Starts(); got != before {
			t.Errorf("%d tasks were started", got-before)
		}
	})
}
