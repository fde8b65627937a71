package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// BindAddrs are the addresses, IP:port, to listen on.
func (c Config) BindAddrs() Addrs {
	at := func(addr string, port int) string {
		if addr == "" {
			addr = c.BindAddr
		}
		return net.JoinHostPort(addr, strconv.Itoa(port))
	}
	return Addrs{HTTP: at(c.Addresses.HTTP, c.Ports.HTTP), RPC: at(c.Addresses.RPC, c.Ports.RPC), Serf: at(c.Addresses.Serf, c.Ports.Serf)}
}

// AdvertiseAddrs are the addresses, IP:port, that others reach this agent at. An agent that listens on every address and is not
// told what to say takes the private address of the interface with the default route.
func (c Config) AdvertiseAddrs() (Addrs, error) { return c.advertise(hostAddress) }

func (c Config) advertise(own func() (netip.Addr, error)) (Addrs, error) {
	bind := c.BindAddrs()
	var errs []error
	one := func(name, told, bind string) string {
		addr, err := advertised(told, bind, own)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.at("advertise."+name), err))
		}
		return addr
	}
	a := Addrs{HTTP: one("http", c.Advertise.HTTP, bind.HTTP), RPC: one("rpc", c.Advertise.RPC, bind.RPC), Serf: one("serf", c.Advertise.Serf, bind.Serf)}
	return a, errors.Join(errs...)
}

// advertised is told, an IP or name with or without a port, or what follows from where the agent listens.
func advertised(told, bind string, own func() (netip.Addr, error)) (string, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return "", err
	}
	if told == "" {
		ip, err := netip.ParseAddr(host)
		if err == nil && ip.IsUnspecified() {
			ip, err = own()
		}
		return net.JoinHostPort(ip.String(), port), err
	}
	host = told
	if h, p, err := net.SplitHostPort(told); err == nil {
		host, port = h, p
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q has a bad port", told)
	}
	ip, err := resolve(strings.Trim(host, "[]"))
	if err == nil && ip.IsUnspecified() {
		err = fmt.Errorf("%s is every address, not one that others can reach", ip)
	}
	return net.JoinHostPort(ip.String(), port), err
}

// resolve takes an IP, or asks for that of a name.
func resolve(host string) (netip.Addr, error) {
	if strings.Contains(host, "{{") {
		return netip.Addr{}, fmt.Errorf("templates such as %s are not supported: write the address", host)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("%q is no IP address and does not resolve to one: %w", host, err)
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	return ips[0], nil
}

// hostAddress finds the address of this machine that others most likely reach it at.
func hostAddress() (netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list network interfaces: %w", err)
	}
	found := map[string][]netip.Addr{}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, _ := i.Addrs() // an interface that is just going away
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				found[i.Name] = append(found[i.Name], p.Addr())
			}
		}
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read routes: %w", err)
	}
	return pickAddress(found, defaultInterface(string(routes)))
}

// pickAddress takes the one private IPv4 address of the interface with the default route; where there is no such route, the one of
// all interfaces; where there is no private address, the one public.
func pickAddress(found map[string][]netip.Addr, defaultName string) (netip.Addr, error) {
	where := "interface " + defaultName + ", which has the default route,"
	if defaultName == "" {
		where = "this machine, which has no default route,"
	}
	var private, public []netip.Addr
	for name, addrs := range found {
		if defaultName != "" && name != defaultName {
			continue
		}
		for _, a := range addrs {
			switch {
			case !a.Is4() || a.IsLoopback() || a.IsLinkLocalUnicast():
			case a.IsPrivate():
				private = append(private, a)
			default:
				public = append(public, a)
			}
		}
	}
	candidates := private
	if len(private) == 0 {
		candidates = public
	}
	const do = "tell others where to find this agent: advertise { http, rpc, serf }, or listen on one address: bind_addr"
	switch len(candidates) {
	case 0:
		return netip.Addr{}, fmt.Errorf("%s has no IPv4 address: %s", where, do)
	case 1:
		return candidates[0], nil
	}
	return netip.Addr{}, fmt.Errorf("%s has several addresses (%v): %s", where, candidates, do)
}

// defaultInterface reads /proc/net/route: the interface of the default route with the lowest metric; "" without one.
func defaultInterface(table string) string {
	name, best := "", math.MaxInt
	lines := bufio.NewScanner(strings.NewReader(table))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		if metric, err := strconv.Atoi(f[6]); err == nil && metric < best {
			name, best = f[0], metric
		}
	}
	return name
}
