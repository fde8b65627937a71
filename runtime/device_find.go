package runtime

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// FindDevices looks for devices that can be told without a vendor's program: GPUs of Nvidia by their driver, other GPUs by the
// kernel's render nodes, and the device nodes that virtual machines, FUSE and tunnels need. root is "/".
func FindDevices(root string) []HostDevice {
	f := finder{root: root}
	f.nvidia()
	f.render()
	f.single("kvm", "dev/kvm")
	f.single("fuse", "dev/fuse")
	f.single("tun", "dev/net/tun")
	f.single("vhost-net", "dev/vhost-net")
	slices.SortFunc(f.found, func(a, b HostDevice) int { return strings.Compare(a.ID(), b.ID()) })
	return f.found
}

type finder struct {
	root  string
	found []HostDevice
}

func (f *finder) path(p string) string { return filepath.Join(f.root, p) }

// glob lists what matches, sorted, without the root.
func (f *finder) glob(pattern string) []string {
	files, err := filepath.Glob(f.path(pattern))
	if err != nil {
		return nil
	}
	for i := range files {
		files[i] = "/" + strings.TrimPrefix(strings.TrimPrefix(files[i], filepath.Clean(f.root)), "/")
	}
	return files
}

func (f *finder) read(p string) string {
	b, err := os.ReadFile(f.path(p))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// exists reports whether there is a device node; in tests a file will do.
func (f *finder) exists(p string) bool {
	fi, err := os.Stat(f.path(p))
	return err == nil && !fi.IsDir() && fi.Mode()&fs.ModeSymlink == 0
}

// add puts an instance to its kind.
func (f *finder) add(vendor, kind, name, id string, paths []string, about HostDevice) {
	in := state.DeviceInstance{ID: id, Healthy: true}
	i := slices.IndexFunc(f.found, func(d HostDevice) bool { return d.Vendor == vendor && d.Type == kind && d.Name == name })
	if i < 0 {
		about.Vendor, about.Type, about.Name, about.InstPaths = vendor, kind, name, map[string][]string{}
		f.found = append(f.found, about)
		i = len(f.found) - 1
	}
	f.found[i].Instances = append(f.found[i].Instances, in)
	f.found[i].InstPaths[id] = paths
}

// single adds a device node that any number of tasks may use at a time.
func (f *finder) single(kind, path string) {
	if f.exists(path) {
		f.add("linux", kind, kind, "/"+path, []string{"/" + path}, HostDevice{NodeDevice: state.NodeDevice{Shared: true}})
	}
}

// nvidia reads what Nvidia's kernel driver says of its GPUs.
func (f *finder) nvidia() {
	var common []string
	for _, p := range []string{"dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-uvm-tools", "dev/nvidia-modeset"} {
		if f.exists(p) {
			common = append(common, "/"+p)
		}
	}
	for _, info := range f.glob("proc/driver/nvidia/gpus/*/information") {
		fields := map[string]string{}
		for line := range strings.Lines(f.read(info)) {
			name, v, _ := strings.Cut(line, ":")
			fields[strings.TrimSpace(name)] = strings.TrimSpace(v)
		}
		node := "/dev/nvidia" + fields["Device Minor"]
		if fields["Device Minor"] == "" || !f.exists(node) {
			continue
		}
		id := fields["GPU UUID"]
		if id == "" || strings.Contains(id, "?") { // not known before the first use
			id = node
		}
		f.add("nvidia", "gpu", deviceName(fields["Model"]), id, []string{node}, HostDevice{
			Paths: common, Env: map[string]string{"NVIDIA_VISIBLE_DEVICES": "{ids}"},
			NodeDevice: state.NodeDevice{Attributes: attributesOf(map[string]string{
				"model": fields["Model"], "driver_version": f.nvidiaVersion(),
			})},
		})
	}
}

// nvidiaVersion is the third last word of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu …": the first with dots.
func (f *finder) nvidiaVersion() string {
	for _, word := range strings.Fields(f.read("proc/driver/nvidia/version")) {
		if strings.Count(word, ".") >= 1 && strings.Trim(word, "0123456789.") == "" {
			return word
		}
	}
	return ""
}

// render finds the GPUs whose drivers are the kernel's own.
func (f *finder) render() {
	for _, node := range f.glob("dev/dri/renderD*") {
		about := "sys/class/drm/" + filepath.Base(node) + "/device/"
		vendor, model := f.read(about+"vendor"), f.read(about+"device")
		switch vendor {
		case "0x10de":
			continue // see nvidia; the kernel's own driver for these is of no use for computing
		case "0x8086":
			vendor = "intel"
		case "0x1002":
			vendor = "amd"
		case "":
			vendor = "unknown"
		default:
			vendor = "pci-" + vendor
		}
		var common []string
		if vendor == "amd" && f.exists("dev/kfd") {
			common = []string{"/dev/kfd"}
		}
		f.add(vendor, "gpu", deviceName(model), node, []string{node}, HostDevice{Paths: common})
	}
}

// deviceName makes a name that a job file can write.
func deviceName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' || r == 0x7f {
			return '-'
		}
		return r
	}, s)
	if s == "" {
		return "unknown"
	}
	return s[:min(len(s), 128)]
}

func attributesOf(m map[string]string) map[string]string {
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}
