package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// inboxSize is how many packets wait for a member that does not read; more are lost, as by a full socket buffer.
const inboxSize = 512

// transport carries memberlist's packets and streams for one port.
type transport struct {
	host    *Host
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	held    []*memberlist.Packet // arrived while the host is frozen; guarded by host.net.mu
	streams chan net.Conn
	backlog chan *conn
	ctx     context.Context // ends with Shutdown
	cancel  context.CancelFunc
	once    sync.Once
	wg      sync.WaitGroup
}

var _ memberlist.Transport = (*transport)(nil)

// GossipTransport binds memberlist's packets and streams to host:port; port 0 picks one.
func (h *Host) GossipTransport(addr string) (memberlist.Transport, error) {
	ap, err := h.parse(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.bind(ap)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(ap), Err: err}
	}
	t := &transport{
		host: h, addr: netip.AddrPortFrom(h.ip, port), packets: make(chan *memberlist.Packet, inboxSize),
		streams: make(chan net.Conn), backlog: make(chan *conn, backlog),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	h.gossip[port] = t
	t.wg.Go(t.accept)
	return t, nil
}

// accept hands waiting streams to memberlist, unless the host is frozen.
func (t *transport) accept() {
	for {
		changed, thawed := t.host.running()
		queue := t.backlog
		if !thawed {
			queue = nil
		} else {
			t.release()
		}
		select {
		case <-t.ctx.Done():
			return
		case <-changed:
		case c := <-queue:
			select {
			case t.streams <- c:
			case <-t.ctx.Done():
				c.end.kill(true)
				return
			}
		}
	}
}

// FinalAdvertiseAddr returns what the member tells the others.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr := t.addr.Addr()
	if ip != "" {
		var err error
		if addr, err = netip.ParseAddr(ip); err != nil {
			return nil, 0, fmt.Errorf("advertise address: %w", err)
		}
	}
	if port == 0 {
		port = int(t.addr.Port())
	}
	return net.IP(addr.AsSlice()), port, nil
}

// WriteTo sends a packet, which may be lost without a word.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return now, fmt.Errorf("send packet: %w", err)
	}
	n := t.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || t.host.state != up || t.host.frozen || n.loss > 0 && n.rng.Float64() < n.loss {
		return now, nil
	}
	p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.addr)}
	n.packets[p] = time.AfterFunc(n.delay(), func() { n.deliver(t.host, to, p) })
	return now, nil
}

// deliver puts a packet where it was sent, if the network and the machine there still exist.
func (n *Net) deliver(from *Host, addr netip.AddrPort, p *memberlist.Packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.packets, p)
	to := n.hosts[addr.Addr()]
	if to == nil || to.state != up || !n.open(from, to, GossipPackets) {
		return
	}
	t := to.gossip[addr.Port()]
	if t == nil {
		return
	}
	p.Timestamp = time.Now()
	if to.frozen {
		if len(t.held) < inboxSize {
			t.held = append(t.held, p)
		}
		return
	}
	t.put(p)
}

// put queues a packet or loses it. Callers hold net.mu.
func (t *transport) put(p *memberlist.Packet) {
	select {
	case t.packets <- p:
	default:
	}
}

// release delivers what arrived while the host was frozen.
func (t *transport) release() {
	t.host.net.mu.Lock()
	defer t.host.net.mu.Unlock()
	for _, p := range t.held {
		t.put(p)
	}
	t.held = nil
}

// PacketCh returns the packets that arrive.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns the streams that others open.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream to another member.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ap, err := t.host.parse(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	ctx, cancel := context.WithTimeout(t.ctx, timeout) // Shutdown ends dials
	defer cancel()
	c, err := t.host.dial(ctx, ap, GossipStreams)
	if err != nil {
		return nil, opError("dial", nil, tcpAddr(ap), err)
	}
	return c, nil
}

// Shutdown stops listening; streams that were handed out stay.
func (t *transport) Shutdown() error {
	t.once.Do(func() {
		t.cancel()
		n := t.host.net
		n.mu.Lock()
		if t.host.gossip[t.addr.Port()] == t {
			delete(t.host.gossip, t.addr.Port())
		}
		n.mu.Unlock()
		t.wg.Wait()
		drain(t.backlog)
	})
	return nil
}
