package agenttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// every makes servers save their state.
func every(d time.Duration, retain int) func(int, *agent.Config) {
	return func(_ int, c *agent.Config) {
		c.Server.Snapshots = agent.SnapshotsConfig{Interval: d, Retain: retain}
	}
}

// snapshots asks an agent for its scheduled snapshots.
func (c *Cluster) snapshots(n *Node) *api.SnapshotFiles {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := n.API.SnapshotFiles(ctx, api.AgentRef{})
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// TestScheduledSnapshots: each server saves the state in turn, keeps the newest few and nothing half, writes no file twice when
// nothing has changed, and goes on after a restart where it was. The files hold what the cluster knew.
func TestScheduledSnapshots(t *testing.T) {
	inBubble(t, Options{Servers: 1, Config: every(10*time.Minute, 3)}, func(t *testing.T, c *Cluster) {
		n := c.Nodes[0]
		c.Eventually(time.Minute, func() error {
			if v := c.snapshots(n); len(v.Files) != 1 {
				return fmt.Errorf("%+v", v)
			}
			return nil
		})
		stranger := filepath.Join(n.Dir, "snapshots", "mine.snap")
		if err := os.WriteFile(stranger, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for i := range 5 {
			if err := c.Run(n, Job(fmt.Sprintf("job%d", i), 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			want := min(i+2, 3)
			if v := c.snapshots(n); len(v.Files) != want || v.Failures != 0 || v.Interval != 10*time.Minute || v.Retain != 3 {
				t.Fatalf("after %d: %+v", i+1, v)
			}
			if i == 2 {
				n.Stop()
				n.Start()
				c.WaitReady(time.Minute)
			}
		}
		files := c.snapshots(n).Files
		for i, f := range files {
			if i > 0 && (f.Time >= files[i-1].Time || f.Index >= files[i-1].Index) {
				t.Errorf("%s is not older than %s", f.Name, files[i-1].Name)
			}
			data, err := os.Open(f.Path)
			if err != nil {
				t.Fatal(err)
			}
			snap, err := state.ReadSnapshot(data)
			if err != nil || snap.JobCount() != 5-i || snap.Index() != f.Index {
				t.Errorf("%s: %v; %d jobs at index %d", f.Name, err, snap.JobCount(), snap.Index())
			}
			if err := data.Close(); err != nil {
				t.Fatal(err)
			}
		}
		newest := files[0]
		time.Sleep(time.Hour)
		after := c.snapshots(n).Files
		if len(after) != 3 || after[0].Name != newest.Name || after[0].Confirmed <= newest.Confirmed {
			t.Errorf("nothing has changed for an hour: %+v, before %+v", after[0], newest)
		}
		if age := time.Now().UnixNano() - after[0].Confirmed; age > int64(11*time.Minute) {
			t.Errorf("the newest was last looked at %s ago", time.Duration(age))
		}
		entries, err := os.ReadDir(filepath.Join(n.Dir, "snapshots"))
		if err != nil || len(entries) != 4 {
			t.Errorf("%v, %v: want three snapshots and what is not ours", entries, err)
		}
		if got := c.metric(n, "drover_snapshot_files", "", ""); got != 3 {
			t.Errorf("drover_snapshot_files is %v", got)
		}
	})
}

// TestEveryServerSavesItsOwn: also those that do not lead; one that is out of touch does not, for its state is of before.
func TestEveryServerSavesItsOwn(t *testing.T) {
	inBubble(t, Options{Servers: 3, Config: every(time.Minute, 5)}, func(t *testing.T, c *Cluster) {
		time.Sleep(90 * time.Second)
		for _, n := range c.Nodes {
			if v := c.snapshots(n); len(v.Files) == 0 {
				t.Errorf("%s has none: %+v", n.Name, v)
			}
		}
		lone := c.Follower()
		c.Split([]*Node{lone}, c.Others(lone))
		time.Sleep(15 * time.Second)
		before := c.snapshots(lone).Files[0]
		time.Sleep(5 * time.Minute)
		if after := c.snapshots(lone).Files[0]; after != before {
			t.Errorf("a server that is cut off saved what it knew: %+v, before %+v", after, before)
		}
		c.Net.Heal()
		c.Eventually(5*time.Minute, func() error {
			if after := c.snapshots(lone).Files[0]; after == before {
				return fmt.Errorf("still %+v", after)
			}
			return nil
		})
	})
}

// TestFailedSnapshot is said, counted and tried again; nothing else suffers.
func TestFailedSnapshot(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "backups")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := func(_ int, c *agent.Config) {
		c.Server.Snapshots = agent.SnapshotsConfig{Interval: time.Minute, Retain: 2, Directory: filepath.Join(inTheWay, "drover")}
	}
	inBubble(t, Options{Servers: 1, Config: cfg}, func(t *testing.T, c *Cluster) {
		n := c.Nodes[0]
		time.Sleep(150 * time.Second)
		if got := c.metric(n, "drover_snapshot_failures_total", "", ""); got < 2 || got > 4 {
			t.Errorf("%v failures in 150 s, want one a minute", got)
		}
		_, err := n.API.SnapshotFiles(t.Context(), api.AgentRef{})
		if err == nil || !strings.Contains(string(c.logs.Bytes()), "scheduled snapshot failed") || !strings.Contains(string(c.logs.Bytes()), "not a directory") {
			t.Errorf("nobody said what is wrong: %v", err)
		}
		if err := c.Run(n, Job("web", 1)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		c.Eventually(2*time.Minute, func() error {
			if v := c.snapshots(n); len(v.Files) != 1 || v.LastError != "" || v.Failures < 2 {
				return fmt.Errorf("%+v", v)
			}
			return nil
		})
	})
}
