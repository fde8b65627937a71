package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Config says which agent a Client talks to, and as whom.
type Config struct {
	Addr      string // "http://127.0.0.1:4646", "127.0.0.1:4646" or "unix:///run/drover.sock"
	Token     string // sent with every request; "" for none
	Namespace string // used where a call names none; "" means the server's default
	Region    string // "" means the agent's own
	NodeID    string // agents only: for whom the client speaks on a peer listener

	HTTPClient *http.Client                                                      // nil means one of the client's own
	Dial       func(ctx context.Context, network, addr string) (net.Conn, error) // nil means TCP; ignored with HTTPClient
	Crowd      bool                                                              // the process speaks for many nodes, see As: what several are sent is decoded once
	Retries    int                                                               // of what is safe to send twice; 0 means 2, -1 none
}

// DefaultAddr is where an agent listens unless told otherwise.
const DefaultAddr = "http://127.0.0.1:4646"

// Client asks one agent. It may be used from any goroutine.
type Client struct {
	cfg    Config
	base   url.URL
	http   *http.Client
	routes map[string]*Route
	common *common
}

// New makes a client. It does not connect.
func New(cfg Config) (*Client, error) {
	if cfg.Addr == "" {
		cfg.Addr = DefaultAddr
	}
	if cfg.Retries == 0 {
		cfg.Retries = 2
	}
	base, socket, err := parseAddr(cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base, http: cfg.HTTPClient, routes: map[string]*Route{}}
	if cfg.Crowd {
		c.common = newCommon()
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport(cfg.Dial, socket)}
	}
	for _, r := range Routes() {
		c.routes[r.Name] = &r
	}
	return c, nil
}

// parseAddr splits an agent's address into the base of its URLs and, for unix://, the socket's path.
func parseAddr(addr string) (base url.URL, socket string, err error) {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		if path == "" {
			return base, "", fmt.Errorf("parse address %q: the path of the socket is missing", addr)
		}
		return url.URL{Scheme: "http", Host: "localhost"}, path, nil
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return base, "", fmt.Errorf("parse address: %w; give it as http://host:port or unix:///path", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return base, "", fmt.Errorf("parse address %q: want http://host:port or unix:///path", addr)
	}
	return url.URL{Scheme: u.Scheme, Host: u.Host}, "", nil
}

// newTransport makes a transport that dials by dial, or to a unix socket.
func newTransport(dial func(ctx context.Context, network, addr string) (net.Conn, error), socket string) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	raw := dial
	dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // a machine that is gone answers nothing, ever
		defer cancel()
		return raw(ctx, network, addr)
	}
	if socket != "" {
		tcp := dial
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return tcp(ctx, "unix", socket) }
	}
	return &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 16, IdleConnTimeout: 50 * time.Second, // below the server's 60 s
		DisableCompression: true, MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// At is the same client talking to another agent, over the same connections pool.
func (c *Client) At(addr string) (*Client, error) {
	base, socket, err := parseAddr(addr)
	if err != nil {
		return nil, err
	}
	if socket != "" {
		return nil, fmt.Errorf("use address %q: a client made for one socket cannot change to another", addr)
	}
	other := *c
	other.cfg.Addr, other.base = addr, base
	return &other, nil
}

// Addr is the address of the agent that the client asks.
func (c *Client) Addr() string { return c.cfg.Addr }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// NewRequestID makes an ID by which the cluster recognizes a write that is sent again.
func NewRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return hex.EncodeToString(b[:])
}

// QueryOptions shape a read.
type QueryOptions struct {
	Namespace  string // "" means the client's; "*" lists all
	Prefix     string // lists: of the ID
	PerPage    int    // lists: at most MaxPage, which is the default
	Filter     string // lists: an expression over the items' fields
	Reverse    bool   // lists: the last one first
	NextToken  string // lists: QueryMeta.NextToken of the page before
	Index      uint64 // blocks until something newer than this index
	Wait       time.Duration
	Stale      bool // any server may answer
	Consistent bool // the leader proves first that it leads
}

// QueryMeta says where an answer comes from.
type QueryMeta struct {
	Index       uint64        // of the state read: pass it on to block until something newer
	LastContact time.Duration // how long ago the server had heard of the leader
	KnownLeader bool
	NextToken   string // "" on the last page
	Agent       string // node ID of the agent that answered
}

// WriteOptions shape a write.
type WriteOptions struct {
	Namespace string // "" means the client's
	RequestID string // "" means a new one; give that of a write whose outcome is unknown to retry it
}

// exchange is one request of a client, before it is sent.
type exchange struct {
	route     string
	id        string // for {id}
	query     url.Values
	namespace string
	requestID string
	body      any       // sent as JSON
	stream    io.Reader // sent as it is, of length bytes
	length    int64
	wait      time.Duration // of a blocking read
	from      int64         // byte to begin at, of a stream that takes ranges
	again     bool          // may be sent twice, whatever the table says
}

func (c *Client) read(ctx context.Context, route, id string, q QueryOptions, extra url.Values, out any) (QueryMeta, error) {
	x := exchange{route: route, id: id, namespace: q.Namespace, query: url.Values{}}
	for k, v := range extra {
		x.query[k] = v
	}
	set := func(k, v string) {
		if v != "" {
			x.query.Set(k, v)
		}
	}
	set("prefix", q.Prefix)
	set("next_token", q.NextToken)
	set("filter", q.Filter)
	if q.Reverse {
		set("reverse", "true")
	}
	if q.PerPage > 0 {
		set("per_page", strconv.Itoa(q.PerPage))
	}
	if q.Stale {
		set("stale", "true")
	}
	if q.Consistent {
		set("consistent", "true")
	}
	if q.Index > 0 && c.routes[route].Blocking {
		x.wait = q.Wait
		if x.wait == 0 {
			x.wait = DefaultWait
		}
		set("index", strconv.FormatUint(q.Index, 10))
		set("wait", x.wait.String())
	}
	return c.call(ctx, x, out)
}

// ask sends a body that is read only, or to which the protocol gives its own means against doubling.
func (c *Client) ask(ctx context.Context, route, id string, body, out any) error {
	_, err := c.call(ctx, exchange{route: route, id: id, body: body}, out)
	return err
}

func (c *Client) write(ctx context.Context, route, id string, w WriteOptions, query url.Values, body, out any) error {
	x := exchange{route: route, id: id, namespace: w.Namespace, requestID: w.RequestID, query: query, body: body}
	if x.requestID == "" {
		x.requestID = NewRequestID()
	}
	_, err := c.call(ctx, x, out)
	return err
}

// call sends an exchange and decodes the answer into out.
func (c *Client) call(ctx context.Context, x exchange, out any) (QueryMeta, error) {
	res, err := c.do(ctx, x)
	if err != nil {
		return QueryMeta{}, err
	}
	defer func() { _ = res.Body.Close() }() // what it says was read already
	meta := metaOf(res.Header)
	if out == nil {
		_, err = io.Copy(io.Discard, res.Body)
	} else {
		err = decodeAnswer(res, out)
	}
	if err != nil {
		return meta, fmt.Errorf("read the answer of %s: %w", c.cfg.Addr, err)
	}
	return meta, nil
}

// do sends an exchange, again where that is safe. The caller closes the body of what it returns.
func (c *Client) do(ctx context.Context, x exchange) (*http.Response, error) {
	rt := c.routes[x.route]
	req, err := c.request(rt, x)
	if err != nil {
		return nil, err
	}
	cancel := context.CancelFunc(func() {})
	if limit := x.patience(rt); limit > 0 && !endsWithin(ctx, limit) {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	for attempt := 0; ; attempt++ {
		res, err := c.once(ctx, rt, req)
		if err == nil {
			res.Body = &cancelBody{ReadCloser: res.Body, cancel: cancel}
			return res, nil
		}
		if attempt >= c.cfg.Retries || x.stream != nil || !mayRetry(rt, x, err) || !pause(ctx, time.Duration(attempt+1)*100*time.Millisecond) {
			cancel()
			return nil, withRequestID(err, x.requestID)
		}
	}
}

// endsWithin reports whether the context ends by itself before that: another timer would be for nothing.
func endsWithin(ctx context.Context, limit time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= limit
}

// patience is how long to wait for an answer: what the agent may take for it, and some. 0 means without end.
func (x exchange) patience(rt *Route) time.Duration {
	slack := 2 * DefaultLimits().LeaderWait
	switch {
	case rt.Write:
		return DefaultLimits().LeaderWait + slack
	case x.wait > 0 && !rt.Blocking: // a poll, which says itself how long it waits
		return x.wait + slack
	case rt.Timeout > 0:
		return rt.Timeout + x.wait + slack
	}
	return 0
}

// withRequestID notes on an error the request that it belongs to.
func withRequestID(err error, id string) error {
	var e *Error
	if errors.As(err, &e) && e.RequestID == "" {
		e.RequestID = id
	}
	return err
}

// mayRetry reports whether sending again can help and cannot harm. A busy agent did nothing. A connection that broke may
// have carried the request: only what may be sent twice is.
func mayRetry(rt *Route, x exchange, err error) bool {
	if errors.Is(err, ErrBusy) {
		return true
	}
	var broken *connError
	return errors.As(err, &broken) && broken.sent && (rt.Retry || x.again)
}

// pause waits, or reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// request makes the HTTP request of an exchange.
func (c *Client) request(rt *Route, x exchange) (*http.Request, error) {
	path, err := expand(rt.Path, x.id)
	if err != nil {
		return nil, err
	}
	u := c.base
	u.RawPath = path
	if u.Path, err = url.PathUnescape(path); err != nil {
		return nil, fmt.Errorf("make a path of %q: %w", x.id, err)
	}
	u.RawQuery = c.queryOf(x).Encode()
	body := x.stream
	if x.body != nil {
		data, err := json.Marshal(x.body)
		if err != nil {
			return nil, fmt.Errorf("encode the body of %s: %w", rt.Name, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequest(rt.Method, "", body)
	if err != nil {
		return nil, fmt.Errorf("make the request %s: %w", rt.Name, err)
	}
	req.URL, req.Host = &u, u.Host
	if x.stream != nil {
		req.ContentLength = x.length
	}
	c.header(req.Header, x)
	return req, nil
}

// queryOf is an exchange's query with what the client adds to every one.
func (c *Client) queryOf(x exchange) url.Values {
	ns := firstOf(x.namespace, c.cfg.Namespace)
	if ns == "" && c.cfg.Region == "" {
		return x.query
	}
	q := url.Values{}
	for k, v := range x.query {
		q[k] = v
	}
	if ns != "" {
		q.Set("namespace", ns)
	}
	if c.cfg.Region != "" {
		q.Set("region", c.cfg.Region)
	}
	return q
}

func (c *Client) header(h http.Header, x exchange) {
	if x.body != nil {
		h.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != "" {
		h.Set(TokenHeader, c.cfg.Token)
	}
	if c.cfg.NodeID != "" {
		h.Set(headerNodeID, c.cfg.NodeID)
	}
	if x.requestID != "" {
		h.Set(headerRequestID, x.requestID)
	}
	if x.from > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", x.from))
	}
}

// expand puts an ID into a route's path.
func expand(path, id string) (string, error) {
	if !strings.Contains(path, "{id}") {
		return path, nil
	}
	if id == "" || id == "." || id == ".." {
		return "", NewError(CodeInvalid, "give the ID of a job, a node or an allocation", "%q is not an ID", id)
	}
	return strings.Replace(path, "{id}", url.PathEscape(id), 1), nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// once sends a request once.
func (c *Client) once(ctx context.Context, rt *Route, req *http.Request) (*http.Response, error) {
	var sent atomic.Bool // set by the transport's goroutine
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req = req.WithContext(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("rewind the body of %s: %w", rt.Name, err)
		}
		req.Body = body
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, newConnError(c.cfg.Addr, rt, sent.Load(), err)
	}
	unwell := rt.Name == routeAgentHealth && res.Header.Get(headerAgent) != "" && res.Header.Get(headerError) == ""
	if res.StatusCode < 300 || unwell {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, errorOf(c.cfg.Addr, res)
}
