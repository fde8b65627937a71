package runtime

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// HostDevice is a kind of device of this machine, and what a task needs to use it.
type HostDevice struct {
	state.NodeDevice
	Paths     []string            // device nodes that every task with one of the instances gets: /dev/nvidiactl
	InstPaths map[string][]string // by instance: device nodes that come with it
	Env       map[string]string   // for every task with one of the instances; "{ids}" stands for them, separated by commas
}

// DeviceNode is a device of the host that a task gets at the same path.
type DeviceNode struct {
	Path        string
	Permissions string // of "r", "w" and "m"
}

// devices are what the plan gave a task: device nodes, and environment without prefixes.
func (a *alloc) devices(rec *record, task string) ([]DeviceNode, map[string]string, error) {
	if rec.Alloc == nil {
		return nil, nil, nil
	}
	held := rec.group().TaskDevices(&rec.Alloc.Resources, task)
	if len(held) == 0 {
		return nil, nil, nil
	}
	var here []HostDevice
	if a.r.cfg.Devices != nil {
		here = a.r.cfg.Devices()
	}
	var nodes []DeviceNode
	env, ids := map[string]string{}, map[string][]string{}
	for i := range held {
		d := &held[i]
		k := slices.IndexFunc(here, func(h HostDevice) bool { return h.ID() == d.ID() })
		if k < 0 {
			return nil, nil, fmt.Errorf("device %s is not on this machine any more: %w", d.ID(), ErrNotRetryable)
		}
		for _, path := range here[k].pathsOf(d.IDs) {
			if node := (DeviceNode{Path: path, Permissions: "rwm"}); !slices.Contains(nodes, node) {
				nodes = append(nodes, node)
			}
		}
		ids[d.Type] = append(ids[d.Type], d.IDs...)
		for name, v := range here[k].Env {
			if v = strings.ReplaceAll(v, "{ids}", strings.Join(d.IDs, ",")); env[name] != "" && env[name] != v {
				v = env[name] + "," + v // two models of one vendor
			}
			env[name] = v
		}
	}
	for kind, list := range ids {
		for _, prefix := range envPrefixes {
			env[prefix+"DEVICE_"+strings.ToUpper(cleanName(kind))] = strings.Join(list, ",")
		}
	}
	return nodes, env, nil
}

// pathsOf are the device nodes that come with some of the instances.
func (h *HostDevice) pathsOf(ids []string) []string {
	paths := slices.Clone(h.Paths)
	for _, id := range ids {
		paths = append(paths, h.InstPaths[id]...)
	}
	return paths
}

// NodeDevices is the part of devices that the cluster knows.
func NodeDevices(devices []HostDevice) []state.NodeDevice {
	var out []state.NodeDevice
	for _, d := range devices {
		out = append(out, d.NodeDevice)
	}
	return out
}

// MergeDevices adds what was found on the machine to what its configuration names. A device node that the configuration mentions,
// and an instance of a name that is taken, are not offered a second time.
func MergeDevices(configured, found []HostDevice) []HostDevice {
	taken := map[string]bool{}
	out := slices.Clone(configured)
	for _, d := range configured {
		for _, in := range d.Instances {
			taken[in.ID] = true
		}
		for _, paths := range d.InstPaths {
			for _, p := range paths {
				taken[p] = true
			}
		}
	}
	for _, d := range found {
		d.Instances = slices.DeleteFunc(slices.Clone(d.Instances), func(in state.DeviceInstance) bool {
			return taken[in.ID] || slices.ContainsFunc(d.InstPaths[in.ID], func(p string) bool { return taken[p] })
		})
		if k := slices.IndexFunc(out, func(o HostDevice) bool { return o.ID() == d.ID() }); k >= 0 || len(d.Instances) == 0 {
			continue // the configuration says what such a device is
		}
		d.InstPaths = maps.Clone(d.InstPaths)
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b HostDevice) int { return strings.Compare(a.ID(), b.ID()) })
	return out
}

// CheckDevices calls instances unhealthy whose device nodes are not there. root is "/".
func CheckDevices(root string, devices []HostDevice) []HostDevice {
	out := slices.Clone(devices)
	for i := range out {
		d := &out[i]
		d.Instances = slices.Clone(d.Instances)
		for k := range d.Instances {
			in := &d.Instances[k]
			for _, path := range d.pathsOf([]string{in.ID}) {
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					in.Healthy, in.HealthDescription = false, fmt.Sprintf("%s is not there", path)
				}
			}
		}
	}
	return out
}
