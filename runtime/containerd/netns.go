package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// netNSDir is where network namespaces of agents are pinned. The daemon's runc opens the path, so it must be in the daemon's tree
// of mounts.
const netNSDir = "/run/drover/netns"

// PinNetNS makes the agent's network namespace joinable by path for containers, and returns the path. It is "" when the daemon
// lives in the same one: then a container that shares its daemon's network shares the agent's. Start does this by itself for tasks
// without a namespace of their own. It may be called again at any time; a path that led to an earlier namespace is led to this one.
func (d *Driver) PinNetNS(ctx context.Context) (string, error) {
	s, _, err := d.session(ctx)
	if err != nil {
		return "", err
	}
	pid, err := peerPID(s.address)
	if err != nil {
		return "", fmt.Errorf("find the process of containerd at %s: %w", s.address, err)
	}
	own, err := inode("/proc/self/ns/net")
	if err != nil {
		return "", fmt.Errorf("read own network namespace: %w", err)
	}
	theirs, err := inode(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return "", fmt.Errorf("read network namespace of containerd (process %d): %w", pid, err)
	}
	if own == theirs {
		return "", nil
	}
	path := d.netNSPath()
	d.pinning.Lock()
	defer d.pinning.Unlock()
	if err := inMountNS(pid, func() error { return pin(own, path) }); err != nil {
		return "", fmt.Errorf("pin own network namespace at %s: %w", path, err)
	}
	return path, nil
}

// UnpinNetNS removes what PinNetNS made. Containers that joined keep their network.
func (d *Driver) UnpinNetNS(ctx context.Context) error {
	s, _, err := d.session(ctx)
	if err != nil {
		return err
	}
	pid, err := peerPID(s.address)
	if err != nil {
		return fmt.Errorf("find the process of containerd at %s: %w", s.address, err)
	}
	path := d.netNSPath()
	d.pinning.Lock()
	defer d.pinning.Unlock()
	if err := inMountNS(pid, func() error { return unpin(path) }); err != nil {
		return fmt.Errorf("unpin own network namespace at %s: %w", path, err)
	}
	return nil
}

func (d *Driver) netNSPath() string { return filepath.Join(netNSDir, slug(d.cfg.NodeID, 64)) }

// pin binds this process's network namespace to the path.
func pin(own uint64, path string) error {
	if now, err := inode(path); err == nil && now == own {
		return nil
	}
	if err := unpin(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, "")
}

// unpin unmounts as often as something was mounted there, and removes the file.
func unpin(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// peerPID asks the kernel who listens at a unix socket. 1 when the listener is in a PID namespace that cannot be seen from here.
func peerPID(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, unavailable(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return max(int(cred.Pid), 1), nil
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// inMountNS runs fn where it sees the mounts of another process: an agent started by "ip netns exec", for one, has mounts of its
// own that a daemon elsewhere does not see.
func inMountNS(pid int, fn func() error) error {
	own, err := inode("/proc/thread-self/ns/mnt")
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/proc/%d/ns/mnt", pid)
	theirs, err := inode(path)
	if err != nil {
		return err
	}
	if own == theirs {
		return fn()
	}
	onOwnThread(func() { err = enterMountNS(path, fn) })
	return err
}

// onOwnThread runs fn on a thread that ends with it, so that nobody inherits the namespaces that it entered. The main thread never
// ends, and /proc/self is its view: it would show the whole process the mounts of another from then on.
func onOwnThread(fn func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		goruntime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onOwnThread(fn) // this one is held meanwhile: the next is another
			goruntime.UnlockOSThread()
			return
		}
		fn() // never unlocked
	})
	wg.Wait()
}

func enterMountNS(path string, fn func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // the kernel wants a root directory of the thread's own
		return err
	}
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNS); err != nil {
		return err
	}
	return fn()
}
