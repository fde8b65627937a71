package agenttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/internal/simnet"
)

// backup saves a snapshot through an agent.
func (c *Cluster) backup(via *Node) []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, _, err := via.API.SaveSnapshot(ctx, false)
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func (c *Cluster) restore(via *Node, backup []byte) {
	c.t.Helper()
	if err := via.restore(backup); err != nil {
		c.t.Fatal(err)
	}
}

func (n *Node) restore(backup []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := n.API.RestoreSnapshot(ctx, bytes.NewReader(backup), int64(len(backup)))
	return err
}

// TestRestoreBackup: after an operator's restore nothing is stopped for a while, although the old state knows nothing of what was
// placed since; then the machines become what it says. Twice, so that generations are seen to grow.
func TestRestoreBackup(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		via := c.Nodes[3]
		if err := c.Run(via, Job("web", 6)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 6, 20*time.Second)
		backup := c.backup(via)
		for round := uint64(1); round <= 2; round++ {
			if err := c.Run(via, Job("late", 5)); err != nil {
				t.Fatal(err)
			}
			c.WaitSettled(via, 11, 20*time.Second)
			before := c.Starts()
			c.restore(via, backup)
			c.Always(3*time.Second, func() error {
				if got := c.Tasks(); got != 11 {
					return fmt.Errorf("%d tasks run, want 11: nothing is ended before the nodes have spoken", got)
				}
				return nil
			})
			c.WaitReady(30 * time.Second)
			c.WaitSettled(via, 6, 30*time.Second)
			c.Always(10*time.Second, func() error { return c.Settled(via, 6) })
			if got := c.Starts(); got > before {
				t.Errorf("tasks started after the restore: got %d, want none", got-before)
			}
			for _, n := range c.Nodes {
				if got := n.generation(t); got != round {
					t.Errorf("node %s remembers restore generation %d, want %d", n.Name, got, round)
				}
			}
			if have, err := jobIDs(via); err != nil || have["late"] {
				t.Errorf("jobs after the restore: %v, %v", have, err)
			}
		}
	})
}

// TestRestoreRevivesStopped: the backup wants what has ended since. It is placed again, once.
func TestRestoreRevivesStopped(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		via := c.Nodes[0]
		if err := c.Run(via, Job("web", 6)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 6, 20*time.Second)
		backup := c.backup(via)
		if err := c.Run(via, Job("web", 2)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 2, 20*time.Second)
		c.restore(via, backup)
		c.WaitReady(30 * time.Second)
		c.WaitSettled(via, 6, 2*time.Minute)
		c.Always(10*time.Second, func() error { return c.Settled(via, 6) })
	})
}

// TestRestoreOfAnotherCluster is refused by name and changes nothing.
func TestRestoreOfAnotherCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Options{})
		ours := New(t, dir, Options{Servers: 1, Net: network})
		defer ours.Close()
		theirs := New(t, dir, Options{Servers: 1, Net: network, Subnet: "10.1.0"})
		defer theirs.Close()
		ours.WaitReady(30 * time.Second)
		theirs.WaitReady(30 * time.Second)
		if err := ours.Run(ours.Nodes[0], Job("web", 2)); err != nil {
			t.Fatal(err)
		}
		ours.WaitSettled(ours.Nodes[0], 2, 20*time.Second)
		err := ours.Nodes[0].restore(theirs.backup(theirs.Nodes[0]))
		if err == nil || !strings.Contains(err.Error(), "snapshot is of cluster") {
			t.Errorf("restore of another cluster's snapshot: got %v, want a refusal", err)
		}
		if err := ours.Nodes[0].restore([]byte("no snapshot at all")); err == nil {
			t.Error("garbage was restored")
		}
		ours.Always(5*time.Second, func() error { return ours.Settled(ours.Nodes[0], 2) })
	})
}

// generation is the restore generation that the node's agent has written down.
func (n *Node) generation(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	var id agent.Identity
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(line, &id); err != nil {
		t.Fatal(err)
	}
	return id.Generation
}
