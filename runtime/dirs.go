package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/state"
)

// Names below an allocation's directory. A task's own directories are below its name.
const (
	sharedName  = "alloc"
	logsName    = "alloc/logs"
	localName   = "local"
	secretsName = "secrets"
	tmpName     = "tmp"
	marksName   = ".marks" // no task is called so
)

// makeDir makes the allocation's own directory. Others may pass through it, to what is opened to them, but not look around.
func (a *alloc) makeDir() error {
	if err := os.Mkdir(a.dir, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if a.r.cfg.NoSync {
		return nil
	}
	return syncDir(filepath.Dir(a.dir))
}

// makeTaskDirs makes the shared directories and those of each task. Tasks may be root inside their containers and exchange
// whatever is below the shared directory: no symbolic link is followed there. Whoever a task runs as can use all of them; its
// secrets are given to it by the driver, see GiveSecrets.
func makeTaskDirs(dir string, tasks []state.Task) error {
	type entry struct {
		path string
		mode uint32
	}
	entries := []entry{
		{sharedName, 0o1777}, {"alloc/data", 0o777}, {logsName, 0o755}, {"alloc/tmp", 0o1777},
	}
	for _, t := range tasks {
		entries = append(entries, entry{t.Name, 0o711}, entry{filepath.Join(t.Name, localName), 0o777},
			entry{filepath.Join(t.Name, secretsName), 0o700}, entry{filepath.Join(t.Name, tmpName), 0o1777})
	}
	for _, e := range entries {
		if err := mkdirBeneath(dir, e.path, e.mode); err != nil {
			return fmt.Errorf("make directory %s: %w", e.path, err)
		}
	}
	return nil
}

// makeLogs makes the files that a task's output is appended to.
func makeLogs(dir string, spec TaskSpec) error {
	for _, path := range []string{spec.Stdout, spec.Stderr} {
		rel, err := filepath.Rel(dir, path)
		if err != nil || path == os.DevNull || !filepath.IsLocal(rel) {
			continue
		}
		f, err := openBeneath(dir, rel, unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND, 0o640)
		if err != nil {
			return fmt.Errorf("make log file %s: %w", rel, explainDisk(err))
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// removeSecrets removes what must not outlive the tasks.
func removeSecrets(dir string, tasks []state.Task) error {
	paths := []string{filepath.Join(dir, "alloc/tmp")}
	for _, t := range tasks {
		paths = append(paths, filepath.Join(dir, t.Name, secretsName), filepath.Join(dir, t.Name, tmpName))
	}
	for _, p := range paths {
		if err := removeTree(p); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes a directory that is ours. What is still mounted below it is unmounted, not emptied: it may be the host's.
func removeTree(path string) error {
	mounts, err := mountsBelow(path)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	if len(mounts) > 0 {
		if mounts, err = mountsBelow(path); err != nil {
			return err
		}
		if len(mounts) > 0 {
			return fmt.Errorf("remove %s: %s is still mounted", path, mounts[0])
		}
	}
	return os.RemoveAll(path) // relative to open directories, follows no links
}

// mountsBelow lists what is mounted at or below path, innermost first.
func mountsBelow(path string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		at := unescapeMount(fields[4])
		if at == path || strings.HasPrefix(at, path+"/") {
			out = append(out, at)
		}
	}
	slices.Reverse(out)
	return out, lines.Err()
}

// unescapeMount undoes the octal escapes of mountinfo, see proc(5).
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// openBeneath opens a file below dir and follows no symbolic link on the way from there.
func openBeneath(dir, rel string, flags int, mode uint32) (*os.File, error) {
	parent, base, err := openParent(dir, rel)
	if err != nil {
		return nil, err
	}
	defer unix.Close(parent)
	fd, err := openat(parent, base, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, rel), Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: filepath.Join(dir, rel), Err: err}
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, rel), Err: errors.New("not a regular file")}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, rel)), nil
}

// mkdirBeneath makes a directory below dir with exactly this mode; one that exists is left as it is.
func mkdirBeneath(dir, rel string, mode uint32) error {
	parent, base, err := openParent(dir, rel)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	made := true
	if err := unix.Mkdirat(parent, base, 0o700); errors.Is(err, unix.EEXIST) {
		made = false
	} else if err != nil {
		return err
	}
	fd, err := openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err // something else has taken its name
	}
	defer unix.Close(fd)
	if !made {
		return nil
	}
	return unix.Fchmod(fd, mode)
}

// openParent opens the directory that holds rel, component by component.
func openParent(dir, rel string) (fd int, base string, err error) {
	if !filepath.IsLocal(rel) || rel == "." {
		return -1, "", fmt.Errorf("path %q leads out of %s", rel, dir)
	}
	parts := strings.Split(filepath.Clean(rel), "/")
	const flags = unix.O_RDONLY | unix.O_DIRECTORY
	if fd, err = openat(unix.AT_FDCWD, dir, flags, 0); err != nil {
		return -1, "", &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	for _, part := range parts[:len(parts)-1] {
		next, err := openat(fd, part, flags|unix.O_NOFOLLOW, 0)
		unix.Close(fd)
		if err != nil {
			return -1, "", &fs.PathError{Op: "open", Path: filepath.Join(dir, part), Err: err}
		}
		fd = next
	}
	return fd, parts[len(parts)-1], nil
}

func openat(fd int, path string, flags int, mode uint32) (int, error) {
	for {
		got, err := unix.Openat(fd, path, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
}
