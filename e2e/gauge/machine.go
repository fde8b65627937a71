package gauge

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machineLine is what is printed of this machine.
type machineLine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGB   float64 `json:"memory_gb"`
	Kernel     string  `json:"kernel"`
	OS         string  `json:"os"`
	Disk       string  `json:"disk"`
	FileSystem string  `json:"file_system"`
	FsyncMS    float64 `json:"fsync_ms"` // median of a 4 KiB append and fsync
	Load       string  `json:"load"`     // averages of 1, 5 and 15 minutes, before the first bench
}

// PrintMachine prints the line MACHINE {…}: what a benchmark runs on, with its disk at dir.
func PrintMachine(dir string) error {
	fsync, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	disk, fileSystem := DiskOf(dir)
	text, err := json.Marshal(machineLine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		MemoryGB: round3(float64(uint64(info.Totalram)*uint64(info.Unit)) / 1e9),
		Kernel:   firstLine("/proc/sys/kernel/osrelease"), OS: strings.Trim(assigned("/etc/os-release", "PRETTY_NAME"), `"`),
		Disk: disk, FileSystem: fileSystem, FsyncMS: round3(fsync.Seconds() * 1e3), Load: load(),
	})
	if err != nil {
		return err
	}
	fmt.Println("MACHINE " + string(text))
	return nil
}

// load is the machine's load averages: what else ran while something was measured.
func load() string {
	f := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(f[:min(3, len(f))], " ")
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// field is the value of the first "name : value" line of a file.
func field(path, name string) string { return lookUp(path, name, ":") }

// assigned is the value of the first "name=value" line of a file.
func assigned(path, name string) string { return lookUp(path, name, "=") }

func lookUp(path, name, separator string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// DiskOf names the device below a directory and the file system on it.
func DiskOf(dir string) (device, fileSystem string) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "unknown", "unknown"
	}
	major, minor := unix.Major(st.Dev), unix.Minor(st.Dev)
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown", "unknown"
	}
	want := fmt.Sprintf("%d:%d", major, minor)
	device, fileSystem = "none", "unknown"
	for line := range strings.Lines(string(b)) {
		// 36 35 98:0 /root /mount options - ext4 /dev/vda rw
		head, tail, _ := strings.Cut(line, " - ")
		h, t := strings.Fields(head), strings.Fields(tail)
		if len(h) > 2 && h[2] == want && len(t) > 1 {
			device, fileSystem = t[1], t[0]
			break
		}
	}
	link, err := os.Readlink("/sys/dev/block/" + want)
	if err != nil {
		return device, fileSystem
	}
	return device + describe(filepath.Join("/sys/dev/block", link)), fileSystem
}

// describe says what sort of device it is.
func describe(sys string) string {
	queue := filepath.Join(sys, "queue")
	if _, err := os.Stat(queue); err != nil {
		queue = filepath.Join(filepath.Dir(sys), "queue") // of a partition: the whole disk's
	}
	driver := "unknown driver"
	if path, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(queue), "device", "driver")); err == nil {
		driver = filepath.Base(path)
	}
	kind := "solid state"
	switch {
	case strings.HasPrefix(driver, "virtio"):
		kind = "virtual" // what it says of rotation is nobody's
	case firstLine(filepath.Join(queue, "rotational")) == "1":
		kind = "rotating"
	}
	return fmt.Sprintf(" (%s, %s, cache %s)", kind, driver, firstLine(filepath.Join(queue, "write_cache")))
}

// fsyncTime measures what an acknowledged write costs at the least here.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = f.Close()           // nobody reads it
		_ = os.Remove(f.Name()) // the directory is removed at the end anyway
	}()
	block := make([]byte, 4096)
	var took []time.Duration
	for range 100 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// Usage is what a process has used.
type Usage struct {
	CPU time.Duration // user and system
	RSS int64         // bytes resident now
	Max int64         // bytes resident at most so far
}

// ReadUsage reads /proc/PID/stat and statm.
func ReadUsage(pid int) (Usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name may hold blanks and brackets
	if len(f) < 22 {
		return Usage{}, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(f))
	}
	var ticks, pages int64
	for _, x := range []struct {
		at  int
		sum *int64
	}{{11, &ticks}, {12, &ticks}, {21, &pages}} {
		n, err := strconv.ParseInt(f[x.at], 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
		}
		*x.sum += n
	}
	const ticksPerSecond = 100 // of the interface, on every architecture that Go runs Linux on
	u := Usage{CPU: time.Duration(ticks) * time.Second / ticksPerSecond, RSS: pages * int64(os.Getpagesize())}
	if u.Max, err = maxResident(pid); err != nil {
		return Usage{}, err
	}
	return u, nil
}

// maxResident reads VmHWM of /proc/PID/status, in bytes.
func maxResident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("read /proc/%d/status: no VmHWM", pid)
}

// round3 keeps three digits behind the point.
func round3(v float64) float64 { return math.Round(v*1000) / 1000 }
