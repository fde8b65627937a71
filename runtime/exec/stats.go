package exec

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/drover-io/drover/runtime"
)

var _ runtime.StatsReader = (*Driver)(nil)

// noLimit is from where on a limit of memory is none: version 1 says the largest number of pages.
const noLimit = math.MaxInt64 &^ 0xFFFF

// Stats reads what the task uses: from its cgroup, or where there are none from its processes.
func (d *Driver) Stats(_ context.Context, id runtime.TaskID) (runtime.Usage, error) {
	name, err := taskName(id)
	if err != nil {
		return runtime.Usage{}, fmt.Errorf("read stats: %w", err)
	}
	t, err := d.load(name)
	if err != nil {
		return runtime.Usage{}, fmt.Errorf("read stats of task %s: %w", name, err)
	}
	init := t.process()
	if init == nil {
		return runtime.Usage{}, fmt.Errorf("read stats of task %s: it has ended: %w", name, runtime.ErrNotFound)
	}
	defer init.close()
	var u runtime.Usage
	switch {
	case t.rec.Cgroup == "" || d.groups.version == CgroupsNone:
		return processUsage(t.rec.PID), nil
	case d.groups.version == CgroupsV2:
		u = readUsageV2(filepath.Join(d.groups.roots[""], t.rec.Cgroup))
	default:
		u = d.groups.readUsageV1(t.rec.Cgroup)
	}
	if own := threads(t.rec.PID); u.Pids > own {
		u.Pids -= own // the init process's, which are nobody's business
	}
	return u, nil
}

// readUsageV2 reads a cgroup of version 2. What cannot be read is 0.
func readUsageV2(dir string) runtime.Usage {
	cpu, memory := pairsOf(dir, "cpu.stat"), pairsOf(dir, "memory.stat")
	current := number(dir, "memory.current")
	u := runtime.Usage{
		CPUNanos: cpu["usage_usec"] * 1000, ThrottledPeriods: cpu["nr_throttled"], ThrottledNanos: cpu["throttled_usec"] * 1000,
		MemoryBytes: current - min(current, memory["inactive_file"]), MemoryRSS: memory["anon"], MemoryCache: memory["file"],
		MemoryLimit: number(dir, "memory.max"), Pids: number(dir, "pids.current"),
	}
	return u
}

// readUsageV1 reads a cgroup of version 1, whose controllers may be mounted apart.
func (g cgroups) readUsageV1(path string) runtime.Usage {
	at := func(controller string) string { return filepath.Join(g.roots[controller], path) }
	cpu, memory := pairsOf(at("cpu"), "cpu.stat"), pairsOf(at("memory"), "memory.stat")
	current := number(at("memory"), "memory.usage_in_bytes")
	u := runtime.Usage{
		CPUNanos: number(at("cpuacct"), "cpuacct.usage"), ThrottledPeriods: cpu["nr_throttled"], ThrottledNanos: cpu["throttled_time"],
		MemoryBytes: current - min(current, memory["total_inactive_file"]), MemoryRSS: memory["total_rss"], MemoryCache: memory["total_cache"],
		MemoryLimit: number(at("memory"), "memory.limit_in_bytes"), Pids: number(at("pids"), "pids.current"),
	}
	if u.MemoryLimit >= noLimit {
		u.MemoryLimit = 0
	}
	return u
}

// number reads a file of one number; 0 for "max" and for what cannot be read.
func number(dir, file string) uint64 {
	data, _ := os.ReadFile(filepath.Join(dir, file)) // gone with the task
	n, _ := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return n
}

// pairsOf reads a file of "name number" lines.
func pairsOf(dir, file string) map[string]uint64 {
	data, _ := os.ReadFile(filepath.Join(dir, file)) // gone with the task
	out := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 {
			out[f[0]], _ = strconv.ParseUint(f[1], 10, 64)
		}
	}
	return out
}

// threads counts a process's threads.
func threads(pid int) uint64 {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // gone with the process
	return uint64(len(entries))
}

// processUsage sums up what the descendants of an init process use, for tasks without a cgroup. What has ended is not in it.
func processUsage(init int) runtime.Usage {
	const tick = uint64(time.Second / 100) // of the interface, on every architecture that Go runs Linux on
	var u runtime.Usage
	for _, pid := range descendants(init) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		s := string(data)
		f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		if len(f) < 22 {
			continue
		}
		at := func(field int) uint64 { // as proc(5) counts
			n, _ := strconv.ParseUint(f[field-3], 10, 64)
			return n
		}
		u.CPUNanos += (at(14) + at(15) + at(16) + at(17)) * tick // with its children that were waited for
		u.MemoryRSS += at(24) * uint64(os.Getpagesize())
		u.Pids += at(20)
	}
	u.MemoryBytes = u.MemoryRSS
	return u
}
