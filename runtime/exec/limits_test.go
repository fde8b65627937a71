package exec

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/runtime"
)

// limited is a bench with cgroups, or the test is skipped.
func limited(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	if b.driver.groups.version == CgroupsNone {
		t.Skip("needs cgroups (root)")
	}
	return b
}

func TestOutOfMemoryIsSaid(t *testing.T) {
	b := limited(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := b.spec("")
	spec.Config = map[string]any{"command": self}
	spec.Env[helperEnv] = "eat"
	spec.Limits.MemoryMB = 64
	b.start(spec)
	b.open() // the agent that reads the counter need not be the one that started the task
	if x := b.wait(spec.ID); !x.OOM || x.Signal != int(syscall.SIGKILL) || x.Unknown {
		t.Errorf("got %+v", x)
	}

	spec = b.spec(self + " & wait; echo alive; exit 0") // a child of it
	spec.Env[helperEnv], spec.Env["ENV"] = "eat", ""
	spec.Limits.MemoryMB = 64
	b.start(spec)
	if x := b.wait(spec.ID); !x.OOM || x.Code != 0 || x.Success() {
		t.Errorf("child: got %+v", x)
	}
	b.printed("alive")

	spec = b.spec("exit 0")
	spec.Limits.MemoryMB = 10 // the least that a job may ask for
	b.start(spec)
	if x := b.wait(spec.ID); !x.Success() {
		t.Errorf("a small task that fits: got %+v", x)
	}
}

func TestPidsLimit(t *testing.T) {
	b := limited(t)
	spec := b.spec(`i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; echo all`)
	spec.Limits.Pids = 20
	b.start(spec)
	if x := b.wait(spec.ID); x.Code == 0 {
		t.Errorf("got %+v, %q", x, b.read("out"))
	}
	if got := b.read("err"); !strings.Contains(got, "fork") {
		t.Errorf("got %q", got)
	}
	spec.Limits.Pids = 100
	b.start(spec)
	if x := b.wait(spec.ID); x.Code != 0 {
		t.Errorf("with room: got %+v, %q", x, b.read("err"))
	}
}

// A fork bomb is ended by Remove, also without a PID namespace.
func TestForkBomb(t *testing.T) {
	isolated(t, func(b *bench) {
		if b.driver.groups.version == CgroupsNone {
			b.Skip("needs cgroups (root)")
		}
		spec := b.spec(`echo ready; f() { f | f & }; while :; do f; done`)
		spec.Limits.Pids = 50
		b.start(spec)
		b.printed("ready")
		b.remove(spec.ID)
	})
}

func TestLimitsAreWritten(t *testing.T) {
	b := limited(t)
	if b.driver.groups.version != CgroupsV1 {
		t.Skip("needs cgroups v1")
	}
	spec := b.spec(`exec sleep 1000`)
	spec.Limits = runtime.Limits{CPUShares: 512, MemoryMB: 32, MemorySoftMB: 16, Pids: 30}
	b.start(spec)
	for file, want := range map[string]string{"memory/memory.limit_in_bytes": "33554432", "memory/memory.soft_limit_in_bytes": "16777216", "cpu/cpu.shares": "512", "pids/pids.max": "46"} {
		controller, name := filepath.Split(file)
		data, err := os.ReadFile(filepath.Join(b.driver.groups.roots[filepath.Clean(controller)], b.cgroup, name))
		if got := strings.TrimSpace(string(data)); err != nil || got != want {
			t.Errorf("%s: got %s, want %s (%v)", file, got, want, err)
		}
	}
}

// TestCoresAreKept: a task sees no cores but its own, and those that it is moved to while it runs.
func TestCoresAreKept(t *testing.T) {
	b := limited(t)
	sets, err := runtime.OpenCpusets("/sys/fs/cgroup")
	if err != nil || len(sets.Cores()) < 2 {
		t.Skip("needs cpusets and two cores:", err)
	}
	first, last := sets.Cores()[0], sets.Cores()[len(sets.Cores())-1]
	spec := b.spec(`while :; do grep Cpus_allowed_list /proc/self/status; sleep 0.05; done`)
	spec.Limits.Cores = []int{last}
	b.start(spec)
	b.printed("Cpus_allowed_list:\t" + runtime.FormatCores([]int{last}) + "\n")
	if err := sets.Pin(b.cgroup, []int{first}); err != nil {
		t.Fatal(err)
	}
	b.printed("Cpus_allowed_list:\t" + runtime.FormatCores([]int{first}) + "\n")
	b.remove(spec.ID)
	if err := sets.Pin(b.cgroup, []int{first}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its cpuset is left behind: %v", err)
	}
}

// What another run left in a group of the same name is no part of this one.
func TestOldGroupIsDestroyed(t *testing.T) {
	b := limited(t)
	squatter := osexec.Command("sleep", "1000")
	if err := squatter.Start(); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.groups.create(b.ctx(), b.cgroup, runtime.Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.groups.add(b.cgroup, squatter.Process.Pid); err != nil {
		t.Fatal(err)
	}
	spec := b.spec(`exit 0`)
	b.start(spec)
	if err := squatter.Wait(); err == nil {
		t.Error("the squatter ended well")
	}
	if x := b.wait(spec.ID); !x.Success() {
		t.Errorf("got %+v", x)
	}
}

func TestBadGroupPaths(t *testing.T) {
	for _, path := range []string{"/", "relative", "/a/../..", "/a/"} {
		if err := (cgroups{version: CgroupsV1}).create(context.Background(), path, runtime.Limits{}); err == nil {
			t.Errorf("%q: want an error", path)
		}
	}
}

func TestMountedCgroups(t *testing.T) {
	for name, c := range map[string]struct {
		mounts string
		want   map[string]string
	}{
		CgroupsV1: {`25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
29 25 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd`,
			map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"}},
		CgroupsV2:   {`30 1 0:25 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate`, map[string]string{"": "/sys/fs/cgroup"}},
		CgroupsNone: {"22 1 8:1 / / rw - ext4 /dev/sda1 rw\nshort line", nil},
	} {
		got := mountedCgroups(bufio.NewScanner(strings.NewReader(c.mounts)))
		if diff := cmp.Diff(c.want, got.roots); got.version != name || diff != "" {
			t.Errorf("%s: got %s %s", name, got.version, diff)
		}
	}
}

// Version 2 on plain files: what is written where. Its life on a real kernel is TestGroupV2.
func TestLimitsV2(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pids.max", "cpu.weight", "memory.swap.max", "memory.max", "memory.events"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := cgroups{version: CgroupsV2, roots: map[string]string{"": filepath.Dir(dir)}}
	if err := g.limit("", dir, runtime.Limits{CPUShares: 1024, MemoryMB: 1, Pids: 5}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"pids.max": "21", "cpu.weight": "39", "memory.swap.max": "0", "memory.max": "1048576"} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	_ = os.WriteFile(filepath.Join(dir, "memory.events"), []byte("low 0\noom 2\noom_kill 3\noom_group_kill 0\n"), 0o600)
	if got := g.oomKills("/" + filepath.Base(dir)); got != 3 {
		t.Errorf("oom_kill: got %d", got)
	}
	if err := g.limit("", t.TempDir(), runtime.Limits{MemoryMB: 1}); err == nil {
		t.Error("a memory limit that cannot be set must be an error")
	}
}

// The life of a v2 group, without controllers, on a machine that has the hierarchy mounted.
func TestGroupV2(t *testing.T) {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	root := ""
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, " - cgroup2 ") {
			root = strings.Fields(line)[4]
		}
	}
	if root == "" || os.Geteuid() != 0 {
		t.Skip("needs a cgroup2 mount and root")
	}
	g := cgroups{version: CgroupsV2, roots: map[string]string{"": root}}
	path := "/drover-test-v2/a"
	if err := os.MkdirAll(filepath.Join(root, path, "inner"), 0o755); err != nil {
		t.Skip("cannot make groups: ", err)
	}
	sleep := osexec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.add(path+"/inner", sleep.Process.Pid); err != nil {
		t.Error(err)
	}
	ended := make(chan error)
	go func() { ended <- sleep.Wait() }()
	if err := g.destroy(context.Background(), path); err != nil {
		t.Error(err)
	}
	<-ended
	if _, err := os.Stat(filepath.Join(root, "drover-test-v2")); err == nil {
		t.Error("the empty parent is left")
	}
}

// TestHalfMadeParent: a parent that another task's start has given cores but no memory nodes yet takes processes in all the same.
func TestHalfMadeParent(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "half")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(above, "cpuset.cpus"): "0-1\n", filepath.Join(above, "cpuset.mems"): "0\n",
		filepath.Join(dir, "cpuset.cpus"): "0-1\n", filepath.Join(dir, "cpuset.mems"): "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := inheritCores(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "cpuset.mems")); err != nil || strings.TrimSpace(string(got)) != "0" {
		t.Errorf("memory nodes %q, %v", got, err)
	}
}
