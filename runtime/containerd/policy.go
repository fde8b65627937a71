package containerd

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/drover-io/drover/runtime"
)

// Policy is what a node lets its containers ask for beyond what is harmless.
type Policy struct {
	Privileged bool     // privileged, and the node's namespaces
	Caps       []string // capabilities that cap_add may name, in any spelling, or "all"; nil means DefaultCaps
	Devices    []string // paths of devices, with * for a part of a name
	Unconfined bool     // security_opt may turn seccomp and AppArmor off
	HostPaths  bool     // volumes and mounts of absolute paths
}

// allCaps means every capability.
const allCaps = "ALL"

// DefaultCaps are the capabilities that a container has: Docker's but for NET_RAW, which forges packets.
func DefaultCaps() []string {
	return []string{"audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "setfcap", "setgid",
		"setpcap", "setuid", "sys_chroot"}
}

// KnownCap reports whether the kernel knows a capability of that name, in any spelling, or it is "all".
func KnownCap(name string) bool {
	c := capName(name)
	return c == allCaps || slices.Contains(knownCaps(), c)
}

func knownCaps() []string {
	return strings.Fields(`CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_AUDIT_WRITE CAP_BLOCK_SUSPEND CAP_BPF CAP_CHECKPOINT_RESTORE CAP_CHOWN
		CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_IPC_LOCK CAP_IPC_OWNER CAP_KILL CAP_LEASE CAP_LINUX_IMMUTABLE
		CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_MKNOD CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_RAW CAP_PERFMON
		CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYSLOG CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_CHROOT CAP_SYS_MODULE CAP_SYS_NICE
		CAP_SYS_PACCT CAP_SYS_PTRACE CAP_SYS_RAWIO CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_WAKE_ALARM`)
}

// capName is the kernel's spelling.
func capName(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if s == allCaps || strings.HasPrefix(s, "CAP_") {
		return s
	}
	return "CAP_" + s
}

func capNames(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = capName(s)
	}
	return out
}

// allowed are the capabilities that a container may have here.
func (p Policy) allowed() []string {
	caps := p.Caps
	if caps == nil {
		caps = DefaultCaps()
	}
	names := capNames(caps)
	if slices.Contains(names, allCaps) {
		return knownCaps()
	}
	return names
}

// caps are the capabilities of a task: the default ones that the node allows, what is added, without what is dropped.
func (p Policy) caps(o options) []string {
	allowed := p.allowed()
	var caps []string
	for _, c := range capNames(DefaultCaps()) {
		if slices.Contains(allowed, c) && !slices.Contains(o.CapDrop, allCaps) {
			caps = append(caps, c)
		}
	}
	for _, c := range o.CapAdd {
		if c == allCaps {
			caps = append(caps, knownCaps()...)
		} else {
			caps = append(caps, c)
		}
	}
	caps = slices.DeleteFunc(caps, func(c string) bool { return slices.Contains(o.CapDrop, c) && !slices.Contains(o.CapAdd, c) })
	slices.Sort(caps)
	return slices.Compact(caps)
}

// refuse says what of a task this node does not allow; all of it at once.
func (p Policy) refuse(o options) error {
	var errs []error
	deny := func(key, what, setting string) {
		errs = append(errs, Problem{key, fmt.Sprintf("this node does not allow %s; its agent's configuration would have to say drivers { containerd { %s } }", what, setting)})
	}
	if !p.Privileged {
		for _, m := range []struct {
			key   string
			asked bool
		}{{"privileged", o.Privileged}, {"pid_mode", o.PIDMode == "host"}, {"ipc_mode", o.IPCMode == "host"},
			{"uts_mode", o.UTSMode == "host"}, {"cgroupns", o.CgroupNS == "host"}} {
			if m.asked {
				deny(m.key, "privileged containers", "allow_privileged = true")
			}
		}
	}
	if missing := p.missingCaps(o); len(missing) > 0 {
		deny("cap_add", strings.Join(missing, ", "), fmt.Sprintf("allow_caps = [… %s]", quoted(missing)))
	}
	for _, d := range o.Devices {
		if !slices.ContainsFunc(p.Devices, func(pattern string) bool { return matches(pattern, d.Host) }) {
			deny("devices", "the device "+d.Host, fmt.Sprintf("allow_devices = [%q]", d.Host))
		}
	}
	if s := o.Security; !p.Unconfined && (s.AnySyscall || s.NoAppArmorAsked || s.AllOfProc) {
		deny("security_opt", "unconfined containers", "allow_unconfined = true")
	}
	if !p.HostPaths {
		for _, m := range o.allMounts() {
			if m.ofHost() {
				deny(m.key, "the host path "+m.Source, "volumes { enabled = true }")
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", runtime.ErrNotRetryable, errors.Join(errs...))
}

func (p Policy) missingCaps(o options) []string {
	var missing []string
	allowed := p.allowed()
	for _, c := range o.CapAdd {
		switch {
		case c == allCaps && len(allowed) < len(knownCaps()):
			missing = append(missing, "all")
		case c != allCaps && !slices.Contains(allowed, c):
			missing = append(missing, strings.ToLower(strings.TrimPrefix(c, "CAP_")))
		}
	}
	return missing
}

// matches compares paths of devices; a device is its own name and not what a link or ".." leads to.
func matches(pattern, device string) bool {
	ok, err := path.Match(pattern, device)
	return err == nil && ok && path.Clean(device) == device
}
