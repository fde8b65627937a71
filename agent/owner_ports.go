package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// dialPortTimeout bounds how long connecting to a task may take.
const dialPortTimeout = 5 * time.Second

// DialPort connects to a port of an allocation. Only its own ports can be reached: the machine's others are nobody's business.
func (c *client) DialPort(ctx context.Context, allocID, name string) (net.Conn, error) {
	ports, err := c.runner.Ports(allocID)
	if err != nil {
		return nil, insideError(err)
	}
	port, err := choosePort(ports, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialPortTimeout)
	defer cancel()
	var last error
	for _, addr := range portAddrs(port) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		last = err
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	return nil, api.NewError(api.CodeUnavailable, "look with `drover alloc logs` whether the task is ready, and whether it listens on $NOMAD_PORT_"+port.Label,
		"nothing answers at the port %q of allocation %s: %s", port.Label, allocID, last)
}

// choosePort finds a port by its label, or by its number inside or outside of the allocation.
func choosePort(ports []state.AllocPort, name string) (state.AllocPort, error) {
	var has []string
	for _, p := range ports {
		number := strconv.Itoa(p.HostPort)
		if p.Label == name || number == name || strconv.Itoa(p.To) == name {
			return p, nil
		}
		has = append(has, fmt.Sprintf("%s (%s)", p.Label, number))
	}
	if len(has) == 0 {
		return state.AllocPort{}, api.NewError(api.CodeInvalid, "give the group a network block with a port", "the allocation has no ports")
	}
	return state.AllocPort{}, api.NewError(api.CodeInvalid, "name one by its label or its number", "the allocation has no port %q, it has %s", name, strings.Join(has, ", "))
}

// portAddrs are where a port may be listened on: in the allocation's own network, or else at the machine's address or its loopback.
func portAddrs(p state.AllocPort) []string {
	host := strconv.Itoa(p.HostPort)
	if p.AllocIP != "" {
		return []string{net.JoinHostPort(p.AllocIP, strconv.Itoa(p.To))}
	}
	addrs := []string{net.JoinHostPort("127.0.0.1", host)}
	if p.HostIP != "" && p.HostIP != "127.0.0.1" {
		addrs = append([]string{net.JoinHostPort(p.HostIP, host)}, addrs...)
	}
	if p.To > 0 && p.To != p.HostPort {
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.To)))
	}
	return addrs
}
