package agent

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreValid(t *testing.T) {
	dev, _, err := load(t, ConfigSources{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Validate(); err != nil {
		t.Errorf("dev: %v", err)
	}
	if dev.BindAddrs() != (Addrs{"127.0.0.1:4646", "127.0.0.1:4647", "127.0.0.1:4648"}) || dev.Server.RaftTimeout != 200*time.Millisecond {
		t.Errorf("dev: got %+v", dev)
	}
	remove, err := dev.MakeDataDir()
	if err != nil || !filepath.IsAbs(dev.DataDir) {
		t.Fatalf("got %q, %v", dev.DataDir, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dev.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left", dev.DataDir)
	}
	c, _, err := load(t, ConfigSources{}, "data_dir = \"/d\"\nserver { enabled = true }\nbind_addr = \"10.0.0.1\"\ninsecure = true")
	if err != nil || c.Validate() != nil || c.Name != "cow-1" {
		t.Errorf("got %+v, %v, %v", c, err, c.Validate())
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no mode":       {`server { enabled = false }`, "neither server nor client is enabled"},
		"no data":       {`data_dir = ""`, "data_dir (a.hcl:1:12): is required"},
		"relative data": {`data_dir = "data"`, `data_dir (a.hcl:1:12): want an absolute path, not "data"`},
		"root":          {`data_dir = "/x/.."`, "not /"},
		"level":         {`log_level = "loud"`, "want one of trace, debug"},
		"port":          {`ports { rpc = 70000 }`, "ports.rpc (a.hcl:1:15): want 1 to 65535, not 70000"},
		"port 0":        {`ports { rpc = 0 }`, "ports.rpc (a.hcl:1:15): want 1 to 65535, not 0"},
		"same port":     {`ports { rpc = 4646 }`, "4646 is the same as ports.http"},
		"bind":          {`bind_addr = "cow"`, `want an IP address of this machine, not "cow"`},
		"template":      {`bind_addr = "{{ GetPrivateIP }}"`, "templates such as {{ GetPrivateIP }} are not supported"},
		"open":          {`bind_addr = "10.0.0.1"`, "bind_addr (a.hcl:1:13): other machines reach 10.0.0.1, and traffic is neither encrypted"},
		"half open":     {`addresses { http = "10.0.0.1" }`, "(--insecure)"},
		"advertise":     {`advertise { rpc = "0.0.0.0" }`, "advertise.rpc (a.hcl:1:19): 0.0.0.0 is every address"},
		"bad port":      {`advertise { rpc = "10.0.0.1:x" }`, "bad port"},
		"key":           {`server { encrypt = "short" }`, "is not base64"},
		"key length":    {`server { encrypt = "c2hvcnQ=" }`, "holds 5 bytes, want 16, 24 or 32"},
		"expect":        {`server { bootstrap_expect = -1 }`, "want 0 to 9, not -1"},
		"no server":     {"server {\n enabled = false\n bootstrap_expect = 3\n}", "this agent is none"},
		"algorithm":     {"server {\n default_scheduler_config { scheduler_algorithm = \"random\" }\n}", "want one of binpack, spread"},
		"interval":      {`server { retry_interval = "1ms" }`, "want at least 1s"},
		"cloud":         {`server { retry_join = ["provider=aws tag_key=x"] }`, "machines of a cloud are not looked up"},
		"join":          {`client { servers = ["http://x"] }`, "want addresses such as 10.0.0.1"},
		"dynamic":       {`client { min_dynamic_port = 40000 }`, "40000 is above max_dynamic_port"},
		"name":          {`name = "a b"`, "without blanks"},
		"pool":          {`client { node_pool = "" }`, "must not be empty"},
		"meta":          {"client {\n meta { a = \"" + strings.Repeat("x", maxMetaBytes) + "\" }\n}", "want at most 16384"},
		"driver":        {`drivers { enabled = ["qemu"] }`, `want one of containerd, exec, not "qemu"`},
		"isolation":     {"drivers {\n exec { isolation = \"jail\" }\n}", "want one of"},
	} {
		cfg, _, err := load(t, ConfigSources{}, c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// What a good one needs, where the case does not set it.
		if cfg.origin["data_dir"] == "" {
			cfg.DataDir = "/d"
		}
		if cfg.origin["server.enabled"] == "" {
			cfg.Server.Enabled = true
		}
		if cfg.origin["bind_addr"] == "" {
			cfg.BindAddr = "127.0.0.1"
		}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	c := DevConfig()
	c.Name, c.Server.Encrypt = "x", "c2VjcmV0" // "secret", which no message repeats
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	c := DevConfig()
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("got %v", w)
	}
	c.Server.BootstrapExpect = 4
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "use 5") {
		t.Errorf("got %v", w)
	}
	c.Server = ServerConfig{}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "knows no agent") {
		t.Errorf("got %v", w)
	}
}

func TestAdvertise(t *testing.T) {
	own := func() (netip.Addr, error) { return netip.MustParseAddr("192.168.1.5"), nil }
	none := func() (netip.Addr, error) { return netip.Addr{}, errors.New("no idea") }
	for name, c := range map[string]struct {
		edit func(*Config)
		own  func() (netip.Addr, error)
		want Addrs
	}{
		"every address": {func(c *Config) { c.BindAddr = "0.0.0.0" }, own, Addrs{"192.168.1.5:4646", "192.168.1.5:4647", "192.168.1.5:4648"}},
		"every v6":      {func(c *Config) { c.BindAddr = "::" }, own, Addrs{"192.168.1.5:4646", "192.168.1.5:4647", "192.168.1.5:4648"}},
		"one address":   {func(c *Config) { c.BindAddr = "10.0.0.1" }, none, Addrs{"10.0.0.1:4646", "10.0.0.1:4647", "10.0.0.1:4648"}},
		"told": {func(c *Config) {
			c.Advertise = Addrs{HTTP: "1.2.3.4", RPC: "1.2.3.4:5", Serf: "fd00::1"}
		}, none, Addrs{"1.2.3.4:4646", "1.2.3.4:5", "[fd00::1]:4648"}},
		"a name": {func(c *Config) {
			c.BindAddr, c.Advertise.RPC = "10.0.0.1", "localhost:7"
		}, none, Addrs{"10.0.0.1:4646", "127.0.0.1:7", "10.0.0.1:4648"}},
	} {
		cfg := DefaultConfig()
		c.edit(&cfg)
		got, err := cfg.advertise(c.own)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	if _, err := DefaultConfig().advertise(none); err == nil || !strings.Contains(err.Error(), "advertise.http: no idea") {
		t.Errorf("got %v", err)
	}
}

func TestPickAddress(t *testing.T) {
	ips := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	for name, c := range map[string]struct {
		found  map[string][]netip.Addr
		route  string
		want   string
		reason string
	}{
		"private on the default interface": {map[string][]netip.Addr{"eth0": ips("10.1.1.1", "fe80::1", "8.8.8.8"), "docker0": ips("172.17.0.1")}, "eth0", "10.1.1.1", ""},
		"public only":                      {map[string][]netip.Addr{"eth0": ips("8.8.8.8")}, "eth0", "8.8.8.8", ""},
		"no route, one address":            {map[string][]netip.Addr{"veth0": ips("10.9.0.2", "169.254.1.1")}, "", "10.9.0.2", ""},
		"no route, two":                    {map[string][]netip.Addr{"a": ips("10.9.0.2"), "b": ips("10.8.0.2")}, "", "", "several addresses"},
		"two on it":                        {map[string][]netip.Addr{"eth0": ips("10.9.0.2", "10.8.0.2")}, "eth0", "", "interface eth0, which has the default route, has several addresses"},
		"none":                             {map[string][]netip.Addr{"eth0": ips("fe80::1")}, "eth0", "", "has no IPv4 address"},
	} {
		got, err := pickAddress(c.found, c.route)
		if c.want != "" && (err != nil || got.String() != c.want) {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, c.want)
		}
		if c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "advertise {")) {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
	const table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n" +
		"eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
		"eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	if got := defaultInterface(table); got != "eth0" {
		t.Errorf("got %q", got)
	}
	if got := defaultInterface(""); got != "" {
		t.Errorf("got %q", got)
	}
}
