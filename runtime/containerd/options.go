package containerd

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

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
	PidsLimit   int64
	ForcePull   bool
	PullTimeout time.Duration
	Auth        credentials

	HasEntrypoint bool
}

// credentials log in to a registry.
type credentials struct {
	Username string
	Password string
}

const defaultPullTimeout = 5 * time.Minute

// decoder reads one value into the options.
type decoder func(o *options, v any) error

// decoders are the keys that work.
func decoders() map[string]decoder {
	return map[string]decoder{
		"image":              func(o *options, v any) (err error) { o.Image, err = asString(v); return },
		"command":            func(o *options, v any) (err error) { o.Command, err = asString(v); return },
		"args":               func(o *options, v any) (err error) { o.Args, err = asStrings(v); return },
		"entrypoint":         decodeEntrypoint,
		"work_dir":           decodeWorkDir,
		"hostname":           func(o *options, v any) (err error) { o.Hostname, err = asString(v); return },
		"labels":             decodeLabels,
		"pids_limit":         func(o *options, v any) (err error) { o.PidsLimit, err = asInt(v); return },
		"force_pull":         func(o *options, v any) (err error) { o.ForcePull, err = asBool(v); return },
		"image_pull_timeout": decodePullTimeout,
		"auth":               decodeAuth,
		"ports":              func(_ *options, v any) error { _, err := asStrings(v); return err }, // every port of the group is there in host mode
		"network_mode":       decodeNetworkMode,
	}
}

// refusedKeys are the keys of the docker driver that jobs bring along and that do nothing here yet. Ignoring one of them would
// give the user something else than asked for.
func refusedKeys() []string {
	return strings.Fields(`advertise_ipv6_address auth_soft_fail cap_add cap_drop cgroupns container_exists_attempts cpu_cfs_period
		cpu_hard_limit cpuset_cpus devices dns_options dns_search_domains dns_servers extra_hosts group_add healthchecks init
		interactive ipc_mode ipv4_address ipv6_address isolation load logging mac_address memory_hard_limit mount mounts
		network_aliases oom_score_adj pid_mode port_map privileged readonly_rootfs runtime security_opt shm_size storage_opt
		sysctl tty ulimit userns_mode uts_mode volume_driver volumes`)
}

// decodeOptions reads a config block. Everything wrong with it is said at once; nothing of it can be mended by trying again.
func decodeOptions(config map[string]any) (options, error) {
	o := options{PullTimeout: defaultPullTimeout}
	known := decoders()
	var errs []error
	for _, key := range sortedKeys(config) {
		decode, ok := known[key]
		if !ok {
			errs = append(errs, unknownKey(key, known))
			continue
		}
		if err := decode(&o, config[key]); err != nil {
			errs = append(errs, fmt.Errorf("config.%s: %w", key, err))
		}
	}
	if o.Image == "" && config["image"] == nil {
		errs = append(errs, errors.New("config.image is missing: name an image, or a file of one as file:///path.tar"))
	} else if o.Image == "" {
		errs = append(errs, errors.New("config.image is empty"))
	}
	if len(errs) > 0 {
		return options{}, fmt.Errorf("%w: %w", runtime.ErrNotRetryable, errors.Join(errs...))
	}
	return o, nil
}

func unknownKey(key string, known map[string]decoder) error {
	refused := refusedKeys()
	if slices.Contains(refused, key) {
		return fmt.Errorf("config.%s: not supported yet: %s", key, key)
	}
	if near := nearest.Name(key, append(sortedKeys(known), refused...)); near != "" {
		return fmt.Errorf("config.%s: unknown key; did you mean %q?", key, near)
	}
	return fmt.Errorf("config.%s: unknown key; known are %s", key, strings.Join(sortedKeys(known), ", "))
}

func decodeWorkDir(o *options, v any) (err error) {
	o.WorkDir, err = asString(v)
	if err == nil && !strings.HasPrefix(o.WorkDir, "/") {
		err = fmt.Errorf("%q is not an absolute path", o.WorkDir)
	}
	return err
}

// decodeLabels leaves alone what containerd and this driver act upon.
func decodeLabels(o *options, v any) (err error) {
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

func decodeEntrypoint(o *options, v any) error {
	o.HasEntrypoint = true
	if s, ok := v.(string); ok {
		o.Entrypoint = []string{s}
		return nil
	}
	var err error
	o.Entrypoint, err = asStrings(v)
	return err
}

func decodePullTimeout(o *options, v any) error {
	s, err := asString(v)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration such as \"5m\"", s)
	}
	o.PullTimeout = d
	return nil
}

func decodeNetworkMode(_ *options, v any) error {
	s, err := asString(v)
	if err == nil && s != "host" && s != "" {
		err = fmt.Errorf("not supported yet: network_mode = %q; only \"host\" works", s)
	}
	return err
}

// decodeAuth takes the block as HCL gives it (a list of one object) and as JSON does.
func decodeAuth(o *options, v any) error {
	switch list := v.(type) {
	case []any:
		if len(list) != 1 {
			return fmt.Errorf("want one block, not %d", len(list))
		}
		v = list[0]
	case []map[string]any:
		if len(list) != 1 {
			return fmt.Errorf("want one block, not %d", len(list))
		}
		v = list[0]
	}
	m, err := asStringMap(v)
	if err != nil {
		return err
	}
	for _, k := range sortedKeys(m) {
		switch k {
		case "username":
			o.Auth.Username = m[k]
		case "password":
			o.Auth.Password = m[k]
		case "email", "server_address": // the image's own registry is the only one that is asked
		default:
			return fmt.Errorf("unknown key %q; known are username, password, email, server_address", k)
		}
	}
	return nil
}

func asString(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("want text, not %T", v)
	}
	return s, nil
}

func asBool(v any) (bool, error) {
	switch b := v.(type) {
	case bool:
		return b, nil
	case string:
		if b == "true" || b == "false" {
			return b == "true", nil
		}
	}
	return false, fmt.Errorf("want true or false, not %v", v)
}

func asInt(v any) (int64, error) {
	switch n := v.(type) {
	case int:
		return int64(n), nil
	case int64:
		return n, nil
	case float64: // a number that came through JSON
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), nil
		}
	}
	return 0, fmt.Errorf("want a whole number, not %v", v)
}

func asStrings(v any) ([]string, error) {
	switch list := v.(type) {
	case []string:
		return list, nil
	case []any:
		out := make([]string, 0, len(list))
		for i, e := range list {
			s, err := asText(e)
			if err != nil {
				return nil, fmt.Errorf("element %d: %w", i+1, err)
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, fmt.Errorf("want a list of texts, not %T", v)
}

// asText takes numbers and booleans in lists and maps as the texts they look like, as HCL does.
func asText(v any) (string, error) {
	switch e := v.(type) {
	case string:
		return e, nil
	case bool, int, int64:
		return fmt.Sprint(e), nil
	case float64:
		if n, err := asInt(e); err == nil {
			return fmt.Sprint(n), nil
		}
		return fmt.Sprint(e), nil
	}
	return "", fmt.Errorf("want text, not %T", v)
}

func asStringMap(v any) (map[string]string, error) {
	switch m := v.(type) {
	case map[string]string:
		return m, nil
	case map[string]any:
		out := make(map[string]string, len(m))
		for k, e := range m {
			s, err := asText(e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = s
		}
		return out, nil
	case []any: // a block
		if len(m) == 1 {
			return asStringMap(m[0])
		}
	case []map[string]any:
		if len(m) == 1 {
			return asStringMap(m[0])
		}
	}
	return nil, fmt.Errorf("want a map of texts, not %T", v)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
