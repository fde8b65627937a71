package api

import (
	"net"
	"sync"
)

// boundedListener closes connections beyond its limit at once, so that a flood of them cannot use up the agent's files.
type boundedListener struct {
	net.Listener
	gate  *gate
	limit int
}

// Accept returns the next connection within the limit.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.gate.enter(l.limit) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(l.gate.leave)}, nil
		}
		_ = c.Close() // it is refused; how it takes that is its own affair
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close leaves the limit.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
