package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HostRoot is where the machine's files are.
const HostRoot = "/"

// cpuSample is how long the use of the cores is measured.
const cpuSample = 100 * time.Millisecond

// HostUse is how a machine is used at a moment.
type HostUse struct {
	Uptime     time.Duration
	CPUPercent float64 // of all cores together, 0..100, over cpuSample
	Cores      int
	Load       [3]float64 // averages over 1, 5 and 15 minutes
	MemTotal   uint64     // bytes
	MemUsed    uint64     // bytes: what is not available
	DiskTotal  uint64     // bytes of the file system of dir
	DiskUsed   uint64
	RSS        uint64 // bytes of the process
}

// MeasureHost measures the machine whose /proc is below root, the file system that dir is on, and a process. It takes cpuSample.
func MeasureHost(ctx context.Context, root, dir string, pid int) (HostUse, error) {
	u := HostUse{Cores: runtime.NumCPU()}
	proc := func(name string) ([]string, error) {
		data, err := os.ReadFile(filepath.Join(root, "proc", name))
		return strings.Fields(string(data)), err
	}
	uptime, err := proc("uptime")
	if err != nil {
		return u, err
	}
	u.Uptime = time.Duration(number(uptime, 0) * float64(time.Second))
	load, err := proc("loadavg")
	if err != nil {
		return u, err
	}
	for i := range u.Load {
		u.Load[i] = number(load, i)
	}
	if err := u.memory(root); err != nil {
		return u, err
	}
	if statm, err := proc(strconv.Itoa(pid) + "/statm"); err == nil {
		u.RSS = uint64(number(statm, 1)) * uint64(os.Getpagesize())
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return u, fmt.Errorf("measure the file system of %s: %w", dir, err)
	}
	u.DiskTotal = st.Blocks * uint64(st.Bsize)
	u.DiskUsed = u.DiskTotal - st.Bfree*uint64(st.Bsize)
	u.CPUPercent, err = busy(ctx, root)
	return u, err
}

// number is the i-th field as a number, 0 where there is none.
func number(fields []string, i int) float64 {
	if i >= len(fields) {
		return 0
	}
	n, err := strconv.ParseFloat(fields[i], 64)
	if err != nil {
		return 0
	}
	return n
}

func (u *HostUse) memory(root string) error {
	data, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return err
	}
	var available uint64
	for _, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch n := uint64(number(fields, 1)) << 10; fields[0] {
		case "MemTotal:":
			u.MemTotal = n
		case "MemAvailable:":
			available = n
		}
	}
	u.MemUsed = u.MemTotal - min(available, u.MemTotal)
	return nil
}

// busy measures how much of the cores' time is used.
func busy(ctx context.Context, root string) (float64, error) {
	work0, all0, err := cpuTimes(root)
	if err != nil {
		return 0, err
	}
	t := time.NewTimer(cpuSample)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-t.C:
	}
	work1, all1, err := cpuTimes(root)
	if err != nil || all1 <= all0 {
		return 0, err
	}
	return 100 * min(1, max(0, (work1-work0)/(all1-all0))), nil
}

// cpuTimes are the ticks that all cores together have worked, and that have passed for them.
func cpuTimes(root string) (work, all float64, err error) {
	data, err := os.ReadFile(filepath.Join(root, "proc/stat"))
	if err != nil {
		return 0, 0, err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(first)
	for i := 1; i < len(fields) && i <= 8; i++ { // guest time is counted in user time
		n := number(fields, i)
		all += n
		if i != 4 && i != 5 { // idle and waiting for disks
			work += n
		}
	}
	return work, all, nil
}
