package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/drover-io/drover/consensus"
)

const (
	// raftByte opens a connection that speaks raft. HTTP methods are upper-case letters and TLS records begin with 0x16, so
	// that one byte tells them apart.
	raftByte = 0x01
	// firstByteTimeout bounds how long a connection may stay silent before it has said what it is.
	firstByteTimeout = 5 * time.Second
	// maxPendingPeers bounds connections accepted and not yet taken over by their protocol.
	maxPendingPeers = 256
)

// peerPort is the one listener for all traffic between agents: raft and HTTP share it, told apart by the first byte. With the
// one dialer beside it (Network.Dial) mutual TLS is a setting here and nowhere else.
type peerPort struct {
	listener net.Listener
	network  Network
	log      hclog.Logger
	raft     chan net.Conn
	http     chan net.Conn
	done     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
	slots    chan struct{}

	mu     sync.Mutex
	silent map[net.Conn]struct{} // accepted, and nothing was heard from them yet
}

func openPeerPort(ctx context.Context, network Network, addr string, log hclog.Logger) (*peerPort, error) {
	l, err := network.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	p := &peerPort{
		listener: l, network: network, log: log,
		raft: make(chan net.Conn), http: make(chan net.Conn), done: make(chan struct{}),
		slots: make(chan struct{}, maxPendingPeers), silent: map[net.Conn]struct{}{},
	}
	p.wg.Go(p.accept)
	return p, nil
}

// Close stops accepting, gives up connections that were being told apart, and waits for that.
func (p *peerPort) Close() error {
	var err error
	p.once.Do(func() {
		close(p.done)
		err = p.listener.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.silent {
			closeQuietly(c)
		}
	})
	p.wg.Wait()
	return err
}

func (p *peerPort) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			select {
			case <-p.done:
				return
			default:
			}
			// Out of file descriptors, most likely: try again rather than going deaf for ever.
			p.log.Error("accept peer connection", "error", err)
			select {
			case <-p.done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case p.slots <- struct{}{}:
			p.wg.Go(func() { p.sort(c) })
		case <-p.done:
			closeQuietly(c)
			return
		}
	}
}

// sort reads the first byte of a connection and hands it to its protocol.
func (p *peerPort) sort(c net.Conn) {
	defer func() { <-p.slots }()
	r := bufio.NewReaderSize(c, 4096)
	first, err := p.firstByte(c, r)
	if err != nil {
		closeQuietly(c)
		return
	}
	to := p.http
	if first == raftByte {
		to = p.raft
		if _, err := r.Discard(1); err != nil {
			closeQuietly(c)
			return
		}
	}
	select {
	case to <- &peekedConn{Conn: c, r: r}:
	case <-p.done:
		closeQuietly(c)
	case <-time.After(firstByteTimeout):
		closeQuietly(c) // nobody takes this protocol here: a client agent has no raft
	}
}

// firstByte waits for the byte that says what a connection speaks, and leaves it there.
func (p *peerPort) firstByte(c net.Conn, r *bufio.Reader) (byte, error) {
	p.mu.Lock()
	p.silent[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.silent, c)
		p.mu.Unlock()
	}()
	select {
	case <-p.done: // Close may have looked before this connection was noted
		return 0, net.ErrClosed
	default:
	}
	if err := c.SetReadDeadline(time.Now().Add(firstByteTimeout)); err != nil {
		return 0, err
	}
	first, err := r.Peek(1)
	if err != nil {
		return 0, err
	}
	return first[0], c.SetReadDeadline(time.Time{})
}

func closeQuietly(c net.Conn) {
	// The connection is given up either way; its error would tell nobody anything.
	_ = c.Close()
}

// peekedConn is a connection whose first bytes were read ahead.
type peekedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *peekedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// subListener hands out the connections of one protocol.
type subListener struct {
	p    *peerPort
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (p *peerPort) httpListener() net.Listener {
	return &subListener{p: p, ch: p.http, done: make(chan struct{})}
}

func (l *subListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.p.done:
		return nil, net.ErrClosed
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *subListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *subListener) Addr() net.Addr { return l.p.listener.Addr() }

// raftLayer is raft's stream layer over the peer port. Until admitted is closed it accepts nobody.
type raftLayer struct {
	*subListener
	admitted <-chan struct{}
}

var (
	_ raft.StreamLayer        = raftLayer{}
	_ consensus.ContextDialer = raftLayer{}
)

func (p *peerPort) raftLayer(admitted <-chan struct{}) raft.StreamLayer {
	return raftLayer{&subListener{p: p, ch: p.raft, done: make(chan struct{})}, admitted}
}

// Accept waits for another server that speaks raft.
func (l raftLayer) Accept() (net.Conn, error) {
	select {
	case <-l.admitted:
		return l.subListener.Accept()
	case <-l.p.done:
		return nil, net.ErrClosed
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Dial connects to another server's peer port and says that raft follows.
func (l raftLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.DialContext(ctx, addr)
}

// DialContext is Dial that ends with ctx, so that a server that is closing does not wait for a dead machine.
func (l raftLayer) DialContext(ctx context.Context, addr raft.ServerAddress) (net.Conn, error) {
	c, err := l.p.network.Dial(ctx, string(addr))
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(firstByteTimeout)
	}
	if err := c.SetWriteDeadline(deadline); err != nil {
		closeQuietly(c)
		return nil, err
	}
	if _, err := c.Write([]byte{raftByte}); err != nil {
		closeQuietly(c)
		return nil, fmt.Errorf("open raft stream to %s: %w", addr, err)
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		closeQuietly(c)
		return nil, err
	}
	return c, nil
}
