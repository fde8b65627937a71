package fleet

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestLines: requests one after the other take one connection, at the same time one each; a server that says so closes it; one that does
// not answer costs no longer than the deadline; and nothing waits once all are closed.
func TestLines(t *testing.T) {
	var conns atomic.Int64
	silent, done := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came of it is looked at below
		switch r.URL.Path {
		case "/last":
			w.Header().Set("Connection", "close")
		case "/silent":
			close(silent)
			<-done
		}
		_, _ = w.Write([]byte("heard " + string(body) + strings.Repeat(".", 5000))) // the client says what is missing
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	wires := newLines()
	client := &http.Client{Transport: wires}
	ask := func(path string, limit time.Duration, read int) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL+path, strings.NewReader("you"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		head := make([]byte, read)
		if _, err := io.ReadFull(res.Body, head); err != nil || !strings.HasPrefix(string(head), "heard you") {
			t.Errorf("%s was answered %q, %v", path, head, err)
		}
		return res.Body.Close()
	}
	for i, step := range []struct {
		path  string
		conns int64
	}{{"/", 1}, {"/", 1}, {"/last", 1}, {"/", 2}} {
		if err := ask(step.path, 10*time.Second, 9+i*100); err != nil || conns.Load() != step.conns {
			t.Fatalf("request %d: %v over %d connections, want %d", i, err, conns.Load(), step.conns)
		}
	}
	if err := ask("/silent", 50*time.Millisecond, 0); err == nil {
		t.Error("a request that was not answered has an answer")
	}
	close(done)
	<-silent
	wires.Close()
	if err := ask("/", 10*time.Second, 0); err == nil {
		t.Error("a request was answered after all was closed")
	}
}
