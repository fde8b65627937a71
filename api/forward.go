package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout bounds how long connecting to another agent may take.
	dialTimeout = 2 * time.Second
	// leaderLook is how often a server looks whether the leader has moved while requests wait for an answer of the old one.
	leaderLook = 100 * time.Millisecond
)

// errLeaderMoved ends a request that waits for an agent that is the leader no more: its machine may be gone without a word.
var errLeaderMoved = errors.New("the leader has moved")

func (s *Server) newForwardTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return s.b.Dial(ctx, addr)
		},
		ExpectContinueTimeout: dialTimeout, MaxIdleConnsPerHost: defaultConcurrency, IdleConnTimeout: 50 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// hops are the requests that wait at an agent because it leads: at another one, or blocking reads at this one.
type hops struct {
	mu      sync.Mutex
	waiting map[*hop]struct{}
}

type hop struct {
	addr   string // where the request is
	seen   string // the leader's node ID as this agent knew it then
	cancel context.CancelCauseFunc
}

func (h *hops) add(addr, seen string, cancel context.CancelCauseFunc) *hop {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = map[*hop]struct{}{}
	}
	one := &hop{addr: addr, seen: seen, cancel: cancel}
	h.waiting[one] = struct{}{}
	return one
}

func (h *hops) remove(one *hop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting, one)
}

// leave ends the hops that began before id, at addr, was known to lead, unless they went there. An agent whose knowledge is
// old may have been sent to a newer leader than it knows; it is left there.
func (h *hops) leave(id, addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for one := range h.waiting {
		if one.addr != addr && one.seen != id {
			one.cancel(errLeaderMoved)
		}
	}
}

// watchLeader ends hops to a leader that leads no more, until done is closed.
func (s *Server) watchLeader(done <-chan struct{}) {
	tick := time.NewTicker(leaderLook)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if id, addr, known := s.b.Cluster.Leader(); known {
			s.hops.leave(id, addr)
		}
	}
}

// hop sends the request to another agent and passes its answer on.
func (s *Server) hop(c *call, t target) attempt {
	bounded, end := s.hopContext(c)
	defer end()
	ctx, cancel := context.WithCancelCause(bounded)
	defer cancel(nil)
	if c.rt.Where == AtLeader && c.repeatable() && !c.opts.stale {
		seen, _, _ := s.b.Cluster.Leader()
		one := s.hops.add(t.addr, seen, cancel)
		defer s.hops.remove(one)
	}
	s.metrics.hops.WithLabelValues(c.rt.Name).Inc()
	if c.takesLine() {
		if a, taken := s.hopByLine(ctx, c, t); taken {
			return a
		}
	}
	var sent atomic.Bool // set by the transport's goroutine
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := c.outgoing(traced, t.addr)
	if err != nil {
		return attempt{err: err, addr: t.addr}
	}
	res, err := s.forward.RoundTrip(req)
	if err != nil {
		return c.lostHop(ctx, t, sent.Load(), err)
	}
	defer func() { _ = res.Body.Close() }() // what it says was read, or nobody wants it any more
	if a, refused := c.refused(res.Header, t); refused {
		return a
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		c.passUpgrade(res)
	} else {
		c.passOn(res)
	}
	return attempt{done: true}
}

// hopByLine is hop by the line to the other agent; taken is false when that takes none.
func (s *Server) hopByLine(ctx context.Context, c *call, t target) (a attempt, taken bool) {
	answer, sent, err := s.lines.ask(ctx, t.addr, lineRequest{
		method: c.r.Method, uri: c.r.URL.RequestURI(), header: c.forwardHeaders(), body: c.body,
	})
	switch {
	case errors.Is(err, errNoLine):
		return attempt{}, false
	case err != nil:
		return c.lostHop(ctx, t, sent, err), true
	}
	if a, refused := c.refused(answer.header, t); refused {
		return a, true
	}
	c.passHeader(answer.header)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(answer.body)))
	c.w.WriteHeader(answer.status)
	_, _ = c.w.Write(answer.body) // the reader may be gone; there is nobody to tell
	return attempt{done: true}, true
}

// refused reports whether another agent's answer means that it is not the one to answer, or does not know what became of a request that
// may be sent again.
func (c *call) refused(h http.Header, t target) (a attempt, refused bool) {
	code := h.Get(headerError)
	if code != CodeNotLeader && code != CodeNotOwner && !(c.repeatable() && code == CodeUnknownOutcome) {
		return attempt{}, false
	}
	return attempt{
		err: &Error{Code: code, Message: "not answered by " + t.addr}, addr: t.addr, hint: h.Get(headerTry), owner: code == CodeNotOwner,
		sent: code == CodeUnknownOutcome,
	}, true
}

// hopContext bounds a write's hop of an agent that no one tells when the leader's machine is gone: it leaves time for another.
func (s *Server) hopContext(c *call) (ctx context.Context, cancel context.CancelFunc) {
	if s.b.State == nil && c.rt.Write && c.repeatable() {
		return context.WithTimeout(c.ctx, s.b.Limits.LeaderWait/2)
	}
	return context.WithCancel(c.ctx)
}

// lostHop judges a hop that brought no answer.
func (c *call) lostHop(ctx context.Context, t target, sent bool, err error) attempt {
	switch {
	case errors.Is(context.Cause(ctx), errLeaderMoved):
		return attempt{sent: sent, addr: t.addr, err: ErrNotLeader}
	case c.ctx.Err() != nil && !c.rt.Write:
		return attempt{sent: sent, addr: t.addr, err: context.Cause(c.ctx)}
	}
	who := t.addr
	if t.id != "" {
		who = "node " + t.id + " at " + t.addr
	}
	return attempt{sent: sent, addr: t.addr, final: t.final, err: NewError(CodeUnreachable, "look at `drover node status` and `drover server members`",
		"%s does not answer: %s", who, err)}
}

// outgoing is the request as another agent gets it.
func (c *call) outgoing(ctx context.Context, addr string) (*http.Request, error) {
	u := *c.r.URL
	u.Scheme, u.Host = "http", addr
	if c.rt.Blocking && c.opts.index > 0 {
		q := u.Query()
		q.Set("wait", c.waitLeft().String())
		u.RawQuery = q.Encode()
	}
	var body io.Reader
	switch {
	case c.uploads():
		body = io.NopCloser(c.in) // not the transport's to close: another agent may have to be tried
	case len(c.body) > 0:
		body = bytes.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(ctx, c.r.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header = c.forwardHeaders()
	if c.uploads() {
		req.ContentLength = c.r.ContentLength
		req.Header.Set("Expect", "100-continue") // an agent that is the wrong one says so before the body is sent
	}
	return req, nil
}

// uploads reports whether the request's body is a stream, of which there is only one.
func (c *call) uploads() bool { return c.rt.Stream && c.rt.MaxBody > 0 }

// bodyGone reports whether a body of which there is only one was begun to be read.
func (c *call) bodyGone() bool {
	return c.uploads() && c.in.read > 0
}

// passHeader copies the head of another agent's answer.
func (c *call) passHeader(from http.Header) {
	h := c.w.Header()
	for key, values := range from {
		if key != "Connection" && key != "Date" && key != "Transfer-Encoding" {
			h[key] = values
		}
	}
	if c.requestID != "" {
		h.Set(headerRequestID, c.requestID)
	}
}

// passOn copies another agent's answer to the caller, as it comes.
func (c *call) passOn(res *http.Response) {
	c.passHeader(res.Header)
	if res.ContentLength >= 0 {
		c.w.Header().Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	c.w.WriteHeader(res.StatusCode)
	var to io.Writer = c.w
	if c.rt.Stream {
		to = flushing{c.w}
		// The reader must see the headers of a stream before its first byte, which may be long in coming.
		if err := c.w.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			panic(http.ErrAbortHandler)
		}
	}
	if _, err := io.Copy(to, res.Body); err != nil {
		panic(http.ErrAbortHandler) // the answer is not whole, and its head is gone out
	}
}
