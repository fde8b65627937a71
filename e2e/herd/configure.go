package herd

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// configure sets up loopback and eth0 inside the network namespace of the process.
func configure(pid int, ip net.IP) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer closeAll(closer(ns.Close))
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := h.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(prefixBits, 32)}}); err != nil {
		return fmt.Errorf("give %s to eth0: %w", ip, err)
	}
	if err := h.LinkSetUp(eth); err != nil {
		return err
	}
	// A default route, so that an agent finds its own address as it would on a real machine.
	return h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: HostIP()})
}

// readdress changes the address of eth0 inside the network namespace of the process.
func readdress(pid int, from, to net.IP) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer closeAll(closer(ns.Close))
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	mask := net.CIDRMask(prefixBits, 32)
	if err := h.AddrDel(eth, &netlink.Addr{IPNet: &net.IPNet{IP: from, Mask: mask}}); err != nil {
		return err
	}
	if err := h.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: to, Mask: mask}}); err != nil {
		return err
	}
	return h.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: HostIP()})
}

type closer func() error

func (c closer) Close() error { return c() }
