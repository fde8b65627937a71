package herd

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

const (
	bridgeName = "herd0"
	prefixBits = 24
)

// Wire is the bridge that the machines hang on. It lives in the network namespace of the program.
type Wire struct {
	bridge   netlink.Link
	machines []*Machine
	last     byte
}

// HostIP is the program's own address on the bridge.
func HostIP() net.IP { return net.IPv4(10, 99, 0, 254) }

// OpenWire makes the bridge. It refuses to touch the host's own network: Main must have put the program into a namespace.
func OpenWire() (*Wire, error) {
	if !Inside() {
		return nil, fmt.Errorf("%w: the program is not inside its own network namespace", ErrNoNamespaces)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("set up loopback: %w", err)
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	if err := netlink.LinkAdd(br); err != nil {
		return nil, fmt.Errorf("make bridge: %w", err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: HostIP(), Mask: net.CIDRMask(prefixBits, 32)}}
	if err := netlink.AddrAdd(br, addr); err != nil {
		return nil, fmt.Errorf("give the bridge its address: %w", err)
	}
	if err := netlink.LinkSetUp(br); err != nil {
		return nil, fmt.Errorf("set up bridge: %w", err)
	}
	return &Wire{bridge: br}, nil
}

// Close powers every machine off and removes the bridge. Doing it again does nothing.
func (w *Wire) Close() error {
	var first error
	for _, m := range w.machines {
		if err := m.PowerOff(); err != nil && first == nil {
			first = err
		}
	}
	if w.bridge == nil {
		return first
	}
	if err := netlink.LinkDel(w.bridge); err != nil && first == nil {
		first = err
	}
	w.bridge = nil
	return first
}

func (w *Wire) nextIP() net.IP {
	w.last++
	return net.IPv4(10, 99, 0, w.last)
}

func linkName(m *Machine) string { return fmt.Sprintf("m%d", m.number) }

// plug makes the veth pair of a machine: one end on the bridge, the other eth0 inside.
func (w *Wire) plug(m *Machine, pid int) error {
	if old, err := netlink.LinkByName(linkName(m)); err == nil { // the last boot's, still being torn down by the kernel
		_ = netlink.LinkDel(old) // gone already when this fails; LinkAdd below would say so
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: linkName(m), MasterIndex: w.bridge.Attrs().Index, Flags: net.FlagUp},
		PeerName:  "eth0", PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if !contains(w.machines, m) {
		w.machines = append(w.machines, m)
	}
	return configure(pid, m.IP)
}

func contains(ms []*Machine, m *Machine) bool {
	for _, x := range ms {
		if x == m {
			return true
		}
	}
	return false
}

func (w *Wire) setLink(m *Machine, up bool) error {
	l, err := netlink.LinkByName(linkName(m))
	if err != nil {
		return fmt.Errorf("find link of machine %s: %w", m.Name, err)
	}
	if up {
		return netlink.LinkSetUp(l)
	}
	return netlink.LinkSetDown(l)
}
