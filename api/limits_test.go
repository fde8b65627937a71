package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/state"
)

// talk sends bytes to an agent and reads until it closes the connection, or five virtual minutes have passed.
func (h *herd) talk(at, text string) string {
	h.t.Helper()
	c, err := h.net.Dial(h.t.Context(), at)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		h.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.WriteString(c, text) }) // the agent may close before it has read all
	data, err := io.ReadAll(c)
	_ = c.Close()
	wg.Wait()
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return string(data) + "[" + err.Error() + "]"
	}
	return string(data)
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		start := time.Now()
		if got := h.talk("s1:4646", "GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: "); strings.Contains(got, "200 OK") {
			t.Errorf("half a header was answered: %.60q", got)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("cut off after %s, want 5s", took)
		}
	})
}

func TestSlowBodyIsCutOff(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		start := time.Now()
		got := h.talk("s1:4646", "PUT /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
		if !strings.Contains(got, `"Code":"timeout"`) && !strings.Contains(got, `"Code":"no_leader"`) {
			t.Errorf("answered %.300q", got)
		}
		if took := time.Since(start); took > 31*time.Second {
			t.Errorf("cut off after %s, want 30s", took)
		}
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		start := time.Now()
		h.talk("s1:4646", "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
		if took := time.Since(start); took.Round(time.Second) != time.Minute {
			t.Errorf("an idle connection was closed after %s, want 60s", took)
		}
	})
}

func TestHugeHeaders(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for size, want := range map[int]string{15 << 10: "HTTP/1.1 200 ", 20 << 10: "HTTP/1.1 431 "} {
			got := h.talk("s1:4646", "GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Big: "+strings.Repeat("x", size)+"\r\n\r\n")
			if !strings.HasPrefix(got, want) {
				t.Errorf("%d bytes of header: %.40q, want %s", size, got, want)
			}
		}
	})
}

func TestBodyAtItsLimit(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for size, want := range map[int]string{DefaultMaxBody - 1: CodeInvalid, DefaultMaxBody: CodeInvalid, DefaultMaxBody + 1: CodeTooLarge} {
			body := append([]byte(`{"Job": null}`), bytes.Repeat([]byte(" "), size-13)...)
			res, data := h.raw("s2:4646", "PUT", "/v1/jobs", nil, body)
			expectError(t, res, data, want)
			// The same without a length said beforehand.
			got := h.talk("s2:4646", fmt.Sprintf("PUT /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body))
			if !strings.Contains(got, `"Code":"`+want+`"`) {
				t.Errorf("chunked, %d bytes: %.300q, want %s", size, got, want)
			}
		}
	})
}

func TestNestingAtItsLimit(t *testing.T) {
	for depth, want := range map[int]string{63: "", 64: "", 65: CodeTooLarge} {
		var v any
		err := decodeStrict([]byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)), &v)
		if want == "" && err != nil {
			t.Errorf("depth %d: %v", depth, err)
		}
		if want != "" {
			wantCode(t, err, want)
		}
	}
	var s struct{ A string }
	if err := decodeStrict([]byte(`{"A": "`+strings.Repeat("[", 100)+`\""}`), &s); err != nil {
		t.Errorf("brackets in a string: %v", err)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &herd{t: t, net: newMemNet(), agents: map[string]*agent{}, leader: "s1", ready: true, lagging: map[string]bool{}}
		h.start("s1", true, func(b *Backend) { b.Limits.MaxWatchers = 3 })
		h.apply(state.Lead{NodeID: "s1", Time: 2})
		defer h.close()
		read := func() error {
			_, _, err := h.clientAt("s1:4646", Config{Retries: -1}).Jobs(t.Context(), QueryOptions{Index: 1, Wait: time.Minute})
			return err
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := read(); err != nil {
					t.Errorf("within the limit: %v", err)
				}
			})
		}
		synctest.Wait()
		wantCode(t, read(), CodeBusy)
		wg.Wait()
		if err := func() error { h.must(state.RegisterJob{Job: testJob("web", 1)}); return read() }(); err != nil {
			t.Errorf("after they went: %v", err)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &herd{t: t, net: newMemNet(), agents: map[string]*agent{}, leader: "s1", ready: true, lagging: map[string]bool{}}
		h.start("s1", true, func(b *Backend) { b.Limits.MaxConns = 2 })
		defer h.close()
		var conns []net.Conn
		for range 3 {
			c, err := h.net.Dial(t.Context(), "s1:4646")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			conns = append(conns, c)
			synctest.Wait()
		}
		if _, err := conns[2].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the third connection: %v, want it closed", err)
		}
		_ = conns[0].Close()
		synctest.Wait()
		if _, _, err := h.client("s1").Jobs(t.Context(), QueryOptions{Stale: true}); err != nil {
			t.Errorf("after one went: %v", err)
		}
	})
}

func TestConcurrencyIsBoundedPerRoute(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		var limit int
		for _, r := range Routes() {
			if r.Name == routeAllocRestart {
				limit = r.Concurrency
			}
		}
		a := h.place("web", "c1")
		h.agents["c1"].setLogs(func(ctx context.Context, _ LogsRequest, w io.Writer) error {
			_, err := w.Write(nil)
			<-ctx.Done()
			return err
		})
		c := h.clientAt("c1:4646", Config{Retries: -1})
		var open []io.Closer
		for range limit {
			r, err := c.Logs(t.Context(), LogsRequest{AllocID: a.ID, Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, r)
		}
		_, err := c.Logs(t.Context(), LogsRequest{AllocID: a.ID})
		wantCode(t, err, CodeBusy)
		if _, err := c.RestartAllocation(t.Context(), a.ID, "", WriteOptions{}); err != nil {
			t.Errorf("another route: %v", err)
		}
		for _, r := range open {
			_ = r.Close()
		}
	})
}

func TestPanicIsAnsweredAndCounted(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		c := h.client("c1")
		_, err := c.RestartAllocation(t.Context(), a.ID, "panic", WriteOptions{})
		if e := wantCode(t, err, CodeInternal); strings.Contains(e.Error(), "fault of ours") {
			t.Errorf("the answer shows the panic: %v", e)
		}
		_, err = h.client("s1").RestartAllocation(t.Context(), a.ID, "panic", WriteOptions{})
		wantCode(t, err, CodeInternal)
		view, err := c.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range view.Counters {
			if v.Name == "drover_http_panics_total" && v.Value != 2 {
				t.Errorf("%v panics counted, want 2", v.Value)
			}
		}
	})
}

func TestInternalErrorsStayInside(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		h.agents["c1"].setLogs(func(context.Context, LogsRequest, io.Writer) error {
			return errors.New("/var/lib/secret: input/output error")
		})
		_, err := h.client("c1").Logs(t.Context(), LogsRequest{AllocID: a.ID})
		if e := wantCode(t, err, CodeInternal); strings.Contains(e.Error(), "secret") {
			t.Errorf("the answer shows an internal error: %v", e)
		}
	})
}

func TestReaderThatDoesNotRead(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		ended := make(chan time.Duration, 1)
		h.agents["c1"].setLogs(func(_ context.Context, _ LogsRequest, w io.Writer) error {
			start := time.Now()
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					ended <- time.Since(start)
					return err
				}
			}
		})
		c, err := h.net.Dial(t.Context(), "c1:4646")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "GET /v1/client/fs/logs/"+a.ID+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if took := <-ended; took > streamPatience+time.Minute {
			t.Errorf("a reader that does not read was let go after %s", took)
		}
	})
}

func TestUnknownPathsAndMethods(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for _, path := range []string{"/", "/v1", "/v1/", "/v1/job/", "/v1/job/a/b/c", "/v2/jobs", "/v1/jobs/parse"} {
			res, data := h.raw("s1:4646", "GET", path, nil, nil)
			expectError(t, res, data, CodeNoRoute)
		}
		if res, data := h.raw("s1:4646", "HEAD", "/v1/jobs", nil, nil); res.StatusCode != http.StatusOK || len(data) != 0 {
			t.Errorf("HEAD: %s, %d bytes", res.Status, len(data))
		}
		if res, data := h.raw("s1:4646", "POST", "/v1/operator/evictions", nil, nil); res.StatusCode != http.StatusOK {
			t.Errorf("POST where PUT is: %s %s", res.Status, data)
		}
		res, data := h.raw("s1:4646", "GET", "/v1/status/leader?pretty", nil, nil)
		if res.StatusCode != http.StatusOK || string(data) != "\"s1:4647\"\n" {
			t.Errorf("leader: %s %q", res.Status, data)
		}
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		if _, data = h.raw("s1:4646", "GET", "/v1/jobs?pretty", nil, nil); !bytes.Contains(data, []byte("\n  {\n")) {
			t.Errorf("pretty: %.80q", data)
		}
	})
}

func TestBackendMustBeWhole(t *testing.T) {
	if _, err := NewServer(Backend{}); err == nil {
		t.Error("a server of nothing was made")
	}
	a := &agent{}
	b := Backend{Cluster: a, Jobs: JobsFunc(parseTestJob), Dial: newMemNet().Dial, Now: func() int64 { return 0 }, Ping: func() PingResponse { return PingResponse{} }, State: state.NewStore()}
	if _, err := NewServer(b); err == nil {
		t.Error("a server without a writer was made")
	}
}
