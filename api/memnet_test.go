package api

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// memNet is a network of pipes in memory. An address that nobody listens on refuses; a silent one swallows connections.
type memNet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	silent    map[string]bool
}

func newMemNet() *memNet {
	return &memNet{listeners: map[string]*memListener{}, silent: map[string]bool{}}
}

func (n *memNet) Listen(addr string) *memListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memListener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[addr] = l
	return l
}

func (n *memNet) setSilent(addr string, silent bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent[addr] = silent
}

func (n *memNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	l, silent := n.listeners[addr], n.silent[addr]
	n.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "mem", Err: ctx.Err()}
	}
	refused := &net.OpError{Op: "dial", Net: "mem", Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		l.keep(there)
		return here, nil
	case <-l.done:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memListener struct {
	addr  string
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu       sync.Mutex
	accepted []net.Conn
}

func (l *memListener) keep(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, c)
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// cut closes every connection, as a machine that dies does when its kernel still answers.
func (l *memListener) cut() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, c := range l.accepted {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (l *memListener) Addr() net.Addr { return memAddr(l.addr) }

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }
