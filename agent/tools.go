package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	goruntime "runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

// Join makes this agent gossip with others.
func (a *Agent) Join(ctx context.Context, addrs []string) (int, error) {
	_, port := splitAddr(a.addrs.gossip)
	var full []string
	for _, addr := range addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(addr, strconv.Itoa(port))
		}
		full = append(full, addr)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return a.members.gossip.Join(ctx, full)
}

// forgetWithin bounds how long another server may take to forget a member.
const forgetWithin = 2 * time.Second

// ForceLeave forgets a member that is dead, here and, unless local, on every other server that can be reached.
func (a *Agent) ForceLeave(ctx context.Context, id string, local bool) error {
	name := a.members.nameOf(id)
	if !a.members.gossip.Forget(id) {
		return api.NewError(api.CodeConflict, "stop its agent first, or wait until gossip has found it dead", "agent %s (%s) is alive", name, id)
	}
	a.log.Info("forgot a dead member", "name", name, "node_id", id)
	if local {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, forgetWithin)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, m := range a.members.aliveServers() {
		if m.Tags.ID == a.id.NodeID {
			continue
		}
		g.Go(func() error {
			// One that cannot be reached forgets the member by itself in the end.
			if _, err := a.peers.to(m.Tags.PeerAddr).ForceLeave(ctx, id, true, api.WriteOptions{}); err != nil {
				a.log.Debug("a server did not forget a dead member", "server", m.Tags.Name, "node_id", id, "error", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// HostStats measures the machine.
func (a *Agent) HostStats(ctx context.Context) (*api.HostStats, error) {
	m, err := runtime.MeasureHost(ctx, runtime.HostRoot, a.cfg.DataDir, os.Getpid())
	if errors.Is(err, os.ErrNotExist) {
		return nil, api.NewError(api.CodeUnavailable, "", "this machine does not say how it is used: %s", err)
	}
	if err != nil {
		return nil, fmt.Errorf("measure the machine: %w", err)
	}
	return &api.HostStats{
		NodeID: a.id.NodeID, Timestamp: time.Now().UnixNano(), Uptime: int64(m.Uptime.Seconds()), CPUPercent: m.CPUPercent, Cores: m.Cores,
		Load1: m.Load[0], Load5: m.Load[1], Load15: m.Load[2], MemTotal: m.MemTotal, MemUsed: m.MemUsed,
		DiskPath: a.cfg.DataDir, DiskTotal: m.DiskTotal, DiskUsed: m.DiskUsed, Goroutines: goruntime.NumGoroutine(), AgentRSS: m.RSS,
	}, nil
}
