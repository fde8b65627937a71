package containerd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// TestNamesAreReadAsByDocker holds our reading of names against the library that the field uses.
func TestNamesAreReadAsByDocker(t *testing.T) {
	for _, text := range []string{
		"app", "app:1", "team/app", "docker.io/app", "index.docker.io/a/b:2", "localhost/app", "localhost:5000/app:x", "10.0.0.1/app", "a.b/c/d:e-F_1",
		"quay.io/x/y__z", "a--b/c.d:1", "", "App", "x/App", "a..b", "-a", "a/", "/a", "a:", "a:-x", "a b", "HOST/app", "[::1]:5000/a", "a@sha256:00", "..",
		"a_.b", "a___b", "host:port/a", "host:12x/a", strings.Repeat("a", 256), "ghcr.io/a/b:" + strings.Repeat("t", 129),
	} {
		want := ""
		if named, err := reference.ParseDockerRef(text); err == nil {
			want = named.String()
		}
		got, err := state.ParseImage(text)
		if got.Name != want {
			t.Errorf("%q is %q (%v), the library says %q", text, got.Name, err, want)
		}
	}
}

// TestImported looks at what is left, hence one after the other.
func TestImported(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		for name, f := range map[string]func(*testing.T, *host){
			"archives": testArchives, "refused archives": testRefusedArchives, "damaged archives": testDamagedArchives,
			"an imported image": testImportedRuns, "blobs": testBlobs,
		} {
			t.Run(name, func(t *testing.T) { f(t, h) })
		}
	})
}

// small makes an image of a few bytes that nothing can run.
func small(t *testing.T, seed, arch string) v1.Image {
	t.Helper()
	prog := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(prog, []byte("not really a program: "+seed), 0o700); err != nil {
		t.Fatal(err)
	}
	img, err := image.Build(prog, image.Config{Files: map[string]string{"/etc/seed": strings.Repeat(seed, 100)}})
	if err != nil {
		t.Fatal(err)
	}
	if arch == "" {
		return img
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.Architecture = arch
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

// dockerSave is an archive as docker save wrote it before version 25.
func dockerSave(t *testing.T, images map[string]v1.Image) []byte {
	t.Helper()
	refs := map[name.Reference]v1.Image{}
	for n, img := range images {
		tag, err := name.NewTag(n)
		if err != nil {
			t.Fatal(err)
		}
		refs[tag] = img
	}
	var b bytes.Buffer
	if err := tarball.MultiRefWrite(refs, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layout is the content of an OCI layout.
type layout struct {
	t     *testing.T
	files map[string][]byte
}

func newLayout(t *testing.T) *layout {
	return &layout{t, map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

func (l *layout) blob(data []byte) string {
	d := fmt.Sprintf("%x", sha256.Sum256(data))
	l.files["blobs/sha256/"+d] = data
	return "sha256:" + d
}

// add stores an image and describes its manifest; without its layers when bare.
func (l *layout) add(img v1.Image, bare bool) map[string]any {
	l.t.Helper()
	manifest, err := img.RawManifest()
	if err != nil {
		l.t.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		l.t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, layer := range layers {
		r, err := layer.Compressed()
		if err != nil {
			l.t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			l.t.Fatal(err)
		}
		if !bare {
			l.blob(data)
		}
	}
	l.blob(config)
	cf, err := img.ConfigFile()
	if err != nil {
		l.t.Fatal(err)
	}
	return map[string]any{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": l.blob(manifest), "size": len(manifest),
		"platform": map[string]any{"os": cf.OS, "architecture": cf.Architecture},
	}
}

func (l *layout) index(manifests ...any) []byte {
	l.t.Helper()
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

// nested stores an index and describes it, by a name.
func (l *layout) nested(ref string, manifests ...any) map[string]any {
	data := l.index(manifests...)
	return named1(map[string]any{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": l.blob(data), "size": len(data)}, ref)
}

func named1(desc map[string]any, ref string) map[string]any {
	out := map[string]any{}
	for k, v := range desc {
		out[k] = v
	}
	out["annotations"] = map[string]any{"org.opencontainers.image.ref.name": ref}
	return out
}

func (l *layout) tar(top ...any) []byte {
	l.t.Helper()
	l.files["index.json"] = l.index(top...)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range sortedKeys(l.files) {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(l.files[path])), Typeflag: tar.TypeReg})); err != nil {
			l.t.Fatal(err)
		}
		if _, err := w.Write(l.files[path]); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rawDigest(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func testArchives(t *testing.T, h *host) {
	d := h.driver(t, "n-archives")
	own, arm, other := small(t, "a", ""), small(t, "b", "arm64"), small(t, "c", "")
	if arch, _ := own.ConfigFile(); arch.Architecture == "arm64" {
		arm = small(t, "b", "amd64")
	}
	type want struct {
		names     []string
		platforms int
		missing   int
	}
	const app1, app2, other7 = "docker.io/library/app:1", "docker.io/library/app:2", "quay.io/x/other:7"
	for what, c := range map[string]struct {
		data []byte
		name string
		want []want
	}{
		"docker save":                  {dockerSave(t, map[string]v1.Image{"app:1": own}), "", []want{{[]string{app1}, 1, 0}}},
		"docker save, gzip":            {zipped(t, dockerSave(t, map[string]v1.Image{"app:1": own})), "", []want{{[]string{app1}, 1, 0}}},
		"two names":                    {dockerSave(t, map[string]v1.Image{"app:1": own, "app:2": own}), "", []want{{[]string{app1, app2}, 1, 0}}},
		"another name":                 {dockerSave(t, map[string]v1.Image{"app:1": own, "app:2": own}), "quay.io/x/other:7", []want{{[]string{other7}, 1, 0}}},
		"two images":                   {dockerSave(t, map[string]v1.Image{"app:1": own, "app:2": other}), "", []want{{[]string{app1}, 1, 0}, {[]string{app2}, 1, 0}}},
		"layout":                       {func() []byte { l := newLayout(t); return l.tar(named1(l.add(own, false), "app:1")) }(), "", []want{{[]string{app1}, 1, 0}}},
		"layout, gzip, without a name": {func() []byte { l := newLayout(t); return zipped(t, l.tar(l.add(own, false))) }(), "app:1", []want{{[]string{app1}, 1, 0}}},
		"layout with a bare tag":       {func() []byte { l := newLayout(t); return l.tar(named1(l.add(own, false), "latest")) }(), "app:1", []want{{[]string{app1}, 1, 0}}},
		"two platforms": {func() []byte {
			l := newLayout(t)
			return l.tar(l.nested("app:1", l.add(own, false), l.add(arm, false)))
		}(), "", []want{{[]string{app1}, 2, 0}}},
		"two platforms at the top":    {func() []byte { l := newLayout(t); return l.tar(l.add(own, false), l.add(arm, false)) }(), "app:1", []want{{[]string{app1}, 2, 0}}},
		"one platform of two":         {func() []byte { l := newLayout(t); return l.tar(l.nested("app:1", l.add(own, false), l.add(arm, true))) }(), "", []want{{[]string{app1}, 1, 1}}},
		"only another machine's":      {func() []byte { l := newLayout(t); return l.tar(named1(l.add(arm, false), "app:1")) }(), "", []want{{[]string{app1}, 1, 0}}},
		"names of the layout in full": {func() []byte { l := newLayout(t); return l.tar(named1(l.add(own, false), other7)) }(), "", []want{{[]string{other7}, 1, 0}}},
		"two layouts with names": {func() []byte {
			l := newLayout(t)
			return l.tar(named1(l.add(own, false), "app:1"), named1(l.add(other, false), "app:2"))
		}(), "", []want{{[]string{app1}, 1, 0}, {[]string{app2}, 1, 0}}},
		"the same image by two entries": {func() []byte {
			l := newLayout(t)
			m := l.add(own, false)
			return l.tar(named1(m, "app:1"), named1(m, "app:2"))
		}(), "", []want{{[]string{app1, app2}, 1, 0}}},
	} {
		got, err := d.ImportImage(t.Context(), bytes.NewReader(c.data), c.name)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		slices.SortFunc(got, func(a, b state.Image) int { return strings.Compare(a.Names[0], b.Names[0]) })
		if len(got) != len(c.want) {
			t.Errorf("%s: %d images, want %d", what, len(got), len(c.want))
			continue
		}
		held, err := d.HeldImages(t.Context())
		if err != nil || len(held) != len(got) {
			t.Errorf("%s: %d images are held, %v", what, len(held), err)
		}
		for i, img := range got {
			if w := c.want[i]; !slices.Equal(img.Names, w.names) || len(img.Platforms) != w.platforms || len(img.Missing) != w.missing || img.Size < 500 || img.RootSize == 0 {
				t.Errorf("%s: %+v, want %+v", what, img, w)
			}
			if err := d.DropImage(t.Context(), img.Digest); err != nil {
				t.Error(err)
			}
		}
	}
	nothingOfImports(t, d, nil)
}

// nothingOfImports checks that imports have left nothing: leases, ingests, images; and no content but what was there.
func nothingOfImports(t *testing.T, d *Driver, before map[string]bool) {
	t.Helper()
	s, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leases, err := s.LeasesService().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		if strings.HasPrefix(l.ID, "drover-") {
			t.Errorf("lease %s is left", l.ID)
		}
	}
	ingests, err := s.ContentStore().ListStatuses(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range ingests {
		if strings.HasPrefix(i.Ref, "drover-") {
			t.Errorf("ingest %s is left", i.Ref)
		}
	}
	if held, err := d.HeldImages(t.Context()); err != nil || len(held) > 0 {
		t.Errorf("images %v are left, %v", held, err)
	}
	if before == nil {
		return
	}
	for c := range contentOf(t, d) {
		if !before[c] {
			t.Errorf("content %s is left", c)
		}
	}
}

func contentOf(t *testing.T, d *Driver) map[string]bool {
	t.Helper()
	s, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	err = s.ContentStore().Walk(ctx, func(i content.Info) error {
		out[i.Digest.String()] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func testRefusedArchives(t *testing.T, h *host) {
	d := h.driver(t, "n-refused")
	own, other := small(t, "d", ""), small(t, "e", "")
	before := contentOf(t, d)
	huge := func() []byte {
		l := newLayout(t)
		big := bytes.Repeat([]byte(" "), maxManifestBytes+1)
		return l.tar(map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": l.blob(big), "size": len(big)})
	}()
	for what, c := range map[string]struct {
		data []byte
		name string
		want string
	}{
		"nothing":                 {nil, "app:1", "not a usable image"},
		"no archive":              {[]byte(strings.Repeat("no tar at all", 1000)), "app:1", "it is no tar archive; give what `docker save`"},
		"no image":                {zipped(t, bytes.Repeat([]byte{0}, 4096)), "app:1", "not a usable image"},
		"no name":                 {func() []byte { l := newLayout(t); return l.tar(l.add(own, false)) }(), "", "--name"},
		"a bad name":              {dockerSave(t, map[string]v1.Image{"app:1": own}), "App", "cannot be given"},
		"a digest for a name":     {dockerSave(t, map[string]v1.Image{"app:1": own}), "sha256:" + strings.Repeat("a", 64), "cannot be given"},
		"two images for one name": {dockerSave(t, map[string]v1.Image{"app:1": own, "app:2": other}), "app:3", "app:1, app:2"},
		"a layer missing":         {func() []byte { l := newLayout(t); return l.tar(named1(l.add(own, true), "app:1")) }(), "", "parts of it are not in the archive"},
		"a manifest too large":    {huge, "app:1", "at most"},
		"digests that climb": {func() []byte {
			l := newLayout(t)
			return l.tar(map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:../../../../etc/passwd", "size": 3})
		}(), "app:1", "sha256"},
		"an index of itself by name": {func() []byte { l := newLayout(t); return l.tar() }(), "app:1", "0 images"},
	} {
		_, err := d.ImportImage(t.Context(), bytes.NewReader(c.data), c.name)
		if !errors.Is(err, runtime.ErrBadImage) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	broken := io.MultiReader(bytes.NewReader(dockerSave(t, map[string]v1.Image{"app:1": own})[:3000]), failingReader{})
	if _, err := d.ImportImage(t.Context(), broken, ""); err == nil {
		t.Error("a connection that broke is taken")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.ImportImage(gone, bytes.NewReader(dockerSave(t, map[string]v1.Image{"app:1": own})), ""); err == nil {
		t.Error("a request that was given up is taken")
	}
	nothingOfImports(t, d, before)
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// testDamagedArchives cuts archives and flips bits in them: what is taken all the same is the image that it was.
func testDamagedArchives(t *testing.T, h *host) {
	d := h.driver(t, "n-damaged")
	img := small(t, "f", "")
	before := contentOf(t, d)
	random := rand.New(rand.NewPCG(1, 2))
	for what, whole := range map[string][]byte{
		"docker": dockerSave(t, map[string]v1.Image{"app:1": img}),
		"layout": func() []byte { l := newLayout(t); return l.tar(named1(l.add(img, false), "app:1")) }(),
		"gzip":   zipped(t, dockerSave(t, map[string]v1.Image{"app:1": img})),
	} {
		first, err := d.ImportImage(t.Context(), bytes.NewReader(whole), "app:1")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.DropImage(t.Context(), first[0].Digest); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for range 24 {
			at := random.IntN(len(whole))
			cut, flipped := bytes.Clone(whole[:at]), bytes.Clone(whole)
			flipped[at] ^= 1 << random.IntN(8)
			for how, data := range map[string][]byte{"cut": cut, "flipped": flipped} {
				got, err := d.ImportImage(t.Context(), bytes.NewReader(data), "app:1")
				switch {
				case errors.Is(err, runtime.ErrBadImage):
					refused++
				case err != nil:
					t.Errorf("%s %s at %d: %v", what, how, at, err)
				case got[0].Digest != first[0].Digest: // in the padding nothing can be told
					t.Errorf("%s %s at %d of %d: taken for another image, %s", what, how, at, len(whole), got[0].Digest)
				default:
					if err := d.DropImage(t.Context(), got[0].Digest); err != nil {
						t.Error(err)
					}
				}
			}
		}
		if refused < 20 {
			t.Errorf("%s: only %d of 48 damaged archives were refused", what, refused)
		}
	}
	nothingOfImports(t, d, before)
}

func testImportedRuns(t *testing.T, h *host) {
	d := h.driver(t, "n-runs")
	got, err := d.ImportImage(t.Context(), bytes.NewReader(dockerSave(t, map[string]v1.Image{"team/probe:1": unique(t, h, "imported")})), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.DropImage(context.Background(), got[0].Digest) })
	src := &peers{known: map[string]*runtime.ClusterImage{"team/probe:1": {Image: got[0]}}}
	d.UseImages(src)
	for _, name := range []string{"team/probe:1", "team/probe:1@" + got[0].Digest} {
		spec := h.task(t, d, "exit", "6")
		spec.Config["image"] = name
		if exit, _ := run(t, d, spec); exit.Code != 6 {
			t.Errorf("%s: exit %+v", name, exit)
		}
	}
	spec := h.task(t, d, "exit", "0")
	spec.Config["image"] = "team/probe:1"
	src.away = true
	if _, err := d.EnsureImage(t.Context(), spec); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("with nobody to ask what the tag means: %v", err)
	}
	again := h.driver(t, "n-runs") // the agent was started again
	held, err := again.HeldImages(t.Context())
	if err != nil || len(held) != 1 || held[0].Digest != got[0].Digest || !slices.Equal(held[0].Names, got[0].Names) {
		t.Errorf("after a restart %+v, %v", held, err)
	}
	note := got[0]
	note.Names = nil
	for i := range 60 { // more than one label holds
		note.Names = append(note.Names, fmt.Sprintf("registry.example.com/a/very/long/name/of/an/image/that/somebody/has/%02d:%s", i, strings.Repeat("t", 100)))
	}
	if err := again.NoteImage(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	if held, err = d.HeldImages(t.Context()); err != nil || len(held) != 1 || !slices.Equal(held[0].Names, note.Names) {
		t.Errorf("noted %+v, %v", held, err)
	}
}

func testBlobs(t *testing.T, h *host) {
	d := h.driver(t, "n-blobs")
	other := h.task(t, d, "exit", "0")
	if _, err := d.EnsureImage(t.Context(), other); err != nil { // an image that was not imported
		t.Fatal(err)
	}
	got, err := d.ImportImage(t.Context(), bytes.NewReader(dockerSave(t, map[string]v1.Image{"app:1": small(t, "blobs", "")})), "")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for dgst := range contentOf(t, d) {
		b, err := d.OpenBlob(t.Context(), dgst)
		if errors.Is(err, runtime.ErrNoContent) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err := errors.Join(err, b.Close()); err != nil || fmt.Sprintf("sha256:%x", sha256.Sum256(data)) != dgst {
			t.Errorf("%s: %d bytes, %v", dgst, len(data), err)
		}
		open[dgst] = true
	}
	if len(open) != 3 || !open[got[0].Digest] { // manifest, configuration, layer
		t.Errorf("given away: %v", open)
	}
	for _, bad := range []string{"", "../../x", "sha256:../../x", "sha256:" + strings.Repeat("0", 64)} {
		if _, err := d.OpenBlob(t.Context(), bad); !errors.Is(err, runtime.ErrNoContent) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := d.DropImage(t.Context(), got[0].Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OpenBlob(t.Context(), got[0].Digest); !errors.Is(err, runtime.ErrNoContent) {
		t.Errorf("after it was dropped: %v", err)
	}
}

// peers is a cluster of drivers on daemons of their own.
type peers struct {
	mu    sync.Mutex
	known map[string]*runtime.ClusterImage
	at    map[string]*Driver
	fault func(holder, digest string, offset int64, r io.ReadCloser) (io.ReadCloser, error)
	away  bool
	reads []string
	done  []string
}

func (p *peers) FindImage(_ context.Context, ref string) (*runtime.ClusterImage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return nil, errors.New("no server answers")
	}
	return p.known[ref], nil
}

func (p *peers) ReadBlob(ctx context.Context, from runtime.ImageHolder, digest string, offset int64) (io.ReadCloser, error) {
	p.mu.Lock()
	d := p.at[from.NodeID]
	p.reads = append(p.reads, fmt.Sprintf("%s %d", from.NodeID, offset))
	fault := p.fault
	p.mu.Unlock()
	if d == nil {
		return nil, errors.New("connection refused")
	}
	b, err := d.OpenBlob(ctx, digest)
	if err != nil {
		return nil, err
	}
	var r io.ReadCloser = struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(b, offset, b.Size()-offset), b}
	if fault == nil {
		return r, nil
	}
	return fault(from.NodeID, digest, offset, r)
}

func (p *peers) Stored(digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = append(p.done, digest)
}

// TestFetchedFromPeers: two machines, each with a daemon of its own; what one lacks comes from the other, past every fault.
func TestFetchedFromPeers(t *testing.T) {
	from, to := embeddedHost(t), embeddedHost(t)
	holder, reader := from.driver(t, "holder"), to.driver(t, "reader")
	noise := make([]byte, 3<<20)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(noise) // never fails
	img, err := image.Build(os.Getenv(probeEnv), image.Config{Files: map[string]string{"/etc/noise": string(noise)}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := holder.ImportImage(t.Context(), bytes.NewReader(dockerSave(t, map[string]v1.Image{"big:1": img})), "")
	if err != nil {
		t.Fatal(err)
	}
	cluster := &runtime.ClusterImage{Image: got[0], From: []runtime.ImageHolder{
		{NodeID: "holder", Name: "holder", Up: true}, {NodeID: "liar", Name: "liar", Up: true}, {NodeID: "dead", Name: "dead"}, {NodeID: "empty", Name: "empty", Up: true},
	}}
	cuts := 0
	var here, of int64
	src := &peers{known: map[string]*runtime.ClusterImage{"big:1": cluster, got[0].Digest: cluster},
		at: map[string]*Driver{"holder": holder, "liar": holder, "empty": reader}}
	src.fault = func(node, _ string, offset int64, r io.ReadCloser) (io.ReadCloser, error) {
		src.mu.Lock()
		defer src.mu.Unlock()
		if offset > 0 {
			here, of, _ = reader.PullProgress(t.Context(), runtime.TaskSpec{Config: map[string]any{"image": "big:1@" + got[0].Digest}})
		}
		switch {
		case node == "liar":
			return flipping{r}, nil
		case cuts < 3:
			cuts++
			return &cutting{ReadCloser: r, left: 300_000}, nil
		case cuts == 3:
			cuts++
			return nil, errors.Join(runtime.ErrHolderBusy, r.Close())
		}
		return r, nil
	}
	reader.UseImages(src)
	spec := to.task(t, reader, "exit", "9")
	spec.Config["image"] = "big:1"
	if exit, _ := run(t, reader, spec); exit.Code != 9 {
		t.Errorf("exit %+v", exit)
	}
	if len(src.done) != 1 || src.done[0] != got[0].Digest {
		t.Errorf("stored %v", src.done)
	}
	if here < 300_000 || here >= of || of != got[0].Size {
		t.Errorf("in the middle %d of %d bytes were here, the image has %d", here, of, got[0].Size)
	}
	if _, _, ok := reader.PullProgress(t.Context(), spec); ok {
		t.Error("a fetch that is done is still under way")
	}
	held, err := reader.HeldImages(t.Context())
	if err != nil || len(held) != 1 || held[0].Digest != got[0].Digest {
		t.Errorf("held %+v, %v", held, err)
	}
	resumed := slices.ContainsFunc(src.reads, func(r string) bool { return !strings.HasSuffix(r, " 0") })
	if !resumed {
		t.Errorf("no read went on where another was cut: %v", src.reads)
	}
	if err := reader.DropImage(t.Context(), got[0].Digest); err != nil {
		t.Fatal(err)
	}
	nothingOfImports(t, reader, nil)
}

// cutting breaks off.
type cutting struct {
	io.ReadCloser
	left int
}

func (c *cutting) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("connection reset by peer")
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// flipping lies.
type flipping struct{ io.ReadCloser }

func (f flipping) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		p[n/2] ^= 4
	}
	return n, err
}

func TestRawDigestsSurvive(t *testing.T) {
	h := embeddedHost(t)
	d := h.driver(t, "raw")
	img := small(t, "raw", "")
	l := newLayout(t)
	got, err := d.ImportImage(t.Context(), bytes.NewReader(l.tar(named1(l.add(img, false), "app:1"))), "")
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Digest != rawDigest(t, img) {
		t.Errorf("imported as %s, the layout calls it %s", got[0].Digest, rawDigest(t, img))
	}
}
