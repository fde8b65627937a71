package containerd

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// hostEntry is a line of /etc/hosts.
type hostEntry struct{ Name, Address string }

// dnsOption is what a job wants of resolv.conf; nil keeps the node's.
type dnsOption struct{ Servers, Search, Options []string }

// deviceOption is a device of the node.
type deviceOption struct{ Host, Container, Permissions string }

// ulimitOption is a limit of each process.
type ulimitOption struct {
	Type       string // RLIMIT_NOFILE
	Soft, Hard uint64
}

// securityOption is what security_opt changes.
type securityOption struct {
	NewPrivileges   bool // programs may gain rights, as with setuid
	AnySyscall      bool
	AppArmor        string // profile; "" means none
	AllOfProc       bool   // nothing of /proc is masked
	NoAppArmorAsked bool
}

// unlimited is what the kernel calls RLIM_INFINITY.
const unlimited = ^uint64(0)

var (
	hostName   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`)
	permission = regexp.MustCompile(`^[rwm]{1,3}$`)
	ulimitName = regexp.MustCompile(`^(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack|as)$`)
	// ownSysctl are the settings that belong to a namespace and not to the machine.
	ownSysctl = regexp.MustCompile(`^(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\.[a-z_]+|net\.[a-zA-Z0-9_.-]+)$`)
)

func (o *options) readHostname(v any) (err error) {
	if o.Hostname, err = asString(v); err == nil && o.Hostname != "" && !hostName.MatchString(o.Hostname) {
		err = fmt.Errorf("%q is not a host name: at most 63 letters, digits, '-' and '.'", o.Hostname)
	}
	return err
}

// readExtraHosts reads "name:address"; an IPv6 address may hold more colons and stand in brackets.
func (o *options) readExtraHosts(v any) error {
	list, err := asStrings(v)
	if err != nil {
		return err
	}
	for _, entry := range list {
		name, addr, ok := strings.Cut(entry, ":")
		if !ok {
			name, addr, ok = strings.Cut(entry, "=") // Docker's other spelling
		}
		addr = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
		if addr == "host-gateway" {
			addr = "127.0.0.1" // the node itself, whose network this is
		}
		if _, err := netip.ParseAddr(addr); err != nil || !ok || !hostName.MatchString(name) {
			return fmt.Errorf("%q: want name:address", entry)
		}
		o.ExtraHosts = append(o.ExtraHosts, hostEntry{name, addr})
	}
	return nil
}

func (o *options) readDNSServers(v any) (err error) {
	if o.DNS.Servers, err = asStrings(v); err != nil {
		return err
	}
	for _, s := range o.DNS.Servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("%q is not an IP address", s)
		}
	}
	return nil
}

// readDNSWords reads what becomes words of one line.
func (o *options) readDNSWords(to *[]string) reader {
	return func(v any) (err error) {
		if *to, err = asStrings(v); err != nil {
			return err
		}
		for _, s := range *to {
			if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == ';' }) {
				return fmt.Errorf("%q: want a word", s)
			}
		}
		return nil
	}
}

func (o *options) readNetworkMode(v any) error {
	mode, err := asString(v)
	switch {
	case err != nil:
		return err
	case mode == "host" || mode == "none":
		o.NetworkMode = mode
	case mode == "" || mode == "default":
	default:
		return fmt.Errorf("not supported: network_mode = %q; groups share the node's network for now: \"host\" and \"none\" work", mode)
	}
	return nil
}

// readMode reads the mode of a namespace: host, or what is so anyway.
func (o *options) readMode(to *string, more ...string) reader {
	return func(v any) error {
		mode, err := asString(v)
		if err != nil {
			return err
		}
		switch {
		case mode == "" || mode == "private":
			*to = ""
		case mode == "host" || slices.Contains(more, mode):
			*to = mode
		default:
			return fmt.Errorf("not supported: %q; want %s", mode, quoted(append([]string{"host", "private"}, more...)))
		}
		return nil
	}
}

func (o *options) readDevices(v any) error {
	blocks, err := asBlocks(v)
	if err != nil {
		return err
	}
	for i, b := range blocks {
		d := deviceOption{Permissions: "rwm"}
		err := readBlock(b, map[string]reader{
			"host_path": absolute(&d.Host), "container_path": absolute(&d.Container),
			"cgroup_permissions": func(v any) (err error) {
				if d.Permissions, err = asString(v); err == nil && !permission.MatchString(d.Permissions) {
					err = fmt.Errorf("want some of the letters r, w and m, not %q", d.Permissions)
				}
				return err
			},
		})
		if err == nil && d.Host == "" {
			err = errors.New("host_path is missing")
		}
		if err != nil {
			return fmt.Errorf("number %d: %w", i+1, err)
		}
		if d.Container == "" {
			d.Container = d.Host
		}
		o.Devices = append(o.Devices, d)
	}
	return nil
}

// readCaps reads names of capabilities with or without "CAP_", in any case.
func readCaps(to *[]string) reader {
	return func(v any) error {
		list, err := asStrings(v)
		if err != nil {
			return err
		}
		for _, name := range list {
			c := capName(name)
			if c != allCaps && !slices.Contains(knownCaps(), c) {
				return fmt.Errorf("%q is not a capability; see capabilities(7)", name)
			}
			*to = append(*to, c)
		}
		return nil
	}
}

func (o *options) readSecurity(v any) error {
	list, err := asStrings(v)
	if err != nil {
		return err
	}
	for _, entry := range list {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			key, value, _ = strings.Cut(entry, ":")
		}
		switch {
		case key == "no-new-privileges" && slices.Contains([]string{"", "true"}, value):
			o.Security.NewPrivileges = false
		case key == "no-new-privileges" && value == "false":
			o.Security.NewPrivileges = true
		case entry == "seccomp=unconfined", entry == "seccomp:unconfined":
			o.Security.AnySyscall = true
		case key == "seccomp":
			return fmt.Errorf("%q: a seccomp profile of your own is not supported: leave it out for the default one, or seccomp=unconfined where the node allows it", entry)
		case entry == "apparmor=unconfined", entry == "apparmor:unconfined":
			o.Security.NoAppArmorAsked = true
		case key == "apparmor" && value != "":
			o.Security.AppArmor = value
		case entry == "systempaths=unconfined":
			o.Security.AllOfProc = true
		case entry == "label=disable", entry == "label:disable": // as it is
		default:
			return fmt.Errorf("%q is not supported; known are no-new-privileges, seccomp=unconfined, apparmor=PROFILE, systempaths=unconfined", entry)
		}
	}
	return nil
}

func (o *options) readSysctl(v any) (err error) {
	if o.Sysctl, err = asStringMap(v); err != nil {
		return err
	}
	for _, name := range sortedKeys(o.Sysctl) {
		if !ownSysctl.MatchString(name) {
			return fmt.Errorf("%s belongs to the whole machine, not to a container; set it on the node", name)
		}
	}
	return nil
}

func (o *options) readUlimit(v any) error {
	m, err := asStringMap(v)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(m) {
		if !ulimitName.MatchString(name) {
			return fmt.Errorf("unknown limit %q; see the list in setrlimit(2), in small letters and without RLIMIT_", name)
		}
		soft, hard, both := strings.Cut(m[name], ":")
		if !both {
			hard = soft
		}
		u := ulimitOption{Type: "RLIMIT_" + strings.ToUpper(name)}
		if u.Soft, err = parseLimit(soft); err == nil {
			u.Hard, err = parseLimit(hard)
		}
		if err == nil && u.Soft > u.Hard {
			err = errors.New("the soft limit is above the hard one")
		}
		if err != nil {
			return fmt.Errorf("%s = %q: %w", name, m[name], err)
		}
		o.Ulimit = append(o.Ulimit, u)
	}
	return nil
}

func parseLimit(s string) (uint64, error) {
	if s = strings.TrimSpace(s); s == "-1" || s == "unlimited" {
		return unlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errors.New("want soft or soft:hard, in numbers")
	}
	return n, nil
}

func (u ulimitOption) spec() *specs.POSIXRlimit {
	return &specs.POSIXRlimit{Type: u.Type, Soft: u.Soft, Hard: u.Hard}
}

func (o *options) readOOMScore(v any) error {
	n, err := asInt(v)
	if err == nil && (n < 0 || n > 1000) {
		err = fmt.Errorf("want 0 to 1000, not %d", n)
	}
	o.OOMScoreAdj, o.HasOOMScore = int(n), true
	return err
}

// readLogging takes what turns logs off, and what means nothing here.
func (o *options) readLogging(v any) error {
	var kind, driver string
	var config map[string]string
	blocks, err := asBlocks(v)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err := readBlock(b, map[string]reader{"type": text(&kind), "driver": text(&driver), "config": textMap(&config)}); err != nil {
			return err
		}
	}
	if kind == "" {
		kind = driver
	}
	switch kind {
	case "none":
		o.NoLogs = true
	case "", "json-file", "local":
		if len(config) > 0 {
			return errors.New("config: how much output is kept says the logs block of the task: logs { max_files = 10 max_file_size = 10 }")
		}
	default:
		return fmt.Errorf("type %q is not supported: output is kept on the node (`drover logs`); \"none\" keeps none", kind)
	}
	return nil
}

func (o *options) readEntrypoint(v any) error {
	o.HasEntrypoint = true
	if s, ok := v.(string); ok {
		o.Entrypoint = []string{s}
		return nil
	}
	var err error
	o.Entrypoint, err = asStrings(v)
	return err
}

// readLabels leaves alone what containerd and this driver act upon.
func (o *options) readLabels(v any) (err error) {
	if o.Labels, err = asStringMap(v); err != nil {
		return err
	}
	for _, k := range sortedKeys(o.Labels) {
		if strings.HasPrefix(k, "drover.") || strings.HasPrefix(k, "containerd.io/") {
			return fmt.Errorf("%q: labels that begin with drover. or containerd.io/ are not a job's to set", k)
		}
	}
	return nil
}

func (o *options) readAuth(v any) error {
	var email string
	return oneBlock(map[string]reader{
		"username": text(&o.Auth.Username), "password": text(&o.Auth.Password), "server_address": text(&o.Auth.Server), "email": text(&email),
	})(v)
}
