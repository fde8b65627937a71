package agent

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxNameBytes bounds names that are shown in lists and sent by gossip.
const maxNameBytes = 128

// maxMetaBytes bounds a node's meta, keys and values together.
const maxMetaBytes = 16 << 10

// at names a key for a message, with the place where it was set.
func (c Config) at(path string) string {
	if from := c.origin[path]; from != "" {
		return path + " (" + from + ")"
	}
	return path
}

// checker collects what is wrong.
type checker struct {
	c    Config
	errs []error
}

func (k *checker) fail(path, format string, args ...any) {
	k.errs = append(k.errs, fmt.Errorf("%s: %s", k.c.at(path), fmt.Sprintf(format, args...)))
}

func (k *checker) oneOf(path, got string, want ...string) {
	if !slices.Contains(want, got) {
		k.fail(path, "want one of %s, not %q", strings.Join(want, ", "), got)
	}
}

func (k *checker) between(path string, got, low, high int) {
	if got < low || got > high {
		k.fail(path, "want %d to %d, not %d", low, high, got)
	}
}

func (k *checker) atLeast(path string, got, low time.Duration) {
	if got < low {
		k.fail(path, "want at least %s, not %s", low, got)
	}
}

// Validate says everything that is wrong with a configuration. It looks names up that are to be advertised.
func (c Config) Validate() error {
	k := &checker{c: c}
	if !c.Server.Enabled && !c.Client.Enabled {
		k.errs = append(k.errs, errors.New("neither server nor client is enabled: use --server, --client or --dev"))
	}
	k.names()
	k.dataDir()
	k.oneOf("log_level", strings.ToLower(c.LogLevel), "trace", "debug", "info", "warn", "error")
	k.ports()
	if k.addresses() { // what follows from wrong ones is only noise
		if _, err := c.AdvertiseAddrs(); err != nil {
			k.errs = append(k.errs, err)
		}
		k.exposure()
	}
	k.server()
	k.client()
	k.devices()
	if c.ACL.Enabled {
		k.fail("acl.enabled", "there are no access rules yet: anybody who reaches an agent's ports may do everything; set it to false, "+
			"and listen on the loopback interface only, or close the ports to others")
	}
	k.containers()
	k.oneOf("drivers.exec.isolation", c.Drivers.ExecIsolation, "", "namespaces", "none")
	for _, name := range c.Drivers.Enabled {
		k.oneOf("drivers.enabled", name, "containerd", "exec")
	}
	if len(k.errs) == 0 {
		return nil
	}
	return fmt.Errorf("configuration: %w", errors.Join(k.errs...))
}

// Warnings are what is unwise without being wrong.
func (c Config) Warnings() []string {
	var w []string
	if n := c.Server.BootstrapExpect; c.Server.Enabled && n > 0 && n%2 == 0 {
		w = append(w, fmt.Sprintf("%s is even: %d servers survive the loss of no more of them than %d do; use %d",
			c.at("server.bootstrap_expect"), n, n-1, n+1))
	}
	if !c.Server.Enabled && len(c.Client.Servers)+len(c.Server.RetryJoin) == 0 {
		w = append(w, "this client knows no agent to join: set retry_join or client.servers")
	}
	if c.Server.LeaseOnly {
		w = append(w, c.at("server.lease_only")+" is for simulated nodes: machines that die are found dead only after lost_after")
	}
	if c.Server.Enabled && c.Server.BootstrapExpect == 0 && len(c.Server.RetryJoin) == 0 {
		w = append(w, "this server neither founds a cluster (bootstrap_expect) nor knows one to join (retry_join)")
	}
	return w
}

func (k *checker) names() {
	for _, n := range []struct {
		path, value string
		optional    bool
	}{
		{"name", k.c.Name, false}, {"datacenter", k.c.Datacenter, false}, {"region", k.c.Region, false},
		{"client.node_pool", k.c.Client.NodePool, false}, {"client.node_class", k.c.Client.NodeClass, true},
	} {
		strange := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == utf8.RuneError }
		switch {
		case n.value == "" && !n.optional:
			k.fail(n.path, "must not be empty")
		case len(n.value) > maxNameBytes || strings.ContainsFunc(n.value, strange):
			k.fail(n.path, "want at most %d bytes without blanks, slashes and control characters, not %q", maxNameBytes, n.value)
		}
	}
}

func (k *checker) dataDir() {
	switch dir := k.c.DataDir; {
	case dir == "" && !k.c.Dev:
		k.fail("data_dir", "is required (--data-dir): the directory for all that this agent keeps, for example /var/lib/drover")
	case dir != "" && !filepath.IsAbs(dir):
		k.fail("data_dir", "want an absolute path, not %q", dir)
	case filepath.Clean(dir) == "/":
		k.fail("data_dir", "want a directory of its own, not /")
	}
}

func (k *checker) ports() {
	low := 1
	if k.c.Dev {
		low = 0
	}
	p := k.c.Ports
	k.between("ports.http", p.HTTP, low, 65535)
	k.between("ports.rpc", p.RPC, low, 65535)
	k.between("ports.serf", p.Serf, low, 65535)
	bind := k.c.BindAddrs()
	for _, pair := range []struct {
		path, other string
		port        int
		a, b        string
	}{
		{"ports.rpc", "ports.http", p.RPC, bind.RPC, bind.HTTP},
		{"ports.serf", "ports.http", p.Serf, bind.Serf, bind.HTTP},
		{"ports.serf", "ports.rpc", p.Serf, bind.Serf, bind.RPC},
	} {
		if pair.port != 0 && pair.a == pair.b {
			k.fail(pair.path, "%d is the same as %s: each listener needs its own port", pair.port, k.c.at(pair.other))
		}
	}
}

// addresses checks where to listen, and reports whether all is well.
func (k *checker) addresses() bool {
	before := len(k.errs)
	for _, a := range [][2]string{{"bind_addr", k.c.BindAddr}, {"addresses.http", k.c.Addresses.HTTP},
		{"addresses.rpc", k.c.Addresses.RPC}, {"addresses.serf", k.c.Addresses.Serf}} {
		path, addr := a[0], a[1]
		if addr == "" && path != "bind_addr" {
			continue
		}
		if strings.Contains(addr, "{{") {
			k.fail(path, "templates such as %s are not supported: write the address", addr)
		} else if _, err := netip.ParseAddr(addr); err != nil {
			k.fail(path, "want an IP address of this machine, not %q", addr)
		}
	}
	return len(k.errs) == before
}

// exposure refuses traffic in the clear where others can reach it, unless told to accept it.
func (k *checker) exposure() {
	if k.c.Insecure {
		return
	}
	bind := k.c.BindAddrs()
	open := []string{bind.HTTP, bind.RPC}
	if k.c.Server.Encrypt == "" {
		open = append(open, bind.Serf) // with a key it is encrypted, and refuses who lacks it
	}
	for _, bind := range open {
		host, port, err := net.SplitHostPort(bind)
		ip, bad := netip.ParseAddr(host)
		if err != nil || bad != nil || ip.IsLoopback() {
			continue
		}
		k.fail("bind_addr", "other machines reach %s, and traffic is neither encrypted nor authenticated yet: whoever reaches port %s "+
			"controls the cluster and runs programs on its machines; listen on 127.0.0.1, or accept that in a network "+
			"where you trust everybody: insecure = true (--insecure)", ip, port)
		return // once is enough
	}
}

func (k *checker) server() {
	s := k.c.Server
	k.between("server.bootstrap_expect", s.BootstrapExpect, 0, 9)
	if !s.Enabled && s.BootstrapExpect > 0 {
		k.fail("server.bootstrap_expect", "is for servers, and this agent is none: use --server")
	}
	if _, err := decodeKey(s.Encrypt); err != nil {
		k.fail("server.encrypt", "%v", err) // without the key itself: messages end in logs
	}
	k.between("server.retry_max", s.RetryMax, 0, 1<<30)
	k.atLeast("server.retry_interval", s.RetryInterval, time.Second)
	k.atLeast("server.raft_timeout", s.RaftTimeout, 50*time.Millisecond)
	k.atLeast("server.lost_after", s.LostAfter, time.Second)
	k.atLeast("server.eviction_hold", s.EvictionHold, time.Second)
	k.oneOf("server.default_scheduler_config.scheduler_algorithm", s.Algorithm, "binpack", "spread")
	k.joins("server.retry_join", s.RetryJoin)
	if s.Snapshots.Interval != 0 {
		k.atLeast("server.snapshots.interval", s.Snapshots.Interval, time.Minute)
	}
	k.between("server.snapshots.retain", s.Snapshots.Retain, 1, 10_000)
	if d := s.Snapshots.Directory; d != "" && !filepath.IsAbs(d) {
		k.fail("server.snapshots.directory", "want an absolute path, not %q", d)
	}
}

func (k *checker) client() {
	c := k.c.Client
	k.between("client.min_dynamic_port", c.MinDynamicPort, 1, 65535)
	k.between("client.max_dynamic_port", c.MaxDynamicPort, 1, 65535)
	if c.MinDynamicPort > c.MaxDynamicPort {
		k.fail("client.min_dynamic_port", "%d is above max_dynamic_port, %d", c.MinDynamicPort, c.MaxDynamicPort)
	}
	k.between("client.reserved.cpu", c.Reserved.CPU, 0, 1<<30)
	k.between("client.reserved.memory", c.Reserved.MemoryMB, 0, 1<<30)
	k.between("client.reserved.disk", c.Reserved.DiskMB, 0, 1<<30)
	k.atLeast("client.max_kill_timeout", c.MaxKillTimeout, time.Second)
	k.atLeast("client.gc_interval", c.GCInterval, time.Second)
	k.between("client.gc_disk_usage_threshold", c.GCDiskPercent, 0, 100)
	k.between("client.gc_max_allocs", c.GCMaxAllocs, 1, 100_000)
	size := 0
	for _, key := range slices.Sorted(maps.Keys(c.Meta)) {
		size += len(key) + len(c.Meta[key])
		if key == "" {
			k.fail("client.meta", "holds an empty name")
		}
	}
	if size > maxMetaBytes {
		k.fail("client.meta", "holds %d bytes, want at most %d", size, maxMetaBytes)
	}
	k.joins("client.servers", c.Servers)
}

// joins checks addresses of other agents: a host with or without a port.
func (k *checker) joins(path string, addrs []string) {
	for _, a := range addrs {
		host, port := a, "1"
		if h, p, err := net.SplitHostPort(a); err == nil {
			host, port = h, p
		}
		if strings.Contains(a, "=") { // "provider=aws …"
			k.fail(path, "%q: machines of a cloud are not looked up: write addresses", a)
		} else if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " /{") {
			k.fail(path, "want addresses such as 10.0.0.1 or 10.0.0.1:4648, not %q", a)
		}
	}
}
