package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	firstPort = 32768
	// backlog is how many connections wait for Accept; dials beyond that wait, as for a full SYN queue.
	backlog = 128
)

// state of a host.
type state int

const (
	up state = iota
	refusing
	silent
)

var errHostDown = errors.New("this host is down")

// Host is one machine of a Net.
type Host struct {
	net *Net
	ip  netip.Addr

	// Guarded by net.mu.
	state     state
	frozen    bool
	listeners map[uint16]*listener
	gossip    map[uint16]*transport
	next      uint16 // port for dials and for listening on port 0
}

// IP returns the host's address.
func (h *Host) IP() string { return h.ip.String() }

// Listen accepts TCP connections at host:port; port 0 picks one. An empty or unspecified host and loopback mean this host; other
// hosts reach all of them.
func (h *Host) Listen(_ context.Context, addr string) (net.Listener, error) {
	ap, err := h.parse(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.bind(ap)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: tcpAddr(ap), Err: err}
	}
	l := &listener{host: h, addr: tcpAddr(netip.AddrPortFrom(h.ip, port)), queue: make(chan *conn, backlog), done: make(chan struct{})}
	h.listeners[port] = l
	return l, nil
}

// bind finds the port for something that listens. Callers hold net.mu.
func (h *Host) bind(ap netip.AddrPort) (uint16, error) {
	if h.net.closed || h.state != up {
		return 0, errHostDown
	}
	if ap.Addr() != h.ip {
		return 0, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	port := ap.Port()
	if port == 0 {
		port = h.port()
	}
	if h.listeners[port] != nil || h.gossip[port] != nil {
		return 0, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	return port, nil
}

// port returns a port that nothing listens on. Callers hold net.mu.
func (h *Host) port() uint16 {
	for {
		p := h.next
		h.next = max(h.next+1, firstPort)
		if h.listeners[p] == nil && h.gossip[p] == nil {
			return p
		}
	}
}

// Dial connects to host:port until ctx ends.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	ap, err := h.parse(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	c, err := h.dial(ctx, ap, TCP)
	if err != nil {
		return nil, opError("dial", nil, tcpAddr(ap), err)
	}
	return c, nil
}

// dial knocks until it is let in, refused or out of time.
func (h *Host) dial(ctx context.Context, ap netip.AddrPort, p Proto) (*conn, error) {
	pause, err := h.knockDelay()
	if err != nil {
		return nil, err
	}
	for {
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		changed := h.net.watch()
		c, err := h.knock(ap, p)
		if c != nil || err != nil {
			return c, err
		}
		pause = 0
		// Nobody answers: try again when the network changes, and now and then for a backlog that was full.
		retry := time.NewTimer(time.Second)
		select {
		case <-changed:
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return nil, dialError(ctx)
		}
		retry.Stop()
	}
}

// knockDelay is a round trip.
func (h *Host) knockDelay() (time.Duration, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.closed || h.state != up {
		return 0, errHostDown
	}
	return h.net.delay() + h.net.delay(), nil
}

// knock tries once: a connection, a refusal, or neither when nobody answers.
func (h *Host) knock(ap netip.AddrPort, p Proto) (*conn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || h.state != up {
		return nil, errHostDown
	}
	to := n.hosts[ap.Addr()]
	if to == nil || to.state == silent || h.frozen || !n.open(h, to, p) || !n.open(to, h, p) {
		return nil, nil // an address without a machine is as silent as a dead one
	}
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	if to.state == refusing {
		return nil, refused
	}
	var accept chan<- *conn
	switch l, g := to.listeners[ap.Port()], to.gossip[ap.Port()]; {
	case p == TCP && l != nil:
		accept = l.queue
	case p == GossipStreams && g != nil:
		accept = g.backlog
	default:
		return nil, refused
	}
	mine, theirs := newPair(n, p, h, to, netip.AddrPortFrom(h.ip, h.port()), ap)
	select {
	case accept <- theirs:
		n.conns[mine.pair] = struct{}{}
		return mine, nil
	default:
		return nil, nil
	}
}

// down ends the host's side of everything, and by the manner its peers'.
func (h *Host) down(m Manner) {
	n := h.net
	var mine []*pair
	var listeners []*listener
	var transports []*transport
	n.change(func() {
		h.state, h.frozen = refusing, false
		if m == Silent {
			h.state = silent
		}
		for p := range n.conns {
			if p.ends[0].host == h || p.ends[1].host == h {
				mine = append(mine, p)
			}
		}
		for _, l := range h.listeners {
			listeners = append(listeners, l)
		}
		for _, t := range h.gossip {
			transports = append(transports, t)
		}
	})
	for _, p := range mine {
		if m == Silent {
			p.lose(true)
		}
		for _, e := range p.ends {
			if e.host == h {
				e.kill(m == Refuse)
			}
		}
	}
	for _, l := range listeners {
		_ = l.Close() // the host is down: nobody listens to the error
	}
	for _, t := range transports {
		_ = t.Shutdown() // the same
	}
}

func tcpAddr(ap netip.AddrPort) *net.TCPAddr { return net.TCPAddrFromAddrPort(ap) }

// sleep waits for a delay or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return dialError(ctx)
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return dialError(ctx)
	}
}

// dialError is what package net makes of a context that ended.
func dialError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return fmt.Errorf("operation was canceled: %w", ctx.Err())
}

// listener hands out connections of one port.
type listener struct {
	host  *Host
	addr  *net.TCPAddr
	queue chan *conn
	done  chan struct{}
	once  sync.Once
}

// Accept waits for a connection. A frozen host accepts none.
func (l *listener) Accept() (net.Conn, error) {
	for {
		changed, thawed := l.host.running()
		queue := l.queue
		if !thawed {
			queue = nil
		}
		select {
		case <-l.done:
			return nil, opError("accept", nil, l.addr, net.ErrClosed)
		case c := <-queue:
			return c, nil
		case <-changed:
		}
	}
}

// running reports whether the host is not frozen, with a channel for when that may have changed.
func (h *Host) running() (<-chan struct{}, bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.net.changed, !h.frozen
}

// Close stops listening. Connections that were accepted stay; those still waiting are reset.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		n := l.host.net
		n.mu.Lock()
		if l.host.listeners[uint16(l.addr.Port)] == l {
			delete(l.host.listeners, uint16(l.addr.Port))
		}
		n.mu.Unlock()
		drain(l.queue)
	})
	return nil
}

// drain resets connections that nobody will accept.
func drain(queue <-chan *conn) {
	for {
		select {
		case c := <-queue:
			c.end.kill(true)
		default:
			return
		}
	}
}

// Addr returns where it listens.
func (l *listener) Addr() net.Addr { return l.addr }
