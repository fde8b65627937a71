package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/oci"
	continuity "github.com/containerd/continuity/fs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// taskMounts are the task's directories and the cgroup.
func taskMounts(dirs runtime.TaskDirs) []specs.Mount {
	var list []specs.Mount
	for _, m := range []struct{ source, target string }{
		{dirs.Alloc, "/alloc"}, {dirs.Local, "/local"}, {dirs.Secrets, "/secrets"},
	} {
		if m.source != "" {
			list = append(list, bind(m.source, m.target, "rw", "nosuid", "nodev"))
		}
	}
	// The shim opens the log files by name as the host's root: a task that could put a link in their place would write anywhere.
	if logs := filepath.Join(dirs.Alloc, "logs"); dirs.Alloc != "" && isDir(logs) {
		list = append(list, bind(logs, "/alloc/logs", "ro", "nosuid", "nodev", "noexec"))
	}
	// Runtimes such as Java's read their memory limit there.
	return append(list, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
}

func isDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir()
}

func bind(source, target string, opts ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: target, Options: append([]string{"rbind"}, opts...)}
}

// askedMounts are those of volumes and mount, with their sources made and found.
func (d *Driver) askedMounts(s *session, id string, spec runtime.TaskSpec, o options) ([]specs.Mount, error) {
	asked := o.allMounts()
	slices.SortStableFunc(asked, func(a, b mountOption) int {
		return cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/"))
	})
	list := make([]specs.Mount, 0, len(asked))
	for i, m := range asked {
		made, err := d.askedMount(s, id, i, spec, m)
		if err != nil {
			return nil, fmt.Errorf("config.%s: %w", m.key, err)
		}
		list = append(list, made)
	}
	return list, nil
}

func (d *Driver) askedMount(s *session, id string, i int, spec runtime.TaskSpec, m mountOption) (specs.Mount, error) {
	access := "rw"
	if m.ReadOnly {
		access = "ro"
	}
	switch {
	case m.Type == mountTmpfs:
		return tmpfs(m, access), nil
	case m.Type == mountVolume:
		return bind(d.volumeDir(m.Source), m.Target, access, "nodev", "rprivate"), nil
	case m.ofHost():
		if _, err := os.Stat(m.Source); err != nil {
			return specs.Mount{}, fmt.Errorf("source %s is not on this node: make it there first: %w: %w", m.Source, runtime.ErrNotRetryable, err)
		}
		return bind(m.Source, m.Target, access, cmp.Or(m.Propagation, "rprivate")), nil
	}
	source, err := d.stage(s, id, i, spec.Dirs, m)
	if err != nil {
		return specs.Mount{}, err
	}
	return bind(source, m.Target, access, "nosuid", "nodev", "rprivate"), nil
}

func tmpfs(m mountOption, access string) specs.Mount {
	opts := []string{access, "nosuid", "nodev", "noexec", "mode=" + strconv.FormatUint(uint64(cmp.Or(m.Mode, 0o1777)), 8)}
	if m.Size > 0 {
		opts = append(opts, "size="+strconv.FormatInt(m.Size, 10))
	}
	return specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: m.Target, Options: opts}
}

// stage binds a source below the allocation's directory to a place that tasks do not reach, and returns the place. Named by its
// path, the source could be replaced by a link to anywhere between our look and runc's, by another task of the group.
func (d *Driver) stage(s *session, id string, i int, dirs runtime.TaskDirs, m mountOption) (string, error) {
	taskDir := filepath.Dir(dirs.Local)
	rel, err := allocPath(filepath.Base(taskDir), m.Source)
	if err != nil {
		return "", fmt.Errorf("%w: %w", runtime.ErrNotRetryable, err)
	}
	pid, err := peerPID(s.address)
	if err != nil {
		return "", err
	}
	target := filepath.Join(d.filesDir(id), "m"+strconv.Itoa(i))
	err = inMountNS(pid, func() error { return stageBeneath(filepath.Dir(taskDir), rel, target, !m.MustExist) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("source %s does not exist: %w: %w", m.Source, runtime.ErrNotRetryable, err)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		return "", fmt.Errorf("source %s: symbolic links are not followed: %w: %w", m.Source, runtime.ErrNotRetryable, err)
	}
	return target, err
}

func stageBeneath(root, rel, target string, create bool) error {
	fd, err := openPath(root, rel, create)
	if err != nil {
		return &fs.PathError{Op: "open", Path: rel, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := makeTarget(target, st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return err
	}
	return unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), target, "", unix.MS_BIND|unix.MS_REC, "")
}

// makeTarget makes what the source is bound to.
func makeTarget(target string, dir bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	if dir {
		err := os.Mkdir(target, 0o700)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// openPath opens what is at rel below root and follows no link on the way. Directories that are missing are made where create says
// so, for everybody to use.
func openPath(root, rel string, create bool) (int, error) {
	at, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for _, part := range strings.Split(rel, "/") {
		next, err := openPart(at, part, create)
		unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

func openPart(at int, part string, create bool) (int, error) {
	// Without O_NOFOLLOW, which with O_PATH would open a link itself, for the mount to follow.
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(at, part, how)
	if !create || !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	if err := unix.Mkdirat(at, part, 0o777); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	if fd, err = unix.Openat2(at, part, how); err != nil {
		return -1, err
	}
	// Against the umask; through /proc because the descriptor is only a path.
	if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), 0o777); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// unstage unmounts what was staged: the container has copies of its own.
func (d *Driver) unstage(s *session, id string) error {
	places, err := filepath.Glob(filepath.Join(d.filesDir(id), "m*"))
	if err != nil || len(places) == 0 {
		return err
	}
	pid, err := peerPID(s.address)
	if err != nil {
		return err
	}
	return inMountNS(pid, func() error {
		for _, p := range places {
			if err := unmountAll(p); err != nil {
				return fmt.Errorf("unmount %s: %w", p, err)
			}
		}
		return nil
	})
}

func unmountAll(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// volumeDir is a named volume.
func (d *Driver) volumeDir(name string) string { return filepath.Join(d.cfg.dir(), "volumes", name) }

// withVolumes makes the named volumes that are not there, with what the image has at their targets, as Docker does: a program that
// is not root finds the directory it owns.
func (d *Driver) withVolumes(o options) oci.SpecOpts {
	return func(ctx context.Context, c oci.Client, cc *containers.Container, _ *oci.Spec) error {
		for _, m := range o.allMounts() {
			if m.Type != mountVolume {
				continue
			}
			if err := d.ensureVolume(ctx, c, cc, m); err != nil {
				return fmt.Errorf("config.%s: make volume %s: %w", m.key, m.Source, err)
			}
		}
		return nil
	}
}

// ensureVolume makes a volume whole or not at all.
func (d *Driver) ensureVolume(ctx context.Context, c oci.Client, cc *containers.Container, m mountOption) error {
	dir := d.volumeDir(m.Source)
	defer d.volumes.lock(m.Source)()
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // renamed by then if all went well
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if !m.NoCopy {
		mounts, err := c.SnapshotService(cc.Snapshotter).Mounts(ctx, cc.SnapshotKey)
		if err == nil {
			err = mount.WithReadonlyTempMount(ctx, mounts, func(root string) error { return copyInitial(root, m.Target, tmp) })
		}
		if err != nil {
			return fmt.Errorf("copy %s of the image: %w", m.Target, err)
		}
	}
	return os.Rename(tmp, dir)
}

// copyInitial copies a directory of an image with owners and modes, when it is there.
func copyInitial(root, target, to string) error {
	from, err := continuity.RootPath(root, target) // links of the image do not lead out of it
	if err != nil {
		return err
	}
	if fi, err := os.Lstat(from); err != nil || !fi.IsDir() {
		return nil
	}
	return continuity.CopyDir(to, from)
}
