package containerd

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestTidy looks at all images of a daemon, hence one after the other.
func TestTidy(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		for name, f := range map[string]func(*testing.T, *host){
			"by age": testTidyByAge, "by disk use": testTidyByDisk, "in use": testTidyInUse, "being pulled": testTidyPulled, "switched off": testTidyOff,
			"left-over downloads": testTidyDownloads,
		} {
			t.Run(name, func(t *testing.T) { f(t, h) })
		}
	})
}

// shelf is a driver that tidies up, and the images that it has.
type shelf struct {
	t   *testing.T
	d   *Driver
	s   *session
	ctx context.Context
	now time.Time
}

func openShelf(t *testing.T, h *host, gc ImageGC) *shelf {
	t.Helper()
	d := h.driver(t, "n-"+slug(t.Name(), 40), func(c *Config) { c.Images = gc })
	s, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.ImageService().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range all { // of the tests before
		if err := s.ImageService().Delete(ctx, img.Name); err != nil {
			t.Fatal(err)
		}
	}
	return &shelf{t: t, d: d, s: s, ctx: ctx, now: time.Now().Add(1000 * time.Hour)}
}

// pulled fetches an image that was last used so long ago.
func (f *shelf) pulled(seed string, unused time.Duration) *shop {
	f.t.Helper()
	s := openShop(f.t, large(f.t, seed, 1000), asIs)
	if _, err := ensure(f.t, f.d, map[string]any{"image": s.name()}); err != nil {
		f.t.Fatal(err)
	}
	f.label(s.name(), labelUsed, f.now.Add(-unused).UTC().Format(time.RFC3339))
	return s
}

func (f *shelf) label(name, key, value string) {
	f.t.Helper()
	if _, err := f.s.ImageService().Update(f.ctx, images.Image{Name: name, Labels: map[string]string{key: value}}, "labels."+key); err != nil {
		f.t.Fatal(err)
	}
}

func (f *shelf) has(name string) bool {
	f.t.Helper()
	_, err := f.s.ImageService().Get(f.ctx, name)
	if err != nil && !errdefs.IsNotFound(err) {
		f.t.Fatal(err)
	}
	return err == nil
}

// tidy removes what may go; each look at the disk gives the next percentage, the last one for ever.
func (f *shelf) tidy(percent ...int) {
	f.t.Helper()
	use := func(path string) (int, error) {
		if path != f.s.root || len(percent) == 0 {
			f.t.Errorf("the disk of %q was looked at", path)
			return 0, nil
		}
		p := percent[0]
		percent = percent[min(1, len(percent)-1):]
		return p, nil
	}
	if err := f.d.tidyImages(f.ctx, f.s, f.now, use); err != nil {
		f.t.Error(err)
	}
}

func testTidyByAge(t *testing.T, h *host) {
	f := openShelf(t, h, ImageGC{Enabled: true, Delay: 3 * time.Hour})
	old, young := f.pulled("old", 4*time.Hour), f.pulled("young", 2*time.Hour)
	imported := f.pulled("imported", 900*time.Hour)
	f.label(imported.name(), labelImported, "cluster-1")
	before := snapshotsOf(t, f.ctx, f.s)
	f.tidy()
	if f.has(old.name()) || !f.has(young.name()) || !f.has(imported.name()) {
		t.Errorf("old %v, young %v, imported %v", f.has(old.name()), f.has(young.name()), f.has(imported.name()))
	}
	for path := range old.files {
		if dgst := path[strings.LastIndex(path, "/")+1:]; strings.Contains(dgst, ":") {
			if _, err := f.s.ContentStore().Info(f.ctx, digest.Digest(dgst)); !errdefs.IsNotFound(err) {
				t.Errorf("%s is still on the disk: %v", path, err)
			}
		}
	}
	if after := snapshotsOf(t, f.ctx, f.s); len(after) >= len(before) {
		t.Errorf("its files are still unpacked: %v, before %v", after, before)
	}
	if _, err := ensure(t, f.d, map[string]any{"image": old.name()}); err != nil {
		t.Errorf("it does not come back: %v", err)
	}
}

func testTidyByDisk(t *testing.T, h *host) {
	f := openShelf(t, h, ImageGC{Enabled: true, DiskPercent: 80})
	oldest, middle, newest := f.pulled("oldest", 3*time.Hour), f.pulled("middle", 2*time.Hour), f.pulled("newest", time.Hour)
	just := f.pulled("just", time.Minute)
	f.tidy(80)
	if !f.has(oldest.name()) {
		t.Fatal("the disk is not above the limit, and an image is gone")
	}
	f.tidy(95, 85, 79)
	if f.has(oldest.name()) || f.has(middle.name()) || !f.has(newest.name()) {
		t.Errorf("the oldest %v, the middle one %v, the newest %v", f.has(oldest.name()), f.has(middle.name()), f.has(newest.name()))
	}
	f.tidy(99)
	if f.has(newest.name()) || !f.has(just.name()) {
		t.Errorf("on a disk that stays full the newest %v, one that was just asked for %v", f.has(newest.name()), f.has(just.name()))
	}
}

func testTidyInUse(t *testing.T, h *host) {
	f := openShelf(t, h, ImageGC{Enabled: true, Delay: time.Hour, DiskPercent: 1})
	s := openShop(t, unique(t, h, "used"), asIs)
	spec := h.task(t, f.d, "sleep")
	spec.Config["image"] = s.name()
	start(t, f.d, spec)
	f.tidy(99)
	if !f.has(s.name()) {
		t.Fatal("the image of a container that runs is gone")
	}
	h.remove(t, f.d, spec.ID)
	f.tidy(99)
	if f.has(s.name()) {
		t.Error("the image of a container that is gone stays")
	}
}

// testTidyPulled: an image that lies unused is pulled anew, for a task that is about to start.
func testTidyPulled(t *testing.T, h *host) {
	f := openShelf(t, h, ImageGC{Enabled: true, Delay: time.Hour})
	gate := make(chan struct{})
	n := &times{}
	s := openShop(t, large(t, "first", 1000), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlob(r) && n.take() {
				select {
				case <-gate:
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	config := map[string]any{"image": s.name(), "force_pull": true}
	if _, err := ensure(t, f.d, config); err != nil {
		t.Fatal(err)
	}
	s.stock(t, large(t, "second", 1000))
	n.mu.Lock()
	n.left = 1 << 30
	n.mu.Unlock()
	asked := len(s.visits("/blobs/"))
	pulled := make(chan error, 1)
	go func() {
		_, err := ensure(t, f.d, config)
		pulled <- err
	}()
	eventually(t, "the second image is on its way", func() bool { return len(s.visits("/blobs/")) > asked })
	f.tidy()
	if !f.has(s.name()) {
		t.Error("an image that is being pulled is gone")
	}
	close(gate)
	if err := <-pulled; err != nil {
		t.Error(err)
	}
	f.tidy()
	if f.has(s.name()) {
		t.Error("it stays for ever")
	}
}

func testTidyOff(t *testing.T, h *host) {
	f := openShelf(t, h, ImageGC{Delay: time.Nanosecond, DiskPercent: 1})
	s := f.pulled("kept", 900*time.Hour)
	f.label(s.name(), labelUsed, time.Now().Add(-900*time.Hour).UTC().Format(time.RFC3339))
	if err := f.d.Tidy(t.Context()); err != nil || !f.has(s.name()) {
		t.Errorf("image_gc is off, the image is there: %v, %v", f.has(s.name()), err)
	}
}

// testTidyDownloads: what agents that died were fetching goes when it has lain for a while; what is being fetched stays.
func testTidyDownloads(t *testing.T, h *host) {
	f := openShelf(t, h, ImageGC{Enabled: true})
	cs := f.s.ContentStore()
	for _, ref := range []string{"layer-sha256:left", "drover-fetch-sha256:running"} {
		w, err := content.OpenWriter(f.ctx, cs, content.WithRef(ref))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("half of it")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"left", "running"} { // they keep what was whole
		if _, err := f.s.LeasesService().Create(f.ctx, leases.WithID(f.d.pullLeases()+id)); err != nil {
			t.Fatal(err)
		}
	}
	way := &transfer{lease: f.d.pullLeases() + "running"}
	way.note(ocispec.Descriptor{Digest: "sha256:running"}, "drover-fetch-sha256:running")
	end := f.d.pulls.begin(way, "x")
	left := func() []string {
		list, err := cs.ListStatuses(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var refs []string
		for _, st := range list {
			refs = append(refs, st.Ref)
		}
		held, err := f.s.LeasesService().List(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range held {
			if id, ok := strings.CutPrefix(l.ID, f.d.pullLeases()); ok {
				refs = append(refs, "lease "+id)
			}
		}
		slices.Sort(refs)
		return refs
	}
	for _, c := range []struct {
		later time.Duration
		end   bool
		want  []string
	}{
		{0, false, []string{"drover-fetch-sha256:running", "layer-sha256:left", "lease left", "lease running"}},
		{3 * time.Hour, false, []string{"drover-fetch-sha256:running", "lease running"}},
		{3 * time.Hour, true, nil},
	} {
		if c.end {
			end()
		}
		if err := f.d.tidyDownloads(f.ctx, f.s, time.Now().Add(c.later)); err != nil {
			t.Error(err)
		}
		if got := left(); !slices.Equal(got, c.want) {
			t.Errorf("after %s (ended %v): %v, want %v", c.later, c.end, got, c.want)
		}
	}
	if err := f.d.Tidy(t.Context()); err != nil {
		t.Error(err)
	}
}
