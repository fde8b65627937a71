package runtime_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

func TestCoreLists(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "0": "0", "0-3": "0-3", "3,1,2": "1-3", " 0-1,4 ,6-7\n": "0-1,4,6-7", "5,5,5-6": "5-6", "0,2,4": "0,2,4",
	} {
		cores, err := runtime.ParseCores(text)
		if got := runtime.FormatCores(cores); got != want || err != nil {
			t.Errorf("%q is %v (%q), %v; want %q", text, cores, got, err, want)
		}
	}
	for _, bad := range []string{"a", "1-", "-1", "3-1", "0-99999999999", "1;2", "0-70000"} {
		if cores, err := runtime.ParseCores(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, cores)
		}
	}
}

func FuzzParseCores(f *testing.F) {
	f.Add("0-2,5")
	f.Fuzz(func(t *testing.T, text string) {
		cores, err := runtime.ParseCores(text)
		if err != nil {
			return
		}
		again, err := runtime.ParseCores(runtime.FormatCores(cores))
		if err != nil || !slices.Equal(cores, again) {
			t.Errorf("%q is %v, then %v, %v", text, cores, again, err)
		}
	})
}

func TestCpusetFiles(t *testing.T) {
	for name, layout := range map[string]struct{ probe, group string }{
		"v1": {"cpuset/cpuset.cpus", "cpuset/drover/n/a/t/cpuset.cpus"},
		"v2": {"cpuset.cpus.effective", "drover/n/a/t/cpuset.cpus"},
	} {
		mount := t.TempDir()
		if _, err := runtime.OpenCpusets(mount); err == nil {
			t.Errorf("%s: found in an empty directory", name)
		}
		writeTree(t, mount, map[string]string{layout.probe: "0-3\n", layout.group: "0-3"})
		if name == "v2" {
			writeTree(t, mount, map[string]string{"cgroup.controllers": "cpu", "cgroup.subtree_control": ""})
		}
		c := runtime.CpusetsAt(mount, filepath.Dir(layout.probe), []int{0, 1, 2, 3})
		if err := c.Pin("/drover/n/a/t", []int{1, 2}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(filepath.Join(mount, layout.group)); string(got) != "1-2" {
			t.Errorf("%s: the group has cores %q", name, got)
		}
		if err := c.Pin("/drover/n/a/gone", []int{1}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a group that is not there: %v", name, err)
		}
		for _, path := range []string{"", "/", "drover", "/drover/../x"} {
			if err := c.Pin(path, []int{1}); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: pinned %q: %v", name, path, err)
			}
		}
	}
}

// TestCpusetsOfThisMachine tries the kernel's own.
func TestCpusetsOfThisMachine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c, err := runtime.OpenCpusets("/sys/fs/cgroup")
	if err != nil {
		t.Skip("cores cannot be kept apart here:", err)
	}
	if len(c.Cores()) == 0 || !slices.IsSorted(c.Cores()) {
		t.Errorf("cores %v", c.Cores())
	}
}

// desk is what keeps tasks on cores in a simulation.
type desk struct {
	mu     sync.Mutex
	groups map[string]string
	refuse bool
	writes int
}

func (d *desk) pin(path string, cores []int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse {
		return errors.New("busy")
	}
	d.writes++
	d.groups[path] = runtime.FormatCores(cores)
	return nil
}

func (d *desk) has(alloc, task string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.groups["/drover/node-1/"+alloc+"/"+task]
}

// change alters the desk while the runner may write at it.
func (d *desk) change(how func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how()
}

func (d *desk) wrote() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// fourCores lets a rig have cores 0 to 3 of 2000 MHz.
func (g *rig) fourCores() *desk {
	d := &desk{groups: map[string]string{}}
	g.change = func(c *runtime.Config) {
		node := *c.Node()
		node.Resources.Cores, node.Resources.MHzPerCore = []int{0, 1, 2, 3}, 2000
		c.Node = func() *state.Node { return &node }
		c.Cgroup, c.Pin = "/drover/node-1", d.pin
	}
	g.reopen()
	return d
}

func withCores(id string, cores ...int) runtime.Assigned {
	t := task("a", nil)
	t.Resources = state.Resources{Cores: len(cores), MemoryMB: 100}
	as := service(t, task("b", nil))
	as.Alloc.ID, as.Alloc.Resources.Cores = id, cores
	return as
}

// TestCoresOfTheirOwn: tasks with reserved cores run on them, all others on the rest, whoever came first, and on all again when
// the reservation ends.
func TestCoresOfTheirOwn(t *testing.T) {
	const first, second, third = "a1b2c3d4-0000-8000-8000-00000000000a", "a1b2c3d4-0000-8000-8000-00000000000b", "a1b2c3d4-0000-8000-8000-00000000000c"
	bubble(t, func(t *testing.T, g *rig) {
		d := g.fourCores()
		plain := service(task("a", nil))
		plain.Alloc.ID = first
		g.run(plain)
		if got, want := g.limits(first, "a").Cores, []int{0, 1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("alone it starts on %v, want %v", got, want)
		}
		g.run(withCores(second, 3, 1))
		if got := d.has(first, "a"); got != "0,2" {
			t.Errorf("the first is on cores %q, want 0,2", got)
		}
		if own, sibling := g.limits(second, "a").Cores, g.limits(second, "b").Cores; !slices.Equal(own, []int{3, 1}) || !slices.Equal(sibling, []int{0, 2}) {
			t.Errorf("the second starts on %v, its sibling on %v", own, sibling)
		}
		spec, _ := g.m.Spec(runtime.TaskID{AllocID: second, Task: "a"})
		if spec.Env["NOMAD_CPU_CORES"] != "1,3" || spec.Env["DROVER_CPU_CORES"] != "1,3" || spec.Env["NOMAD_CPU_LIMIT"] != "4000" {
			t.Errorf("environment: cores %q, limit %q", spec.Env["NOMAD_CPU_CORES"], spec.Env["NOMAD_CPU_LIMIT"])
		}
		if got, want := spec.Limits.CPUShares, int64(2*1024); got != want {
			t.Errorf("%d shares, want %d", got, want)
		}
		last := service(task("a", nil))
		last.Alloc.ID = third
		g.run(last)
		if got := g.limits(third, "a").Cores; !slices.Equal(got, []int{0, 2}) {
			t.Errorf("the third starts on %v", got)
		}

		g.kill() // the next life of the agent knows nothing of what it wrote
		d.change(func() { d.groups = map[string]string{} })
		g.open()
		synctest.Wait()
		if d.has(first, "a") != "0,2" || d.has(second, "a") != "1,3" || d.has(second, "b") != "0,2" {
			t.Errorf("after a restart: %v", d.groups)
		}
		writes := d.wrote()
		g.sleep(5 * time.Minute)
		if now := d.wrote(); now != writes {
			t.Errorf("%d writes although nothing changed", now-writes)
		}

		d.change(func() { d.refuse = true })
		g.stop(second)
		g.sleep(time.Minute)
		d.change(func() { d.refuse = false })
		g.sleep(2 * time.Minute)
		if d.has(first, "a") != "0-3" || d.has(third, "a") != "0-3" {
			t.Errorf("after the reservation ended: %v", d.groups)
		}
	})
}

func (g *rig) limits(alloc, task string) runtime.Limits {
	g.t.Helper()
	spec, ok := g.m.Spec(runtime.TaskID{AllocID: alloc, Task: task})
	if !ok {
		g.t.Fatalf("task %s of %s does not run: %s", task, alloc, describe(g.view(alloc)))
	}
	return spec.Limits
}

// TestAllCoresHeld: a node that shrank leaves nobody without a core.
func TestAllCoresHeld(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.fourCores()
		g.run(withCores(allocID, 0, 1, 2, 3))
		if got := g.limits(allocID, "b").Cores; !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("the task without cores of its own starts on %v", got)
		}
	})
}

func TestMemoryThatMayGrow(t *testing.T) {
	for _, granted := range []bool{false, true} {
		bubble(t, func(t *testing.T, g *rig) {
			a := task("a", nil)
			a.Resources = state.Resources{CPU: 100, MemoryMB: 100, MemoryMaxMB: 400}
			as := service(a)
			want := runtime.Limits{MemoryMB: 100}
			if granted {
				as.Alloc.Resources.MemoryMaxMB = 400
				want = runtime.Limits{MemoryMB: 400, MemorySoftMB: 100}
			}
			g.run(as)
			got := g.limits(allocID, "a")
			if got.MemoryMB != want.MemoryMB || got.MemorySoftMB != want.MemorySoftMB {
				t.Errorf("granted %v: limits %+v", granted, got)
			}
			spec, _ := g.m.Spec(taskA)
			if v, ok := spec.Env["NOMAD_MEMORY_MAX_LIMIT"]; ok != granted || granted && v != "400" || spec.Env["NOMAD_MEMORY_LIMIT"] != "100" {
				t.Errorf("granted %v: max %q, limit %q", granted, v, spec.Env["NOMAD_MEMORY_LIMIT"])
			}
		})
	}
}

func gpus() []runtime.HostDevice {
	return []runtime.HostDevice{{
		NodeDevice: state.NodeDevice{Vendor: "nvidia", Type: "gpu", Name: "t4", Instances: []state.DeviceInstance{{ID: "GPU-1", Healthy: true}, {ID: "GPU-2", Healthy: true}}},
		Paths:      []string{"/dev/nvidiactl"}, InstPaths: map[string][]string{"GPU-1": {"/dev/nvidia0"}, "GPU-2": {"/dev/nvidia1"}},
		Env: map[string]string{"NVIDIA_VISIBLE_DEVICES": "{ids}"},
	}, {
		NodeDevice: state.NodeDevice{Vendor: "linux", Type: "vhost-net", Name: "vhost-net", Shared: true, Instances: []state.DeviceInstance{{ID: "/dev/vhost-net", Healthy: true}}},
		InstPaths:  map[string][]string{"/dev/vhost-net": {"/dev/vhost-net"}},
	}}
}

func TestDevicesOfATask(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		devices := gpus()
		g.change = func(c *runtime.Config) { c.Devices = func() []runtime.HostDevice { return devices } }
		g.reopen()
		a := task("a", nil)
		a.Resources.Devices = []state.RequestedDevice{{Name: "gpu", Count: 2}, {Name: "vhost-net", Count: 1}}
		as := service(task("z", nil), a)
		as.Alloc.Resources.Devices = []state.AllocDevice{
			{Vendor: "nvidia", Type: "gpu", Name: "t4", IDs: []string{"GPU-2", "GPU-1"}}, {Vendor: "linux", Type: "vhost-net", Name: "vhost-net", IDs: []string{"/dev/vhost-net"}},
		}
		g.run(as)
		spec, _ := g.m.Spec(taskA)
		if got, want := fmt.Sprint(spec.Devices), "[{/dev/nvidiactl rwm} {/dev/nvidia1 rwm} {/dev/nvidia0 rwm} {/dev/vhost-net rwm}]"; got != want {
			t.Errorf("devices %s, want %s", got, want)
		}
		for name, want := range map[string]string{
			"NVIDIA_VISIBLE_DEVICES": "GPU-2,GPU-1", "DROVER_DEVICE_GPU": "GPU-2,GPU-1", "NOMAD_DEVICE_GPU": "GPU-2,GPU-1", "DROVER_DEVICE_VHOST_NET": "/dev/vhost-net",
		} {
			if spec.Env[name] != want {
				t.Errorf("%s is %q, want %q", name, spec.Env[name], want)
			}
		}
		other, _ := g.m.Spec(runtime.TaskID{AllocID: allocID, Task: "z"})
		if len(other.Devices) > 0 || other.Env["NVIDIA_VISIBLE_DEVICES"] != "" {
			t.Errorf("the other task has %v", other.Devices)
		}
		devices = nil
		as.Alloc.ID = "a1b2c3d4-0000-8000-8000-00000000000b"
		g.run(as)
		rep := g.wantStatus(as.Alloc.ID, state.ClientFailed)
		if text := describe(rep); !strings.Contains(text, "device nvidia/gpu/t4 is not on this machine any more") {
			t.Errorf("%s", text)
		}
	})
}

func TestMergeDevices(t *testing.T) {
	found := gpus()
	configured := []runtime.HostDevice{{
		NodeDevice: state.NodeDevice{Vendor: "acme", Type: "card", Name: "x", Instances: []state.DeviceInstance{{ID: "c0", Healthy: true}}},
		InstPaths:  map[string][]string{"c0": {"/dev/nvidia1"}},
	}}
	var got []string
	for _, d := range runtime.MergeDevices(configured, found) {
		for _, in := range d.Instances {
			got = append(got, d.ID()+"="+in.ID)
		}
	}
	if want := "[acme/card/x=c0 linux/vhost-net/vhost-net=/dev/vhost-net nvidia/gpu/t4=GPU-1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if len(found[0].Instances) != 2 {
		t.Error("what was found was changed")
	}
	configured[0].NodeDevice = state.NodeDevice{Vendor: "nvidia", Type: "gpu", Name: "t4", Instances: []state.DeviceInstance{{ID: "mine", Healthy: true}}}
	if got := runtime.MergeDevices(configured, found); len(got) != 2 || got[1].Instances[0].ID != "mine" {
		t.Errorf("the configuration's word does not count: %+v", got)
	}
}

func TestFindDevices(t *testing.T) {
	root := t.TempDir()
	if got := runtime.FindDevices(root); len(got) != 0 {
		t.Errorf("an empty machine has %+v", got)
	}
	info := func(model, uuid, minor string) string {
		return "Model: \t\t " + model + "\nIRQ:   \t\t 38\nGPU UUID: \t " + uuid + "\nBus Location: \t 0000:3b:00.0\nDevice Minor: \t " + minor + "\n"
	}
	writeTree(t, root, map[string]string{
		"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": "", "dev/nvidia-uvm": "", "dev/kvm": "", "dev/net/tun": "",
		"dev/dri/renderD128": "", "dev/dri/renderD129": "", "dev/dri/renderD130": "", "dev/kfd": "",
		"proc/driver/nvidia/version":                       "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\nGCC version:  gcc version 12.2.0\n",
		"proc/driver/nvidia/gpus/0000:3b:00.0/information": info("Tesla T4", "GPU-aaaa", "0"),
		"proc/driver/nvidia/gpus/0000:5e:00.0/information": info("Tesla T4", "GPU-????????-????", "1"),
		"proc/driver/nvidia/gpus/0000:af:00.0/information": info("Tesla T4", "GPU-cccc", "2"), // without a device node
		"sys/class/drm/renderD128/device/vendor":           "0x8086\n", "sys/class/drm/renderD128/device/device": "0x9bc8\n",
		"sys/class/drm/renderD129/device/vendor": "0x10de\n", "sys/class/drm/renderD129/device/device": "0x1eb8\n",
		"sys/class/drm/renderD130/device/vendor": "0x1002\n", "sys/class/drm/renderD130/device/device": "0x73bf\n",
	})
	var got []string
	for _, d := range runtime.FindDevices(root) {
		for _, in := range d.Instances {
			got = append(got, fmt.Sprint(d.ID(), " ", in.ID, " ", d.Paths, d.InstPaths[in.ID], d.Shared, d.Attributes, d.Env))
		}
	}
	want := []string{
		"amd/gpu/0x73bf /dev/dri/renderD130 [/dev/kfd] [/dev/dri/renderD130] false map[] map[]",
		"intel/gpu/0x9bc8 /dev/dri/renderD128 [] [/dev/dri/renderD128] false map[] map[]",
		"linux/kvm/kvm /dev/kvm [] [/dev/kvm] true map[] map[]",
		"linux/tun/tun /dev/net/tun [] [/dev/net/tun] true map[] map[]",
		"nvidia/gpu/Tesla T4 GPU-aaaa [/dev/nvidiactl /dev/nvidia-uvm] [/dev/nvidia0] false map[driver_version:550.54.14 model:Tesla T4] map[NVIDIA_VISIBLE_DEVICES:{ids}]",
		"nvidia/gpu/Tesla T4 /dev/nvidia1 [/dev/nvidiactl /dev/nvidia-uvm] [/dev/nvidia1] false map[driver_version:550.54.14 model:Tesla T4] map[NVIDIA_VISIBLE_DEVICES:{ids}]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	n := state.Node{ID: "n", Name: "n", Datacenter: "d", NodePool: "default"}
	n.Resources.Devices = runtime.NodeDevices(runtime.FindDevices(root))
	if err := n.Validate(); err != nil {
		t.Errorf("the cluster does not take them: %v", err)
	}
}
