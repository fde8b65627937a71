package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/state"
)

// Errors of an allocation's files; test with errors.Is.
var (
	// ErrForbidden says that a file is not for those who look from outside: it is secret, or outside of the allocation.
	ErrForbidden = errors.New("not to be reached")
	// ErrBadPath says that a path, or what it leads to, is not what is wanted.
	ErrBadPath = errors.New("bad path")
)

const (
	maxLinks  = 40     // followed on the way to one file
	maxPath   = 4096   // bytes
	maxListed = 10_000 // entries of one directory
)

// Files are the files of an allocation as its users may see them: the shared directory and those of its tasks, but not their
// secrets. Tasks may be root inside their containers and put there what they like, so that every step of a path is taken from the
// directory reached before, and links are followed by hand, which never leave the allocation. Methods may be called from any
// goroutine.
type Files struct {
	dir   string
	tasks []string
	task  string // whose directories are meant by /local and /tmp; "" when that is not clear
}

// FileInfo describes a file.
type FileInfo struct {
	Name    string
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
	Link    string // where a symbolic link leads to
}

// Files gives access to an allocation's files; task may be "". ErrNotFound: there is no such allocation or task here.
func (r *Runner) Files(allocID, task string) (*Files, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return nil, fmt.Errorf("look for files: %w", err)
	}
	f := &Files{dir: a.dir, task: task}
	if rec := a.record(); rec != nil {
		f.tasks = namesOf(rec.group().Tasks)
	}
	if task != "" && !slices.Contains(f.tasks, task) {
		return nil, fmt.Errorf("look for files: allocation %s has no task %q: %w", allocID, task, ErrNotFound)
	}
	if len(f.tasks) == 1 {
		f.task = f.tasks[0]
	}
	return f, nil
}

func namesOf(tasks []state.Task) []string {
	names := make([]string, len(tasks))
	for i, t := range tasks {
		names[i] = t.Name
	}
	return names
}

// spot is a place in the allocation: a directory, reached from its own on, and a name in it.
type spot struct {
	f    *Files
	fds  []int    // of the directories on the way, the allocation's own first
	way  []string // their names, that of the first is ""
	base string   // "" means the directory itself
}

func (s *spot) close() {
	for _, fd := range s.fds {
		_ = unix.Close(fd) // only looked at
	}
	s.fds = nil
}

func (s *spot) top() int { return s.fds[len(s.fds)-1] }

// where is the spot's path, for people.
func (s *spot) where() string {
	return "/" + filepath.Join(append(slices.Clone(s.way[1:]), s.base)...)
}

// find goes the way of a path. last says whether a link at its end is followed.
func (f *Files) find(path string, last bool) (*spot, error) {
	parts, err := f.split(path)
	if err != nil {
		return nil, err
	}
	root, err := openat(unix.AT_FDCWD, f.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, explainFile(path, err)
	}
	s := &spot{f: f, fds: []int{root}, way: []string{""}}
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		target, err := s.step(part, len(parts) == 0, last)
		if err == nil && target != "" {
			if links++; links > maxLinks {
				err = unix.ELOOP
			} else {
				parts, err = s.follow(target, parts)
			}
		}
		if err != nil {
			s.close()
			return nil, explainFile(path, err)
		}
	}
	return s, nil
}

// split cuts a path into its parts. A path such as /local/x, as a task sees it, is its task's.
func (f *Files) split(path string) ([]string, error) {
	if len(path) > maxPath || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("path of %d bytes: %w", len(path), ErrBadPath)
	}
	parts := strings.Split(strings.Trim(filepath.Clean("/"+path), "/"), "/")
	if parts[0] == "" {
		return nil, nil
	}
	own := slices.Contains([]string{localName, secretsName, tmpName}, parts[0]) && !slices.Contains(f.tasks, parts[0])
	if own && f.task == "" {
		return nil, fmt.Errorf("path %s is a task's: name the task, one of %s: %w", path, strings.Join(f.tasks, ", "), ErrBadPath)
	}
	if own {
		parts = append([]string{f.task}, parts...)
	}
	return parts, nil
}

// step goes to one part of a path. target is where a link leads that is to be followed.
func (s *spot) step(part string, final, last bool) (target string, err error) {
	switch {
	case part == "" || part == ".":
		return "", nil
	case part == ".." && len(s.fds) == 1:
		return "", fmt.Errorf("it leads out of the allocation: %w", ErrForbidden)
	case part == "..":
		_ = unix.Close(s.top()) // only looked at
		s.fds, s.way = s.fds[:len(s.fds)-1], s.way[:len(s.way)-1]
		return "", nil
	}
	if err := s.allowed(part); err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(s.top(), part, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFLNK && (last || !final) {
		return readlinkat(s.top(), part)
	}
	if final && kind != unix.S_IFDIR {
		s.base = part
		return "", nil
	}
	fd, err := openat(s.top(), part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	s.fds, s.way = append(s.fds, fd), append(s.way, part)
	return "", nil
}

// allowed refuses what is not for those who look from outside.
func (s *spot) allowed(part string) error {
	switch {
	case len(s.way) == 1 && part != sharedName && !slices.Contains(s.f.tasks, part):
		return unix.ENOENT // the agent's own files
	case len(s.way) == 2 && part == secretsName && s.way[1] != sharedName:
		return fmt.Errorf("secrets are for the task alone: %w", ErrForbidden)
	}
	return nil
}

// follow is the way that is left after a link. Absolute ones are meant as the task sees them.
func (s *spot) follow(target string, rest []string) ([]string, error) {
	if !filepath.IsAbs(target) {
		return append(strings.Split(target, "/"), rest...), nil
	}
	inside := &Files{tasks: s.f.tasks, task: s.f.task}
	if len(s.way) > 1 && s.way[1] != sharedName {
		inside.task = s.way[1]
	}
	parts, err := inside.split(target)
	if err != nil || len(parts) == 0 || len(parts) > 0 && parts[0] != sharedName && parts[0] != inside.task {
		return nil, fmt.Errorf("a link leads out of the allocation, to %s: %w", target, ErrForbidden)
	}
	for _, fd := range s.fds[1:] {
		_ = unix.Close(fd) // only looked at
	}
	s.fds, s.way = s.fds[:1], s.way[:1]
	return append(parts, rest...), nil
}

func readlinkat(fd int, name string) (string, error) {
	buf := make([]byte, maxPath)
	n, err := unix.Readlinkat(fd, name, buf)
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

// explainFile says what went wrong with a path, in the words of this package.
func explainFile(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("no file %s in the allocation: %w", path, ErrNotFound)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s: a part of the path is no directory: %w", path, ErrBadPath)
	case errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%.100s…: a part of the path is too long: %w", path, ErrBadPath)
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("%s: too many links follow each other: %w", path, ErrBadPath)
	}
	return fmt.Errorf("%s: %w", path, explainDisk(err))
}

// Stat describes a file; a link at the end of the path is followed.
func (f *Files) Stat(path string) (FileInfo, error) {
	s, err := f.find(path, true)
	if err != nil {
		return FileInfo{}, err
	}
	defer s.close()
	info, err := s.info(s.base)
	if err != nil {
		return info, explainFile(path, err)
	}
	if s.base == "" {
		info.Name = s.way[len(s.way)-1]
	}
	return info, nil
}

// info describes one entry of the spot's directory, "" the directory itself.
func (s *spot) info(name string) (FileInfo, error) {
	var st unix.Stat_t
	var err error
	if name == "" {
		err = unix.Fstat(s.top(), &st)
	} else {
		err = unix.Fstatat(s.top(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return FileInfo{}, err
	}
	info := FileInfo{Name: name, Mode: modeOf(st.Mode), Size: st.Size, ModTime: time.Unix(st.Mtim.Unix())}
	if info.Mode&fs.ModeSymlink != 0 {
		info.Link, err = readlinkat(s.top(), name)
	}
	return info, err
}

// modeOf is a mode of the kernel's as Go has it.
func modeOf(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	}
	return m
}

// List lists a directory, in the order of names.
func (f *Files) List(path string) ([]FileInfo, error) {
	s, err := f.find(path, true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.base != "" {
		return nil, fmt.Errorf("%s is no directory: %w", path, ErrBadPath)
	}
	names, err := s.names()
	if err != nil {
		return nil, explainFile(path, err)
	}
	list := make([]FileInfo, 0, len(names))
	for _, name := range names {
		info, err := s.info(name)
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, explainFile(filepath.Join(path, name), err)
		}
		list = append(list, info)
	}
	return list, nil
}

// names are those of the spot's directory that may be seen.
func (s *spot) names() ([]string, error) {
	fd, err := openat(s.top(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), s.where())
	defer dir.Close()
	names, err := dir.Readdirnames(maxListed + 1)
	if len(names) > maxListed {
		return nil, fmt.Errorf("there are more than %d files: look with a command in the task: %w", maxListed, ErrBadPath)
	}
	if err != nil && len(names) > 0 || errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool { return s.allowed(name) != nil }), nil
}

// Open opens a regular file to be read.
func (f *Files) Open(path string) (*os.File, error) {
	s, err := f.find(path, true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.base == "" {
		return nil, fmt.Errorf("%s is a directory: %w", path, ErrBadPath)
	}
	file, err := s.open(s.base, unix.O_RDONLY, 0)
	if err != nil {
		return nil, explainFile(path, err)
	}
	return file, nil
}

// open opens a regular file in the spot's directory.
func (s *spot) open(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := openat(s.top(), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("it is no regular file: %w", ErrBadPath)
	}
	if err != nil {
		_ = unix.Close(fd) // only opened
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.where()), nil
}
