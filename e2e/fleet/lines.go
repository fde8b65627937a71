package fleet

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// lines carries the agents' requests as HTTP/1.1, one at a time over each connection, in the goroutine that asks. The transport of
// net/http has two goroutines of its own for each connection: for ten thousand of them in one process, beside what is measured, that
// is half of the cost. Requests must have a deadline.
type lines struct {
	dial net.Dialer

	mu   sync.Mutex
	idle map[string][]*line // by address
	open map[*line]struct{}
	shut bool
}

// line is one connection.
type line struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	used time.Time
}

const (
	// lineBuffer is the size of a connection's buffers: most messages are smaller.
	lineBuffer = 1 << 10
	// keepLine is how long a connection without a request is kept: less than the servers do.
	keepLine = 50 * time.Second
)

func newLines() *lines {
	return &lines{dial: net.Dialer{Timeout: 5 * time.Second}, idle: map[string][]*line{}, open: map[*line]struct{}{}}
}

// RoundTrip sends a request and reads the head of its answer.
func (t *lines) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }() // it is in memory
	}
	l, err := t.line(req.Context(), req.URL.Host)
	if err != nil {
		return nil, err
	}
	deadline, _ := req.Context().Deadline()
	if err := l.SetDeadline(deadline); err != nil {
		t.drop(l)
		return nil, err
	}
	if err := req.Write(l.w); err != nil {
		t.drop(l)
		return nil, err
	}
	if err := l.w.Flush(); err != nil {
		t.drop(l)
		return nil, err
	}
	res, err := http.ReadResponse(l.r, req)
	if err != nil {
		t.drop(l)
		if req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	res.Body = &lineBody{ReadCloser: res.Body, t: t, l: l, host: req.URL.Host, last: res.Close}
	return res, nil
}

// lineBody gives its connection back when it is closed.
type lineBody struct {
	io.ReadCloser
	t    *lines
	l    *line
	host string
	last bool // the server closes the connection
}

// Close reads what is left.
func (b *lineBody) Close() error {
	_, err := io.Copy(io.Discard, b.ReadCloser)
	if err != nil || b.last {
		b.t.drop(b.l)
		return err
	}
	b.t.keep(b.host, b.l)
	return nil
}

// line is a connection that nobody uses, or a new one.
func (t *lines) line(ctx context.Context, host string) (*line, error) {
	if l := t.take(host); l != nil {
		return l, nil
	}
	conn, err := t.dial.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: conn, r: bufio.NewReaderSize(conn, lineBuffer), w: bufio.NewWriterSize(conn, lineBuffer)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		_ = conn.Close() // nothing went over it
		return nil, net.ErrClosed
	}
	t.open[l] = struct{}{}
	return l, nil
}

func (t *lines) take(host string) *line {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		n := len(t.idle[host])
		if n == 0 {
			return nil
		}
		l := t.idle[host][n-1]
		t.idle[host] = t.idle[host][:n-1]
		if time.Since(l.used) < keepLine {
			return l
		}
		delete(t.open, l)
		_ = l.Close() // the server is about to
	}
}

func (t *lines) keep(host string, l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.used = time.Now()
	t.idle[host] = append(t.idle[host], l)
}

func (t *lines) drop(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, l)
	_ = l.Close() // it is of no use any more
}

// Close ends every connection, and with them every request.
func (t *lines) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
	for l := range t.open {
		_ = l.Close() // whoever uses it learns by that
	}
}
