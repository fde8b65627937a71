package containerd

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/drover-io/drover/runtime"
)

func TestReservedInTheSpecification(t *testing.T) {
	spec := runtime.TaskSpec{
		Limits:  runtime.Limits{MemoryMB: 64, MemorySoftMB: 32, Cores: []int{3, 1}},
		Devices: []runtime.DeviceNode{{Path: "/dev/null", Permissions: "rw"}},
	}
	s := &oci.Spec{Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	for _, opt := range limitOpts(spec, options{}, place{}) {
		if err := opt(context.Background(), nil, &containers.Container{}, s); err != nil {
			t.Fatal(err)
		}
	}
	r := s.Linux.Resources
	if r.CPU.Cpus != "1,3" || *r.Memory.Limit != 64<<20 || *r.Memory.Reservation != 32<<20 {
		t.Errorf("cores %q, memory %d and %d", r.CPU.Cpus, *r.Memory.Limit, *r.Memory.Reservation)
	}
	if len(s.Linux.Devices) != 1 || s.Linux.Devices[0].Path != "/dev/null" || s.Linux.Devices[0].Major != 1 || s.Linux.Devices[0].Minor != 3 {
		t.Errorf("devices %+v", s.Linux.Devices)
	}
	if last := r.Devices[len(r.Devices)-1]; !last.Allow || last.Access != "rw" || *last.Major != 1 || *last.Minor != 3 {
		t.Errorf("the container may use %+v", last)
	}
	spec.Devices[0].Path = "/dev/there-is-no-such-thing"
	var err error
	for _, opt := range reservedOpts(spec) {
		if err == nil {
			err = opt(context.Background(), nil, &containers.Container{}, s)
		}
	}
	if err == nil {
		t.Error("a device that is not there was given")
	}
}

// testReserved: a container has its own cores and the devices that it was given, and is moved to other cores while it runs.
func testReserved(t *testing.T, h *host) {
	sets, err := runtime.OpenCpusets("/sys/fs/cgroup")
	if err != nil || len(sets.Cores()) < 2 {
		t.Skip("needs cpusets and two cores:", err)
	}
	first, last := sets.Cores()[:1], sets.Cores()[len(sets.Cores())-1:]
	d := h.driver(t, "n-reserved")
	spec := h.task(t, d, "cat", "/proc/self/status")
	spec.Limits.Cores, spec.Limits.MemorySoftMB = last, 32
	exit, out := run(t, d, spec)
	if want := "Cpus_allowed_list:\t" + runtime.FormatCores(last) + "\n"; exit.Code != 0 || !strings.Contains(out, want) {
		t.Errorf("exit %+v, want %q in %q", exit, want, out)
	}
	runs := h.task(t, d, "sleep")
	runs.Limits.Cores = last
	start(t, d, runs)
	if err := sets.Pin(runs.Cgroup, first); err != nil {
		t.Errorf("move it to cores %v: %v", first, err)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return
	}
	for given, want := range map[bool]string{false: "open /dev/fuse: no such file", true: "read /dev/fuse: operation not permitted"} {
		spec := h.task(t, d, "cat", "/dev/fuse") // nothing is mounted by it: whoever may open it cannot read
		if given {
			spec.Devices = []runtime.DeviceNode{{Path: "/dev/fuse", Permissions: "rwm"}}
		}
		_, out := run(t, d, spec)
		if out += read(t, spec.Stderr); !strings.Contains(out, want) {
			t.Errorf("given %v: want %q in %q", given, want, out)
		}
	}
}
