package simnet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Proto is a set of protocols that a fault touches.
type Proto uint8

// The protocols, and the sets of them that tests want.
const (
	TCP           Proto = 1 << iota // what Host.Dial and Host.Listen carry
	GossipPackets                   // memberlist's UDP
	GossipStreams                   // memberlist's TCP
	Gossip        = GossipPackets | GossipStreams
	All           = TCP | Gossip
)

// Manner is how a host goes away.
type Manner int

// The manners of Kill.
const (
	Refuse Manner = iota // the process died, the machine answers for it with resets
	Silent               // the machine is gone or its cable is out
)

// Options are the traits of a network. Zero values are replaced by defaults.
type Options struct {
	Seed       uint64        // of delays and losses
	MinLatency time.Duration // one way; default 200 µs. Negative: none at all
	MaxLatency time.Duration // one way; default 1 ms
}

// Net is one network. Its methods may be called from any goroutine.
type Net struct {
	min, max time.Duration

	mu       sync.Mutex
	rng      *rand.Rand
	hosts    map[netip.Addr]*Host
	changed  chan struct{} // closed and replaced at every change of the faults
	cuts     map[[2]*Host]Proto
	isolated map[*Host]Proto
	groups   map[*Host]int // partition; hosts in none are together in group 0
	split    Proto         // what the partition separates
	loss     float64
	conns    map[*pair]struct{}
	closed   bool
	packets  map[*memberlist.Packet]*time.Timer // on their way
}

// New returns a network without hosts or faults.
func New(o Options) *Net {
	if o.MinLatency == 0 {
		o.MinLatency = 200 * time.Microsecond
	}
	if o.MaxLatency == 0 {
		o.MaxLatency = time.Millisecond
	}
	n := &Net{
		min: max(o.MinLatency, 0), max: max(o.MaxLatency, 0), rng: rand.New(rand.NewPCG(o.Seed, 0x64726f766572)),
		hosts: map[netip.Addr]*Host{}, changed: make(chan struct{}), conns: map[*pair]struct{}{}, packets: map[*memberlist.Packet]*time.Timer{},
	}
	n.clear()
	return n
}

// Host returns the host with this IP, adding it when it is new. It panics when ip is none.
func (n *Net) Host(ip string) *Host {
	addr := netip.MustParseAddr(ip)
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.hosts[addr]
	if !ok {
		h = &Host{net: n, ip: addr, listeners: map[uint16]*listener{}, gossip: map[uint16]*transport{}, next: firstPort}
		n.hosts[addr] = h
	}
	return h
}

// Close resets every connection and closes every listener and transport, so that nothing blocks on the network any more.
func (n *Net) Close() {
	n.mu.Lock()
	n.closed = true
	for _, t := range n.packets {
		t.Stop()
	}
	clear(n.packets)
	var hosts []*Host
	for _, h := range n.hosts {
		hosts = append(hosts, h)
	}
	n.mu.Unlock()
	for _, h := range hosts {
		h.down(Refuse)
	}
}

// CutOneWay blocks what from sends to the other host.
func (n *Net) CutOneWay(from, to *Host, protos ...Proto) {
	n.change(func() { n.cuts[[2]*Host{from, to}] |= union(protos) })
}

// Cut blocks both directions between two hosts.
func (n *Net) Cut(a, b *Host, protos ...Proto) {
	n.change(func() {
		n.cuts[[2]*Host{a, b}] |= union(protos)
		n.cuts[[2]*Host{b, a}] |= union(protos)
	})
}

// Isolate blocks everything between a host and all others.
func (n *Net) Isolate(h *Host, protos ...Proto) {
	n.change(func() { n.isolated[h] |= union(protos) })
}

// Partition lets hosts talk within their group only. Hosts in no group form one of their own. It replaces an earlier partition.
func (n *Net) Partition(groups ...[]*Host) { n.PartitionProto(All, groups...) }

// PartitionProto is Partition for some protocols.
func (n *Net) PartitionProto(p Proto, groups ...[]*Host) {
	n.change(func() {
		n.groups, n.split = map[*Host]int{}, p
		for i, g := range groups {
			for _, h := range g {
				n.groups[h] = i + 1
			}
		}
	})
}

// Heal ends every cut, isolation, partition and loss. Killed and frozen hosts stay so.
func (n *Net) Heal() { n.change(n.clear) }

func (n *Net) clear() {
	n.cuts, n.isolated, n.groups, n.split, n.loss = map[[2]*Host]Proto{}, map[*Host]Proto{}, map[*Host]int{}, 0, 0
}

// SetLoss makes the network lose this share of gossip packets, between 0 and 1.
func (n *Net) SetLoss(share float64) {
	n.change(func() { n.loss = share })
}

// Kill ends a host. Its listeners, transports and connections are closed on its own side; what the others see is the manner.
func (n *Net) Kill(h *Host, m Manner) { h.down(m) }

// Restart brings a killed host back: it can listen and dial again, and what is left of its old connections is reset.
func (n *Net) Restart(h *Host) {
	var stale []*pair
	n.change(func() {
		h.state, h.frozen = up, false
		for p := range n.conns {
			if p.lost && (p.ends[0].host == h || p.ends[1].host == h) {
				stale = append(stale, p)
			}
		}
	})
	for _, p := range stale {
		p.lose(false)
		p.reset()
	}
}

// Freeze stops a host as SIGSTOP does: its kernel accepts connections and data, and nothing comes back.
func (n *Net) Freeze(h *Host) { n.change(func() { h.frozen = true }) }

// Thaw lets a frozen host go on.
func (n *Net) Thaw(h *Host) { n.change(func() { h.frozen = false }) }

// change alters the faults and wakes whoever waits for the network.
func (n *Net) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// watch returns a channel that is closed at the next change of the faults.
func (n *Net) watch() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// open reports whether the network carries p from one host to the other. Callers hold mu.
func (n *Net) open(from, to *Host, p Proto) bool {
	switch {
	case from == to:
		return true
	case n.cuts[[2]*Host{from, to}]&p != 0, (n.isolated[from]|n.isolated[to])&p != 0:
		return false
	}
	return n.split&p == 0 || n.groups[from] == n.groups[to]
}

// delay returns one way's latency. Callers hold mu.
func (n *Net) delay() time.Duration {
	if n.max <= n.min {
		return n.min
	}
	return n.min + time.Duration(n.rng.Int64N(int64(n.max-n.min)))
}

func union(protos []Proto) Proto {
	if len(protos) == 0 {
		return All
	}
	var p Proto
	for _, q := range protos {
		p |= q
	}
	return p
}

// opError is an error as package net gives it.
func opError(op string, local, remote net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: local, Addr: remote, Err: err}
}

// parse splits host:port; an empty or unspecified host and localhost mean h itself.
func (h *Host) parse(addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" || host == "localhost" {
		host = h.ip.String()
	}
	ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %s: need an IP and a port in the simulated network", addr)
	}
	if ip := ap.Addr(); ip.IsUnspecified() || ip.IsLoopback() {
		ap = netip.AddrPortFrom(h.ip, ap.Port())
	}
	return ap, nil
}
