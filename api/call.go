package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/drover-io/drover/internal/nearest"
)

// call is one request on its way through the server.
type call struct {
	s      *Server
	rt     *Route
	r      *http.Request
	w      *answerWriter
	ctx    context.Context
	caller Caller
	query  url.Values
	opts   options
	in     *slowBody // the body as it comes; nil on routes that take none
	body   []byte    // the body whole, of routes that are not streams
	start  time.Time

	gate *gate // that was entered, nil for blocking reads

	requestID string // of writes
	index     uint64 // of the state that the answer was made from, or at which the write is stored
	nextToken string
}

// options are the query parameters that many routes share.
type options struct {
	namespace  string
	prefix     string
	perPage    int
	nextToken  string
	filter     string
	reverse    bool
	index      uint64
	wait       time.Duration
	stale      bool
	consistent bool
	pretty     bool
}

// AllNamespaces, as the namespace of a list, means every one.
const AllNamespaces = "*"

// DefaultNamespace is the namespace of requests that name none.
const DefaultNamespace = "default"

// id is the path's.
func (c *call) id() string { return c.r.PathValue("id") }

// forwarded reports whether another agent sent the request here: there is no second hop.
func (c *call) forwarded() bool { return c.caller.Via != "" }

// repeatable reports whether the request may be sent twice.
func (c *call) repeatable() bool { return c.rt.Retry || c.rt.retryIf != nil && c.rt.retryIf(c) }

// parseQuery reads the parameters and refuses those that the route does not know: a misspelt one would change what the caller
// gets, unnoticed.
func (c *call) parseQuery() error {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return NewError(CodeInvalid, "", "the query cannot be parsed: %s", err)
	}
	known := c.rt.known
	for name := range values {
		if !slices.Contains(known, name) {
			return NewError(CodeInvalid, didYouMean(nearest.Name(name, known)), "%s %s takes no parameter %q", c.rt.Method, c.rt.Path, name)
		}
	}
	c.query = values
	p := parser{values: values}
	c.opts = options{
		namespace: firstOf(values.Get("namespace"), DefaultNamespace), prefix: values.Get("prefix"),
		nextToken: values.Get("next_token"), filter: values.Get("filter"), reverse: p.flag("reverse"), index: p.uint("index"), wait: p.duration("wait", DefaultWait),
		stale: p.flag("stale"), consistent: p.flag("consistent"), pretty: p.flag("pretty"),
		perPage: int(min(p.uint("per_page"), MaxPage)),
	}
	if c.opts.perPage == 0 {
		c.opts.perPage = MaxPage
	}
	c.opts.wait = min(max(c.opts.wait, MinWait), MaxWait)
	if p.err != nil {
		return p.err
	}
	return c.checkOptions()
}

func (c *call) checkOptions() error {
	if c.opts.stale && c.opts.consistent {
		return NewError(CodeInvalid, "choose one", "stale and consistent contradict each other")
	}
	if region, own := c.query.Get("region"), c.s.self().Region; region != "" && region != own {
		return NewError(CodeInvalid, "ask an agent of that region", "this is region %q, not %q", own, region)
	}
	if c.opts.namespace == AllNamespaces && !c.rt.List && !c.rt.AnyNamespace {
		return NewError(CodeInvalid, "name one namespace", "only lists take the namespace %q", AllNamespaces)
	}
	return nil
}

// waitLeft is how much of a blocking read's wait is left, also after it moved to another leader.
func (c *call) waitLeft() time.Duration {
	return max(c.opts.wait-time.Since(c.start), 0)
}

// parser reads parameters and keeps the first error.
type parser struct {
	values url.Values
	err    error
}

func (p *parser) fail(name, want string) {
	if p.err == nil {
		p.err = NewError(CodeInvalid, "", "parameter %s=%q: want %s", name, p.values.Get(name), want)
	}
}

// flag is true for "?name" and "?name=true".
func (p *parser) flag(name string) bool { return p.flagOr(name, false) }

func (p *parser) flagOr(name string, absent bool) bool {
	if !p.values.Has(name) {
		return absent
	}
	switch p.values.Get(name) {
	case "", "1", "true":
		return true
	case "0", "false":
		return false
	}
	p.fail(name, "true or false")
	return false
}

func (p *parser) uint(name string) uint64 {
	v := p.values.Get(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		p.fail(name, "a number, 0 or more")
	}
	return n
}

// duration takes Go's notation ("30s", "5m"); a number alone means seconds.
func (p *parser) duration(name string, absent time.Duration) time.Duration {
	v := p.values.Get(name)
	if v == "" {
		return absent
	}
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		p.fail(name, `a duration such as "30s" or "5m"`)
		return absent
	}
	return d
}

// oneOf takes one of a few words; the first is the default.
func (p *parser) oneOf(name string, words ...string) string {
	v := firstOf(p.values.Get(name), words[0])
	if !slices.Contains(words, v) {
		p.fail(name, "one of "+quoted(words))
	}
	return v
}

func quoted(words []string) string {
	s := ""
	for i, w := range words {
		if i > 0 {
			s += ", "
		}
		s += strconv.Quote(w)
	}
	return s
}

// readRequestID takes the write's request ID from its header, or makes one.
func (c *call) readRequestID() error {
	if !c.rt.Write {
		return nil
	}
	id := c.r.Header.Get(headerRequestID)
	if id == "" {
		c.requestID = NewRequestID()
		return nil
	}
	if len(id) > maxRequestID {
		return NewError(CodeInvalid, "", "the request ID is %d bytes long, at most %d are taken", len(id), maxRequestID)
	}
	for _, b := range []byte(id) {
		if b <= ' ' || b > '~' {
			return NewError(CodeInvalid, "", "the request ID %q holds other than printable ASCII", id)
		}
	}
	c.requestID = id
	return nil
}
