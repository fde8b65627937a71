package agenttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/state"
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
		seen := uint64(0)
		for range 2 {
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
				got := n.generation(t)
				if got <= seen || got != c.Nodes[0].generation(t) {
					t.Errorf("node %s remembers restore generation %d, want the same on all, above %d", n.Name, got, seen)
				}
			}
			seen = c.Nodes[0].generation(t)
			if again := c.backup(via); !bytes.Equal(backup, again) {
				t.Errorf("saved, restored and saved again:\n%s\n%s", backup, again)
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

// TestRestoreIntoAnotherCluster: the new cluster runs the jobs on its own machines, and the old one notices nothing.
func TestRestoreIntoAnotherCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Options{})
		old := New(t, dir, Options{Servers: 1, Clients: 1, Net: network})
		defer old.Close()
		young := New(t, dir, Options{Servers: 3, Net: network, Subnet: "10.1.0"})
		defer young.Close()
		old.WaitReady(30 * time.Second)
		young.WaitReady(30 * time.Second)
		for id, c := range map[string]*Cluster{"web": old, "other": young} {
			if err := c.Run(c.Nodes[0], Job(id, 4)); err != nil {
				t.Fatal(err)
			}
			c.WaitSettled(c.Nodes[0], 4, 20*time.Second)
		}
		time.Sleep(time.Minute) // the older cluster's log is longer, and its indexes are higher
		for i := range 50 {
			if err := old.Run(old.Nodes[0], Job("none", i%2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := old.Run(old.Nodes[0], Job("none", 0)); err != nil {
			t.Fatal(err)
		}
		old.WaitSettled(old.Nodes[0], 4, 30*time.Second)
		name, before := clusterOf(t, young), old.Starts()
		young.restore(young.Nodes[1], old.backup(old.Nodes[0]))
		young.WaitReady(30 * time.Second)
		young.WaitSettled(young.Nodes[0], 4, time.Minute)
		young.WaitRunning(young.Nodes[2], "web", 4, 10*time.Second)
		young.Always(time.Minute, func() error { return errors.Join(young.Settled(young.Nodes[0], 4), old.Settled(old.Nodes[0], 4)) })
		if got := old.Starts(); got != before {
			t.Errorf("the old cluster started %d tasks", got-before)
		}
		if got := clusterOf(t, young); got != name {
			t.Errorf("the new cluster was %s and is %s", name, got)
		}
		nodes, err := young.nodesOf(young.Nodes[0])
		if err != nil || len(nodes) != 5 || nodes[old.Nodes[1].ID()].Status != state.NodeStatusDown {
			t.Errorf("nodes: %v, %v", nodes, err)
		}
		// Its own agents start again and find themselves at home.
		young.Nodes[2].Crash()
		young.Nodes[2].Restart()
		young.WaitReady(30 * time.Second)
		young.Always(10*time.Second, func() error { return young.Settled(young.Nodes[0], 4) })
	})
}

// clusterOf is the cluster's name by its leader's word.
func clusterOf(t *testing.T, c *Cluster) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	self, err := c.Leader().API.AgentSelf(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return self.ClusterID
}

// TestDamagedBackupIsRefused: a backup cut or changed anywhere is refused by the leader, and nothing moves.
func TestDamagedBackupIsRefused(t *testing.T) {
	inBubble(t, Options{Servers: 1}, func(t *testing.T, c *Cluster) {
		via := c.Nodes[0]
		if err := c.Run(via, Job("web", 4)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 4, 20*time.Second)
		backup := c.backup(via)
		generation, starts := via.agent.Self().Stats["state"], c.Starts()
		rng := rand.New(rand.NewPCG(1, 2))
		for range 500 {
			at := rng.IntN(len(backup))
			flipped := bytes.Clone(backup)
			flipped[at] ^= 1 << rng.IntN(8)
			for what, data := range map[string][]byte{"flipped": flipped, "cut": backup[:at]} {
				if err := via.restore(data); err == nil {
					t.Fatalf("%s at %d of %d: restored", what, at, len(backup))
				}
			}
		}
		if err := via.restore([]byte("no snapshot at all")); err == nil {
			t.Error("garbage was restored")
		}
		if again := c.backup(via); !bytes.Equal(backup, again) {
			t.Error("the state moved")
		}
		c.Always(5*time.Second, func() error { return c.Settled(via, 4) })
		if got := via.agent.Self().Stats["state"]; got["jobs"] != generation["jobs"] || c.Starts() != starts {
			t.Errorf("state %v, was %v; tasks started %d, were %d", got, generation, c.Starts(), starts)
		}
	})
}

// TestBegunAnewUnderTheOldName: all servers lose their logs and found the cluster again. The machines that ran work for it end
// nothing, for however long, and come back when a backup is restored.
func TestBegunAnewUnderTheOldName(t *testing.T) {
	for name, config := range map[string]func(int, *agent.Config){"servers work too": nil, "servers only serve": serversOnly(3)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 2, Config: config}, begunAnew)
		})
	}
}

func begunAnew(t *testing.T, c *Cluster) {
	if err := c.Run(c.Nodes[0], Job("web", 6)); err != nil {
		t.Fatal(err)
	}
	c.WaitSettled(c.Nodes[0], 6, 20*time.Second)
	time.Sleep(15 * time.Second) // the nodes write down what they have seen
	backup, name := c.backup(c.Nodes[0]), clusterOf(t, c)
	starts := c.Starts()
	for _, n := range c.Servers() {
		n.Crash()
		if err := os.RemoveAll(filepath.Join(n.Dir, "raft")); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Servers() {
		n.Restart()
	}
	c.Eventually(time.Minute, func() error {
		if c.Leader() == nil {
			return errors.New("no leader")
		}
		return nil
	})
	if got := clusterOf(t, c); got != name {
		t.Fatalf("begun anew as %s, was %s", got, name)
	}
	// The index goes far beyond what the machines have seen, and one of them is started again in between.
	for i := range 300 {
		if err := c.Run(c.Leader(), Job("none", i%2)); err != nil {
			t.Fatal(err)
		}
	}
	c.Nodes[3].Crash()
	c.Nodes[3].Restart()
	c.Always(2*time.Minute, func() error {
		if got := c.Tasks(); got != 6 {
			return fmt.Errorf("%d tasks run, want 6: the servers know nothing of them", got)
		}
		return nil
	})
	if h := c.Nodes[4].agent.Health(); h.Client.OK || !strings.Contains(h.Client.Message, "snapshot restore") {
		t.Errorf("a machine that waits says %+v", h.Client)
	}
	c.restore(c.Nodes[0], backup)
	c.WaitStatus(c.Nodes[0], state.NodeStatusReady, time.Minute, c.Nodes[3], c.Nodes[4])
	time.Sleep(5 * time.Second) // what runs is reported anew, pending first
	c.WaitSettled(c.Nodes[0], 6, time.Minute)
	c.Always(30*time.Second, func() error { return c.Settled(c.Nodes[0], 6) })
	if got := c.Starts(); got != starts {
		t.Errorf("%d tasks were started again", got-starts)
	}
}

// serversOnly is the configuration of a cluster whose first n agents run no work.
func serversOnly(n int) func(i int, c *agent.Config) {
	return func(i int, c *agent.Config) {
		if i < n {
			c.Client.Enabled = false
		}
	}
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
