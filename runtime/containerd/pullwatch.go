package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// errStalled says that a body gave nothing for too long.
var errStalled = errors.New("the download stalled")

// watchedTransport gives up on bodies that stall, listens to what registries ask for, and keeps logins from other hosts.
type watchedTransport struct {
	next   http.RoundTripper
	pull   *pullState
	mirror string // its host, when it is for one
}

// RoundTrip sends one request.
func (t *watchedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	req = req.WithContext(ctx)
	if carriesLogin(req) {
		req.Header = req.Header.Clone()
		req.Header.Del("Authorization")
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	t.pull.noteRetryAfter(resp)
	if t.mirror != "" && resp.StatusCode < http.StatusMultipleChoices {
		t.pull.served(t.mirror)
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: ctx, stall: t.pull.stall, cancel: cancel}
	return resp, nil
}

// carriesLogin reports whether a redirected request takes the login of the first host to another one. net/http keeps the header for
// subdomains and for other ports, where other programs may listen.
func carriesLogin(req *http.Request) bool {
	first := req
	for first.Response != nil {
		first = first.Response.Request
	}
	login := req.Header.Get("Authorization")
	away := first.URL.Host != req.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https"
	return away && login != "" && login == first.Header.Get("Authorization")
}

// watchedBody ends when no byte has come for a while.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	stall  time.Duration
	cancel context.CancelCauseFunc
}

// Read reads what has come.
func (b *watchedBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.stall, func() { b.cancel(errStalled) })
	defer timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		return n, fmt.Errorf("%w: no byte came for %s", errStalled, b.stall)
	}
	return n, err
}

// Close ends the request.
func (b *watchedBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
