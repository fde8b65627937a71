package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// archives are tar archives of files and links with good and bad names, often damaged.
func archives() *rapid.Generator[[]byte] {
	names := rapid.SampledFrom([]string{"a", "d/b", "d", "l", "l/outside", "../outside", "there", "/etc/drover-test", "l/l", "d/l", "", ".", ".."})
	kinds := rapid.SampledFrom([]byte{tar.TypeReg, tar.TypeReg, tar.TypeSymlink, tar.TypeSymlink, tar.TypeDir, tar.TypeLink, tar.TypeFifo})
	return rapid.Custom(func(t *rapid.T) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for range rapid.IntRange(0, 6).Draw(t, "entries") {
			h := tar.Header{Typeflag: kinds.Draw(t, "kind"), Name: names.Draw(t, "name"), Mode: 0o644}
			switch h.Typeflag {
			case tar.TypeReg:
				h.Size = 4
			case tar.TypeSymlink, tar.TypeLink:
				h.Linkname = rapid.SampledFrom([]string{"..", ".", "a", "../outside", "d/..", "l/..", "/etc", "d/l/../.."}).Draw(t, "to")
			}
			if w.WriteHeader(&h) == nil && h.Size > 0 {
				_, _ = io.WriteString(w, "text") // to memory
			}
		}
		_ = w.Close() // to memory
		data := b.Bytes()
		if rapid.IntRange(0, 3).Draw(t, "damage") == 0 {
			data = data[:rapid.IntRange(0, len(data)).Draw(t, "cut")]
			for range rapid.IntRange(0, 3).Draw(t, "flips") {
				if len(data) > 0 {
					data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
			}
		}
		return data
	})
}

// TestCopyUnpacksOnlyBelowItsTarget: whatever an agent sends instead of an archive, nothing but what is below the target changes on
// the user's machine.
func TestCopyUnpacksOnlyBelowItsTarget(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		data, name := archives().Draw(t, "archive"), rapid.SampledFrom([]string{"", "", "one"}).Draw(t, "name")
		base := filepath.Join(dir, strconv.Itoa(n))
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
