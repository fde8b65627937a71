package containerd

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Types of mounts.
const (
	mountBind   = "bind"
	mountVolume = "volume"
	mountTmpfs  = "tmpfs"
)

// mountOption is one entry of volumes, mount or mounts.
type mountOption struct {
	key         string // "mount"
	Type        string
	Source      string // bind: a path; volume: a name
	Target      string
	ReadOnly    bool
	Propagation string // "" means rprivate
	MustExist   bool   // bind: a source that is missing is an error, and not made
	NoCopy      bool   // volume: not filled from the image
	Size        int64  // tmpfs, bytes; 0 means half of the node's memory
	Mode        uint32 // tmpfs; 0 means 1777
}

func (m mountOption) name() string {
	if m.Source == "" {
		return m.Type
	}
	return m.Source
}

// ofHost reports whether the source is a path of the node.
func (m mountOption) ofHost() bool { return m.Type == mountBind && strings.HasPrefix(m.Source, "/") }

func (o *options) allMounts() []mountOption { return slices.Concat(o.Volumes, o.Mounts) }

var (
	propagations = []string{"private", "rprivate", "slave", "rslave", "shared", "rshared"}
	volumeName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
)

// readVolumes reads "source:target:ro,rslave".
func (o *options) readVolumes(v any) error {
	list, err := asStrings(v)
	if err != nil {
		return err
	}
	for _, entry := range list {
		if hasExpression(entry) {
			continue // a colon may be part of it
		}
		m, err := parseVolume(entry)
		if err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
		o.Volumes = append(o.Volumes, m)
	}
	return nil
}

func parseVolume(entry string) (mountOption, error) {
	m := mountOption{key: "volumes", Type: mountBind}
	parts := strings.Split(entry, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		return m, errors.New("want source:target or source:target:options")
	}
	m.Source, m.Target = parts[0], parts[1]
	if len(parts) == 3 {
		for _, opt := range strings.Split(parts[2], ",") {
			switch {
			case opt == "ro":
				m.ReadOnly = true
			case opt == "rw":
			case slices.Contains(propagations, opt):
				m.Propagation = opt
			case opt == "z", opt == "Z":
				return m, fmt.Errorf("option %q: SELinux labels are not set here; label the files on the node", opt)
			case opt == "nocopy":
				return m, errors.New("option \"nocopy\" is for named volumes: mount { type = \"volume\" volume_options { no_copy = true } }")
			default:
				return m, fmt.Errorf("unknown option %q; known are ro, rw and %s", opt, strings.Join(propagations, ", "))
			}
		}
	}
	return m, m.check()
}

// readMounts reads the blocks of mount, or the list of mounts.
func (o *options) readMounts(key string) reader {
	return func(v any) error {
		blocks, err := asBlocks(v)
		if err != nil {
			return err
		}
		for i, b := range blocks {
			m, err := readMount(key, b)
			if err != nil && !hasExpression(b) {
				return fmt.Errorf("number %d: %w", i+1, err)
			}
			if err == nil {
				o.Mounts = append(o.Mounts, m)
			}
		}
		return nil
	}
}

func readMount(key string, block map[string]any) (mountOption, error) {
	m := mountOption{key: key, Type: mountVolume, MustExist: true}
	var mode string
	var driver []map[string]any
	var labels map[string]string
	err := readBlock(block, map[string]reader{
		"type":     oneOf(&m.Type, mountBind, mountTmpfs, mountVolume),
		"target":   text(&m.Target),
		"source":   text(&m.Source),
		"readonly": flag(&m.ReadOnly),
		"bind_options": oneBlock(map[string]reader{
			"propagation": oneOf(&m.Propagation, append([]string{""}, propagations...)...),
		}),
		"tmpfs_options": oneBlock(map[string]reader{
			"size": size(&m.Size),
			"mode": func(v any) (err error) { mode, err = asText(v); return err },
		}),
		"volume_options": oneBlock(map[string]reader{
			"no_copy": flag(&m.NoCopy),
			"labels":  textMap(&labels),
			"driver_config": func(v any) (err error) {
				if driver, err = asBlocks(v); err == nil && len(driver) > 0 {
					err = errors.New("there are no volume plugins: a volume is a directory of the node")
				}
				return err
			},
		}),
	})
	if err == nil && mode != "" {
		m.Mode, err = parseMode(mode)
	}
	if err == nil && len(labels) > 0 {
		err = errors.New("volume_options: volumes have no labels here")
	}
	if err != nil {
		return m, err
	}
	return m, m.check()
}

// parseMode reads the mode of a tmpfs: as Docker's API, decimal, or with a leading 0, octal.
func parseMode(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil || n > 0o7777 {
		return 0, fmt.Errorf("tmpfs_options: mode: want a mode such as \"01777\" or 1023, its decimal form, not %q", s)
	}
	return uint32(n), nil
}

// check says what is wrong with a mount wherever it is to be.
func (m *mountOption) check() error {
	switch {
	case m.Target == "":
		return errors.New("target is missing: an absolute path in the container")
	case !strings.HasPrefix(m.Target, "/"):
		return fmt.Errorf("target %q is not an absolute path", m.Target)
	}
	m.Target = path.Clean(m.Target)
	for _, taken := range []string{"/", "/proc", "/sys", "/dev", "/alloc", "/alloc/logs", "/local", "/secrets"} {
		if m.Target == taken {
			return fmt.Errorf("target %s is taken: something else is there already", taken)
		}
	}
	if below(m.Target, "/proc") {
		return fmt.Errorf("target %s: nothing can be mounted below /proc", m.Target)
	}
	if below(m.Target, "/alloc/logs") {
		return fmt.Errorf("target %s: /alloc/logs cannot be changed by tasks", m.Target)
	}
	switch {
	case m.Propagation != "" && m.Type != mountBind:
		return errors.New("bind_options are for type = \"bind\"")
	case (m.Size != 0 || m.Mode != 0) && m.Type != mountTmpfs:
		return errors.New("tmpfs_options are for type = \"tmpfs\"")
	case m.NoCopy && m.Type != mountVolume:
		return errors.New("volume_options are for type = \"volume\"")
	}
	return m.checkSource()
}

func (m *mountOption) checkSource() error {
	switch m.Type {
	case mountTmpfs:
		if m.Source != "" {
			return errors.New("a tmpfs has no source")
		}
	case mountVolume:
		if m.Source == "" {
			return errors.New("source is missing: the name of the volume")
		}
		if !volumeName.MatchString(m.Source) {
			return fmt.Errorf("source %q is not the name of a volume: letters, digits, '-', '_' and '.'; for a path use type = \"bind\"", m.Source)
		}
	case mountBind:
		if m.Source == "" {
			return errors.New("source is missing: a path")
		}
		if m.ofHost() {
			m.Source = path.Clean(m.Source)
			return nil
		}
		if m.Propagation != "" && m.Propagation != "private" && m.Propagation != "rprivate" {
			return fmt.Errorf("propagation %q is for paths of the node", m.Propagation)
		}
		_, err := allocPath("task", m.Source)
		return err
	}
	return nil
}

// allocPath turns a relative source, which is below the task's directory, into a path below the allocation's. Only what is a task's
// own may be named: the rest of the directory is the agent's record, and the log files, which the shim opens as root.
func allocPath(task, source string) (string, error) {
	p := path.Join("/alloc dir", task, source)
	rel, inside := strings.CutPrefix(p, "/alloc dir/")
	if !inside {
		return "", fmt.Errorf("source %q leads out of the allocation's directory", source)
	}
	for _, ok := range []string{task + "/local", task + "/secrets", task + "/tmp", "alloc/data", "alloc/tmp"} {
		if rel == ok || below(rel, ok) {
			return rel, nil
		}
	}
	if below(rel, "alloc") && rel != "alloc/logs" && !below(rel, "alloc/logs") {
		return rel, nil
	}
	return "", fmt.Errorf("source %q is not a task's to mount: name something below local/, secrets/, tmp/ or ../alloc/data/", source)
}

// below reports whether a path lies below a directory.
func below(p, dir string) bool { return strings.HasPrefix(p, dir+"/") }
