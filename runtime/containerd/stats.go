package containerd

import (
	"context"
	"fmt"
	"math"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/drover-io/drover/runtime"
)

var _ runtime.StatsReader = (*Driver)(nil)

// noLimit is from where on a limit of memory is none: version 1 says the largest number of pages, version 2 the largest number.
const noLimit = math.MaxInt64 &^ 0xFFFF

// Stats reads what a container uses.
func (d *Driver) Stats(ctx context.Context, id runtime.TaskID) (runtime.Usage, error) {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return runtime.Usage{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, metricTimeout)
	defer cancel()
	name := containerID(id)
	task, err := loadTask(ctx, s, name)
	if err != nil && !errdefs.IsNotFound(err) {
		return runtime.Usage{}, explain(err, "look for container %s", name)
	}
	var metric *types.Metric
	if err == nil {
		metric, err = task.Metrics(ctx)
	}
	if errdefs.IsNotFound(err) {
		return runtime.Usage{}, fmt.Errorf("read stats of container %s: %w", name, runtime.ErrNotFound)
	}
	if err != nil {
		return runtime.Usage{}, explain(err, "read stats of container %s", name)
	}
	v, err := typeurl.UnmarshalAny(metric.Data)
	if err != nil {
		return runtime.Usage{}, fmt.Errorf("decode stats of container %s: %w", name, err)
	}
	switch m := v.(type) {
	case *v1.Metrics:
		return usageV1(m), nil
	case *v2.Metrics:
		return usageV2(m), nil
	}
	return runtime.Usage{}, fmt.Errorf("decode stats of container %s: they are of the unknown kind %T", name, v)
}

func usageV1(m *v1.Metrics) runtime.Usage {
	used := m.GetMemory().GetUsage().GetUsage()
	return limited(runtime.Usage{
		CPUNanos:         m.GetCPU().GetUsage().GetTotal(),
		ThrottledPeriods: m.GetCPU().GetThrottling().GetThrottledPeriods(),
		ThrottledNanos:   m.GetCPU().GetThrottling().GetThrottledTime(),
		MemoryBytes:      used - min(used, m.GetMemory().GetTotalInactiveFile()),
		MemoryRSS:        m.GetMemory().GetTotalRSS(),
		MemoryCache:      m.GetMemory().GetTotalCache(),
		MemoryLimit:      m.GetMemory().GetUsage().GetLimit(),
		Pids:             m.GetPids().GetCurrent(),
	})
}

func usageV2(m *v2.Metrics) runtime.Usage {
	used := m.GetMemory().GetUsage()
	return limited(runtime.Usage{
		CPUNanos:         m.GetCPU().GetUsageUsec() * 1000,
		ThrottledPeriods: m.GetCPU().GetNrThrottled(),
		ThrottledNanos:   m.GetCPU().GetThrottledUsec() * 1000,
		MemoryBytes:      used - min(used, m.GetMemory().GetInactiveFile()),
		MemoryRSS:        m.GetMemory().GetAnon(),
		MemoryCache:      m.GetMemory().GetFile(),
		MemoryLimit:      m.GetMemory().GetUsageLimit(),
		Pids:             m.GetPids().GetCurrent(),
	})
}

func limited(u runtime.Usage) runtime.Usage {
	if u.MemoryLimit >= noLimit {
		u.MemoryLimit = 0
	}
	return u
}
