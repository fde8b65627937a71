package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// removeCgroup removes a task's cgroup and what is above it and empty, down to but without the top one: runc makes the parents and
// leaves them behind. With cgroup v1 the same path exists under every controller. Processes still inside are killed. The lock is held while
// parents go, so that nobody makes a cgroup below one meanwhile.
func removeCgroup(ctx context.Context, root, path string, parents sync.Locker) error {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if !strings.HasPrefix(path, "/") || filepath.Clean(path) != path || len(parts) < 2 {
		return fmt.Errorf("refuse to remove cgroup %q: it is nobody's own", path)
	}
	var errs []error
	for _, mount := range cgroupMounts(root) {
		dir := filepath.Join(mount, path)
		if err := emptyCgroup(ctx, dir); err != nil {
			errs = append(errs, err)
			continue
		}
		parents.Lock()
		for i := len(parts) - 1; i >= 2; i-- {
			dir = filepath.Dir(dir)
			if unix.Rmdir(dir) != nil { // somebody else's is in it
				break
			}
		}
		parents.Unlock()
	}
	return errors.Join(errs...)
}

// cgroupMounts are the hierarchies: the root itself with v2, each controller (and the unified one) with v1. Links such as
// "cpu -> cpu,cpuacct" would only show the same twice.
func cgroupMounts(root string) []string {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var mounts []string
	for _, e := range entries {
		if e.IsDir() {
			mounts = append(mounts, filepath.Join(root, e.Name()))
		}
	}
	return mounts
}

// emptyCgroup removes a cgroup with everything below it. A killed process leaves its cgroup only a moment later.
func emptyCgroup(ctx context.Context, dir string) error {
	wait := 5 * time.Millisecond
	for {
		busy, err := removeTree(dir)
		if err != nil || !busy {
			return err
		}
		if wait > time.Second {
			return fmt.Errorf("remove cgroup %s: processes in it do not die", dir)
		}
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		wait *= 2
	}
}

// removeTree removes the directories bottom up and kills what holds them.
func removeTree(dir string) (busy bool, err error) {
	var dirs []string
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
	for _, d := range dirs {
		switch err := unix.Rmdir(d); {
		case err == nil, errors.Is(err, unix.ENOENT):
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY):
			busy = true
			killAll(d)
		default:
			return false, fmt.Errorf("remove cgroup %s: %w", d, err)
		}
	}
	return busy, nil
}

func killAll(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
		}
	}
}
