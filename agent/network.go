package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// Network is how an agent listens and dials. Tests hand in an in-memory one.
type Network interface {
	// Listen opens a TCP listener on host:port.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial connects to host:port.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// GossipTransport is memberlist's transport bound to host:port; nil means memberlist's own UDP and TCP.
	GossipTransport(addr string) (memberlist.Transport, error)
}

// hostNetwork is the machine's own network.
type hostNetwork struct{}

var _ Network = hostNetwork{}

func (hostNetwork) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without "listen tcp" and the address, which are said already
		}
		return nil, fmt.Errorf("listen on %s: %w; another program may have the port: look with `ss -ltnp`, or set ports{} in the configuration", addr, err)
	}
	return l, nil
}

func (hostNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	// Keep-alives notice a peer that vanished without a word within about 15 s.
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 2}}
	return d.DialContext(ctx, "tcp", addr)
}

func (hostNetwork) GossipTransport(string) (memberlist.Transport, error) { return nil, nil }
