package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killMarkedFor bounds how long processes are waited for that were sent SIGKILL: one that hangs in the kernel dies later.
const killMarkedFor = 10 * time.Second

// KillMarked kills the processes whose environment has an entry that begins with mark, as far as they can be seen, until there
// are none. It finds those that have left their parents, sessions and terminals; only a program that writes over its own
// environment is not found.
func KillMarked(ctx context.Context, mark string) error {
	ctx, cancel := context.WithTimeout(ctx, killMarkedFor)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		left := 0
		for _, pid := range allProcesses() {
			if pid != os.Getpid() && killIfMarked(pid, mark) {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("%d processes marked %s do not die: %w", left, mark, err)
		}
	}
}

// killIfMarked kills the process when it is marked, and reports whether it was. It is looked at through a handle that another
// process of the same number cannot take.
func killIfMarked(pid int, mark string) bool {
	if !isMarked(pid, mark) {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ENOSYS) {
		_ = unix.Kill(pid, unix.SIGKILL) // before Linux 5.3
		return true
	}
	if err != nil {
		return false // it has ended
	}
	defer unix.Close(fd)
	if isMarked(pid, mark) {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // ended already is as good
	}
	return true
}

func isMarked(pid int, mark string) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	return bytes.HasPrefix(data, []byte(mark)) || bytes.Contains(data, []byte("\x00"+mark))
}

func allProcesses() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read is looked at; the next look finds the others
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
