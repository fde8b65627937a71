package simnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes one direction holds before writers wait.
const window = 256 << 10

// pair is one connection.
type pair struct {
	net   *Net
	proto Proto
	ends  [2]*end

	mu   sync.Mutex // guards everything of both ends
	lost bool       // one machine vanished: nothing passes any more
	wake chan struct{}
}

// end is one side of a connection: its inbox, and what it can do.
type end struct {
	pair    *pair
	host    *Host
	addr    net.Addr
	other   *end
	inbox   []segment
	size    int       // bytes in inbox
	fin     bool      // the other side will write no more
	rst     bool      // the other side, or its machine, gave the connection up
	closed  bool      // this side did
	last    time.Time // arrival of the newest segment, so that order is kept
	readBy  time.Time // deadlines; zero: none
	writeBy time.Time
}

// segment is bytes and when they arrive.
type segment struct {
	b  []byte
	at time.Time
}

// conn is an end as net.Conn.
type conn struct {
	*pair
	end *end
}

var _ net.Conn = (*conn)(nil)

// newPair connects two hosts. Callers hold n.mu.
func newPair(n *Net, p Proto, from, to *Host, local, remote netip.AddrPort) (dialed, accepted *conn) {
	pr := &pair{net: n, proto: p, wake: make(chan struct{})}
	a := &end{pair: pr, host: from, addr: tcpAddr(local)}
	b := &end{pair: pr, host: to, addr: tcpAddr(remote)}
	a.other, b.other = b, a
	pr.ends = [2]*end{a, b}
	return &conn{pr, a}, &conn{pr, b}
}

// notify wakes both sides. Callers hold p.mu.
func (p *pair) notify() {
	close(p.wake)
	p.wake = make(chan struct{})
}

// carries reports whether what from sent reaches the other side now. Callers hold p.mu.
func (p *pair) carries(from *end) bool {
	if p.lost {
		return false
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return !from.host.frozen && !from.other.host.frozen && p.net.open(from.host, from.other.host, p.proto)
}

// lose marks the connection as one whose machine vanished, or no longer.
func (p *pair) lose(lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = lost
	p.notify()
}

// reset gives up both sides: the machine is back and knows nothing of the connection.
func (p *pair) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.ends {
		e.rst = true
	}
	p.notify()
	p.forget()
}

// forget drops the connection from the network's list once nobody can be told anything through it. Callers hold p.mu.
func (p *pair) forget() {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	delete(p.net.conns, p)
}

// kill ends this side because its process or machine ended. tell sends the other side a reset.
func (e *end) kill(tell bool) {
	p := e.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	e.closed = true
	if tell {
		e.other.rst = true
	}
	if e.other.closed {
		p.forget()
	}
	p.notify()
}

// Read reads what has arrived.
func (c *conn) Read(b []byte) (int, error) {
	for {
		changed := c.net.watch()
		c.mu.Lock()
		n, until, err := c.end.read(b)
		wake, by := c.wake, c.end.readBy
		c.mu.Unlock()
		if err != nil && !errors.Is(err, io.EOF) {
			err = opError("read", c.end.addr, c.end.other.addr, err)
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		wait(wake, changed, earlier(until, by))
	}
}

// read takes from the inbox what is there, or says until when to wait. Callers hold pair.mu.
func (e *end) read(b []byte) (n int, until time.Time, err error) {
	now := time.Now()
	switch {
	case e.closed:
		return 0, until, net.ErrClosed
	case expired(e.readBy, now):
		return 0, until, os.ErrDeadlineExceeded
	case !e.pair.carries(e.other):
		return 0, until, nil
	}
	for len(e.inbox) > 0 && n < len(b) {
		s := &e.inbox[0]
		if s.at.After(now) {
			break
		}
		k := copy(b[n:], s.b)
		n += k
		e.size -= k
		if s.b = s.b[k:]; len(s.b) == 0 {
			e.inbox = e.inbox[1:]
		}
	}
	switch {
	case n > 0:
		e.pair.notify() // there is room to write
	case len(e.inbox) > 0:
		until = e.inbox[0].at
	case e.rst:
		err = os.NewSyscallError("read", syscall.ECONNRESET)
	case e.fin:
		err = io.EOF
	}
	return n, until, err
}

// Write sends b, waiting while the other side's window is full.
func (c *conn) Write(b []byte) (int, error) {
	sent := 0
	for {
		changed := c.net.watch()
		c.mu.Lock()
		n, err := c.end.write(b[sent:])
		wake, by := c.wake, c.end.writeBy
		c.mu.Unlock()
		sent += n
		if err != nil {
			return sent, opError("write", c.end.addr, c.end.other.addr, err)
		}
		if sent == len(b) {
			return sent, nil
		}
		if n == 0 {
			wait(wake, changed, by)
		}
	}
}

// write puts into the other side's inbox what fits. Callers hold pair.mu.
func (e *end) write(b []byte) (int, error) {
	now := time.Now()
	to := e.other
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case expired(e.writeBy, now):
		return 0, os.ErrDeadlineExceeded
	case to.fin: // CloseWrite was called here
		return 0, os.NewSyscallError("write", syscall.EPIPE)
	case (e.rst || to.closed) && e.pair.carries(to):
		return 0, os.NewSyscallError("write", syscall.ECONNRESET)
	}
	n := min(len(b), window-to.size)
	if n <= 0 {
		return 0, nil
	}
	to.inbox = append(to.inbox, segment{append([]byte(nil), b[:n]...), e.arrival(now)})
	to.size += n
	e.pair.notify()
	return n, nil
}

// arrival is when something sent now gets there, not before what was sent earlier. Callers hold pair.mu.
func (e *end) arrival(now time.Time) time.Time {
	e.pair.net.mu.Lock()
	at := now.Add(e.pair.net.delay())
	e.pair.net.mu.Unlock()
	if at.Before(e.last) {
		at = e.last
	}
	e.last = at
	return at
}

// Close ends this side. What was written still arrives.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.closed {
		return opError("close", c.end.addr, c.end.other.addr, net.ErrClosed)
	}
	c.end.closed = true
	c.end.other.fin = true
	if c.end.other.closed {
		c.forget()
	}
	c.notify()
	return nil
}

// CloseWrite tells the other side that no more comes; reading goes on.
func (c *conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.closed {
		return opError("close", c.end.addr, c.end.other.addr, net.ErrClosed)
	}
	c.end.other.fin = true
	c.notify()
	return nil
}

// LocalAddr returns this side's address.
func (c *conn) LocalAddr() net.Addr { return c.end.addr }

// RemoteAddr returns the other side's address.
func (c *conn) RemoteAddr() net.Addr { return c.end.other.addr }

// SetDeadline limits reads and writes.
func (c *conn) SetDeadline(t time.Time) error { return c.limit(&t, &t) }

// SetReadDeadline limits reads.
func (c *conn) SetReadDeadline(t time.Time) error { return c.limit(&t, nil) }

// SetWriteDeadline limits writes.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.limit(nil, &t) }

func (c *conn) limit(read, write *time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.closed {
		return opError("set", c.end.addr, c.end.other.addr, net.ErrClosed)
	}
	if read != nil {
		c.end.readBy = *read
	}
	if write != nil {
		c.end.writeBy = *write
	}
	c.notify()
	return nil
}

// wait waits for a change of the connection, of the network, or for a moment; zero means none.
func wait(wake, changed <-chan struct{}, until time.Time) {
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-wake:
	case <-changed:
	case <-timer:
	}
}

func expired(by, now time.Time) bool { return !by.IsZero() && !now.Before(by) }

// earlier returns the first of two moments; zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
