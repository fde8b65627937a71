package exec

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/runtime"
)

// defaultPath is the PATH of a task whose environment has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// config is a task's config block.
type config struct {
	command string
	args    []string
}

// knownConfig lists the keys of a config block that mean something here.
func knownConfig() []string { return []string{"args", "command"} }

// laterConfig lists keys that Nomad's drivers of this kind know. Ignoring one would change what the user gets.
func laterConfig() []string {
	return []string{"cap_add", "cap_drop", "cgroup_v1_override", "cgroup_v2_override", "denied_envvars", "ipc_mode",
		"no_cgroups", "no_pivot_root", "oom_score_adj", "pid_mode", "task_user", "work_dir"}
}

// CheckConfig says what is wrong with a task's config block, without looking at the machine. The error is ErrNotRetryable.
func CheckConfig(block map[string]any) error {
	_, err := parseConfig(block)
	return err
}

func parseConfig(block map[string]any) (config, error) {
	var c config
	for _, key := range slices.Sorted(maps.Keys(block)) {
		var err error
		switch v := block[key]; key {
		case "command":
			s, ok := v.(string)
			if !ok {
				err = fmt.Errorf("config: command must be a string, not %T", v)
			}
			c.command = s
		case "args":
			c.args, err = stringList(v)
		default:
			err = unknownKey(key)
		}
		if err != nil {
			return config{}, fmt.Errorf("%w: %w", err, runtime.ErrNotRetryable)
		}
	}
	if strings.TrimSpace(c.command) == "" {
		return config{}, fmt.Errorf("config: command is required: the program to run: %w", runtime.ErrNotRetryable)
	}
	for _, s := range append([]string{c.command}, c.args...) {
		if strings.ContainsRune(s, 0) {
			return config{}, fmt.Errorf("config: %q holds a zero byte: %w", s, runtime.ErrNotRetryable)
		}
	}
	return c, nil
}

// stringList takes a list of strings; numbers and truth values are written out, as they stand in job files unquoted.
func stringList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []string:
		return slices.Clone(v), nil
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			switch e := e.(type) {
			case string:
				list[i] = e
			case bool, int, int64, uint64, float64, fmt.Stringer: // fmt.Stringer: json.Number
				list[i] = scalar(e)
			default:
				return nil, fmt.Errorf("config: args[%d] must be a string, not %T", i, e)
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("config: args must be a list of strings, not %T", v)
}

func scalar(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64) // not 1e+06
	}
	return fmt.Sprint(v)
}

func unknownKey(key string) error {
	if slices.Contains(laterConfig(), key) {
		return fmt.Errorf("config: %s is not supported by the exec driver yet: remove it", key)
	}
	if known := nearest.Name(key, knownConfig()); known != "" {
		return fmt.Errorf("config: unknown key %q: did you mean %q?", key, known)
	}
	return fmt.Errorf("config: unknown key %q: the exec driver knows %s", key, strings.Join(knownConfig(), " and "))
}

// findCommand finds the program file. A name with a slash is taken from the working directory, or from the task's local
// directory; one without is looked for in the local directory, the working directory, and then in the PATH of env.
func findCommand(command, dir, local string, env []string) (string, error) {
	path, _, err := searchCommand(command, dir, local, env)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, runtime.ErrNotRetryable)
	}
	return path, nil
}

// searchCommand is findCommand; unfit says why a file that it found cannot be executed.
func searchCommand(command, dir, local string, env []string) (path string, unfit, err error) {
	var places, search []string
	if filepath.IsAbs(command) {
		places = []string{""}
	} else {
		for _, p := range []string{local, dir} {
			if p != "" && p != "/" {
				places = append(places, p)
			}
		}
		if strings.Contains(command, "/") {
			slices.Reverse(places)
		} else {
			search = searchPath(env)
			places = append(places, search...)
		}
	}
	for _, place := range places {
		path := filepath.Join(place, command)
		err := checkExecutable(path)
		if err == nil {
			return path, nil, nil
		}
		if unfit == nil && !errors.Is(err, fs.ErrNotExist) {
			unfit = err
		}
	}
	switch {
	case unfit != nil:
		return "", unfit, fmt.Errorf("command %q: %w", command, unfit)
	case filepath.IsAbs(command):
		return "", nil, fmt.Errorf("command %q does not exist", command)
	case len(search) > 0:
		return "", nil, fmt.Errorf("command %q not found in the task's directories nor its PATH %s", command, strings.Join(search, ":"))
	}
	return "", nil, fmt.Errorf("command %q not found in the task's directories", command)
}

func searchPath(env []string) []string {
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			return slices.DeleteFunc(filepath.SplitList(path), func(s string) bool { return !filepath.IsAbs(s) })
		}
	}
	return nil
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable (mode %s): chmod +x it", path, info.Mode())
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("%s may not be executed by this user (mode %s)", path, info.Mode())
	}
	return nil
}

// lookupUser finds what a task's "user" means: a name or number, or two of them with a colon for the group. nil: the agent's.
func lookupUser(spec string) (*credential, error) {
	if spec == "" {
		return nil, nil
	}
	c, err := parseUser(spec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, runtime.ErrNotRetryable)
	}
	if os.Geteuid() != 0 {
		if int(c.UID) == os.Geteuid() {
			return nil, nil
		}
		return nil, fmt.Errorf("run as user %q: the agent is not root (uid %d): %w", spec, os.Geteuid(), runtime.ErrNotRetryable)
	}
	return c, nil
}

func parseUser(spec string) (*credential, error) {
	name, group, hasGroup := strings.Cut(spec, ":")
	u, err := user.Lookup(name)
	if _, bad := parseID(name); err != nil && bad == nil { // the library takes numbers that are too large for others
		if u, err = user.LookupId(name); err != nil {
			u, err = &user.User{Uid: name, Gid: name}, nil // a number that has no entry is good enough
		}
	}
	if err != nil {
		return nil, fmt.Errorf("unknown user %q", name)
	}
	c := &credential{}
	if c.UID, err = parseID(u.Uid); err == nil {
		c.GID, err = parseID(u.Gid)
	}
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if u.Username != "" {
		ids, _ := u.GroupIds()
		for _, id := range ids {
			if n, err := parseID(id); err == nil {
				c.Groups = append(c.Groups, n)
			}
		}
	}
	if !hasGroup {
		return c, nil
	}
	if g, err := user.LookupGroup(group); err == nil {
		group = g.Gid
	}
	if c.GID, err = parseID(group); err != nil {
		return nil, fmt.Errorf("unknown group %q", group)
	}
	return c, nil
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err
}
