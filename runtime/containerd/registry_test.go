package containerd

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"

	"github.com/drover-io/drover/runtime"
)

// TestRegistries has registries misbehave in every way that they are known to.
func TestRegistries(t *testing.T) {
	h := embeddedHost(t)
	t.Run("all", func(t *testing.T) {
		cases(t, h, map[string]func(*testing.T, *host){
			"token logins":      testTokenLogins,
			"credentials file":  testCredentialsFile,
			"wrong bytes":       testWrongBytes,
			"resumed":           testResumed,
			"resumed later":     testResumedLater,
			"slow down":         testSlowDown,
			"redirects":         testRedirects,
			"greedy redirects":  testGreedyRedirects,
			"mirrors":           testMirrors,
			"bad mirrors":       testBadMirrors,
			"certificates":      testCertificates,
			"stalled once":      testStalledOnce,
			"stalled for ever":  testStalledForEver,
			"pull time-out":     testPullTimeout,
			"force_pull":        testForcePull,
			"two tasks, a pull": testTwoTasks,
			"resolve":           testResolve,
		})
	})
	h.leavesNothing(t, h.driver(t, "checker"))
}

// pulls is a driver whose registries are set.
func pulls(t *testing.T, h *host, c PullConfig) *Driver {
	t.Helper()
	return h.driver(t, "n-"+slug(t.Name(), 40), func(cfg *Config) { cfg.Pulls = c })
}

// noIngests checks that no download of an image is left half done.
func noIngests(t *testing.T, d *Driver, s *shop) {
	t.Helper()
	sess, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := sess.ContentStore().ListStatuses(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range left {
		for path := range s.files {
			if dgst := path[strings.LastIndex(path, "/")+1:]; strings.Contains(st.Ref, dgst) && strings.Contains(dgst, ":") {
				t.Errorf("%s is left, with %d bytes", st.Ref, st.Offset)
			}
		}
	}
}

// tokens is a registry's login as Docker Hub has it: a token of another server for who has a name and a password.
func tokens(user, password string) (issue http.Handler, guard func(realm string) func(http.Handler) http.Handler) {
	issue = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, ok := r.BasicAuth()
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusNotFound) // no OAuth here
		case ok && (u != user || p != password):
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			_, _ = w.Write([]byte(`{"token": "anybody"}`))
		default:
			_, _ = w.Write([]byte(`{"token": "of-` + user + `"}`))
		}
	})
	guard = func(realm string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer of-"+user {
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test",scope="repository:t/probe:pull"`, realm))
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	return issue, guard
}

func testTokenLogins(t *testing.T, h *host) {
	issue, guard := tokens("herder", "secret")
	realm := httptest.NewServer(issue)
	t.Cleanup(realm.Close)
	s := openShop(t, large(t, "", 1000), guard(realm.URL))
	d := pulls(t, h, PullConfig{})
	login := func(password string) map[string]any {
		return map[string]any{"image": s.name(), "auth": map[string]any{"username": "herder", "password": password}}
	}
	for want, config := range map[string]map[string]any{"wants a login": {"image": s.name()}, "refused the login": login("guessed")} {
		if _, err := ensure(t, d, config); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "guessed") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := ensure(t, d, login("secret")); err != nil {
		t.Error(err)
	}
	for _, v := range s.visits("") {
		if strings.HasPrefix(v.auth, "Basic") {
			t.Errorf("the password went to the registry: %v", v)
		}
	}
}

func testCredentialsFile(t *testing.T, h *host) {
	s := openShop(t, large(t, "", 1000), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, _ := r.BasicAuth(); u != "herder" || p != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	path := filepath.Join(t.TempDir(), "config.json")
	write := func(login string) {
		text, err := json.Marshal(map[string]any{"auths": map[string]any{
			"other.example.com":         map[string]any{"auth": base64.StdEncoding.EncodeToString([]byte("other:one"))},
			"http://" + s.host + "/v1/": map[string]any{"auth": base64.StdEncoding.EncodeToString([]byte(login))},
		}})
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, string(text))
	}
	d := pulls(t, h, PullConfig{DockerConfig: path})
	config := map[string]any{"image": s.name()}
	if _, err := ensure(t, d, config); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is missing: %v", err)
	}
	put(t, path, `{"auths": "hunter2"`)
	if _, err := ensure(t, d, config); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "not a docker config file") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a broken file: %v", err)
	}
	config["auth_soft_fail"] = true
	if _, err := ensure(t, d, config); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "wants a login") {
		t.Errorf("a broken file with auth_soft_fail: %v", err)
	}
	delete(config, "auth_soft_fail")
	write("herder:secret") // read anew each time
	if _, err := ensure(t, d, config); err != nil {
		t.Error(err)
	}
	write("herder:old")
	config["force_pull"] = true
	config["auth"] = map[string]any{"username": "herder", "password": "secret"}
	if _, err := ensure(t, d, config); err != nil {
		t.Errorf("the job's login does not come before the file's: %v", err)
	}
	own := pulls(t, h, PullConfig{DockerConfig: path, Registries: map[string]Registry{s.host: {Username: "herder", Password: "secret"}}})
	delete(config, "auth")
	if _, err := ensure(t, own, config); err != nil {
		t.Errorf("the agent's own login does not come before the file's: %v", err)
	}
}

// testWrongBytes: a layer that is never what its digest says is refused, and what is left of it does not spoil the next download.
func testWrongBytes(t *testing.T, h *host) {
	img := large(t, "", 50_000)
	n := &times{left: 1 << 30}
	s := openShop(t, img, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isLayer(r, img) && n.take() {
				w = &corrupter{ResponseWriter: w}
			}
			next.ServeHTTP(w, r)
		})
	})
	d := pulls(t, h, PullConfig{})
	_, err := ensure(t, d, map[string]any{"image": s.name()})
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "digest") || !strings.Contains(err.Error(), "tried 4 times") {
		t.Errorf("wrong bytes: %v", err)
	}
	noIngests(t, d, s)
	*n = times{}
	if _, err := ensure(t, d, map[string]any{"image": s.name()}); err != nil {
		t.Errorf("after wrong bytes: %v", err)
	}
	// A manifest that is not what the job's digest says.
	other := openShop(t, large(t, "other", 1000), asIs)
	never := strings.Repeat("ab", 32)
	other.mu.Lock()
	other.files["/manifests/sha256:"+never] = other.files["/manifests/1"]
	other.mu.Unlock()
	if _, err := ensure(t, d, map[string]any{"image": other.host + "/t/probe@sha256:" + never}); err == nil {
		t.Error("a manifest is taken that is not what the digest says")
	}
}

// testResumed: a download that breaks off goes on where it was, many times over.
func testResumed(t *testing.T, h *host) {
	const size, piece = 400_000, 30_000
	img := large(t, "", size)
	s := openShop(t, img, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isLayer(r, img) && r.Method == http.MethodGet {
				next.ServeHTTP(&cutter{ResponseWriter: w, left: piece}, r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	d := pulls(t, h, PullConfig{})
	d.retry.attempts = 20
	if _, err := ensure(t, d, map[string]any{"image": s.name()}); err != nil {
		t.Fatal(err)
	}
	var ranges int
	for _, v := range s.visits("GET /v2/t/probe/blobs/") {
		if v.bytes != "" && v.bytes != "bytes=0-" {
			ranges++
		}
	}
	if most := size/piece + 6; ranges == 0 || len(s.visits("GET /v2/t/probe/blobs/")) > 2*most {
		t.Errorf("asked %d times, %d of them from the middle: %v", len(s.visits("/blobs/")), ranges, s.visits("/blobs/"))
	}
}

// testResumedLater: a pull that was given up goes on where it was when the task starts again, also with another agent process, and
// nothing of it is left when it is done. containerd collects its garbage in between.
func testResumedLater(t *testing.T, h *host) {
	img := large(t, "", 200_000)
	n := &times{left: 1 << 30}
	s := openShop(t, img, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !isLayer(r, img) || !n.take():
			case r.Header.Get("Range") == "":
				next.ServeHTTP(&cutter{ResponseWriter: w, left: 30_000}, r)
				panic(http.ErrAbortHandler)
			default:
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	node := "n-" + slug(t.Name(), 40)
	d := h.driver(t, node)
	d.retry.attempts = 1
	config := map[string]any{"image": s.name()}
	if _, err := ensure(t, d, config); err == nil {
		t.Fatal("it came, cut off as it is")
	}
	sess, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const other = "drover-test-garbage"
	if _, err := sess.LeasesService().Create(ctx, leases.WithID(other)); err != nil {
		t.Fatal(err)
	}
	if err := sess.LeasesService().Delete(ctx, leases.Lease{ID: other}, leases.SynchronousDelete); err != nil { // collects the garbage
		t.Fatal(err)
	}
	n.mu.Lock()
	n.left = 0
	n.mu.Unlock()
	again := h.driver(t, node)
	if _, err := ensure(t, again, config); err != nil {
		t.Fatal(err)
	}
	visits := s.visits("GET /v2/t/probe/blobs/")
	if last := visits[len(visits)-1]; last.bytes == "" || last.bytes == "bytes=0-" {
		t.Errorf("it began anew: %v", visits)
	}
	held, err := sess.LeasesService().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if strings.HasPrefix(l.ID, d.pullLeases()) {
			t.Errorf("lease %s is left", l.ID)
		}
	}
}

// testSlowDown: a registry that says when to come back is asked again then, not before.
func testSlowDown(t *testing.T, h *host) {
	var mu sync.Mutex
	var opens time.Time
	s := openShop(t, large(t, "", 1000), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if opens.IsZero() {
				opens = time.Now().Add(900 * time.Millisecond)
			}
			early := time.Now().Before(opens)
			mu.Unlock()
			if early {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	d := pulls(t, h, PullConfig{})
	d.retry = retryPolicy{attempts: 2, first: time.Millisecond, max: time.Millisecond, longest: 5 * time.Second}
	if _, err := ensure(t, d, map[string]any{"image": s.name()}); err != nil {
		t.Errorf("Retry-After is not heeded: %v", err)
	}
	never := openShop(t, large(t, "never", 1000), refusing(&times{left: 1 << 30}, http.StatusTooManyRequests, func(*http.Request) bool { return true }))
	_, err := ensure(t, d, map[string]any{"image": never.name()})
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "429") {
		t.Errorf("a registry that always says later: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "86401": 0, "99999999999999999999": 0,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
		time.Now().Add(9000 * time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if got := retryAfter(time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)); got < 30*time.Second || got > time.Minute {
		t.Errorf("a date in a minute is %s", got)
	}
}

// testRedirects: content comes from another host, as with most registries, and no login goes there.
func testRedirects(t *testing.T, h *host) {
	img := large(t, "", 20_000)
	for _, as := range []string{"127.0.0.1", "localhost"} { // another port of the same host is another host
		store := openShop(t, img, asIs)
		_, port, _ := strings.Cut(store.host, ":")
		s := openShop(t, img, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if u, p, _ := r.BasicAuth(); u != "herder" || p != "secret" {
					w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if isBlob(r) {
					http.Redirect(w, r, "http://"+as+":"+port+r.URL.Path, http.StatusTemporaryRedirect)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		d := pulls(t, h, PullConfig{})
		config := map[string]any{"image": s.name(), "auth": map[string]any{"username": "herder", "password": "secret"}}
		if _, err := ensure(t, d, config); err != nil {
			t.Error(err)
		}
		for _, v := range store.visits("") {
			if v.auth != "" {
				t.Errorf("the login went to %s:%s: %v", as, port, v)
			}
		}
		img = large(t, "second", 20_000) // that the first round did not bring
	}
}

// testGreedyRedirects: a host to which a registry redirects asks for a login, and gets none.
func testGreedyRedirects(t *testing.T, h *host) {
	for _, scheme := range []string{`Basic realm="test"`, `Bearer realm="%s/token",service="test"`} {
		var greedy *shop
		greedy = openShop(t, large(t, "", 10), func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				challenge := scheme
				if strings.Contains(scheme, "%s") {
					challenge = fmt.Sprintf(scheme, "http://"+greedy.host)
				}
				w.Header().Set("WWW-Authenticate", challenge)
				w.WriteHeader(http.StatusUnauthorized)
			})
		})
		s := openShop(t, large(t, scheme, 20_000), func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if isBlob(r) {
					http.Redirect(w, r, "http://"+greedy.host+r.URL.Path, http.StatusTemporaryRedirect)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		d := pulls(t, h, PullConfig{})
		config := map[string]any{"image": s.name(), "auth": map[string]any{"username": "herder", "password": "secret"}}
		if _, err := ensure(t, d, config); err == nil {
			t.Error("it came from where nothing is")
		}
		if len(greedy.visits("")) == 0 {
			t.Error("the redirect was not followed")
		}
		for _, v := range greedy.visits("") {
			if v.auth != "" {
				t.Errorf("the login was given away: %v", v)
			}
		}
	}
}

func testMirrors(t *testing.T, h *host) {
	img := large(t, "", 20_000)
	s := openShop(t, img, asIs)
	down := httptest.NewServer(nil)
	downHost := strings.TrimPrefix(down.URL, "http://")
	down.Close()
	broken := openShop(t, img, refusing(&times{left: 1 << 30}, http.StatusInternalServerError, func(*http.Request) bool { return true }))
	closed := openShop(t, img, refusing(&times{left: 1 << 30}, http.StatusForbidden, func(*http.Request) bool { return true }))
	empty := openShop(t, img, refusing(&times{left: 1 << 30}, http.StatusNotFound, func(*http.Request) bool { return true }))
	good := openShop(t, img, asIs)
	unused := openShop(t, img, asIs)
	with := func(mirrors ...string) *Driver {
		return pulls(t, h, PullConfig{Registries: map[string]Registry{s.host: {Mirrors: mirrors}}})
	}
	d := with(downHost, broken.host, "http://"+closed.host, empty.host, good.host, unused.host)
	if ref, err := ensure(t, d, map[string]any{"image": s.name()}); err != nil || ref != s.name() {
		t.Errorf("from a mirror: %q, %v", ref, err)
	}
	for name, m := range map[string]*shop{"broken": broken, "closed": closed, "empty": empty, "good": good} {
		if len(m.visits("")) == 0 {
			t.Errorf("the %s mirror was not asked", name)
		}
	}
	if n := len(s.visits("")) + len(unused.visits("")); n != 0 {
		t.Errorf("the registry, or a mirror after the one that has it, was asked %d times", n)
	}
	s.stock(t, large(t, "second", 20_000))
	d = with(downHost, broken.host, empty.host)
	if _, err := ensure(t, d, map[string]any{"image": s.name(), "force_pull": true}); err != nil || len(s.visits("GET /v2/t/probe/blobs/")) == 0 {
		t.Errorf("no mirror has it, the registry does: %v", err)
	}
}

// testBadMirrors: a mirror that has the image but gives nothing, or something else, is followed by the registry.
func testBadMirrors(t *testing.T, h *host) {
	for name, spoil := range map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"wrong bytes": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&corrupter{ResponseWriter: w}, r)
		},
		"stalls": func(w http.ResponseWriter, r *http.Request, _ http.Handler) { stall(w, r, 100) },
	} {
		img := large(t, name, 20_000)
		s := openShop(t, img, asIs)
		bad := openShop(t, img, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if isLayer(r, img) {
					spoil(w, r, next)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		d := pulls(t, h, PullConfig{StallTimeout: time.Second, Registries: map[string]Registry{s.host: {Mirrors: []string{bad.host}}}})
		if _, err := ensure(t, d, map[string]any{"image": s.name()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(bad.visits("/blobs/")) == 0 {
			t.Errorf("%s: the mirror was not asked", name)
		}
	}
}

// testCertificates: TLS is spoken wherever nobody said otherwise.
func testCertificates(t *testing.T, h *host) {
	s := openShop(t, large(t, "", 1000), asIs)
	srv := httptest.NewTLSServer(http.HandlerFunc(s.give))
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "https://")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	put(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	other := filepath.Join(t.TempDir(), "none.pem")
	put(t, other, "nothing")
	for _, c := range []struct {
		registry Registry
		want     string // of the error
	}{
		{Registry{CAFile: ca}, ""},
		{Registry{SkipVerify: true}, ""},
		{Registry{CAFile: ca, PlainHTTP: true}, "400"}, // plain HTTP to a port that speaks TLS
		{Registry{CAFile: other}, "holds none"},
		{Registry{CAFile: ca + ".gone"}, "no such file"},
	} {
		d := pulls(t, h, PullConfig{Registries: map[string]Registry{host: c.registry}})
		d.retry.attempts = 1
		_, err := ensure(t, d, map[string]any{"image": host + "/t/probe:1", "force_pull": true})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.registry, err)
		}
	}
	d := h.driver(t, "n-schemes", func(cfg *Config) {
		cfg.Pulls = PullConfig{PlainHTTP: []string{"10.0.0.1:5000"}, Registries: map[string]Registry{"10.0.0.2:5000": {PlainHTTP: true}}}
	})
	for host, want := range map[string]string{"10.0.0.1:5000": "http", "10.0.0.2:5000": "http", "10.0.0.1:5001": "https", "registry.example.com": "https",
		"docker.io": "https", "localhost:5000": "http", "127.0.0.1:5000": "http"} {
		got, err := d.registryHost(t.Context(), newPullState("x", host, options{}, time.Minute), host, false)
		if err != nil || got.Scheme != want {
			t.Errorf("%s is spoken to by %q, %v; want %s", host, got.Scheme, err, want)
		}
	}
}

// stall sends so many bytes and then nothing until who asked has gone.
func stall(w http.ResponseWriter, r *http.Request, bytes int) {
	w.Header().Set("Content-Length", "1000000")
	_, _ = w.Write(make([]byte, bytes)) // who asked may have gone
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	<-r.Context().Done()
}

// stalling holds up so many downloads of the layer after some bytes of it.
func stalling(n *times, s **shop) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isLayer(r, (*s).img) && r.Method == http.MethodGet && n.take() {
				next.ServeHTTP(&cutter{ResponseWriter: w, left: 5000}, r)
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func testStalledOnce(t *testing.T, h *host) {
	var s *shop
	s = openShop(t, large(t, "", 100_000), stalling(&times{left: 1}, &s))
	d := pulls(t, h, PullConfig{StallTimeout: 2 * time.Second})
	if _, err := ensure(t, d, map[string]any{"image": s.name()}); err != nil {
		t.Error(err)
	}
	var resumed bool
	for _, v := range s.visits("/blobs/") {
		resumed = resumed || v.bytes == "bytes=5000-"
	}
	if !resumed {
		t.Errorf("what had come was thrown away: %v", s.visits("/blobs/"))
	}
}

func testStalledForEver(t *testing.T, h *host) {
	img := large(t, "", 100_000)
	s := openShop(t, img, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isLayer(r, img) {
				stall(w, r, 0)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	d := pulls(t, h, PullConfig{StallTimeout: 200 * time.Millisecond})
	_, err := ensure(t, d, map[string]any{"image": s.name()})
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "stalled: no byte came for 200ms") || !strings.Contains(err.Error(), "tried 4 times") {
		t.Errorf("a download that stalls for ever: %v", err)
	}
	if n := len(s.visits("/blobs/")); n < 4 {
		t.Errorf("asked %d times", n)
	}
	noIngests(t, d, s)
}

func testPullTimeout(t *testing.T, h *host) {
	img := large(t, "", 100_000)
	s := openShop(t, img, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isLayer(r, img) {
				stall(w, r, 10)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	d := pulls(t, h, PullConfig{})
	_, err := ensure(t, d, map[string]any{"image": s.name(), "image_pull_timeout": "500ms"})
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "not done after 500ms (config.image_pull_timeout)") {
		t.Errorf("a download that takes too long: %v", err)
	}
	node := pulls(t, h, PullConfig{Timeout: 400 * time.Millisecond})
	if _, err := ensure(t, node, map[string]any{"image": s.name()}); err == nil || !strings.Contains(err.Error(), "not done after 400ms") {
		t.Errorf("the node's time-out: %v", err)
	}
}

func testForcePull(t *testing.T, h *host) {
	s := openShop(t, large(t, "one", 1000), asIs)
	d := pulls(t, h, PullConfig{})
	here := func(config map[string]any) string {
		t.Helper()
		name, err := ensure(t, d, config)
		if err != nil {
			t.Fatal(err)
		}
		sess, ctx, err := d.session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		img, err := sess.GetImage(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return img.Target().Digest.String()
	}
	config := map[string]any{"image": s.name()}
	first := s.digest(t)
	if got := here(config); got != first {
		t.Errorf("digest %s, want %s", got, first)
	}
	s.stock(t, large(t, "two", 1000))
	asked := len(s.visits(""))
	if got := here(config); got != first || len(s.visits("")) != asked {
		t.Errorf("a tag that is here was asked for again: %s, want %s", got, first)
	}
	config["force_pull"] = true
	if got, want := here(config), s.digest(t); got != want {
		t.Errorf("with force_pull %s, want %s", got, want)
	}
}

// testTwoTasks: two copies that start together cost one download.
func testTwoTasks(t *testing.T, h *host) {
	img := large(t, "", 100_000)
	both := make(chan struct{})
	var arrived sync.Once
	s := openShop(t, img, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isLayer(r, img) {
				select {
				case <-both:
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	d := pulls(t, h, PullConfig{})
	spec := runtime.TaskSpec{Config: map[string]any{"image": s.name()}}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := ensure(t, d, spec.Config); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the download shows how far it is", func() bool {
		_, total, ok := d.PullProgress(t.Context(), spec)
		return ok && total > 100_000
	})
	arrived.Do(func() { close(both) })
	wg.Wait()
	if n := len(s.visits("GET /v2/t/probe/blobs/")); n != 2 {
		t.Errorf("two tasks asked for %d blobs, want the configuration and the layer: %v", n, s.visits("/blobs/"))
	}
	if _, _, ok := d.PullProgress(t.Context(), spec); ok {
		t.Error("a download that is done is still under way")
	}
}

// testResolve: what a tag means now, without a download.
func testResolve(t *testing.T, h *host) {
	issue, guard := tokens("herder", "secret")
	realm := httptest.NewServer(issue)
	t.Cleanup(realm.Close)
	s := openShop(t, large(t, "one", 1000), guard(realm.URL))
	d := pulls(t, h, PullConfig{})
	auth := []any{map[string]any{"username": "herder", "password": "secret"}}
	resolve := func(config map[string]any) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return d.ResolveImage(ctx, config)
	}
	for _, want := range []string{s.digest(t), ""} {
		if want == "" {
			s.stock(t, large(t, "two", 1000))
			want = s.digest(t)
		}
		if got, err := resolve(map[string]any{"image": s.name(), "auth": auth}); err != nil || got != want {
			t.Errorf("it is %q, %v; want %s", got, err, want)
		}
	}
	if n := len(s.visits("/blobs/")); n != 0 {
		t.Errorf("%d blobs were fetched", n)
	}
	for want, config := range map[string]map[string]any{
		"wants a login":                 {"image": s.name()},
		"the registry does not have it": {"image": s.host + "/t/probe:none", "auth": auth},
		"read image name":               {"image": "Not A Name"},
	} {
		if got, err := resolve(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is %q, %v; want %q", config["image"], got, err, want)
		}
	}
	down := httptest.NewServer(nil)
	down.Close()
	if _, err := resolve(map[string]any{"image": strings.TrimPrefix(down.URL, "http://") + "/t/probe:1"}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("no registry: %v", err)
	}
}
