package runtime

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxDepth   = 100       // directories in each other in an archive
	maxEntries = 1_000_000 // of an archive
)

// Pack writes a file, or all that is in a directory, as a tar archive. Links are kept as they are; sockets, pipes and devices are
// left out. A file that is written to meanwhile is taken as long as it was when its turn came.
func (f *Files) Pack(ctx context.Context, path string, w io.Writer) error {
	s, err := f.find(path, true)
	if err != nil {
		return err
	}
	defer s.close()
	p := packer{ctx: ctx, w: tar.NewWriter(w)}
	if s.base != "" {
		err = p.file(s, s.base, s.base)
	} else {
		err = p.dir(s, "", 0)
	}
	if err != nil {
		return explainFile(path, err)
	}
	return p.w.Close()
}

type packer struct {
	ctx     context.Context // ends with Pack
	w       *tar.Writer
	entries int
}

// dir packs what is in the spot's directory under the name prefix.
func (p *packer) dir(s *spot, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: directories are nested deeper than %d: %w", s.where(), maxDepth, ErrBadPath)
	}
	names, err := s.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := s.info(name)
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return err
		}
		inside := filepath.Join(prefix, name)
		switch {
		case info.Mode.IsRegular():
			err = p.file(s, name, inside)
		case info.Mode&fs.ModeSymlink != 0:
			err = p.head(tar.Header{Typeflag: tar.TypeSymlink, Name: inside, Linkname: info.Link, ModTime: info.ModTime, Mode: 0o777})
		case info.Mode.IsDir():
			err = p.sub(s, name, inside, info, depth)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

func (p *packer) sub(s *spot, name, inside string, info FileInfo, depth int) error {
	fd, err := openat(s.top(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := p.head(tar.Header{Typeflag: tar.TypeDir, Name: inside + "/", Mode: int64(info.Mode.Perm()), ModTime: info.ModTime}); err != nil {
		return err
	}
	below := &spot{f: s.f, fds: append(s.fds[:len(s.fds):len(s.fds)], fd), way: append(s.way[:len(s.way):len(s.way)], name)}
	return p.dir(below, inside, depth+1)
}

func (p *packer) head(h tar.Header) error {
	if p.entries++; p.entries > maxEntries {
		return fmt.Errorf("there are more than %d files: %w", maxEntries, ErrBadPath)
	}
	if err := p.ctx.Err(); err != nil {
		return context.Cause(p.ctx)
	}
	return p.w.WriteHeader(&h)
}

func (p *packer) file(s *spot, name, inside string) error {
	file, err := s.open(name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	h := tar.Header{Typeflag: tar.TypeReg, Name: inside, Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	if err := p.head(h); err != nil {
		return err
	}
	n, err := io.Copy(p.w, io.LimitReader(file, h.Size))
	if err != nil {
		return err
	}
	_, err = io.CopyN(p.w, zeros{}, h.Size-n) // it was cut while it was read
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// Unpack writes the files of a tar archive below a directory, which must be one that tasks write to. Files that are there are
// overwritten, and no link on the way is followed. What is made belongs to the owner of the directory.
func (f *Files) Unpack(ctx context.Context, path string, r io.Reader) error {
	s, err := f.find(path, true)
	if err != nil {
		return err
	}
	defer s.close()
	if s.base != "" {
		return fmt.Errorf("%s is no directory: %w", path, ErrBadPath)
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.top(), &st); err != nil {
		return explainFile(path, err)
	}
	u := unpacker{s: s, uid: int(st.Uid), gid: int(st.Gid)}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w: %w", err, ErrBadPath)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n > maxEntries {
			return fmt.Errorf("the archive has more than %d files: %w", maxEntries, ErrBadPath)
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("unpack %.200q: %w", h.Name, explainEntry(err))
		}
	}
}

// explainEntry tells what is wrong with an archive, or with what is where it is to go, from what is wrong with the machine.
func explainEntry(err error) error {
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return fmt.Errorf("a part of its path is a file or a link, which is not followed: %w", ErrBadPath)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("nothing can be made there: write below alloc/data, or a task's local or tmp: %w", ErrForbidden)
	case errors.Is(err, unix.EISDIR):
		return fmt.Errorf("a directory has its name: %w", ErrBadPath)
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%w: %w", err, ErrBadPath)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the archive ends in it: %w", ErrBadPath)
	}
	return explainDisk(err)
}

type unpacker struct {
	s        *spot
	uid, gid int
}

// entry makes one entry of an archive.
func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name := filepath.Clean(h.Name)
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(name) || len(name) > maxPath || strings.Count(name, "/") > maxDepth {
		return fmt.Errorf("its name leads elsewhere: %w", ErrBadPath)
	}
	parts := strings.Split(name, "/")
	if h.Typeflag != tar.TypeDir {
		parts = parts[:len(parts)-1]
	}
	at, err := u.descend(parts)
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range at.fds[len(u.s.fds):] {
			_ = unix.Close(fd) // what is in it was written
		}
	}()
	if err := at.writable(); err != nil {
		return err
	}
	base := filepath.Base(name)
	switch h.Typeflag {
	case tar.TypeDir:
		return nil
	case tar.TypeReg:
		if err := at.allowed(base); err != nil {
			return err
		}
		return u.file(at, base, h, r)
	case tar.TypeSymlink:
		if !filepath.IsLocal(filepath.Join(filepath.Dir(name), h.Linkname)) || filepath.IsAbs(h.Linkname) {
			return fmt.Errorf("the link leads elsewhere, to %s: %w", h.Linkname, ErrBadPath)
		}
		return u.link(at, base, h.Linkname)
	}
	return fmt.Errorf("it is neither a file, a directory nor a symbolic link: %w", ErrBadPath)
}

// descend goes down to a directory and makes what is missing.
func (u *unpacker) descend(parts []string) (*spot, error) {
	at := &spot{f: u.s.f, fds: u.s.fds[:len(u.s.fds):len(u.s.fds)], way: u.s.way[:len(u.s.way):len(u.s.way)]}
	fail := func(err error) (*spot, error) {
		for _, fd := range at.fds[len(u.s.fds):] {
			_ = unix.Close(fd) // nothing was written
		}
		return nil, err
	}
	for _, part := range parts {
		if err := at.allowed(part); err != nil {
			return fail(err)
		}
		made := false
		if err := at.writable(); err == nil {
			err = unix.Mkdirat(at.top(), part, 0o755)
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return fail(err)
			}
			made = err == nil
		}
		fd, err := openat(at.top(), part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return fail(err)
		}
		at.fds, at.way = append(at.fds, fd), append(at.way, part)
		if made && os.Geteuid() == 0 {
			if err := unix.Fchown(fd, u.uid, u.gid); err != nil {
				return fail(err)
			}
		}
	}
	return at, nil
}

// writable refuses the directories that tasks do not write to themselves.
func (s *spot) writable() error {
	way := s.way[1:]
	if len(way) >= 2 && way[0] == sharedName && way[1] != filepath.Base(logsName) {
		return nil
	}
	if len(way) >= 2 && way[0] != sharedName && (way[1] == localName || way[1] == tmpName) {
		return nil
	}
	return fmt.Errorf("nothing can be written to %s: write below alloc/data, or a task's local or tmp: %w", s.where(), ErrForbidden)
}

// link makes a symbolic link, in the place of a file or a link of that name.
func (u *unpacker) link(at *spot, base, target string) error {
	err := unix.Symlinkat(target, at.top(), base)
	if errors.Is(err, unix.EEXIST) {
		if err = unix.Unlinkat(at.top(), base, 0); err == nil {
			err = unix.Symlinkat(target, at.top(), base)
		}
	}
	return err
}

// file writes a file: into the one that is there, whose holders see it change, or in the place of a link, which is not followed.
func (u *unpacker) file(at *spot, base string, h *tar.Header, r io.Reader) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes may stand for more than a disk holds
			return fmt.Errorf("it is stored as a sparse file: %w", ErrBadPath)
		}
	}
	file, err := at.open(base, unix.O_WRONLY|unix.O_CREAT, 0o600)
	if errors.Is(err, unix.ELOOP) {
		if err = unix.Unlinkat(at.top(), base, 0); err == nil {
			file, err = at.open(base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return err
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = io.Copy(file, r)
	}
	if err == nil {
		err = file.Chmod(h.FileInfo().Mode().Perm())
	}
	if err == nil && os.Geteuid() == 0 {
		err = file.Chown(u.uid, u.gid)
	}
	if err == nil && !h.ModTime.IsZero() {
		tv := []unix.Timeval{unix.NsecToTimeval(time.Now().UnixNano()), unix.NsecToTimeval(h.ModTime.UnixNano())}
		err = unix.Futimes(int(file.Fd()), tv)
	}
	return errors.Join(err, file.Close())
}
