package exec

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setUp makes the surroundings of the command, in the init process.
func (in *initMain) setUp(o order) error {
	// An agent that the kernel must not kill hands its protection down; the task has no right to it.
	if adj, _ := os.ReadFile("/proc/self/oom_score_adj"); strings.HasPrefix(string(adj), "-") {
		_ = write("/proc/self/oom_score_adj", "0")
	}
	if o.NetNS != "" { // first: its path may go through what is mounted over below
		if err := joinNetwork(o.NetNS); err != nil {
			return err
		}
	}
	if !o.Namespaces {
		// Orphans of the command become children of this process instead of the machine's first.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become the reaper: %w", err)
		}
		return nil
	}
	// Slave, not private: what the host unmounts goes away here too, and is not kept busy.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detach the mount namespace: %w", err)
	}
	if o.Hide != "" {
		if err := hide(o.Hide, o.Keep); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// What init of a user namespace was given to do the above goes no further.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

func joinNetwork(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("join network namespace %s: %w", path, err)
	}
	return nil
}

// hide mounts an empty file system over root and puts the directories keep, which lie below it, back in their places. The way
// to them is open to every user, unlike the hidden one.
func hide(root string, keep []string) error {
	fds := make([]int, len(keep))
	for i, dir := range keep {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711,size=1m"); err != nil {
		return fmt.Errorf("hide %s: %w", root, err)
	}
	old := unix.Umask(0)
	defer unix.Umask(old)
	for i, dir := range keep {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
		from := "/proc/self/fd/" + strconv.Itoa(fds[i])
		if err := unix.Mount(from, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keep %s: %w", dir, err)
		}
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return errors.Join(errors.New("protect the hidden directory"), err)
	}
	return nil
}
