package api

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	routeLine = "node-protocol.line"
	linePath  = "/v1/node-protocol/line"
	// maxLineRequests bounds the requests of one line that are worked on; more wait in the connection.
	maxLineRequests = 4096
)

func lineRoutes() []Route {
	return []Route{{
		Name: routeLine, Method: get, Path: linePath, Capability: CapNode, Where: Here,
		Upgrade: true, Stream: true, handler: stream(serveLine).withResponse(reflect.TypeFor[string]()),
		Doc: "pass many small writes on, and their answers back, on one connection",
	}}
}

// lineServer is the end of a line at which requests are answered.
type lineServer struct {
	c    *call
	conn *websocket.Conn
	work chan *lineRequest // to a worker that has nothing to do
	wake chan struct{}

	mu   sync.Mutex
	out  [][]byte // messages of answers that wait, all but the last one full
	busy int      // requests without an answer
}

func serveLine(c *call) error {
	conn, err := c.accept(maxLineMessage)
	if err != nil {
		return err
	}
	l := &lineServer{c: c, conn: conn, work: make(chan *lineRequest), wake: make(chan struct{}, 1)}
	ctx, end := context.WithCancel(context.WithoutCancel(c.ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = conn.CloseNow() }() // what was to be said was said
	defer end()
	wg.Go(func() {
		defer func() { _ = conn.CloseNow() }()
		l.write(ctx)
	})
	workers := 0
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return nil // the other agent has gone, or this one stops
		}
		requests, err := requestsOf(message)
		if err != nil {
			c.s.log.Warn("end a line", "from", c.r.RemoteAddr, "error", err)
			return nil
		}
		for i := range requests {
			l.begin()
			select {
			case l.work <- &requests[i]:
				continue
			default:
			}
			if workers == maxLineRequests {
				l.work <- &requests[i] // what follows waits in the connection
				continue
			}
			workers++
			wg.Go(func() { l.serve(ctx, &requests[i]) })
		}
	}
}

// serve answers one request and then those that come while it has nothing to do: decoding a job takes a stack that is not made anew for each.
func (l *lineServer) serve(ctx context.Context, r *lineRequest) {
	for {
		l.done(l.answer(ctx, r))
		select {
		case r = <-l.work:
		case <-ctx.Done():
			return
		}
	}
}

// answer has a request answered as if it had come by itself.
func (l *lineServer) answer(ctx context.Context, r *lineRequest) (a *lineAnswer) {
	a = &lineAnswer{id: r.id} // without a status when the handler gives up
	req, err := http.NewRequestWithContext(ctx, r.method, "http://line"+r.uri, bytes.NewReader(r.body))
	if err != nil {
		return a
	}
	req.Header, req.RemoteAddr = r.header, l.c.r.RemoteAddr
	w := &lineWriter{header: http.Header{}}
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			panic(p)
		}
	}()
	l.c.s.peer.ServeHTTP(w, req)
	if w.status > 0 && w.body.Len() < maxLineMessage-lineMessage-maxHeaderBytes {
		a.status, a.header, a.body = w.status, w.header, w.body.Bytes()
	}
	return a
}

func (l *lineServer) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy++
}

// done queues an answer.
func (l *lineServer) done(a *lineAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	if n := len(l.out); n == 0 || len(l.out[n-1]) >= lineMessage {
		l.out = append(l.out, nil)
	}
	last := &l.out[len(l.out)-1]
	*last = a.append(*last)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends answers, as many at a time as have come meanwhile, until ctx ends or this agent stops and all are sent.
func (l *lineServer) write(ctx context.Context) {
	stopping := l.c.s.life.Done()
	var drained <-chan time.Time
	for {
		runtime.Gosched() // those who are ready to answer do it now, and share the message
		message, busy := l.take()
		if len(message) > 0 {
			bounded, cancel := context.WithTimeout(ctx, l.c.s.b.Limits.WriteTimeout)
			err := l.conn.Write(bounded, websocket.MessageBinary, message)
			cancel()
			if err != nil {
				return
			}
			continue
		}
		if stopping == nil && !busy {
			return
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		case <-stopping:
			stopping, drained = nil, time.After(l.c.s.b.Limits.DrainTimeout)
		case <-drained:
			return
		}
	}
}

// take is the next message, and whether requests are without an answer.
func (l *lineServer) take() (message []byte, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out) > 0 {
		message, l.out = l.out[0], l.out[1:]
	}
	return message, l.busy > 0
}

// lineWriter keeps an answer.
type lineWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is the answer's.
func (w *lineWriter) Header() http.Header { return w.header }

// WriteHeader keeps the status.
func (w *lineWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write keeps a part of the body.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// SetReadDeadline does nothing: the request is here.
func (w *lineWriter) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: the line has its own.
func (w *lineWriter) SetWriteDeadline(time.Time) error { return nil }
