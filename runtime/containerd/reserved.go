package containerd

import (
	"context"
	"math"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/drover-io/drover/runtime"
)

// reservedOpts are what the plan gave the task by name: cores, devices, and memory that it is sure of beside what it may grow to.
func reservedOpts(spec runtime.TaskSpec) []oci.SpecOpts {
	var opts []oci.SpecOpts
	if len(spec.Limits.Cores) > 0 {
		opts = append(opts, oci.WithCPUs(runtime.FormatCores(spec.Limits.Cores)))
	}
	if mb := spec.Limits.MemorySoftMB; mb > 0 && mb < math.MaxInt64>>20 {
		opts = append(opts, withMemoryReservation(mb<<20))
	}
	for _, d := range spec.Devices {
		opts = append(opts, oci.WithDevices(d.Path, d.Path, d.Permissions))
	}
	return opts
}

// withMemoryReservation comes after a memory limit, which makes what it writes to.
func withMemoryReservation(bytes int64) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		if s.Linux != nil && s.Linux.Resources != nil && s.Linux.Resources.Memory != nil {
			s.Linux.Resources.Memory.Reservation = &bytes
		}
		return nil
	}
}
