package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a handle on a process that stays right when the PID is used again.
type process struct {
	pid int
	fd  *os.File // a pidfd, readable once the process has ended; waited for by the runtime's poller, so waiting costs no thread
}

// openProcess opens the process that has this PID and start time. nil: it has ended (also when nobody has reaped it yet).
func openProcess(pid int, start uint64) *process {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	p := newProcess(pid, fd)
	// The descriptor is opened first: if the number names another process now, its start time differs.
	if st, err := readStat(pid); err != nil || st.start != start || p.ended() {
		p.reap()
		p.close()
		return nil
	}
	return p
}

func newProcess(pid, fd int) *process {
	_ = unix.SetNonblock(fd, true) // what makes os.NewFile hand it to the poller
	return &process{pid: pid, fd: os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(pid))}
}

func (p *process) close() { _ = p.fd.Close() }

// wait returns nil when the process has ended, or the context's error.
func (p *process) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool { return readable(int(fd)) })
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	p.reap()
	return nil
}

func (p *process) ended() bool { return p.control(readable) }

// reap takes the process off the kernel's table if it is a child of this process. Waiting by descriptor cannot take another.
func (p *process) reap() {
	p.control(func(fd int) bool {
		return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) == nil
	})
}

func (p *process) signal(sig syscall.Signal) error {
	var err error
	p.control(func(fd int) bool {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
		return err == nil
	})
	return err
}

func (p *process) control(f func(fd int) bool) (ok bool) {
	conn, err := p.fd.SyscallConn()
	if err != nil {
		return false
	}
	_ = conn.Control(func(fd uintptr) { ok = f(int(fd)) })
	return ok
}

func readable(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// stat is the part of /proc/PID/stat that matters here.
type stat struct {
	parent int
	start  uint64 // clock ticks since boot
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(data))
}

// parseStat counts fields after the last ')': the program's name stands in parentheses and may hold blanks and parentheses.
func parseStat(s string) (stat, error) {
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 {
		return stat{}, fmt.Errorf("read process status %q: too short", s)
	}
	parent, err := strconv.Atoi(f[1])
	if err != nil {
		return stat{}, err
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	return stat{parent: parent, start: start}, err
}

// children lists the direct children of a process, those of all its threads.
func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if len(files) == 0 {
		return childrenByParent(pid)
	}
	var pids []int
	for _, file := range files {
		data, _ := os.ReadFile(file)
		pids = append(pids, atois(strings.Fields(string(data)))...)
	}
	return pids
}

// childrenByParent is children for kernels without that file.
func childrenByParent(pid int) []int {
	var pids []int
	for _, p := range processes() {
		if st, err := readStat(p); err == nil && st.parent == pid {
			pids = append(pids, p)
		}
	}
	return pids
}

// descendants lists the children of a process, their children, and so on.
func descendants(pid int) []int {
	all := children(pid)
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

// processes lists all PIDs.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return atois(names)
}

// innerPID is the process's number in its own PID namespace; 0 when it has ended.
func innerPID(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := atois(strings.Fields(rest))
			if len(f) > 0 {
				return f[len(f)-1]
			}
		}
	}
	return 0
}

// marked lists the processes whose environment holds entry.
func marked(entry string) []int {
	var pids []int
	for _, pid := range processes() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && strings.Contains("\x00"+string(data), "\x00"+entry+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// bootID names this boot of the kernel.
func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// atois keeps those fields that are numbers.
func atois(fields []string) []int {
	var ns []int
	for _, s := range fields {
		if n, err := strconv.Atoi(s); err == nil {
			ns = append(ns, n)
		}
	}
	return ns
}
