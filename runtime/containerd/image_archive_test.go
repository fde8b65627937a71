package containerd

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// memStore is a content store in memory, without what imports do not use.
type memStore struct {
	content.Store

	mu    sync.Mutex
	blobs map[digest.Digest][]byte
	begun map[string]bool
}

func newMemStore() *memStore {
	return &memStore{blobs: map[digest.Digest][]byte{}, begun: map[string]bool{}}
}

func (m *memStore) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[d]
	if !ok {
		return content.Info{}, fmt.Errorf("%s: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{Digest: d, Size: int64(len(b))}, nil
}

func (m *memStore) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", desc.Digest, errdefs.ErrNotFound)
	}
	return memBlob{bytes.NewReader(b)}, nil
}

func (m *memStore) Abort(_ context.Context, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.begun, ref)
	return nil
}

func (m *memStore) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun[o.Ref] = true
	return &memWriter{m: m, ref: o.Ref}, nil
}

type memBlob struct{ *bytes.Reader }

func (memBlob) Close() error { return nil }

type memWriter struct {
	content.Writer
	m   *memStore
	ref string
	buf bytes.Buffer
}

func (w *memWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }
func (w *memWriter) Close() error                { return nil }
func (w *memWriter) Digest() digest.Digest       { return digest.FromBytes(w.buf.Bytes()) }
func (w *memWriter) Status() (content.Status, error) {
	return content.Status{Ref: w.ref, Offset: int64(w.buf.Len())}, nil
}

func (w *memWriter) Commit(_ context.Context, size int64, expected digest.Digest, _ ...content.Opt) error {
	d := w.Digest()
	if expected != "" && d != expected || size > 0 && size != int64(w.buf.Len()) {
		return fmt.Errorf("it is %s: %w", d, errdefs.ErrFailedPrecondition)
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	delete(w.m.begun, w.ref)
	if _, ok := w.m.blobs[d]; ok {
		return fmt.Errorf("%s: %w", d, errdefs.ErrAlreadyExists)
	}
	w.m.blobs[d] = w.buf.Bytes()
	return nil
}

// importInto is an import as far as it goes without a daemon.
func importInto(ctx context.Context, m *memStore, r io.Reader, name string) ([]state.Image, error) {
	_, all, err := readImages(ctx, &importStore{Store: m, prefix: "test-"}, r, name)
	return all, err
}

// entry is a file of an archive.
type entry struct {
	name, link string
	kind       byte // 0 means a regular file
	data       string
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		hdr := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: 0o644, Size: int64(len(e.data))}
		if e.kind == 0 {
			hdr.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sparse is an archive whose one file is of so many bytes that are not in it.
func sparse(t testing.TB, size int64) []byte {
	t.Helper()
	var records string
	for _, kv := range []string{"GNU.sparse.size=" + fmt.Sprint(size), "GNU.sparse.numblocks=1", "GNU.sparse.map=0,1", "GNU.sparse.name=hole"} {
		n := len(kv) + 3 // the number, a space, a line feed
		for len(fmt.Sprint(n))+len(kv)+2 > n {
			n++
		}
		records += fmt.Sprintf("%d %s\n", n, kv)
	}
	b := tarOf(t, entry{name: "x", data: records}, entry{name: "hole", data: "x"})
	b[156] = 'x' // an extended header now
	var sum int
	copy(b[148:156], "        ")
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

const (
	plainConfig = `{"os":"linux","architecture":"amd64","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`
	aLayer      = "not really a layer"
)

func savedConfig() string { return fmt.Sprintf(plainConfig, digest.FromString(aLayer)) }

// TestLinksInArchives: layers that several images share are links, symbolic ones of docker and podman, hard ones of other tools.
func TestLinksInArchives(t *testing.T) {
	const manifest = `[{"Config":"c.json","RepoTags":["app:1"],"Layers":["abc/layer.tar"]}]`
	want := ""
	for name, layer := range map[string][]entry{
		"file":     {{name: "./abc/layer.tar", data: aLayer}},
		"symlink":  {{name: "real.tar", data: aLayer}, {name: "abc/layer.tar", link: "../real.tar", kind: tar.TypeSymlink}},
		"hardlink": {{name: "real.tar", data: aLayer}, {name: "abc/layer.tar", link: "real.tar", kind: tar.TypeLink}},
	} {
		data := tarOf(t, append(layer, entry{name: "c.json", data: savedConfig()}, entry{name: "manifest.json", data: manifest})...)
		got, err := importInto(t.Context(), newMemStore(), bytes.NewReader(data), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want == "" {
			want = got[0].Digest
		}
		if got[0].Digest != want || got[0].Names[0] != "docker.io/library/app:1" {
			t.Errorf("%s: %+v, want %s", name, got[0], want)
		}
	}
}

// TestArchivesThatWouldFillTheMemory: small files that say large things are refused before they cost anything.
func TestArchivesThatWouldFillTheMemory(t *testing.T) {
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }
	saved := func(manifest string) []byte {
		return tarOf(t, entry{name: "c.json", data: savedConfig()}, entry{name: "l.tar", data: aLayer}, entry{name: "manifest.json", data: manifest})
	}
	var links []entry
	for i := range importEntries {
		links = append(links, entry{name: fmt.Sprintf("l%d", i), link: "x", kind: tar.TypeSymlink})
	}
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 19 << 3, 0x01, 0x00, 0x00} // a frame that refers 512 MiB back
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"names":               {saved(`[{"Config":"c.json","RepoTags":[` + many(300_000, `"a:1"`) + `],"Layers":["l.tar"]}]`), "names"},
		"layers":              {saved(`[{"Config":"c.json","RepoTags":["a:1"],"Layers":[` + many(300_000, `"l.tar"`) + `]}]`), "layers"},
		"images":              {saved(`[` + many(50_000, `{"Config":"c.json","Layers":["l.tar"]}`) + `]`), "1 to 64 images"},
		"a long manifest":     {saved(`[` + strings.Repeat(" ", archiveJSON) + `]`), "at most 4194304"},
		"links":               {tarOf(t, append(links, entry{name: "one more", data: "x"})...), "more than 20000 files"},
		"a sparse file":       {sparse(t, 1<<40), "sparse"},
		"a small sparse file": {sparse(t, 1<<20), "sparse"},
		"a zstd window":       {window, "window"},
	} {
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		_, err := importInto(t.Context(), newMemStore(), bytes.NewReader(c.data), "app:1")
		goruntime.ReadMemStats(&after)
		if !errors.Is(err, runtime.ErrBadImage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v, want %q", name, err, c.want)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 128 {
			t.Errorf("%s: %d MiB were used", name, used)
		}
	}
}

func zstdOf(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// FuzzArchive reads images of anything. What is taken is whole, has good names, and is described by what is stored.
func FuzzArchive(f *testing.F) {
	manifest := `[{"Config":"c.json","RepoTags":["app:1"],"Layers":["l.tar"]}]`
	save := tarOf(f, entry{name: "c.json", data: savedConfig()}, entry{name: "l.tar", data: aLayer}, entry{name: "manifest.json", data: manifest})
	ociManifest, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: "application/vnd.oci.image.manifest.v1+json"})
	if err != nil {
		f.Fatal(err)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d,
		"annotations":{"org.opencontainers.image.ref.name":"app:1"}}]}`, digest.FromBytes(ociManifest), len(ociManifest))
	for _, seed := range [][]byte{
		save, zstdOf(f, save), sparse(f, 1<<20), []byte("no archive"), {},
		tarOf(f, entry{name: "../../etc/passwd", data: "x"}, entry{name: "/etc/shadow", link: "../../..", kind: tar.TypeSymlink}, entry{name: "manifest.json", data: manifest}),
		tarOf(f, entry{name: "oci-layout", data: `{"imageLayoutVersion":"1.0.0"}`}, entry{name: "index.json", data: index},
			entry{name: "blobs/sha256/" + digest.FromBytes(ociManifest).Encoded(), data: string(ociManifest)}),
		tarOf(f, entry{name: "oci-layout", data: `{"imageLayoutVersion":"1.0.0"}`}, entry{name: "index.json", data: `{"manifests":[{"digest":"sha256:../../x","size":-1}]}`}),
		tarOf(f, entry{name: "c.json", data: `{`}, entry{name: "manifest.json", data: `[{"Config":"c.json","RepoTags":["../x","A:B"],"Layers":["c.json","c.json"]}]`}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMemStore()
		got, err := importInto(t.Context(), m, bytes.NewReader(data), "")
		if err != nil {
			return
		}
		for _, img := range got {
			if err := img.Validate(); err != nil {
				t.Errorf("%+v: %v", img, err)
			}
			for _, n := range img.Names {
				if ref, err := state.ParseImage(n); err != nil || ref.Name != n {
					t.Errorf("the name %q is %+v, %v", n, ref, err)
				}
			}
			tree := newTree(m, img.Missing)
			if err := tree.check(t.Context(), ocispec.Descriptor{MediaType: img.MediaType, Digest: digest.Digest(img.Digest), Size: img.RootSize}); err != nil {
				t.Errorf("%s is not whole: %v", img.Digest, err)
			}
		}
		for d, b := range maps.All(m.blobs) {
			if digest.FromBytes(b) != d {
				t.Errorf("%s holds something else", d)
			}
		}
	})
}
