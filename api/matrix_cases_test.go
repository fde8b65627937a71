package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/drover-io/drover/state"
)

// matrixCase is a question that every route of the table is asked.
type matrixCase struct {
	name string
	// except says why a route is not asked; "" means that it is.
	except func(r *Route, fx fixture) string
	run    func(t *testing.T, m *matrix, r *Route, fx fixture)
}

// matrixCases are the columns of the matrix; the routes of the table are its rows.
func matrixCases() []matrixCase {
	always := func(*Route, fixture) string { return "" }
	return []matrixCase{
		{"success", always, successAt("s1")},
		{"forwarded from a follower", always, successAt("s2")},
		{"forwarded from a client-only agent", exceptServersOwn, successAt("c1")},
		{"bad input", always, badInput},
		{"too large", always, tooLarge},
		{"unknown ID", func(r *Route, fx fixture) string {
			if !strings.Contains(r.Path, "{id}") {
				return "the path names nothing"
			}
			return fx.anyID
		}, unknownID},
		{"wrong method", always, wrongMethod},
		{"a user is no agent", func(r *Route, _ fixture) string {
			if r.Capability != CapNode && r.Capability != CapServer {
				return "it is the users'"
			}
			return ""
		}, userIsNoAgent},
	}
}

// TestMatrix asks every route of the table every question. It is driven by the table: a route that is added without a fixture
// fails here by name.
func TestMatrix(t *testing.T) {
	for _, c := range matrixCases() {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			runMatrix(t, func(t *testing.T, m *matrix, r *Route, fx fixture) {
				if why := c.except(r, fx); why != "" {
					return
				}
				c.run(t, m, r, fx)
			})
		})
	}
}

func runMatrix(t *testing.T, f func(t *testing.T, m *matrix, r *Route, fx fixture)) {
	t.Helper()
	all := fixtures()
	for _, r := range Routes() {
		fx, ok := all[r.Name]
		if !ok {
			t.Errorf("route %s (%s %s) has no fixture: add one to fixtures() in matrix_test.go", r.Name, r.Method, r.Path)
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				m := &matrix{h: h}
				h.gone = true
				h.must(state.RegisterNode{Node: testNode("n1")})
				h.must(state.RaiseLevel{Term: testTerm, Level: state.MaxLevel})
				h.must(state.UpsertNodePool{Pool: &state.NodePool{Name: "gpu"}})
				m.alloc = h.place("web", "c1").ID
				h.importTestImage()
				var b bytes.Buffer
				if err := h.agents["s1"].store.Snapshot().Save(&b); err != nil {
					t.Fatal(err)
				}
				m.snap = b.Bytes()
				f(t, m, &r, fx)
			})
		})
	}
}

func exceptServersOwn(r *Route, _ fixture) string {
	if serverOnly(r) {
		return "asked of servers only"
	}
	return ""
}

func successAt(at string) func(t *testing.T, m *matrix, r *Route, fx fixture) {
	return func(t *testing.T, m *matrix, r *Route, fx fixture) {
		if fx.success != nil {
			fx.success(t, m, r, port(r, at))
			return
		}
		path, body, header := m.request(r, fx)
		res, data := m.h.raw(port(r, at), r.Method, path, header, body)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s: %s", r.Method, path, res.Status, data)
		}
		checkAnswer(t, r, res, data)
		if got, want := res.Header.Get(headerAgent), answering(r, at); got != want {
			t.Errorf("answered by %q, want %q", got, want)
		}
		if r.Write && r.Where == AtLeader && r.Capability != CapNode && r.Capability != CapServer {
			if res.Header.Get(headerRequestID) == "" {
				t.Error("the answer to a write names no request ID")
			}
		}
		if r.Method == http.MethodGet && !r.Stream {
			m.head(t, r, at, path, header, res, data)
		}
	}
}

// checkAnswer holds an answer against what the table says of it: content type, Go type, and the schema of the API's description.
func checkAnswer(t *testing.T, r *Route, res *http.Response, data []byte) {
	t.Helper()
	media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if !slices.Contains(r.Media, media) {
		t.Errorf("the answer is %q, want one of %q", media, r.Media)
	}
	if r.Response == nil || media != "application/json" && media != mediaLines {
		return
	}
	for one := range bytes.Lines(data) {
		if media != mediaLines {
			one = data
		}
		v := reflect.New(r.Response)
		dec := json.NewDecoder(bytes.NewReader(one))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v.Interface()); err != nil {
			t.Errorf("the answer is no %s: %v: %s", r.Response, err, one)
		}
		if err := described(r, media, one); err != nil {
			t.Errorf("the answer is not what the API's description says: %v: %s", err, one)
		}
		if media != mediaLines {
			return
		}
	}
}

// head asks for the head alone, and whether the answer is still the same.
func (m *matrix) head(t *testing.T, r *Route, at, path string, header http.Header, res *http.Response, data []byte) {
	t.Helper()
	head, nothing := m.h.raw(port(r, at), http.MethodHead, path, header, nil)
	if head.StatusCode != http.StatusOK || len(nothing) != 0 {
		t.Errorf("HEAD: %s with %d bytes", head.Status, len(nothing))
	}
	etag := res.Header.Get("Etag")
	if etag == "" {
		t.Error("the answer has no ETag")
	}
	header.Set("If-None-Match", etag)
	again, body := m.h.raw(port(r, at), http.MethodGet, path, header, nil)
	switch {
	case again.StatusCode == http.StatusNotModified && len(body) == 0:
	case again.StatusCode == http.StatusOK && !bytes.Equal(body, data): // what it says moves by itself
	default:
		t.Errorf("If-None-Match %s: %s with %d bytes, want 304", etag, again.Status, len(body))
	}
}

func unknownID(t *testing.T, m *matrix, r *Route, fx fixture) {
	if fx.unknown == "" {
		t.Fatal("the fixture says neither what an unknown ID answers (unknown) nor why it is no error (anyID)")
	}
	fx.id = func(*matrix) string { return "no-such-thing" }
	for _, at := range []string{"s1", "s2", "c1"} {
		path, body, header := m.request(r, fx)
		res, data := m.h.raw(port(r, at), r.Method, path, header, body)
		expectError(t, res, data, fx.unknown)
	}
}

// with joins a parameter to a path that may have some.
func with(path, param string) string {
	if strings.Contains(path, "?") {
		return path + "&" + param
	}
	return path + "?" + param
}

func badInput(t *testing.T, m *matrix, r *Route, fx fixture) {
	at := port(r, "s1")
	path, body, header := m.request(r, fx)
	res, data := m.h.raw(at, r.Method, with(path, "prety=1"), header, body)
	if e := expectError(t, res, data, CodeInvalid); !strings.Contains(e.Next, "pretty") {
		t.Errorf("a misspelt parameter: next is %q, want the near name", e.Next)
	}
	wrong := map[string][]string{"pretty=perhaps": nil, "region=elsewhere": nil, "%zz": nil}
	if r.Blocking {
		wrong["index=x"], wrong["wait=soon"] = nil, nil
	}
	if r.Stale && r.Where == AtLeader && !r.Write {
		wrong["stale&consistent"] = nil
	}
	if r.List {
		wrong["per_page=-1"], wrong["next_token=%25zz"], wrong["reverse=x"], wrong["filter=Nme+is+empty"], wrong["filter=("] = nil, nil, nil, nil, nil
	}
	for param := range wrong {
		res, data = m.h.raw(at, r.Method, with(path, param), header, body)
		expectError(t, res, data, CodeInvalid)
	}
	if r.Request != nil {
		m.badBodies(t, r, at, path, header)
	}
}

func (m *matrix) badBodies(t *testing.T, r *Route, at, path string, header http.Header) {
	t.Helper()
	for _, bad := range []string{"{", `{"a":`, "[]", `"x"`, "{} {}", "\x00", `{"Job":` + strings.Repeat("[", 100)} {
		res, data := m.h.raw(at, r.Method, path, header, []byte(bad))
		if e := errorIn(t, res, data); e.Code != CodeInvalid && e.Code != CodeTooLarge {
			t.Errorf("body %q: %+v", bad, e)
		}
	}
	if r.Capability != CapNode && r.Capability != CapServer {
		name := fieldNames(r.Request)[0]
		res, data := m.h.raw(at, r.Method, path, header, []byte(`{"`+name+`x": 1}`))
		if e := expectError(t, res, data, CodeInvalid); !strings.Contains(e.Next, name) {
			t.Errorf("an unknown field near %s: next is %q", name, e.Next)
		}
	}
}

// tooLarge sends a body one byte beyond the route's limit, and to all routes more header than is taken.
func tooLarge(t *testing.T, m *matrix, r *Route, fx fixture) {
	at := port(r, "s1")
	path, _, header := m.request(r, fx)
	if r.MaxBody > 0 {
		res, data := m.h.upload(at, r.Method, path, header, r.MaxBody+1)
		expectError(t, res, data, CodeTooLarge)
	} else if r.Method == http.MethodPut {
		t.Error("takes a body without a limit")
	}
	header.Set("X-Large", strings.Repeat("x", 2*maxHeaderBytes))
	res, data := m.h.raw(at, r.Method, path, header, nil)
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d bytes of header: %s: %.100s", 2*maxHeaderBytes, res.Status, data)
	}
}

// upload sends size zeros, or as many as are taken.
func (h *herd) upload(at, method, path string, header http.Header, size int64) (*http.Response, []byte) {
	h.t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.net.Dial(ctx, addr) }}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+at+path, io.LimitReader(zeros{}, size))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header, req.ContentLength = header.Clone(), size
	res, err := tr.RoundTrip(req)
	if err != nil {
		h.t.Fatalf("%s %s with %d bytes: %v", method, path, size, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res, data
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func wrongMethod(t *testing.T, m *matrix, r *Route, fx fixture) {
	at := port(r, "s1")
	path, _, header := m.request(r, fx)
	res, data := m.h.raw(at, http.MethodPatch, path, header, nil)
	expectError(t, res, data, CodeMethod)
	allowed := strings.Split(res.Header.Get("Allow"), ", ")
	for _, want := range append(r.Methods(), http.MethodOptions) {
		if !slices.Contains(allowed, want) {
			t.Errorf("Allow is %q, want %s in it", allowed, want)
		}
	}
	res, data = m.h.raw(at, http.MethodOptions, path, header, nil)
	if res.StatusCode != http.StatusNoContent || len(data) != 0 || !slices.Equal(strings.Split(res.Header.Get("Allow"), ", "), allowed) {
		t.Errorf("OPTIONS: %s, Allow %q, %d bytes", res.Status, res.Header.Get("Allow"), len(data))
	}
}

func userIsNoAgent(t *testing.T, m *matrix, r *Route, fx fixture) {
	path, body, header := m.request(r, fx)
	res, data := m.h.raw("s1:4646", r.Method, path, header, body)
	expectError(t, res, data, CodeForbidden)
}
