package api

import (
	"net/http"
	"reflect"
	"time"

	"github.com/drover-io/drover/state"
)

// Where says which agent answers a route.
type Where string

// Where routes are answered.
const (
	Here      Where = "here"   // the agent that was asked
	AnyServer Where = "server" // the agent that was asked when it is a server, else any server
	AtLeader  Where = "leader" // the leader; with ?stale, where the route allows it, any server
	AtNode    Where = "node"   // the agent of the node that ?node names; without it the agent asked, when it can, else one that can
	AtOwner   Where = "owner"  // the agent that owns the allocation named by {id}
)

// Route is one row of the table. The mux, the authorisation, the forwarding, the client's paths and the test matrix are made
// from it.
type Route struct {
	Name       string // "job.register": what metrics and the client call it
	Method     string // GET, PUT or DELETE; where PUT is answered POST is too
	Path       string // as http.ServeMux takes it
	Capability Capability
	Where      Where
	Doc        string   // one line
	Query      []string // parameters of its own, beside those that its kind has

	Write    bool // changes something: bounded by Limits.LeaderWait, carries a request ID
	Retry    bool // may be sent twice: it reads, or the state remembers its request ID, or it is idempotent by nature
	Stale    bool // with ?stale any server may answer
	Blocking bool // takes ?index and ?wait
	List     bool // takes ?prefix, ?filter, ?reverse, ?per_page and ?next_token
	Stream   bool // the body or the answer is a stream of bytes, not JSON
	Upgrade  bool // answered by a websocket

	AnyNamespace bool // takes namespace=*, as lists do

	MaxBody     int64         // bytes; default 1 MiB for PUT, 0 otherwise
	Timeout     time.Duration // for the whole answer; default 30 s; 0 for streams, which end with their connection
	Concurrency int           // requests at a time on one agent, blocking reads not counted; default 256

	Request  reflect.Type // nil when there is no JSON body
	Response reflect.Type // nil when the answer is not JSON
	Media    []string     // content types of the answer; JSON unless it is a stream, which must say

	known   []string // parameters, worked out once
	handler handler
	retryIf func(c *call) bool // may be sent twice when this says so, though Retry is not set
}

const (
	// DefaultMaxBody bounds the body of a request.
	DefaultMaxBody = 1 << 20
	// defaultTimeout bounds the answer of a route.
	defaultTimeout = 30 * time.Second
	// defaultConcurrency bounds how many requests of one route an agent works on.
	defaultConcurrency = 256
	// MinWait is the least that a blocking read waits.
	MinWait = 5 * time.Second
	// MaxWait is the most that a blocking read waits.
	MaxWait = 10 * time.Minute
	// DefaultWait is what a blocking read waits that does not say.
	DefaultWait = 5 * time.Minute
	// MaxPage bounds the items of one page of a list, and is the default.
	MaxPage = 1000
)

// handler is how a route is answered on the agent that can.
type handler struct {
	request  reflect.Type
	response reflect.Type
	run      func(c *call) (any, error) // answers JSON
	stream   func(c *call) error        // writes c.w itself
}

// read answers from a snapshot. watch names what a blocking read waits for; nil for routes that do not block.
func read[T any](fn func(c *call, snap *state.Snapshot) (T, error), watch func(c *call) watchFor) handler {
	return handler{
		response: reflect.TypeFor[T](),
		run: func(c *call) (any, error) {
			snap, err := c.snapshot(watch)
			if err != nil {
				return nil, err
			}
			c.index = snap.Index()
			return fn(c, snap)
		},
	}
}

// answer answers from the agent itself.
func answer[T any](fn func(c *call) (T, error)) handler {
	return handler{
		response: reflect.TypeFor[T](),
		run:      func(c *call) (any, error) { return fn(c) },
	}
}

// take decodes a user's body, refusing unknown fields, and answers.
func take[Req, T any](fn func(c *call, req *Req) (T, error)) handler {
	return handler{
		request: reflect.TypeFor[Req](), response: reflect.TypeFor[T](),
		run: func(c *call) (any, error) {
			req := new(Req)
			if err := decodeStrict(c.body, req); err != nil {
				return nil, err
			}
			return fn(c, req)
		},
	}
}

// takePeer decodes another agent's body and answers. Unknown fields are let pass: the other agent may be newer, and what may
// enter the log is guarded by the cluster's level.
func takePeer[Req, T any](fn func(c *call, req *Req) (T, error)) handler {
	return handler{
		request: reflect.TypeFor[Req](), response: reflect.TypeFor[T](),
		run: func(c *call) (any, error) {
			req := new(Req)
			var err error
			c.s.hands.do(func() { err = decodeLenient(c.body, req) })
			if err != nil {
				return nil, err
			}
			return fn(c, req)
		},
	}
}

// stream hands over the connection.
func stream(fn func(c *call) error) handler { return handler{stream: fn} }

// withRequest names the type of the body where the handler decodes another one.
func (h handler) withRequest(t reflect.Type) handler {
	h.request = t
	return h
}

// withResponse names the type of the JSON that a stream answers: the whole, or each line.
func (h handler) withResponse(t reflect.Type) handler {
	h.response = t
	return h
}

// Methods are the HTTP methods that the route answers.
func (r *Route) Methods() []string {
	if r.Upgrade {
		return []string{http.MethodGet}
	}
	switch r.Method {
	case http.MethodGet:
		return []string{http.MethodGet, http.MethodHead}
	case http.MethodPut:
		return []string{http.MethodPut, http.MethodPost}
	}
	return []string{r.Method}
}

// complete fills in the defaults of a row.
func (r Route) complete() Route {
	if r.MaxBody == 0 && r.Method == http.MethodPut {
		r.MaxBody = DefaultMaxBody
	}
	if r.Timeout == 0 && !r.Stream {
		r.Timeout = defaultTimeout
	}
	if r.Concurrency == 0 {
		r.Concurrency = defaultConcurrency
	}
	if r.Method == http.MethodGet {
		r.Retry = true
	}
	r.known = r.parameters()
	r.Request, r.Response = r.handler.request, r.handler.response
	if r.Media == nil && !r.Stream {
		r.Media = []string{"application/json"}
	}
	return r
}

// parameters are the query parameters that the route takes.
func (r *Route) parameters() []string {
	p := append([]string{"namespace", "region", "pretty"}, r.Query...)
	if r.Where == AtLeader && !r.Write {
		p = append(p, "consistent")
	}
	if r.Where == AtAgent {
		p = append(p, "node_id", "server_id")
	}
	if r.Stale {
		p = append(p, "stale")
	}
	if r.Blocking {
		p = append(p, "index", "wait")
	}
	if r.List {
		p = append(p, "prefix", "filter", "reverse", "per_page", "next_token")
	}
	return p
}
