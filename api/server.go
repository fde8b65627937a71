package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Server answers the routes on one agent.
type Server struct {
	b                    Backend
	log                  hclog.Logger
	metrics              *metrics
	forward              *http.Transport
	user                 http.Handler
	peer                 http.Handler
	watchers             gate
	userConns, peerConns gate
	self                 func() AgentSelf // who this agent is, asked once: its ID, region and addresses do not change
	sent                 sentLines
	hands                hands           // that read and write what may be long
	hops                 hops            // requests that wait for another agent
	lines                lines           // on which small writes are passed on
	serving              atomic.Int32    // listeners
	life                 context.Context // ends when the server stops; not a request's, so that it may stand here
	end                  context.CancelFunc
}

// NewServer makes a server of its agent. It does no I/O.
func NewServer(b Backend) (*Server, error) {
	if err := b.validate(); err != nil {
		return nil, err
	}
	b.Limits = b.Limits.withDefaults()
	if b.Logger == nil {
		b.Logger = hclog.NewNullLogger()
	}
	s := &Server{b: b, log: b.Logger.Named("api"), sent: newSentLines(), hands: newHands()}
	s.life, s.end = context.WithCancel(context.Background())
	s.self = sync.OnceValue(b.Cluster.Self)
	var err error
	if s.metrics, err = newMetrics(b.Metrics, s); err != nil {
		return nil, err
	}
	s.forward, s.lines.s = s.newForwardTransport(), s
	gates := map[string]*gate{}
	routes := Routes()
	for _, r := range routes {
		gates[r.Name] = &gate{}
	}
	// A page in a user's browser must not drive the agent on the user's machine. Requests that no browser made pass.
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(denyOrigin))
	s.user = origins.Handler(s.mux(routes, gates, userCaller))
	peerGates := map[string]*gate{} // of their own: users must not be able to keep the nodes out
	for _, r := range routes {
		peerGates[r.Name] = &gate{}
	}
	s.peer = s.mux(routes, peerGates, peerCaller)
	return s, nil
}

// streamPatience is how long the reader of a stream may pause: a pager that nobody scrolls holds a log up.
const streamPatience = 5 * time.Minute

// UserHandler answers on the user's listener.
func (s *Server) UserHandler() http.Handler { return s.user }

// PeerHandler answers on the peers' listener.
func (s *Server) PeerHandler() http.Handler { return s.peer }

// Close ends blocking reads and streams, so that listeners can drain. Serve does it too when its context ends.
func (s *Server) Close() {
	s.end()
	s.forward.CloseIdleConnections()
}

// ServeUser serves the user's listener until ctx ends, then lets requests end and returns.
func (s *Server) ServeUser(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.user, &s.userConns)
}

// ServePeer serves the peers' listener until ctx ends, then lets requests end and returns.
func (s *Server) ServePeer(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.peer, &s.peerConns)
}

func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler, conns *gate) error {
	hs := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes - 4096, // net/http adds 4 KiB of slack of its own
		ErrorLog:          s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	s.serving.Add(1)
	defer func() {
		if s.serving.Add(-1) == 0 {
			s.lines.close()
		}
	}()
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { s.watchLeader(done) })
	drained := make(chan error, 1)
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-done:
		}
		s.Close()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.b.Limits.DrainTimeout)
		defer cancel()
		err := hs.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			err = hs.Close()
		}
		drained <- err
	})
	err := hs.Serve(&boundedListener{Listener: l, gate: conns, limit: s.b.Limits.MaxConns})
	close(done)
	wg.Wait()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	if err := <-drained; err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop serving HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}

// mux makes the handler of one listener.
func (s *Server) mux(routes []Route, gates map[string]*gate, who func(*http.Request) Caller) http.Handler {
	byPath := map[string]map[string]*Route{}
	for i := range routes {
		r := &routes[i]
		if byPath[r.Path] == nil {
			byPath[r.Path] = map[string]*Route{}
		}
		for _, m := range r.Methods() {
			byPath[r.Path][m] = r
		}
	}
	m, pools := http.NewServeMux(), http.NewServeMux()
	for path, methods := range byPath {
		m := m
		if strings.HasPrefix(path, nodePoolPaths) {
			m = pools
		}
		m.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			rt := methods[r.Method]
			if rt == nil {
				s.wrongMethod(w, r, methods)
				return
			}
			s.handle(w, r, rt, gates[rt.Name], who(r))
		})
	}
	for _, m := range []*http.ServeMux{m, pools} {
		m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			writeError(w, NewError(CodeNoRoute, "the paths are in the documentation of the API, they begin with /v1/", "there is no path %s", r.URL.Path))
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The deadline that bounded the writing of an earlier answer on this connection is not this one's.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return // the connection is gone
		}
		if strings.HasPrefix(r.URL.Path, nodePoolPaths) {
			pools.ServeHTTP(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// nodePoolPaths begin the paths of node pools. They have a mux of their own: one mux cannot tell the pool named "allocations" from
// the allocations of a node with the ID "pool". No node has that one.
const nodePoolPaths = "/v1/node/pool/"

// wrongMethod answers a method that the path has no route for: OPTIONS with those that it has, any other with an error.
func (s *Server) wrongMethod(w http.ResponseWriter, r *http.Request, methods map[string]*Route) {
	names := []string{http.MethodOptions}
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	allowed := strings.Join(names, ", ")
	w.Header().Set("Allow", allowed)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeError(w, NewError(CodeMethod, "use "+allowed, "%s does not take %s", r.URL.Path, r.Method))
}

// userCaller is who speaks on the user's listener. What agents say of themselves is not believed there.
func userCaller(*http.Request) Caller { return Caller{Capabilities: userCapabilities()} }

// peerCaller is who speaks on the peers' listener.
func peerCaller(r *http.Request) Caller {
	return Caller{NodeID: r.Header.Get(headerNodeID), Via: r.Header.Get(headerForwarded), Capabilities: peerCapabilities()}
}

// gate counts who is inside.
type gate struct{ n atomic.Int64 }

func (g *gate) enter(limit int) bool {
	if g.n.Add(1) > int64(limit) {
		g.n.Add(-1)
		return false
	}
	return true
}

func (g *gate) leave() { g.n.Add(-1) }

// handle takes one request through: authorise, bound, parse, answer, and whatever happens, say so.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, rt *Route, g *gate, caller Caller) {
	start := time.Now()
	aw := &answerWriter{ResponseWriter: w, rc: http.NewResponseController(w), timeout: s.b.Limits.WriteTimeout}
	if rt.Stream {
		aw.timeout = max(aw.timeout, streamPatience)
	}
	c := &call{s: s, rt: rt, r: r, w: aw, caller: caller, start: start}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				s.metrics.observe(rt, "aborted", start)
				panic(p)
			}
			s.metrics.panics.Inc()
			s.log.Error("panic in a handler", "route", rt.Name, "panic", p, "stack", string(debug.Stack()))
			c.fail(internalError())
		}
		s.metrics.observe(rt, aw.code, start)
	}()
	if err := s.admit(c, g); err != nil {
		c.fail(err)
		return
	}
	defer c.release()
	ctx, cancel := c.bound(r.Context())
	defer cancel()
	c.ctx = ctx
	if err := c.readBody(); err != nil {
		c.fail(err)
		return
	}
	if err := s.dispatch(c); err != nil {
		c.fail(err)
	}
}

// admit checks what needs no body: the right, the parameters, the room.
func (s *Server) admit(c *call, g *gate) error {
	if !c.caller.Can(c.rt.Capability) {
		return NewError(CodeForbidden, "agents reach it on the peer port", "%s %s needs the capability %q", c.rt.Method, c.rt.Path, c.rt.Capability)
	}
	if err := c.parseQuery(); err != nil {
		return err
	}
	if c.rt.Upgrade {
		if err := c.checkUpgrade(); err != nil {
			return err
		}
	}
	if err := c.readRequestID(); err != nil {
		return err
	}
	if c.rt.Blocking && c.opts.index > 0 {
		return nil // bounded by the watchers
	}
	if !g.enter(c.rt.Concurrency) {
		return NewError(CodeBusy, "try again", "this agent works on %d requests to %s %s already", c.rt.Concurrency, c.rt.Method, c.rt.Path)
	}
	c.gate = g
	return nil
}

// release leaves the gate that admit entered.
func (c *call) release() {
	if c.gate != nil {
		c.gate.leave()
	}
}

// bound is the request's context with the route's time limit.
func (c *call) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	switch {
	case c.rt.Write:
		return context.WithTimeout(ctx, c.s.b.Limits.LeaderWait)
	case c.rt.Name == routeProtoPoll && c.opts.stale:
		return ctx, func() {} // answered here, within its own wait: there may be thousands
	case c.rt.Timeout == 0:
		return context.WithCancel(ctx)
	case c.rt.Blocking && c.opts.index > 0:
		return context.WithTimeout(ctx, c.rt.Timeout+c.opts.wait)
	}
	return context.WithTimeout(ctx, c.rt.Timeout)
}
