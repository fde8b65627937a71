package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newAllocCp(a *app) *cobra.Command {
	var task string
	cmd := &cobra.Command{
		Use:   "cp <alloc|job>:<path> <local> | <local> <alloc|job>:<path>",
		Short: "Copy files to or from one copy",
		Long: `Copy a file, or a directory with all that is in it, from the directory of one copy to this machine or back.
` + fsPaths[1:] + ` What lies elsewhere in a container's image is reached with ` + "`drover alloc exec`" + `. Files are written below alloc/data, or a task's local
or tmp, and belong to the owner of the directory that they come to.`,
		Example: `  drover alloc cp hello:alloc/data/report.txt .
  drover alloc cp ./conf 8f3c:/local/conf
  drover alloc cp 8f3c:web/local/cache /tmp/cache`,
		SuggestFor: []string{"copy", "scp"},
		Args:       arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to := parsePlace(args[0]), parsePlace(args[1])
			switch {
			case from.word == "" && to.word == "":
				return errors.New("name a copy before one of the paths, such as hello:alloc/data/report.txt")
			case from.word != "" && to.word != "":
				return errors.New("one of the two must be on this machine: copy in two steps")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			x, err := a.pickAlloc(cmd.Context(), c, from.word+to.word, false)
			if err != nil {
				return err
			}
			cp := copier{a: a, c: c, r: api.FileRequest{AllocID: x.ID, Task: task}}
			if from.word != "" {
				return cp.fetch(cmd.Context(), from.path, to.path)
			}
			return cp.send(cmd.Context(), from.path, to.path)
		},
	}
	cmd.Flags().StringVar(&task, "task", "", "the `task` whose /local and /tmp are meant, when there are several")
	return cmd
}

// place is one end of a copy: here, or in an allocation.
type place struct{ word, path string }

// parsePlace reads "hello:path". A name with a slash before the colon is a local one.
func parsePlace(s string) place {
	word, rest, ok := strings.Cut(s, ":")
	if !ok || word == "" || strings.Contains(word, "/") || word == "." || word == ".." {
		return place{path: s}
	}
	return place{word: word, path: orElse(rest, "/")}
}

// copier copies to and from one allocation.
type copier struct {
	a *app
	c *api.Client
	r api.FileRequest
	n int // files
}

func (cp *copier) at(p string) api.FileRequest {
	r := cp.r
	r.Path = p
	return r
}

// fetch copies from the allocation, as cp -r does: into the target when that is a directory, else under its name.
func (cp *copier) fetch(ctx context.Context, from, to string) error {
	info, err := cp.c.StatFile(ctx, cp.at(from))
	if err != nil {
		return noFile(err, shortID(cp.r.AllocID, false))
	}
	if local, err := os.Stat(to); err == nil && local.IsDir() || strings.HasSuffix(to, "/") {
		to = filepath.Join(to, path.Base(path.Clean("/"+from)))
	}
	dir, name := to, ""
	if info.IsDir {
		err = os.MkdirAll(to, 0o755)
	} else {
		dir, name = filepath.Split(to)
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(orElse(dir, "."))
	if err != nil {
		return err
	}
	defer root.Close()
	body, err := cp.c.PackFiles(ctx, cp.at(from))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read to its end, or given up
	if err := cp.unpack(root, name, body); err != nil {
		return fmt.Errorf("copy from the allocation: %w", err)
	}
	fmt.Fprintf(cp.a.out, "Copied %s to %s.\n", plural(cp.n, "file"), to)
	return nil
}

// unpack writes an archive below root, which nothing in it can leave. The one file of an archive is called name when that is given.
func (cp *copier) unpack(root *os.Root, name string, r io.Reader) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := orElse(name, filepath.Clean(h.Name))
		if !filepath.IsLocal(to) {
			return fmt.Errorf("the archive's file %q leads elsewhere", h.Name)
		}
		if err := cp.entry(root, to, h, tr); err != nil {
			return err
		}
	}
}

func (cp *copier) entry(root *os.Root, to string, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(to, 0o755)
	}
	if dir := filepath.Dir(to); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f, err := root.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, h.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		cp.n++
		return root.Chtimes(to, h.ModTime, h.ModTime)
	case tar.TypeSymlink:
		if filepath.IsAbs(h.Linkname) || !filepath.IsLocal(filepath.Join(filepath.Dir(to), h.Linkname)) {
			fmt.Fprintf(cp.a.err, "Warning: left out the link %s, which leads elsewhere: to %s\n", oneLine(h.Name), oneLine(h.Linkname))
			return nil
		}
		if err := root.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		cp.n++
		return root.Symlink(h.Linkname, to)
	}
	return nil
}

// send copies to the allocation, as cp -r does.
func (cp *copier) send(ctx context.Context, from, to string) error {
	local, err := os.Stat(from)
	if err != nil {
		return err
	}
	dir, name := path.Split(path.Clean("/" + to))
	info, err := cp.c.StatFile(ctx, cp.at(to))
	switch {
	case err == nil && info.IsDir:
		dir, name = to, filepath.Base(filepath.Clean(from))
	case err == nil && local.IsDir():
		return fmt.Errorf("%s is a file in the allocation, %s a directory here", to, from)
	case err != nil && !isNotFound(err):
		return err
	case err != nil && strings.HasSuffix(to, "/"):
		return fmt.Errorf("there is no directory %s in the allocation", to)
	}
	if name == "." || name == ".." {
		abs, err := filepath.Abs(from)
		if err != nil {
			return err
		}
		name = filepath.Base(abs)
	}
	if from, err = filepath.EvalSymlinks(from); err != nil {
		return err
	}
	r, w := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.CloseWithError(cp.pack(w, from, name)) }) // never fails
	err = cp.c.UnpackFiles(ctx, cp.at(dir), r)
	_ = r.Close() // ends the other side
	wg.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(cp.a.out, "Copied %s to %s.\n", plural(cp.n, "file"), path.Join(dir, name))
	return nil
}

// pack writes a file or a directory as an archive in which it has a name.
func (cp *copier) pack(w io.Writer, from, name string) error {
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return cp.add(tw, p, path.Join(name, filepath.ToSlash(rel)), info)
	})
	return errors.Join(err, tw.Close())
}

func (cp *copier) add(tw *tar.Writer, p, name string, info fs.FileInfo) error {
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return tw.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(p)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) || !filepath.IsLocal(filepath.Join(path.Dir(name), target)) {
			fmt.Fprintf(cp.a.err, "Warning: left out the link %s, which leads elsewhere: to %s\n", p, target)
			return nil
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
		cp.n++
		return tw.WriteHeader(h)
	case !info.Mode().IsRegular():
		fmt.Fprintf(cp.a.err, "Warning: left out %s, which is no file\n", p)
		return nil
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	cp.n++
	_, err = io.CopyN(tw, f, h.Size)
	return err
}
