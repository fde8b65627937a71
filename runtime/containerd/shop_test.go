package containerd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/drover-io/drover/internal/image"
)

// shop is a registry that only gives, with open ranges, and that remembers who asked for what. It holds one image, t/probe:1.
type shop struct {
	host string
	img  v1.Image

	mu    sync.Mutex
	files map[string]shopFile // by path below /v2/t/probe
	asked []shopVisit
}

type shopFile struct {
	kind string
	data []byte
}

type shopVisit struct {
	what  string // method and path
	auth  string
	bytes string // the Range header
}

// openShop sells img. wrap may misbehave in front of it.
func openShop(t *testing.T, img v1.Image, wrap func(http.Handler) http.Handler) *shop {
	t.Helper()
	s := &shop{files: map[string]shopFile{}}
	s.stock(t, img)
	srv := httptest.NewServer(s.noted(wrap(http.HandlerFunc(s.give))))
	t.Cleanup(srv.Close)
	s.host = strings.TrimPrefix(srv.URL, "http://")
	return s
}

// stock puts an image on the shelf, as tag 1.
func (s *shop) stock(t *testing.T, img v1.Image) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	manifest, err := img.RawManifest()
	must(err)
	kind, err := img.MediaType()
	must(err)
	config, err := img.RawConfigFile()
	must(err)
	layers, err := img.Layers()
	must(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.img = img
	s.files["/manifests/1"] = shopFile{string(kind), manifest}
	s.files["/manifests/latest"] = s.files["/manifests/1"]
	s.files[fmt.Sprintf("/manifests/sha256:%x", sha256.Sum256(manifest))] = s.files["/manifests/1"]
	s.files[fmt.Sprintf("/blobs/sha256:%x", sha256.Sum256(config))] = shopFile{"", config}
	for _, l := range layers {
		r, err := l.Compressed()
		must(err)
		data, err := io.ReadAll(r)
		must(err)
		s.files[fmt.Sprintf("/blobs/sha256:%x", sha256.Sum256(data))] = shopFile{"", data}
	}
}

func (s *shop) name() string { return s.host + "/t/probe:1" }

func (s *shop) digest(t *testing.T) string {
	t.Helper()
	d, err := s.img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func (s *shop) give(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, ok := s.files[strings.TrimPrefix(r.URL.Path, "/v2/t/probe")]
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	kind := f.kind
	if kind == "" {
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(f.data)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}

func (s *shop) noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, shopVisit{r.Method + " " + r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Range")})
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// visits are those whose method and path hold a text.
func (s *shop) visits(part string) []shopVisit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(v shopVisit) bool { return !strings.Contains(v.what, part) })
}

// large makes an image whose layer is random: it does not shrink, and nobody else has it.
func large(t *testing.T, seed string, size int) v1.Image {
	t.Helper()
	prog := t.TempDir() + "/prog"
	put(t, prog, "not really a program")
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(t.Name() + seed))).Read(noise) // never fails
	img, err := image.Build(prog, image.Config{Files: map[string]string{"/etc/noise": string(noise)}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// refusing answers so many requests for which which holds with a status.
func refusing(n *times, status int, which func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if which(r) && n.take() {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func isLayer(r *http.Request, img v1.Image) bool {
	layers, err := img.Layers()
	if err != nil || len(layers) == 0 {
		return false
	}
	d, err := layers[len(layers)-1].Digest()
	return err == nil && strings.HasSuffix(r.URL.Path, "/blobs/"+d.String())
}
