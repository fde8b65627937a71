package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/runtime"
)

func TestImages(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		cases(t, h, map[string]func(*testing.T, *host){
			"files":           testImageFiles,
			"registry":        testRegistry,
			"busy registry":   testBusyRegistry,
			"cut bodies":      testCutBodies,
			"corrupted bytes": testCorruptedOnce,
			"logins":          testLogins,
			"no registry":     testNoRegistry,
			"shared pulls":    testSharedPulls,
			"floating tags":   testFloatingTags,
		})
	})
}

func testImageFiles(t *testing.T, h *host) {
	d := h.driver(t, "n-files")
	oci := filepath.Join(h.dir, "oci.tar")
	if err := image.WriteOCITar(h.built, oci, "docker.io/library/nginx:latest"); err != nil {
		t.Fatal(err)
	}
	spec := h.task(t, d, "exit", "5")
	spec.Config["image"] = "file://" + oci
	ref, err := d.EnsureImage(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if exit, _ := run(t, d, spec); exit.Code != 5 {
		t.Errorf("exit %+v", exit)
	}
	s, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetImage(ctx, "docker.io/library/nginx:latest"); err == nil {
		t.Error("a file decided what a registry's name means")
	}
	copied := filepath.Join(h.dir, "copy.tar")
	if err := os.WriteFile(copied, []byte(read(t, oci)), 0o600); err != nil {
		t.Fatal(err)
	}
	spec.Config["image"] = "file://" + copied
	if again, err := d.EnsureImage(t.Context(), spec); err != nil || again != ref {
		t.Errorf("a copy of the file is %q, %v; want %q", again, err, ref)
	}
	for path, content := range map[string]string{"empty.tar": "", "nonsense.tar": strings.Repeat("no tar at all", 1000)} {
		path = filepath.Join(h.dir, path)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		spec.Config["image"] = "file://" + path
		if ref, err := d.EnsureImage(t.Context(), spec); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s is taken for image %q, %v", path, ref, err)
		}
	}
}

// server is a registry that holds the probe's image as t/probe:1, reached through a handler that may misbehave.
func server(t *testing.T, img v1.Image, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	// It cannot serve open ranges; without the header it sends all, and containerd skips.
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Range"), "-") {
			r.Header.Del("Range")
		}
		inner.ServeHTTP(w, r)
	})
	upload := httptest.NewServer(inner)
	defer upload.Close()
	push(t, upload.URL, img)
	srv := httptest.NewServer(wrap(plain))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func push(t *testing.T, url string, img v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(strings.TrimPrefix(url, "http://")+"/t/probe:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
}

func asIs(h http.Handler) http.Handler { return h }

// unique makes an image that no other test has fetched: containerd shares content between images.
func unique(t *testing.T, h *host, tag string) v1.Image {
	t.Helper()
	noise := strings.Repeat(tag+t.Name(), 3000)
	img, err := image.Build(os.Getenv(probeEnv), image.Config{Files: map[string]string{"/etc/noise": noise}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func ensure(t *testing.T, d *Driver, config map[string]any) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return d.EnsureImage(ctx, runtime.TaskSpec{Config: config})
}

func testRegistry(t *testing.T, h *host) {
	d := h.driver(t, "n-registry")
	host := server(t, unique(t, h, "r"), asIs)
	spec := h.task(t, d, "exit", "6")
	spec.Config["image"] = host + "/t/probe:1"
	if exit, _ := run(t, d, spec); exit.Code != 6 {
		t.Errorf("exit %+v", exit)
	}
	if ref, err := ensure(t, d, map[string]any{"image": host + "/t/probe:1"}); err != nil || ref != host+"/t/probe:1" {
		t.Errorf("ensure: %q, %v", ref, err)
	}
	for _, missing := range []string{"/t/probe:2", "/t/none:1", "/t/probe@sha256:" + strings.Repeat("0", 64)} {
		_, err := ensure(t, d, map[string]any{"image": host + missing})
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "the registry does not have it") {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

func testBusyRegistry(t *testing.T, h *host) {
	d := h.driver(t, "n-busy")
	n := &times{left: 5}
	host := server(t, unique(t, h, "b"), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.take() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := ensure(t, d, map[string]any{"image": host + "/t/probe:1"}); err != nil {
		t.Errorf("five refusals were too many: %v", err)
	}
	always := server(t, unique(t, h, "a"), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	})
	_, err := ensure(t, d, map[string]any{"image": always + "/t/probe:1"})
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "tried 4 times") {
		t.Errorf("a registry that is always busy: %v", err)
	}
}

func testCutBodies(t *testing.T, h *host) {
	d := h.driver(t, "n-cut")
	n := &times{left: 3}
	host := server(t, unique(t, h, "c"), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlob(r) && n.take() {
				next.ServeHTTP(&cutter{ResponseWriter: w, left: 40000}, r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := ensure(t, d, map[string]any{"image": host + "/t/probe:1"}); err != nil {
		t.Error(err)
	}
}

func testCorruptedOnce(t *testing.T, h *host) {
	d := h.driver(t, "n-corrupt")
	n := &times{left: 1}
	host := server(t, unique(t, h, "x"), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlob(r) && n.take() {
				w = &corrupter{ResponseWriter: w}
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := ensure(t, d, map[string]any{"image": host + "/t/probe:1"}); err != nil {
		t.Error(err)
	}
}

func testLogins(t *testing.T, h *host) {
	d := h.driver(t, "n-login")
	var asked atomic.Int64
	host := server(t, unique(t, h, "l"), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if u, p, ok := r.BasicAuth(); !ok || u != "user" || p != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref := host + "/t/probe:1"
	for want, auth := range map[string]any{
		"wants a login":     nil,
		"refused the login": []any{map[string]any{"username": "user", "password": "wrong"}},
	} {
		asked.Store(0)
		config := map[string]any{"image": ref}
		if auth != nil {
			config["auth"] = auth
		}
		_, err := ensure(t, d, config)
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%v, want %q", err, want)
		}
		if asked.Load() > 6 {
			t.Errorf("asked %d times", asked.Load())
		}
	}
	if _, err := ensure(t, d, map[string]any{"image": ref, "auth": map[string]any{"username": "user", "password": "secret"}}); err != nil {
		t.Error(err)
	}
}

func testNoRegistry(t *testing.T, h *host) {
	d := h.driver(t, "n-none")
	srv := httptest.NewServer(nil)
	host := strings.TrimPrefix(srv.URL, "http://")
	srv.Close()
	_, err := ensure(t, d, map[string]any{"image": host + "/t/probe:1"})
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) || errors.Is(err, runtime.ErrUnavailable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("no registry: %v", err)
	}
}

func testSharedPulls(t *testing.T, h *host) {
	d := h.driver(t, "n-shared")
	var blobs atomic.Int64
	host := server(t, unique(t, h, "s"), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlob(r) {
				blobs.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	impatient, giveUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 6 {
		ctx := t.Context()
		if i == 0 {
			ctx = impatient
		}
		wg.Go(func() {
			_, err := d.EnsureImage(ctx, runtime.TaskSpec{Config: map[string]any{"image": host + "/t/probe:1"}})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	giveUp()
	wg.Wait()
	if n := blobs.Load(); n > 4 { // configuration and layer, each perhaps asked for twice by containerd
		t.Errorf("six tasks fetched %d blobs", n)
	}
}

func testFloatingTags(t *testing.T, h *host) {
	d := h.driver(t, "n-floating")
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(inner)
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	publish := func(img v1.Image) string {
		ref, err := name.ParseReference(host+"/t/float:latest", name.Insecure)
		if err == nil {
			err = remote.Write(ref, img)
		}
		if err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	config := map[string]any{"image": host + "/t/float"}
	digest := func() string {
		if _, err := ensure(t, d, config); err != nil {
			t.Fatal(err)
		}
		s, ctx, err := d.session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		img, err := s.GetImage(ctx, host+"/t/float:latest")
		if err != nil {
			t.Fatal(err)
		}
		return img.Target().Digest.String()
	}
	first := publish(unique(t, h, "f1"))
	if got := digest(); got != first {
		t.Errorf("digest %s, want %s", got, first)
	}
	other, err := mutate.Config(unique(t, h, "f2"), v1.Config{Entrypoint: []string{"/bin/probe"}})
	if err != nil {
		t.Fatal(err)
	}
	second := publish(other)
	if got := digest(); got != second {
		t.Errorf("after a push, digest %s, want %s", got, second)
	}
	srv.Close()
	if got := digest(); got != second {
		t.Errorf("without a registry, digest %s, want %s", got, second)
	}
	config["force_pull"] = true
	if _, err := ensure(t, d, config); err == nil {
		t.Error("force_pull without a registry worked")
	}
}

// times is for handlers that misbehave a given number of times.
type times struct {
	mu   sync.Mutex
	left int
}

func (n *times) take() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left--
	return n.left >= 0
}

func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// cutter lets so many bytes through and then fails.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrShortWrite
	}
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	return n, err
}

// corrupter flips one bit.
type corrupter struct{ http.ResponseWriter }

func (c *corrupter) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	q[len(q)/2] ^= 1
	return c.ResponseWriter.Write(q)
}

// BenchmarkHash is what a start costs for a large image file whose hash is known.
func BenchmarkHash(b *testing.B) {
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	var cache hashCache
	for b.Loop() {
		if _, err := cache.sum(path); err != nil {
			b.Fatal(fmt.Errorf("hash: %w", err))
		}
	}
}
