package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/drover-io/drover/runtime"
)

const (
	defaultPids  = 4096
	oomScore     = 200    // under memory pressure the kernel takes tasks before the agent and the daemons
	openFiles    = 65536  // soft limit; containerd's 1024 is too few for servers
	maxOpenFiles = 524288 // hard limit
	defaultPath  = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// groupAnnotation makes the containers of one alloc share one shim.
	groupAnnotation = "io.containerd.runc.v2.group"
)

// place is what a container's specification needs to know of the machine.
type place struct {
	netNS   string // path; "" means the daemon's own
	seccomp bool   // whether runc can filter system calls
	files   uint64 // how many files a process of the daemon may open at most
	pids    int64  // the node's default; 0 means ours
	policy  Policy
	mounts  []specs.Mount
	init    []string // what runs the task's command; nil means nothing does
}

// specOpts translates a task into containerd's options for the OCI specification, in the order in which they must be applied.
func specOpts(spec runtime.TaskSpec, o options, img client.Image, ic ocispec.ImageConfig, at place) ([]oci.SpecOpts, error) {
	args := processArgs(o, ic)
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: image %s has no command of its own; set config.command", runtime.ErrNotRetryable, o.Image)
	}
	opts := []oci.SpecOpts{
		oci.WithImageConfig(img),
		oci.WithProcessArgs(append(at.init, args...)...),
		withEnv(spec.Env),
		oci.WithoutRunMount, // images keep things there
		oci.WithMounts(at.mounts),
		oci.WithHostname(hostname(o)),
		oci.WithRlimit(&specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: min(openFiles, at.files), Hard: min(maxOpenFiles, at.files)}),
		withOOMScore(o),
	}
	if spec.User != "" {
		name, _, _ := strings.Cut(spec.User, ":")
		opts = append(opts, oci.WithUser(spec.User), oci.WithAdditionalGIDs(name))
	}
	if len(o.GroupAdd) > 0 {
		opts = append(opts, oci.WithAppendAdditionalGroups(o.GroupAdd...))
	}
	if o.WorkDir != "" {
		opts = append(opts, oci.WithProcessCwd(o.WorkDir))
	}
	if o.ReadOnly {
		opts = append(opts, oci.WithRootFSReadonly())
	}
	opts = append(opts, limitOpts(spec, o, at)...)
	opts = append(opts, isolationOpts(spec, o, at)...)
	opts = append(opts, rightOpts(o, at)...)
	return append(opts, giveSecrets(spec.Dirs.Secrets)), nil
}

// processArgs follows Docker: command and args together replace the image's Cmd, and an entrypoint of the job drops both of the
// image's.
func processArgs(o options, ic ocispec.ImageConfig) []string {
	entry, cmd := ic.Entrypoint, ic.Cmd
	if o.HasEntrypoint {
		entry, cmd = o.Entrypoint, nil
	}
	if o.Command != "" || len(o.Args) > 0 {
		cmd = nil
		if o.Command != "" {
			cmd = append(cmd, o.Command)
		}
		cmd = append(cmd, o.Args...)
	}
	return append(append([]string(nil), entry...), cmd...)
}

// withEnv puts the task's environment over the image's.
func withEnv(env map[string]string) oci.SpecOpts {
	list := make([]string, 0, len(env))
	for _, k := range sortedKeys(env) {
		list = append(list, k+"="+env[k])
	}
	return func(ctx context.Context, c oci.Client, cc *containers.Container, s *oci.Spec) error {
		if err := oci.WithEnv(list)(ctx, c, cc, s); err != nil {
			return err
		}
		for _, kv := range s.Process.Env {
			if strings.HasPrefix(kv, "PATH=") {
				return nil
			}
		}
		s.Process.Env = append(s.Process.Env, defaultPath)
		return nil
	}
}

func withOOMScore(o options) oci.SpecOpts {
	score := oomScore
	if o.HasOOMScore {
		score = o.OOMScoreAdj
	}
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Process.OOMScoreAdj = &score
		return nil
	}
}

// giveSecrets gives the task's secrets to the user that it runs as, whom only the image knows by name. Nobody else may look.
func giveSecrets(dir string) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		return runtime.GiveSecrets(dir, int(s.Process.User.UID), int(s.Process.User.GID))
	}
}

func hostname(o options) string {
	if o.Hostname != "" {
		return o.Hostname
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

func limitOpts(spec runtime.TaskSpec, o options, at place) []oci.SpecOpts {
	pids := int64(defaultPids)
	for _, n := range []int64{at.pids, spec.Limits.Pids, o.PidsLimit} {
		if n > 0 {
			pids = n
		}
	}
	opts := []oci.SpecOpts{oci.WithPidsLimit(pids)}
	if mb := spec.Limits.MemoryMB; mb > 0 && mb < math.MaxInt64>>20 {
		opts = append(opts, oci.WithMemoryLimit(uint64(mb)<<20))
	}
	if hard := o.MemoryHardMiB; hard > 0 {
		opts = append(opts, oci.WithMemoryLimit(uint64(hard)<<20), withReservation(spec.Limits.MemoryMB<<20))
	}
	if shares := spec.Limits.CPUShares; shares > 0 {
		opts = append(opts, oci.WithCPUShares(uint64(max(shares, 2)))) // the kernel's smallest
		if o.CPUHardLimit {
			opts = append(opts, oci.WithCPUCFS(cpuQuota(shares, o.CPUPeriod)))
		}
	}
	opts = append(opts, reservedOpts(spec)...)
	if spec.Cgroup != "" {
		opts = append(opts, oci.WithCgroup(spec.Cgroup))
	}
	for _, u := range o.Ulimit {
		opts = append(opts, oci.WithRlimit(u.spec()))
	}
	if o.ShmSize > 0 {
		opts = append(opts, oci.WithDevShmSize(max(1, o.ShmSize>>10)))
	}
	return opts
}

const (
	defaultPeriod = 100_000 // microseconds, the kernel's
	minQuota      = 1000    // the kernel's
)

// cpuQuota turns a weight of 1024 per core into time per period.
func cpuQuota(shares, period int64) (int64, uint64) {
	if period == 0 {
		period = defaultPeriod
	}
	return max(minQuota, period*shares/1024), uint64(period)
}

// withReservation is what the kernel tries to leave a task when memory is short.
func withReservation(bytes int64) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		if bytes > 0 && s.Linux.Resources.Memory != nil {
			s.Linux.Resources.Memory.Reservation = &bytes
		}
		return nil
	}
}

func isolationOpts(spec runtime.TaskSpec, o options, at place) []oci.SpecOpts {
	var opts []oci.SpecOpts
	switch {
	case o.NetworkMode == "none": // the namespace is the container's own
	case at.netNS != "":
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: at.netNS}))
	default:
		opts = append(opts, oci.WithHostNamespace(specs.NetworkNamespace))
	}
	if o.CgroupNS == "private" || o.CgroupNS == "" && cgroups.Mode() == cgroups.Unified {
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}))
	}
	if o.PIDMode == "host" {
		opts = append(opts, oci.WithHostNamespace(specs.PIDNamespace))
	}
	if o.UTSMode == "host" {
		opts = append(opts, oci.WithHostNamespace(specs.UTSNamespace), oci.WithHostname(""))
	}
	switch o.IPCMode {
	case "host":
		opts = append(opts, oci.WithHostNamespace(specs.IPCNamespace), oci.WithoutMounts("/dev/shm", "/dev/mqueue"), oci.WithMounts(hostIPC()))
	case "none":
		opts = append(opts, oci.WithoutMounts("/dev/shm"))
	}
	if len(o.Sysctl) > 0 {
		opts = append(opts, func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Linux.Sysctl = o.Sysctl
			return nil
		})
	}
	if spec.Group != "" {
		opts = append(opts, oci.WithAnnotations(map[string]string{groupAnnotation: spec.Group}))
	}
	if o.TTY {
		opts = append(opts, oci.WithTTY)
	}
	return opts
}

// hostIPC are the node's shared memory and message queues.
func hostIPC() []specs.Mount {
	var list []specs.Mount
	for _, path := range []string{"/dev/shm", "/dev/mqueue"} {
		if isDir(path) {
			list = append(list, bind(path, path, "rw", "nosuid", "nodev", "noexec"))
		}
	}
	return list
}

// rightOpts say what the process may do. The filter of system calls is last: it depends on the capabilities.
func rightOpts(o options, at place) []oci.SpecOpts {
	opts := []oci.SpecOpts{oci.WithCapabilities(at.policy.caps(o)), oci.WithNoNewPrivileges}
	if o.Security.NewPrivileges || o.Privileged {
		opts = append(opts, oci.WithNewPrivileges)
	}
	for _, dev := range o.Devices {
		opts = append(opts, oci.WithDevices(dev.Host, dev.Container, dev.Permissions))
	}
	if o.Privileged {
		return append(opts, oci.WithPrivileged, oci.WithHostDevices, oci.WithAllDevicesAllowed)
	}
	if o.Security.AllOfProc {
		opts = append(opts, oci.WithMaskedPaths(nil), oci.WithReadonlyPaths(nil))
	}
	if o.Security.AppArmor != "" {
		opts = append(opts, oci.WithApparmorProfile(o.Security.AppArmor))
	}
	if at.seccomp && !o.Security.AnySyscall {
		opts = append(opts, seccomp.WithDefaultProfile())
	}
	return opts
}

// imageConfig reads the image's own configuration.
func imageConfig(ctx context.Context, img client.Image) (ocispec.ImageConfig, error) {
	desc, err := img.Config(ctx)
	if err != nil {
		return ocispec.ImageConfig{}, explain(err, "read configuration of image %s", img.Name())
	}
	b, err := content.ReadBlob(ctx, img.ContentStore(), desc)
	if err != nil {
		return ocispec.ImageConfig{}, explain(err, "read configuration of image %s", img.Name())
	}
	var parsed ocispec.Image
	if err := json.Unmarshal(b, &parsed); err != nil {
		return ocispec.ImageConfig{}, errors.Join(runtime.ErrNotRetryable, fmt.Errorf("read configuration of image %s: %w", img.Name(), err))
	}
	return parsed.Config, nil
}
