package containerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"time"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/companion"
)

const (
	runtimeName    = "io.containerd.runc.v2"
	createTimeout  = 2 * time.Minute // everything of Start but the image
	cleanupTimeout = 30 * time.Second
)

// Start makes the container and starts it. What an earlier attempt left over is taken away first, unless it runs: then the task is
// attached to. On an error everything made is taken away again.
func (d *Driver) Start(ctx context.Context, spec runtime.TaskSpec) (runtime.Started, error) {
	o, err := d.options(spec)
	if err != nil {
		return runtime.Started{}, err
	}
	id := containerID(spec.ID)
	defer d.tasks.lock(id)()
	s, ctx, err := d.session(ctx)
	if err != nil {
		return runtime.Started{}, err
	}
	if started, err := d.attach(ctx, s, id); err != nil || started.Attached {
		return started, err
	}
	img, err := d.image(ctx, s, o, false)
	if err != nil {
		return runtime.Started{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	started, err := d.create(ctx, s, id, spec, o, img)
	if err != nil {
		err = explainStart(err, spec, o)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if cleanup := d.remove(ctx, s, id); cleanup != nil {
			d.log.Warn("cannot take away a container that did not start; the next start does", "container", id, "error", cleanup)
		}
		return runtime.Started{}, err
	}
	return started, nil
}

// attach finds the task running, or makes sure that nothing of it is left.
func (d *Driver) attach(ctx context.Context, s *session, id string) (runtime.Started, error) {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	task, err := loadTask(ctx, s, id)
	if err == nil {
		st, err := task.Status(ctx)
		if err != nil && !errdefs.IsNotFound(err) {
			return runtime.Started{}, explain(err, "read status of container %s", id)
		}
		if err == nil && isRunning(st.Status) {
			pid := int(task.Pid())
			return runtime.Started{PID: pid, StartedAt: startedAt(pid), Attached: true}, nil
		}
	} else if !errdefs.IsNotFound(err) {
		return runtime.Started{}, explain(err, "look for container %s", id)
	}
	return runtime.Started{}, d.remove(ctx, s, id)
}

func isRunning(st client.ProcessStatus) bool {
	return st == client.Running || st == client.Paused || st == client.Pausing
}

// loadTask returns an error that errdefs calls not found when the container is gone or has no task.
func loadTask(ctx context.Context, s *session, id string) (client.Task, error) {
	cc, err := s.LoadContainer(ctx, id)
	if err != nil {
		return nil, err
	}
	return cc.Task(ctx, nil)
}

// create makes container, task and process.
func (d *Driver) create(ctx context.Context, s *session, id string, spec runtime.TaskSpec, o options, img client.Image) (runtime.Started, error) {
	ic, err := imageConfig(ctx, img)
	if err != nil {
		return runtime.Started{}, err
	}
	at, err := d.place(ctx, s, id, spec, o)
	if err != nil {
		return runtime.Started{}, err
	}
	so, err := specOpts(spec, o, img, ic, at)
	if err != nil {
		return runtime.Started{}, err
	}
	runcOptions := &runcopts.Options{BinaryName: d.cfg.RuncPath}
	so = append(so, d.withVolumes(o))
	cc, err := s.NewContainer(ctx, id,
		client.WithSnapshotter(s.snapshotter), client.WithImage(img), client.WithNewSnapshot(id, img),
		client.WithRuntime(runtimeName, runcOptions), client.WithContainerLabels(d.labels(spec, o)),
		client.WithNewSpec(so...))
	if err != nil {
		return runtime.Started{}, explain(err, "create container %s", id)
	}
	d.cgroups.RLock() // nobody takes away the parent of the cgroup that is being made
	defer d.cgroups.RUnlock()
	streams, err := d.streams(id, spec, o)
	if err != nil {
		return runtime.Started{}, err
	}
	task, err := newTask(ctx, cc, streams)
	if err != nil {
		return runtime.Started{}, explain(err, "create task of container %s", id)
	}
	if err := d.unstage(s, id); err != nil { // the container has its mounts
		return runtime.Started{}, err
	}
	if err := task.Start(ctx); err != nil {
		return runtime.Started{}, explain(err, "start container %s", id)
	}
	return runtime.Started{PID: int(task.Pid()), StartedAt: time.Now()}, nil
}

// newTask tries again while the daemon still clears up after an earlier shim that died: to questions it answers already that there
// is no such task, and refuses a new one of the same name.
func newTask(ctx context.Context, cc client.Container, logs cio.Creator) (client.Task, error) {
	wait := 20 * time.Millisecond
	for range deleteTries {
		task, err := cc.NewTask(ctx, logs)
		if !errdefs.IsAlreadyExists(err) {
			return task, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
	return cc.NewTask(ctx, logs)
}

// options reads a task's config block and refuses what this node does not allow.
func (d *Driver) options(spec runtime.TaskSpec) (options, error) {
	o, err := decodeOptions(spec.Config)
	if err != nil {
		return o, err
	}
	return o, d.cfg.Policy.refuse(o)
}

// place finds out what the machine and the daemon allow, and makes what the container needs beside its image.
func (d *Driver) place(ctx context.Context, s *session, id string, spec runtime.TaskSpec, o options) (place, error) {
	at := place{netNS: spec.NetNS, seccomp: d.runc(ctx).seccomp, policy: d.cfg.Policy, pids: d.cfg.Pids}
	pid, err := peerPID(s.address)
	if err != nil {
		return at, fmt.Errorf("find the process of containerd at %s: %w", s.address, err)
	}
	var files unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &files); err != nil {
		return at, fmt.Errorf("read limits of containerd (process %d): %w", pid, err)
	}
	at.files = files.Max
	if at.netNS == "" && o.NetworkMode != "none" {
		if at.netNS, err = d.PinNetNS(ctx); err != nil {
			return at, err
		}
	}
	if err := checkAppArmor(o.Security.AppArmor); err != nil {
		return at, err
	}
	if at.mounts, err = d.mountList(s, id, spec, o); err != nil || !o.Init {
		return at, err
	}
	self, err := d.initMount()
	at.init, at.mounts = []string{companion.InitPath}, append(at.mounts, self)
	return at, err
}

// checkAppArmor says in time what runc would say in its own words.
func checkAppArmor(profile string) error {
	if profile == "" {
		return nil
	}
	loaded, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	if err != nil {
		return fmt.Errorf("config.security_opt: apparmor=%s: AppArmor is not enabled on this node: %w", profile, runtime.ErrNotRetryable)
	}
	for line := range strings.Lines(string(loaded)) {
		if name, _, _ := strings.Cut(line, " ("); name == profile {
			return nil
		}
	}
	return fmt.Errorf("config.security_opt: apparmor=%s: the node has not loaded a profile of that name: %w", profile, runtime.ErrNotRetryable)
}

// labels are the job's, under the ones by which the container is found again.
func (d *Driver) labels(spec runtime.TaskSpec, o options) map[string]string {
	l := map[string]string{}
	maps.Copy(l, o.Labels)
	maps.Copy(l, spec.Labels)
	l[runtime.LabelNode] = d.cfg.NodeID
	l[runtime.LabelAlloc], l[runtime.LabelTask] = spec.ID.AllocID, spec.ID.Task
	if cluster := d.cfg.ClusterID(); cluster != "" {
		l[runtime.LabelCluster] = cluster
	}
	l[labelBoot], l[labelSpec] = d.bootID, specHash(spec)
	return l
}

// explainStart turns runc's words for a program that is not there into ours.
func explainStart(err error, spec runtime.TaskSpec, o options) error {
	if errors.Is(err, runtime.ErrNotRetryable) {
		return err
	}
	// runc: … unable to start container process: exec: "x": executable file not found in $PATH: unknown
	m := regexp.MustCompile(`exec: "([^"]*)": (.*)$`).FindStringSubmatch(err.Error())
	if m != nil {
		reason := strings.TrimSuffix(m[2], ": unknown")
		switch {
		case strings.Contains(reason, "not found"), strings.Contains(reason, "no such file"):
			return fmt.Errorf("command %q not found in image %s: %w: %w", m[1], o.Image, runtime.ErrNotRetryable, err)
		case strings.Contains(reason, "permission denied"), strings.Contains(reason, "is a directory"), strings.Contains(reason, "exec format error"):
			return fmt.Errorf("command %q of image %s cannot be run (%s): %w: %w", m[1], o.Image, reason, runtime.ErrNotRetryable, err)
		}
	}
	if m := regexp.MustCompile(`unable to find group (\S+)`).FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("config.group_add: group %q not found in image %s: %w: %w", m[1], o.Image, runtime.ErrNotRetryable, err)
	}
	if len(o.Devices) > 0 && (strings.Contains(err.Error(), "device path") || strings.Contains(err.Error(), "not a device node")) {
		return fmt.Errorf("config.devices: %w: %w", runtime.ErrNotRetryable, err)
	}
	if spec.User != "" && strings.Contains(err.Error(), "no users found") {
		return fmt.Errorf("user %q not found in image %s: %w: %w", spec.User, o.Image, runtime.ErrNotRetryable, err)
	}
	return err
}

// startedAt reads when a process started from its directory in /proc; zero when it is not there.
func startedAt(pid int) time.Time {
	start, _, err := processStart(pid)
	if err != nil {
		return time.Time{}
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) {
		var boot int64
		if _, err := fmt.Sscanf(line, "btime %d", &boot); err == nil {
			const ticksPerSecond = 100 // of the interface, on every architecture that Go runs Linux on
			return time.Unix(boot, 0).Add(time.Duration(start) * time.Second / ticksPerSecond)
		}
	}
	return time.Time{}
}
