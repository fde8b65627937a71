package runtime_test

import (
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

func writeTree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for path, text := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const cpuinfo = "processor\t: 0\nmodel name\t: Imaginary CPU @ 2.00GHz\ncpu MHz\t\t: 1995.312\n\n" +
	"processor\t: 1\nmodel name\t: Imaginary CPU @ 2.00GHz\ncpu MHz\t\t: 800.000\n"

func TestFingerprintOfAnotherRoot(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  map[string]string
		cpu   int
	}{
		{"cpuinfo only, cgroup v1", map[string]string{
			"proc/cpuinfo": cpuinfo, "proc/meminfo": "MemTotal:        4194304 kB\nMemFree: 1 kB\n",
			"etc/os-release":          "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n",
			"sys/fs/cgroup/memory/x":  "",
			"sys/fs/cgroup/unified/x": "",
		}, map[string]string{
			"cpu.numcores": "2", "cpu.frequency": "1995", "cpu.totalcompute": "3990", "cpu.modelname": "Imaginary CPU @ 2.00GHz",
			"memory.totalbytes": "4294967296", "os.name": "debian", "os.version": "12", "os.cgroups.version": "1",
			"cpu.arch": goruntime.GOARCH, "kernel.name": "linux", "drover.version": "1.2.3", "nomad.version": "1.10.0",
			"unique.hostname": "box", "unique.network.ip-address": "10.1.2.3",
		}, 3990},
		{"base frequency wins, cgroup v2", map[string]string{
			"proc/cpuinfo": cpuinfo, "proc/meminfo": "MemTotal: 4194304 kB\n",
			"sys/devices/system/cpu/cpu0/cpufreq/base_frequency":   "2100000\n",
			"sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "4000000\n",
			"sys/fs/cgroup/cgroup.controllers":                     "cpu memory\n",
		}, map[string]string{"cpu.frequency": "2100", "cpu.totalcompute": "4200", "os.cgroups.version": "2"}, 4200},
		{"no frequency at all", map[string]string{
			"proc/cpuinfo": "processor : 0\nBogoMIPS : 48.00\n", "proc/meminfo": "MemTotal: 4194304 kB\n",
		}, map[string]string{"cpu.totalcompute": "1000"}, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			writeTree(t, root, c.files)
			cfg := runtime.DefaultHostConfig()
			cfg.Root, cfg.DataDir, cfg.Version, cfg.Hostname, cfg.HostIP = root, root, "1.2.3", "box", "10.1.2.3"
			attrs, res, err := runtime.FingerprintHost(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for k, want := range c.want {
				if attrs[k] != want {
					t.Errorf("%s is %q, want %q", k, attrs[k], want)
				}
			}
			if res.CPU != c.cpu || res.MemoryMB != 4096 || res.DiskMB <= 0 || res.MinDynamicPort != 20000 || res.MaxDynamicPort != 32000 {
				t.Errorf("%+v", res)
			}
			cfg.Reserved = runtime.Reserved{CPU: 500, MemoryMB: 1024, DiskMB: 1 << 40, Ports: []int{22}}
			_, less, err := runtime.FingerprintHost(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if less.CPU != c.cpu-500 || less.MemoryMB != 3072 || less.DiskMB != 0 || len(less.ReservedPorts) != 1 {
				t.Errorf("with reserves: %+v", less)
			}
			cfg.Overrides = state.NodeResources{CPU: 9000, MemoryMB: 5000}
			attrs, more, err := runtime.FingerprintHost(cfg)
			if err != nil || more.CPU != 8500 || more.MemoryMB != 3976 || attrs["cpu.totalcompute"] != "9000" {
				t.Errorf("with overrides: %+v, %v, %s", more, err, attrs["cpu.totalcompute"])
			}
		})
	}
}

func TestFingerprintOfThisMachine(t *testing.T) {
	cfg := runtime.DefaultHostConfig()
	cfg.DataDir = t.TempDir()
	attrs, res, err := runtime.FingerprintHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Fields("kernel.name kernel.version kernel.arch cpu.arch cpu.numcores cpu.totalcompute cpu.frequency " +
		"memory.totalbytes unique.hostname unique.storage.bytestotal unique.storage.bytesfree drover.version nomad.version") {
		if attrs[k] == "" {
			t.Errorf("no %s", k)
		}
	}
	if res.CPU < 100 || res.MemoryMB < 64 || res.DiskMB <= 0 {
		t.Errorf("%+v", res)
	}
}

// TestDiskCountsWhatAllocationsOccupy: otherwise a node shrinks whenever its agent starts. What is free is taken from the same look at
// the disk, since others write to it too.
func TestDiskCountsWhatAllocationsOccupy(t *testing.T) {
	cfg := runtime.DefaultHostConfig()
	cfg.DataDir = t.TempDir()
	besidesFree := func() int {
		attrs, res, err := runtime.FingerprintHost(cfg)
		if err != nil {
			t.Fatal(err)
		}
		free, err := strconv.ParseInt(attrs["unique.storage.bytesfree"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return res.DiskMB - int(free>>20)
	}
	empty := besidesFree()
	const size = 64 << 20
	writeTree(t, cfg.DataDir, map[string]string{"client/allocs/x/alloc/data/big": strings.Repeat("x", size)})
	if d := besidesFree() - empty; d < 63 || d > 65 {
		t.Errorf("a file of 64 MiB counts as %d MiB", d)
	}
}
