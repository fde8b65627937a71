package agent

import (
	"context"
	"strconv"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

// Stats reads what the running tasks of an allocation use.
func (c *client) Stats(ctx context.Context, allocID string) (*api.AllocStats, error) {
	used, err := c.runner.Usage(ctx, []string{allocID})
	if err != nil {
		return nil, insideError(err)
	}
	stats := c.allocStats(used)[allocID]
	if stats.Tasks == nil {
		stats = api.AllocStats{Tasks: map[string]api.TaskStats{}, Timestamp: time.Now().UnixNano()}
	}
	return &stats, nil
}

// allocStats sums readings up by allocation.
func (c *client) allocStats(used map[runtime.TaskID]runtime.TaskUsage) map[string]api.AllocStats {
	mhz, _ := strconv.ParseFloat(c.current().Attributes["cpu.frequency"], 64) // absent where the machine does not say: 0
	out := map[string]api.AllocStats{}
	for id, u := range used {
		a := out[id.AllocID]
		if a.Tasks == nil {
			a.Tasks = map[string]api.TaskStats{}
		}
		one := api.ResourceUsage{
			CpuStats: api.CPUStats{
				Percent: u.CPUPercent, TotalTicks: u.CPUPercent / 100 * mhz, TotalNanos: u.CPUNanos,
				ThrottledPeriods: u.ThrottledPeriods, ThrottledTime: u.ThrottledNanos,
			},
			MemoryStats: api.MemoryStats{Usage: u.MemoryBytes, RSS: u.MemoryRSS, Cache: u.MemoryCache, Limit: u.MemoryLimit},
			Processes:   u.Pids,
		}
		a.Tasks[id.Task] = api.TaskStats{ResourceUsage: one, Timestamp: u.At.UnixNano()}
		a.ResourceUsage.Add(one)
		a.Timestamp = max(a.Timestamp, u.At.UnixNano())
		out[id.AllocID] = a
	}
	return out
}

// MachineStats reads what each allocation of this machine uses.
func (c *client) MachineStats(ctx context.Context) (*api.MachineStats, error) {
	used, err := c.runner.Usage(ctx, c.runner.Running())
	if err != nil {
		return nil, insideError(err)
	}
	return &api.MachineStats{NodeID: c.a.id.NodeID, Allocs: c.allocStats(used), Timestamp: time.Now().UnixNano()}, nil
}
