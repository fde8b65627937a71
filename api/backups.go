package api

import (
	"context"
	"time"
)

const routeSnapshotFiles = "operator.snapshot.list"

// backupRoutes show what servers have saved by themselves.
func backupRoutes() []Route {
	return []Route{{
		Name: routeSnapshotFiles, Method: get, Path: "/v1/operator/snapshots", Capability: CapOperatorRead, Where: AtAgent, Concurrency: 32,
		handler: answer(listSnapshots), Doc: "list the scheduled snapshots that a server has on its disk",
	}}
}

// SnapshotFiles are the scheduled snapshots of one server.
type SnapshotFiles struct {
	NodeID    string
	Name      string
	Directory string
	Interval  time.Duration // nanoseconds; 0 means that none are taken
	Retain    int
	Files     []SnapshotFile // the newest first
	Failures  int            // since the agent was started
	LastError string         // why the last one failed; "" after a success
}

// SnapshotFile is one scheduled snapshot.
type SnapshotFile struct {
	Name      string
	Path      string // on the server's disk
	Index     uint64 // of the state in it
	Time      int64  // when it was taken, nanoseconds since the Unix epoch
	Confirmed int64  // when the state was last found to be the same still
	Bytes     int64
}

func listSnapshots(c *call) (*SnapshotFiles, error) {
	if c.s.b.Tools == nil {
		return nil, errNoTools()
	}
	v, err := c.s.b.Tools.Snapshots(c.ctx)
	if err == nil && v.Files == nil {
		v.Files = []SnapshotFile{}
	}
	return v, err
}

// SnapshotFiles lists the scheduled snapshots of a server.
func (c *Client) SnapshotFiles(ctx context.Context, ref AgentRef) (*SnapshotFiles, error) {
	out, _, err := readInto[*SnapshotFiles](ctx, c, routeSnapshotFiles, "", QueryOptions{}, ref.query(nil))
	return out, err
}
