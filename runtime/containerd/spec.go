package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
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
	openFiles    = 65536  // soft limit; containerd's 1024 is too few for servers, and there is no ulimit key yet
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
}

// specOpts translates a task into containerd's options for the OCI specification, in the order in which they must be applied.
func specOpts(spec runtime.TaskSpec, o options, img client.Image, ic ocispec.ImageConfig, at place) ([]oci.SpecOpts, error) {
	args := processArgs(o, ic)
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: image %s has no command of its own; set config.command", runtime.ErrNotRetryable, o.Image)
	}
	opts := []oci.SpecOpts{
		oci.WithImageConfig(img),
		oci.WithProcessArgs(args...),
		withEnv(spec.Env),
		oci.WithoutRunMount, // images keep things there
		oci.WithMounts(mounts(spec.Dirs, o.Hostname == "")),
		oci.WithHostname(hostname(o)),
		oci.WithRlimit(&specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: min(openFiles, at.files), Hard: min(maxOpenFiles, at.files)}),
		oci.WithDroppedCapabilities([]string{"CAP_NET_RAW"}), // forged packets
		oci.WithNoNewPrivileges,
		withOOMScore,
	}
	if spec.User != "" {
		name, _, _ := strings.Cut(spec.User, ":")
		opts = append(opts, oci.WithUser(spec.User), oci.WithAdditionalGIDs(name))
	}
	if o.WorkDir != "" {
		opts = append(opts, oci.WithProcessCwd(o.WorkDir))
	}
	opts = append(opts, limitOpts(spec, o)...)
	opts = append(opts, isolationOpts(spec, at)...)
	return opts, nil
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

func withOOMScore(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	score := oomScore
	s.Process.OOMScoreAdj = &score
	return nil
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

func isDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir()
}

// mounts are the task's directories and what a process on the host's network needs to find names.
func mounts(dirs runtime.TaskDirs, hostName bool) []specs.Mount {
	var list []specs.Mount
	for _, m := range []struct{ source, target string }{
		{dirs.Alloc, "/alloc"}, {dirs.Local, "/local"}, {dirs.Secrets, "/secrets"},
	} {
		if m.source != "" {
			list = append(list, bind(m.source, m.target, "rw", "nosuid", "nodev"))
		}
	}
	// The shim opens the log files by name as the host's root: a task that could put a link in their place would write anywhere.
	if logs := filepath.Join(dirs.Alloc, "logs"); dirs.Alloc != "" && isDir(logs) {
		list = append(list, bind(logs, "/alloc/logs", "ro", "nosuid", "nodev", "noexec"))
	}
	files := []string{"/etc/resolv.conf", "/etc/hosts"}
	if hostName {
		files = append(files, "/etc/hostname")
	}
	for _, path := range files {
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			list = append(list, bind(path, path, "ro", "nosuid", "nodev", "noexec"))
		}
	}
	// Runtimes such as Java's read their memory limit there.
	return append(list, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
}

func bind(source, target string, opts ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: target, Options: append([]string{"rbind"}, opts...)}
}

func limitOpts(spec runtime.TaskSpec, o options) []oci.SpecOpts {
	pids := int64(defaultPids)
	switch {
	case o.PidsLimit > 0:
		pids = o.PidsLimit
	case spec.Limits.Pids > 0:
		pids = spec.Limits.Pids
	}
	opts := []oci.SpecOpts{oci.WithPidsLimit(pids)}
	if mb := spec.Limits.MemoryMB; mb > 0 && mb < math.MaxInt64>>20 {
		opts = append(opts, oci.WithMemoryLimit(uint64(mb)<<20))
	}
	if shares := spec.Limits.CPUShares; shares > 0 {
		opts = append(opts, oci.WithCPUShares(uint64(max(shares, 2)))) // the kernel's smallest
	}
	opts = append(opts, reservedOpts(spec)...)
	if spec.Cgroup != "" {
		opts = append(opts, oci.WithCgroup(spec.Cgroup))
	}
	if cgroups.Mode() == cgroups.Unified {
		opts = append(opts, oci.WithNamespacedCgroup())
	}
	return opts
}

func isolationOpts(spec runtime.TaskSpec, at place) []oci.SpecOpts {
	var opts []oci.SpecOpts
	if at.netNS != "" {
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: at.netNS}))
	} else {
		opts = append(opts, oci.WithHostNamespace(specs.NetworkNamespace))
	}
	if spec.Group != "" {
		opts = append(opts, oci.WithAnnotations(map[string]string{groupAnnotation: spec.Group}))
	}
	if at.seccomp {
		opts = append(opts, seccomp.WithDefaultProfile()) // last: it reads the capabilities
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
