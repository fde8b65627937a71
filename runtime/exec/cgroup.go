package exec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/runtime"
)

const (
	// defaultPids bounds the processes and threads of a task that sets no limit: enough for any, too few for a fork bomb.
	defaultPids = 4096
	// initThreads is what the init process takes of the bound, amply; a task gets its limit on top.
	initThreads = 16
	minShares   = 2
	// cpuset is the controller that keeps a group on some cores. With v1 its groups take nobody in before they have cores.
	cpuset    = "cpuset"
	maxShares = 262144
)

// cgroups are the control groups of this machine, as files.
type cgroups struct {
	version string
	// roots are the mount points to make a task's directory in: by controller ("memory", "cpu", "cpuacct", "pids", "cpuset") with v1,
	// one, named "", with v2. Only controllers that work.
	roots map[string]string
}

// probeCgroups finds the mounted controllers and tries to make a group.
func probeCgroups(log hclog.Logger) cgroups {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return cgroups{version: CgroupsNone}
	}
	defer f.Close()
	g := mountedCgroups(bufio.NewScanner(f))
	if g.version == CgroupsNone {
		return g
	}
	err = g.try()
	if err != nil && g.roots[cpuset] != "" { // containers may be let into the others alone
		log.Debug("cpusets do not work here", "error", err)
		delete(g.roots, cpuset)
		err = g.try()
	}
	if err != nil {
		log.Debug("cgroups do not work here", "version", g.version, "error", err)
		return cgroups{version: CgroupsNone}
	}
	return g
}

// mountedCgroups reads /proc/self/mountinfo. A machine with both versions has the controllers in v1.
func mountedCgroups(lines *bufio.Scanner) cgroups {
	v1, v2 := map[string]string{}, ""
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		sep := slices.Index(f, "-")
		if sep < 6 || len(f) < sep+4 {
			continue
		}
		switch mount := f[4]; f[sep+1] {
		case "cgroup2":
			v2 = mount
		case "cgroup":
			for _, controller := range strings.Split(f[sep+3], ",") {
				if slices.Contains([]string{"memory", "cpu", "cpuacct", "pids", "cpuset"}, controller) {
					v1[controller] = mount
				}
			}
		}
	}
	switch {
	case v1["memory"] != "":
		return cgroups{version: CgroupsV1, roots: v1}
	case v2 != "":
		return cgroups{version: CgroupsV2, roots: map[string]string{"": v2}}
	}
	return cgroups{version: CgroupsNone}
}

// try makes a group, sets its limits and removes it.
func (g cgroups) try() error {
	path := fmt.Sprintf("/drover-probe-%d", os.Getpid())
	ctx := context.Background()
	return errors.Join(g.create(ctx, path, runtime.Limits{CPUShares: 1024, MemoryMB: 64, Pids: 64}), g.destroy(ctx, path))
}

// create makes the group with its limits. One of that name that exists is destroyed first: its counters are another run's.
func (g cgroups) create(ctx context.Context, path string, l runtime.Limits) error {
	if path == "" {
		return nil
	}
	if filepath.Clean(path) != path || !filepath.IsAbs(path) || path == "/" {
		return fmt.Errorf("bad cgroup path %q", path)
	}
	if err := g.destroy(ctx, path); err != nil {
		return err
	}
	for controller, root := range g.roots {
		dir := filepath.Join(root, path)
		if err := g.mkdir(root, path, controller == cpuset); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := g.limit(controller, dir, l); err != nil {
			return fmt.Errorf("limit cgroup: %w", err)
		}
	}
	return nil
}

// mkdir makes the group's directory and its parents. Another task's end may remove an empty parent meanwhile: try again.
func (g cgroups) mkdir(root, path string, cores bool) error {
	var err error
	for range 10 {
		if err = g.mkdirOnce(root, path, cores); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func (g cgroups) mkdirOnce(root, path string, cores bool) error {
	dir := root
	for _, part := range strings.Split(path[1:], "/") {
		if g.version == CgroupsV2 {
			if err := delegate(dir); err != nil {
				return err
			}
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if cores {
			if err := inheritCores(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCores gives a v1 group the cores and the memory nodes of its parent where it has none yet.
func inheritCores(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			continue // another task's start may have come as far as this: the rest is still to do
		}
		above, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, name), strings.TrimSpace(string(above))); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets the children of a v2 group have the controllers. Memory is needed, the others are taken if there.
func delegate(dir string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	for _, controller := range []string{"memory", "cpu", "pids", cpuset} {
		if err := write(file, "+"+controller); err != nil && controller == "memory" {
			return fmt.Errorf("delegate the memory controller: %w", err)
		}
	}
	return nil
}

// limit writes the limits that a controller keeps.
func (g cgroups) limit(controller, dir string, l runtime.Limits) error {
	pids := l.Pids
	if pids <= 0 {
		pids = defaultPids
	}
	pids += initThreads
	shares := min(max(l.CPUShares, minShares), maxShares)
	memory := l.MemoryMB << 20
	set := func(name string, value int64) error {
		return write(filepath.Join(dir, name), strconv.FormatInt(value, 10))
	}
	switch {
	case g.version == CgroupsV2:
		// A controller that is not there has no file to write to; memory is, or delegate had failed.
		_ = set("pids.max", pids)
		if l.CPUShares > 0 {
			_ = set("cpu.weight", 1+(shares-minShares)*9999/(maxShares-minShares)) // the OCI runtimes' formula
		}
		if err := g.pin(dir, l.Cores); err != nil {
			return err
		}
		if soft := l.MemorySoftMB << 20; soft > 0 {
			_ = set("memory.low", soft)
		}
		if memory > 0 {
			_ = set("memory.swap.max", 0)
			return set("memory.max", memory)
		}
	case controller == cpuset:
		return g.pin(dir, l.Cores)
	case controller == "pids":
		return set("pids.max", pids)
	case controller == "cpu" && l.CPUShares > 0:
		return set("cpu.shares", shares)
	case controller == "memory" && memory > 0:
		if err := set("memory.limit_in_bytes", memory); err != nil {
			return err
		}
		_ = set("memory.memsw.limit_in_bytes", memory) // only where the kernel counts swap
		if soft := l.MemorySoftMB << 20; soft > 0 {
			_ = set("memory.soft_limit_in_bytes", soft)
		}
	}
	return nil
}

// pin keeps a group on cores; none means all.
func (g cgroups) pin(dir string, cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	if err := write(filepath.Join(dir, "cpuset.cpus"), runtime.FormatCores(cores)); err != nil {
		return fmt.Errorf("keep it on cores %s: %w", runtime.FormatCores(cores), err)
	}
	return nil
}

// add moves a process into the group.
func (g cgroups) add(path string, pid int) error {
	if path == "" {
		return nil
	}
	for _, root := range g.roots {
		if err := write(filepath.Join(root, path, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process into cgroup: %w", err)
		}
	}
	return nil
}

// holds reports whether a process is in the group.
func (g cgroups) holds(path string, pid int) bool {
	if path == "" || len(g.roots) == 0 {
		return false
	}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // 4:memory:/path
		if len(f) < 3 || f[2] != path {
			continue
		}
		if g.version == CgroupsV2 && f[0] == "0" || g.version == CgroupsV1 && slices.Contains(strings.Split(f[1], ","), "memory") {
			return true
		}
	}
	return false
}

// oomKills is how many processes of the group the kernel has killed for memory; 0 when the group is gone.
func (g cgroups) oomKills(path string) int {
	if path == "" {
		return 0
	}
	file := filepath.Join(g.roots["memory"], path, "memory.oom_control")
	if g.version == CgroupsV2 {
		file = filepath.Join(g.roots[""], path, "memory.events")
	}
	data, _ := os.ReadFile(file)
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// destroy kills what is in the group and removes it, with those parents that have become empty.
func (g cgroups) destroy(ctx context.Context, path string) error {
	if path == "" {
		return nil
	}
	for _, root := range g.roots {
		dir := filepath.Join(root, path)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// No more forks, so that killing comes to an end. With v1 that is another controller's directory, of the same path.
		for _, r := range g.roots {
			_ = write(filepath.Join(r, path, "pids.max"), "0")
		}
		if err := until(ctx, func() error { return emptyGroup(dir) }); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		for parent := filepath.Dir(dir); len(parent) > len(root); parent = filepath.Dir(parent) {
			if syscall.Rmdir(parent) != nil {
				break // in use
			}
		}
	}
	return nil
}

// emptyGroup kills the processes in the group and in those below it, and removes its directory.
func emptyGroup(dir string) error {
	_ = write(filepath.Join(dir, "cgroup.kill"), "1") // v2, Linux 5.14
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() { // a task that may write cgroups, systemd for one, has made its own
			_ = emptyGroup(filepath.Join(dir, e.Name()))
		}
	}
	data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	pids := atois(strings.Fields(string(data)))
	for _, pid := range pids {
		if pid > 0 { // 0: a process of a PID namespace that is not ours
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (processes %v)", err, pids)
	}
	return nil
}

// write writes to a file of the kernel's. It creates none.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
