package containerd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/runtime"
)

// options is a task's config block.
type options struct {
	Image       string
	Command     string
	Args        []string
	Entrypoint  []string // overrides the image's when HasEntrypoint
	WorkDir     string
	Hostname    string
	Labels      map[string]string
	Ports       []string
	NetworkMode string // "host" or "none"

	ForcePull    bool
	PullTimeout  time.Duration // 0 means the node's
	Auth         credentials
	AuthSoftFail bool

	Volumes  []mountOption // of volumes
	Mounts   []mountOption // of mount and mounts
	Devices  []deviceOption
	ShmSize  int64 // bytes; 0 means 64 MiB
	ReadOnly bool  // the image's files

	ExtraHosts []hostEntry
	DNS        dnsOption

	Privileged  bool
	CapAdd      []string // "CAP_NET_RAW", or "ALL"
	CapDrop     []string
	Security    securityOption
	GroupAdd    []string
	PIDMode     string // "" or "host"
	IPCMode     string // "", "host" or "none"
	UTSMode     string // "" or "host"
	CgroupNS    string // "", "host" or "private"
	Sysctl      map[string]string
	Ulimit      []ulimitOption
	OOMScoreAdj int // when HasOOMScore

	PidsLimit     int64
	CPUHardLimit  bool
	CPUPeriod     int64 // microseconds; 0 means 100 ms
	MemoryHardMiB int64 // 0 means that memory is the hard limit

	TTY         bool
	Interactive bool
	Init        bool
	NoLogs      bool

	HasEntrypoint bool
	HasOOMScore   bool
}

// credentials log in to a registry.
type credentials struct {
	Username string
	Password string
	Server   string // the registry that they are for; "" means the image's
}

func (c credentials) empty() bool { return c.Username == "" && c.Password == "" }

const defaultPullTimeout = 5 * time.Minute

// Problem is one thing to say about a config block.
type Problem struct {
	Key  string // "ports"
	Text string
}

// Error reads "config.ports: want a list of texts, not bool".
func (p Problem) Error() string {
	if strings.HasPrefix(p.Text, "is ") {
		return "config." + p.Key + " " + p.Text
	}
	return "config." + p.Key + ": " + p.Text
}

// CheckConfig says what is wrong with a config block and what to know about it, without looking at a machine. What holds an
// expression such as ${meta.size} is only known on a node and passes. ports are the labels of the group's ports.
func CheckConfig(config map[string]any, ports []string) (problems, warnings []Problem) {
	o, problems, warnings := readOptions(config)
	problems = slices.DeleteFunc(problems, func(p Problem) bool { return hasExpression(config[p.Key]) })
	for _, label := range o.Ports {
		if !slices.Contains(ports, label) && !hasExpression(label) {
			problems = append(problems, Problem{"ports", noPort(label, ports)})
		}
	}
	return problems, warnings
}

func noPort(label string, ports []string) string {
	if near := nearest.Name(label, ports); near != "" {
		return fmt.Sprintf("the group's network has no port %q; did you mean %q?", label, near)
	}
	return fmt.Sprintf("the group's network has no port %q; add network { port %q {} } to the group", label, label)
}

// hasExpression reports whether a value holds something that only a node can resolve.
func hasExpression(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "${")
	case []any:
		return slices.ContainsFunc(v, hasExpression)
	case []string:
		return slices.ContainsFunc(v, func(s string) bool { return hasExpression(s) })
	case []map[string]any:
		return slices.ContainsFunc(v, func(m map[string]any) bool { return hasExpression(m) })
	case map[string]any:
		for _, e := range v {
			if hasExpression(e) {
				return true
			}
		}
	case map[string]string:
		for _, e := range v {
			if hasExpression(e) {
				return true
			}
		}
	}
	return false
}

// decodeOptions reads a config block for a start. Everything wrong with it is said at once; nothing of it can be mended by trying
// again.
func decodeOptions(config map[string]any) (options, error) {
	o, problems, _ := readOptions(config)
	if len(problems) == 0 {
		return o, nil
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return options{}, fmt.Errorf("%w: %w", runtime.ErrNotRetryable, errors.Join(errs...))
}

// readOptions reads a config block by the table of options.
func readOptions(config map[string]any) (o options, problems, warnings []Problem) {
	o = options{NetworkMode: "host"}
	table := optionTable()
	for _, key := range sortedKeys(config) {
		i := slices.IndexFunc(table, func(e optionEntry) bool { return e.key == key })
		if i < 0 {
			p, w := unknownKey(key, config[key], table)
			problems, warnings = append(problems, p...), append(warnings, w...)
			continue
		}
		if err := table[i].read(&o)(config[key]); err != nil {
			problems = append(problems, Problem{key, err.Error()})
		}
	}
	problems = append(problems, o.contradictions(config)...)
	return o, problems, append(warnings, o.warnings()...)
}

// unknownKey says what becomes of a key that the table does not have.
func unknownKey(key string, v any, table []optionEntry) (problems, warnings []Problem) {
	for _, r := range refusedOptions() {
		switch {
		case r.key != key:
			continue
		case isNothing(v): // "advertise_ipv6_address = false" asks for what happens anyway
			return nil, nil
		case r.harmless:
			return nil, []Problem{{key, "ignored: " + r.why}}
		}
		return []Problem{{key, "not supported: " + r.why}}, nil
	}
	var known, all []string
	for _, e := range table {
		known = append(known, e.key)
	}
	all = append(all, known...)
	for _, r := range refusedOptions() {
		all = append(all, r.key)
	}
	if near := nearest.Name(key, all); near != "" {
		return []Problem{{key, fmt.Sprintf("unknown key; did you mean %q?", near)}}, nil
	}
	return []Problem{{key, "unknown key; known are " + strings.Join(known, ", ")}}, nil
}

func isNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == "" || v == "false"
	case float64:
		return v == 0
	case int:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// contradictions are what single keys cannot see.
func (o *options) contradictions(config map[string]any) []Problem {
	var list []Problem
	say := func(key, format string, args ...any) { list = append(list, Problem{key, fmt.Sprintf(format, args...)}) }
	if err := checkImage(o.Image, config["image"] == nil); err != nil {
		say("image", "%v", err)
	}
	if o.UTSMode == "host" && o.Hostname != "" {
		say("hostname", "with uts_mode = \"host\" it would rename the machine: remove one of them")
	}
	if o.IPCMode == "host" && o.ShmSize != 0 {
		say("shm_size", "with ipc_mode = \"host\" /dev/shm is the machine's: remove one of them")
	}
	for _, name := range sortedKeys(o.Sysctl) {
		if strings.HasPrefix(name, "net.") && o.NetworkMode != "none" {
			say("sysctl", "%s would change the network of the whole machine, which the group shares", name)
		}
	}
	if o.CPUPeriod != 0 && !o.CPUHardLimit {
		say("cpu_cfs_period", "says nothing without cpu_hard_limit = true")
	}
	seen := map[string]string{}
	for _, m := range o.allMounts() {
		if other := seen[m.Target]; other != "" {
			say(m.key, "%s and %s are both mounted at %s", other, m.name(), m.Target)
		}
		seen[m.Target] = m.name()
	}
	return list
}

// warnings are what is surprising without being wrong.
func (o *options) warnings() []Problem {
	var list []Problem
	if named, err := reference.ParseDockerRef(o.Image); err == nil && o.Auth.Server != "" {
		if registry := reference.Domain(named); !sameRegistry(o.Auth.Server, registry) {
			list = append(list, Problem{"auth", fmt.Sprintf("server_address is %q, the image's registry is %q: the login is sent to the latter", o.Auth.Server, registry)})
		}
	}
	if o.Interactive && !o.TTY {
		list = append(list, Problem{"interactive", "standard input stays open and nobody writes to it: use `drover alloc exec` to talk to the task"})
	}
	return list
}

// checkImage says what is wrong with the name of an image.
func checkImage(name string, missing bool) error {
	switch path, isFile := strings.CutPrefix(name, "file://"); {
	case missing:
		return errors.New("is missing: name an image, or a file of one as file:///path.tar")
	case name == "":
		return errors.New("is empty")
	case isFile && !strings.HasPrefix(path, "/") && !hasExpression(path):
		return fmt.Errorf("read image name %s: the path must be absolute", name)
	case isFile:
		return nil
	}
	if _, err := reference.ParseDockerRef(name); err != nil {
		return fmt.Errorf("read image name %q: %w", name, err)
	}
	return nil
}
