package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzCopyUnpack: whatever an agent sends instead of an archive, nothing but what is below the target changes on the user's machine.
func FuzzCopyUnpack(f *testing.F) {
	add := func(name string, headers ...tar.Header) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if h.Typeflag == tar.TypeReg {
				h.Size = 4
			}
			h.Mode = 0o644
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			if h.Size > 0 {
				if _, err := io.WriteString(w, "text"); err != nil {
					f.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), name)
		f.Add(b.Bytes()[:b.Len()/2], name)
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	add("", file("a"), file("d/b"), link("l", "a"))
	add("one", file("a"))
	add("", file("../outside"))
	add("", link("l", ".."), file("l/outside"))
	add("", link("d", "."), link("l", "d/d/.."), file("l/outside"))
	add("", file("there"), file("/etc/drover-test"))
	add("", tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../outside"}, file("h"))
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if name != "" && (!filepath.IsLocal(name) || strings.ContainsAny(name, "/\x00")) {
			return // it is the user's own word
		}
		base := t.TempDir()
		for _, path := range []string{"outside", "target/there"} {
			path = filepath.Join(base, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("untouched"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		root, err := os.OpenRoot(filepath.Join(base, "target"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		cp := copier{a: &app{out: io.Discard, err: io.Discard}}
		_ = cp.unpack(root, name, bytes.NewReader(data)) // refused or not
		entries, err := os.ReadDir(base)
		if err != nil || len(entries) != 2 {
			t.Fatalf("beside the target: %v, %v", entries, err)
		}
		if text, err := os.ReadFile(filepath.Join(base, "outside")); err != nil || string(text) != "untouched" {
			t.Fatalf("a file beside the target: %q, %v", text, err)
		}
		if info, err := os.Lstat(filepath.Join(base, "outside")); err != nil || info.Mode() != 0o644 {
			t.Fatalf("a file beside the target: %v, %v", info.Mode(), err)
		}
		err = filepath.WalkDir(filepath.Join(base, "target"), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.Type()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
				t.Errorf("%s is %v, %v", path, e.Type(), err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
