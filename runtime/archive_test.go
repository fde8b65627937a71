package runtime_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// archive makes a tar archive of headers; a regular file's content is its name unless there is another.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "content of " + h.Name
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func (y *yard) unpack(to string, data []byte) error {
	return y.f.Unpack(y.t.Context(), to, bytes.NewReader(data))
}

// tree lists what is in the allocation and beside it: path, mode, and content or target.
func (y *yard) tree() (out []string) {
	y.t.Helper()
	err := filepath.WalkDir(filepath.Dir(y.dir), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		rel, err := filepath.Rel(y.dir, path)
		out = append(out, fmt.Sprintf("%s %s %s", rel, info.Mode(), content))
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return out
}

func TestPackAndUnpack(t *testing.T) {
	y := newYard(t)
	y.put("alloc/data/sub/empty", "")
	y.link("alloc/data/sub/link", "../report")
	if err := errors.Join(os.Chmod(filepath.Join(y.dir, "alloc/data/report"), 0o751|fs.ModeSetuid),
		unix.Mkfifo(filepath.Join(y.dir, "alloc/data/pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	then := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(y.dir, "alloc/data/report"), then, then); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := y.f.Pack(t.Context(), "alloc/data", &b); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time everything is there
		if err := y.unpack("web/local", b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, line := range y.tree() {
		if rest, ok := strings.CutPrefix(line, "web/local/"); ok {
			got = append(got, rest)
		}
	}
	want := []string{
		"conf -rw-r--r-- conf of web", "report -rwxr-x--x the report", "sub drwxr-xr-x ", "sub/deep -rw-r--r-- deep", "sub/empty -rw-r--r-- ", "sub/link Lrwxrwxrwx ../report",
	}
	if !slices.Equal(got, want) {
		t.Errorf("unpacked:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if info, err := os.Stat(filepath.Join(y.dir, "web/local/report")); err != nil || !info.ModTime().Equal(then) {
		t.Errorf("%v, %v", info.ModTime(), err)
	}

	b.Reset()
	if err := y.f.Pack(t.Context(), "", &b); err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(&b); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, "secret") || strings.Contains(h.Name, "alloc.json") || strings.Contains(h.Name, "marks") {
			t.Errorf("%s is packed", h.Name)
		}
	}
	b.Reset()
	if err := y.f.Pack(t.Context(), "/alloc/data/report", &b); err != nil {
		t.Fatal(err)
	}
	if h, err := tar.NewReader(&b).Next(); err != nil || h.Name != "report" || h.Mode != 0o751 {
		t.Errorf("one file: %+v, %v", h, err)
	}
	for _, path := range []string{"web/secrets", "none", "alloc/data/pipe", "alloc.json"} {
		if err := y.f.Pack(t.Context(), path, io.Discard); err == nil {
			t.Errorf("%s was packed", path)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := y.f.Pack(ended, "alloc", io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v", err)
	}
	if err := y.f.Unpack(ended, "web/local", bytes.NewReader(archive(t, file("x")))); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v", err)
	}
}

// TestPackWhatChanges: a file that shrinks while it is read is filled up, so that the archive stays one.
func TestPackWhatChanges(t *testing.T) {
	y := newYard(t)
	path := filepath.Join(y.dir, "alloc/data/report")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	errs := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { errs <- y.f.Pack(t.Context(), "alloc/data/report", w); _ = w.Close() })
	tr := tar.NewReader(r)
	h, err := tr.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, tr)
	if err != nil || n != h.Size || n != 3<<20 {
		t.Errorf("%d bytes of %d, %v", n, h.Size, err)
	}
	if _, err := tr.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

func TestPackIsBounded(t *testing.T) {
	y := newYard(t)
	if err := os.MkdirAll(filepath.Join(y.dir, "alloc/data", strings.Repeat("d/", 101)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := y.f.Pack(t.Context(), "alloc", io.Discard); !errors.Is(err, runtime.ErrBadPath) || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("%v", err)
	}
}

// TestUnpackRefuses: nothing is written but below the directory that was named, and only where tasks write themselves.
func TestUnpackRefuses(t *testing.T) {
	sparse := tar.Header{Typeflag: tar.TypeReg, Name: "s", PAXRecords: map[string]string{"DROVER.x": "1"}}
	for name, tc := range map[string]struct {
		to   string
		data []byte
		err  error
	}{
		"up":                        {"web/local", archive(t, file("../../outside")), runtime.ErrBadPath},
		"absolute":                  {"web/local", archive(t, file("/etc/drover-test")), runtime.ErrBadPath},
		"a directory up":            {"web/local", archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "../new/"}), runtime.ErrBadPath},
		"secrets":                   {"web/secrets", archive(t, file("x")), runtime.ErrForbidden},
		"secrets from above":        {"web", archive(t, file("secrets/key")), runtime.ErrForbidden},
		"another task":              {"", archive(t, file("other/local/x")), runtime.ErrForbidden},
		"the record":                {"", archive(t, file("alloc.json")), runtime.ErrForbidden},
		"the marks":                 {"", archive(t, file(".marks/web")), runtime.ErrForbidden},
		"logs":                      {"alloc/logs", archive(t, file("web.stdout")), runtime.ErrForbidden},
		"the root":                  {"/", archive(t, file("x")), runtime.ErrForbidden},
		"a link that leads out":     {"web/local", archive(t, link("l", "../../secrets")), runtime.ErrBadPath},
		"an absolute link":          {"web/local", archive(t, link("l", "/alloc/data")), runtime.ErrBadPath},
		"through a link of its own": {"web/local", archive(t, link("l", "."), file("l/x")), runtime.ErrBadPath},
		"through a task's link":     {"web/local", archive(t, file("trap/x")), runtime.ErrBadPath},
		"a device":                  {"web/local", archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "d"}), runtime.ErrBadPath},
		"a hard link":               {"web/local", archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "conf"}), runtime.ErrBadPath},
		"over a directory":          {"alloc/data", archive(t, file("sub")), runtime.ErrBadPath},
		"a link over a directory":   {"alloc/data", archive(t, link("sub", "report")), runtime.ErrBadPath},
		"below a file":              {"alloc/data", archive(t, file("report/x")), runtime.ErrBadPath},
		"too deep":                  {"web/local", archive(t, file(strings.Repeat("d/", 101)+"x")), runtime.ErrBadPath},
		"into a file":               {"web/local/conf", archive(t, file("x")), runtime.ErrBadPath},
		"into nothing":              {"web/local/none", archive(t, file("x")), runtime.ErrNotFound},
		"no archive":                {"web/local", []byte(strings.Repeat("no archive", 100)), runtime.ErrBadPath},
		"cut":                       {"web/local", archive(t, file("x"), file("y"))[:1540], runtime.ErrBadPath},
		"sparse":                    {"web/local", bytes.ReplaceAll(archive(t, sparse), []byte("DROVER.x"), []byte("GNU.spar")), nil},
	} {
		y := newYard(t)
		y.link("web/local/trap", "../secrets")
		before := y.tree()
		err := y.unpack(tc.to, tc.data)
		if name == "sparse" {
			continue // only that it does not crash: the library reads it, or refuses it
		}
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", name, err, tc.err)
		}
		for _, line := range y.tree() {
			if !slices.Contains(before, line) && !strings.HasPrefix(line, "web/local/l ") && !strings.HasPrefix(line, "web/local/x ") &&
				!(name == "cut" && strings.HasPrefix(line, "web/local/y ")) {
				t.Errorf("%s: there is %s", name, line)
			}
		}
	}
}

// TestUnpackReplacesLinks: in the place of a link the file is made; what the link led to stays.
func TestUnpackReplacesLinks(t *testing.T) {
	y := newYard(t)
	y.link("web/local/x", "../secrets/key")
	y.link("web/local/y", "conf")
	if err := y.unpack("web/local", archive(t, file("x"), link("y", "x"), link("conf", "y"))); err != nil {
		t.Fatal(err)
	}
	tree := strings.Join(y.tree(), "\n")
	for _, want := range []string{
		"web/local/x -rw-r--r-- content of x\n", "web/local/y Lrwxrwxrwx x\n", "web/local/conf Lrwxrwxrwx y\n", "web/secrets/key -rw-r--r-- " + secret,
	} {
		if !strings.Contains(tree, want) {
			t.Errorf("%q is missing:\n%s", want, tree)
		}
	}
}

// FuzzUnpack: whatever an archive holds, nothing changes but below the directory that it is unpacked into.
func FuzzUnpack(f *testing.F) {
	for _, data := range [][]byte{
		nil, archive(f, file("x"), file("d/y"), link("l", "x")), archive(f, file("../x")), archive(f, link("l", "d"), file("l/x")),
		archive(f, tar.Header{Typeflag: tar.TypeDir, Name: "a/b/"}, file("a/b/c")), archive(f, link("l", "../../secrets"), file("l/key")),
		archive(f, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("long/", 60) + "x", PAXRecords: map[string]string{"A.b": "c"}}),
	} {
		f.Add(data, "web/local")
		f.Add(data, "/")
	}
	f.Fuzz(func(t *testing.T, data []byte, to string) {
		y := newYard(t)
		y.link("web/local/l", "../secrets")
		before := y.tree()
		if err := y.unpack(to, data); err == nil && len(data) == 0 && to == "web/local" {
			_ = y.f.Pack(t.Context(), to, io.Discard)
		}
		after := y.tree()
		mayChange := func(line string) bool {
			for _, dir := range []string{"web/local/", "web/tmp/", "side/local/", "side/tmp/", "alloc/data/", "alloc/tmp/"} {
				if strings.HasPrefix(line, dir) {
					return true
				}
			}
			return false
		}
		for _, line := range before {
			if !mayChange(line) && !slices.Contains(after, line) {
				t.Fatalf("gone or altered: %s", line)
			}
		}
		for _, line := range after {
			if !mayChange(line) && !slices.Contains(before, line) {
				t.Fatalf("new: %s", line)
			}
		}
	})
}
