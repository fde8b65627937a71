package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/state"
)

// defaultMHz is what a core counts for where the machine does not say how fast it is.
const defaultMHz = 1000

// maxWalk bounds the files that are counted to find what allocations occupy.
const maxWalk = 200_000

// HostConfig says what to look at and what to keep for others. DefaultHostConfig gives the figures.
type HostConfig struct {
	Root           string // "/"; another one in tests
	DataDir        string // its file system is what allocations fill
	Version        string // of this program
	NomadVersion   string // whose job files are understood: for constraints on attr.nomad.version
	HostIP         string // the address that host-mode ports are bound to
	Hostname       string // "" means the kernel's
	MinDynamicPort int
	MaxDynamicPort int
	Cores          []int // that tasks may have for themselves, see Cpusets; nil where cores cannot be kept apart
	Reserved       Reserved
	Overrides      state.NodeResources // fields that are not zero replace what was found
}

// Reserved is kept from allocations.
type Reserved struct {
	CPU      int   // MHz, beside those of the cores below
	Cores    []int // that no task runs on
	MemoryMB int   // MiB
	DiskMB   int   // MiB
	Ports    []int
}

// DefaultHostConfig has the figures that documents promise.
func DefaultHostConfig() HostConfig {
	return HostConfig{Root: "/", Version: "0.0.0", NomadVersion: "1.10.0", MinDynamicPort: 20000, MaxDynamicPort: 32000}
}

// FingerprintHost says what this machine is and what it has to give. Facts that cannot be found are left out; an error means
// that memory or disk could not be, without which nothing can be placed here.
func FingerprintHost(cfg HostConfig) (map[string]string, state.NodeResources, error) {
	if cfg.Root == "" {
		cfg.Root = "/"
	}
	h := host{cfg: cfg, attrs: map[string]string{}}
	h.system()
	mhz, perCore := h.cpu()
	memory, err := h.memory()
	if err != nil {
		return nil, state.NodeResources{}, fmt.Errorf("fingerprint memory: %w", err)
	}
	disk, err := h.disk()
	if err != nil {
		return nil, state.NodeResources{}, fmt.Errorf("fingerprint disk of %s: %w", cfg.DataDir, err)
	}
	res := state.NodeResources{
		CPU: mhz, MHzPerCore: perCore, MemoryMB: int(memory >> 20), DiskMB: int(disk >> 20),
		MinDynamicPort: cfg.MinDynamicPort, MaxDynamicPort: cfg.MaxDynamicPort, ReservedPorts: cfg.Reserved.Ports,
	}
	if o := cfg.Overrides; o.CPU > 0 {
		res.CPU = o.CPU
		h.set("cpu.totalcompute", strconv.Itoa(o.CPU))
	}
	if o := cfg.Overrides; o.MemoryMB > 0 {
		res.MemoryMB = o.MemoryMB
	}
	if o := cfg.Overrides; o.DiskMB > 0 {
		res.DiskMB = o.DiskMB
	}
	res.Cores = slices.DeleteFunc(slices.Clone(cfg.Cores), func(core int) bool { return slices.Contains(cfg.Reserved.Cores, core) })
	kept := len(cfg.Cores) - len(res.Cores)
	if len(cfg.Cores) == 0 {
		kept = len(cfg.Reserved.Cores)
	}
	res.CPU = max(0, res.CPU-cfg.Reserved.CPU-kept*perCore)
	res.MemoryMB = max(0, res.MemoryMB-cfg.Reserved.MemoryMB)
	res.DiskMB = max(0, res.DiskMB-cfg.Reserved.DiskMB)
	return maps.Clone(h.attrs), res, nil
}

type host struct {
	cfg   HostConfig
	attrs map[string]string
}

func (h *host) set(name, value string) {
	if value != "" {
		h.attrs[name] = value
	}
}

func (h *host) path(p string) string { return filepath.Join(h.cfg.Root, p) }

func (h *host) read(p string) string {
	b, err := os.ReadFile(h.path(p))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// system is the kernel, the distribution, names, addresses and versions.
func (h *host) system() {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.set("kernel.name", strings.ToLower(unix.ByteSliceToString(u.Sysname[:])))
		h.set("kernel.version", unix.ByteSliceToString(u.Release[:]))
		h.set("kernel.arch", unix.ByteSliceToString(u.Machine[:]))
		h.set("unique.hostname", unix.ByteSliceToString(u.Nodename[:]))
	}
	h.set("unique.hostname", h.cfg.Hostname)
	h.set("cpu.arch", goruntime.GOARCH)
	release := h.pairs("etc/os-release", "=")
	h.set("os.name", strings.Trim(release["ID"], `"'`))
	h.set("os.version", strings.Trim(release["VERSION_ID"], `"'`))
	if ip, err := netip.ParseAddr(h.cfg.HostIP); err == nil {
		h.set("unique.network.ip-address", ip.String())
	}
	h.set("drover.version", h.cfg.Version)
	h.set("nomad.version", h.cfg.NomadVersion)
	if _, err := os.Stat(h.path("sys/fs/cgroup/cgroup.controllers")); err == nil {
		h.set("os.cgroups.version", "2")
	} else if _, err := os.Stat(h.path("sys/fs/cgroup/memory")); err == nil {
		h.set("os.cgroups.version", "1")
	}
}

// pairs reads a file of "name<sep>value" lines; the first of a name counts.
func (h *host) pairs(path, sep string) map[string]string {
	out := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(h.read(path)))
	for lines.Scan() {
		k, v, ok := strings.Cut(lines.Text(), sep)
		if k = strings.TrimSpace(k); ok && out[k] == "" {
			out[k] = strings.TrimSpace(v)
		}
	}
	return out
}

// cpu finds cores and their frequency, and returns their product in MHz, and the frequency: the highest that a core has without
// boost where the kernel says so.
func (h *host) cpu() (total, perCore int) {
	info := h.read("proc/cpuinfo")
	cores := 0
	for line := range strings.Lines(info) {
		if name, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "processor" {
			cores++
		}
	}
	if cores == 0 {
		cores = goruntime.NumCPU()
	}
	fields := h.pairs("proc/cpuinfo", ":")
	mhz := 0
	for _, name := range []string{"base_frequency", "cpuinfo_max_freq"} {
		if khz, err := strconv.Atoi(h.read("sys/devices/system/cpu/cpu0/cpufreq/" + name)); err == nil && mhz == 0 {
			mhz = khz / 1000
		}
	}
	if f, err := strconv.ParseFloat(fields["cpu MHz"], 64); err == nil && mhz == 0 {
		mhz = int(f)
	}
	if mhz <= 0 {
		mhz = defaultMHz
	}
	h.set("cpu.modelname", fields["model name"])
	h.set("cpu.numcores", strconv.Itoa(cores))
	h.set("cpu.frequency", strconv.Itoa(mhz))
	h.set("cpu.totalcompute", strconv.Itoa(mhz*cores))
	return mhz * cores, mhz
}

func (h *host) memory() (int64, error) {
	text := h.pairs("proc/meminfo", ":")["MemTotal"]
	kb, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read MemTotal in %s: %q is not a number of kB", h.path("proc/meminfo"), text)
	}
	h.set("memory.totalbytes", strconv.FormatInt(kb<<10, 10))
	return kb << 10, nil
}

// disk is what allocations may fill: what is free, and what they occupy already. Otherwise a node with work would shrink
// whenever its agent starts.
func (h *host) disk() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(h.cfg.DataDir, &st); err != nil {
		return 0, err
	}
	free := int64(st.Bavail) * st.Bsize
	h.set("unique.storage.volume", h.cfg.DataDir)
	h.set("unique.storage.bytestotal", strconv.FormatInt(int64(st.Blocks)*st.Bsize, 10))
	h.set("unique.storage.bytesfree", strconv.FormatInt(free, 10))
	return free + occupied(filepath.Join(h.cfg.DataDir, "client", "allocs")), nil
}

// occupied counts the bytes on disk below a directory.
func occupied(dir string) int64 {
	var sum int64
	files, deadline := 0, time.Now().Add(2*time.Second)
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if files++; files > maxWalk || time.Now().After(deadline) {
			return errors.New("enough")
		}
		if err != nil {
			return nil // gone meanwhile
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			} else if e.Type().IsRegular() {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
