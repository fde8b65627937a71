package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/embedded"
)

// Environment variables by which TestMain hands on what it built.
const (
	probeEnv  = "DROVER_TEST_PROBE"
	daemonEnv = "DROVER_TEST_DAEMON"
)

// TestMain makes the test binary its own containerd and shim, and builds the program inside the images.
func TestMain(m *testing.M) {
	if handled, code := embedded.Main(os.Args); handled {
		os.Exit(code)
	}
	if path := os.Getenv(agentEnv); path != "" {
		os.Exit(agentMain(path))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // what needs the programs is skipped
	}
	dir, err := os.MkdirTemp("", "drover-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	build(dir, "probe", probeEnv)
	// Static, so that it can be the init of a container, and without the race detector, which makes the start of a process, of which
	// each container needs several, ten times slower.
	build(dir, "daemon", daemonEnv)
	return m.Run()
}

func build(dir, name, env string) {
	bin := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build %s: %v\n%s", name, err, out))
	}
	if err := os.Setenv(env, bin); err != nil {
		panic(err)
	}
}

// daemonBinary is what runs as our own containerd.
func daemonBinary(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv(daemonEnv); bin != "" {
		return bin
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

const patience = 30 * time.Second

// host is a machine with one containerd. Several drivers (agents) may use it.
type host struct {
	dir       string
	address   string // "" for our own daemon
	cgroupTop string
	image     string // file:// name of the probe's image
	built     v1.Image
	kill      func(t *testing.T) // kill -9 of the daemon
	start     func(t *testing.T)
	log       hclog.Logger
	ownShim   bool
	state     string // our own daemon's
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to run containers")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("needs runc, which is not installed")
	}
}

// newHost builds the probe's image. The directory's name is short: sockets live in it.
func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "drc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something is still mounted: %v", err)
		}
		for _, m := range cgroupMounts(cgroupRoot) { // the driver leaves the top one to others
			_ = os.Remove(filepath.Join(m, "drover-test-"+filepath.Base(dir)))
		}
	})
	h := &host{dir: dir, cgroupTop: "drover-test-" + filepath.Base(dir), log: hclog.NewNullLogger()}
	if testing.Verbose() {
		h.log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug})
	}
	h.built = buildProbe(t)
	path := filepath.Join(dir, "probe.tar")
	if err := image.WriteTar(h.built, path, "example.test/probe:1"); err != nil {
		t.Fatal(err)
	}
	h.image = "file://" + path
	return h
}

func buildProbe(t *testing.T) v1.Image {
	t.Helper()
	img, err := image.Build(os.Getenv(probeEnv), image.Config{Env: []string{"PATH=/bin", "FROM=image", "BOTH=image"}, Cmd: []string{"args", "of", "image"}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// embeddedHost has our own daemon, which is the test binary.
func embeddedHost(t *testing.T) *host {
	t.Helper()
	needRoot(t)
	h := newHost(t)
	h.ownShim = true
	d := h.driver(t, "owner")
	if _, err := d.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	daemon := d.Daemon()
	if daemon == nil {
		t.Fatal("the driver uses another daemon")
	}
	h.state = daemon.state
	h.kill = func(t *testing.T) { killHard(t, daemon.PID) }
	h.start = func(t *testing.T) {
		if _, err := daemon.Ensure(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(daemon.Stop(ctx), daemon.Purge()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// installedHost has the distribution's containerd, with files of its own.
func installedHost(t *testing.T) *host {
	t.Helper()
	needRoot(t)
	path, err := exec.LookPath("containerd")
	if err != nil {
		t.Skip("needs a containerd of the distribution, which is not installed")
	}
	h := newHost(t)
	h.address = filepath.Join(h.dir, "c.sock")
	config := filepath.Join(h.dir, "config.toml")
	if err := os.WriteFile(config, []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{args: []string{path, "--config", config, "--root", filepath.Join(h.dir, "root"), "--state", filepath.Join(h.dir, "state"),
		"--address", h.address, "--log-level", "warn"}, log: filepath.Join(h.dir, "containerd.log")}
	h.kill, h.start = p.kill, func(t *testing.T) {
		p.start(t)
		eventually(t, "containerd answers", func() bool { return answers(t.Context(), h.address) })
	}
	h.start(t)
	t.Cleanup(func() { p.kill(t) })
	return h
}

// process is a daemon that the test owns.
type process struct {
	args []string
	log  string
	cmd  *exec.Cmd
}

func (p *process) start(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = p.cmd.Wait() // says that it was killed
}

func killHard(t *testing.T, pid func() int) {
	t.Helper()
	p := pid()
	if p == 0 {
		t.Fatal("the daemon does not run")
	}
	if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon is dead", func() bool { return pid() != p }) // whoever waits for a task may have started another one
}

// driver opens a driver for an agent on this host.
func (h *host) driver(t *testing.T, node string, change ...func(*Config)) *Driver {
	t.Helper()
	exe := daemonBinary(t)
	cfg := Config{NodeID: node, Address: h.address, DataDir: h.dir, SelfExe: exe, NoSync: true, Logger: h.log,
		ClusterID: func() string { return "cluster-1" }}
	for _, f := range change {
		f(&cfg)
	}
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.retry = retryPolicy{attempts: 4, first: 10 * time.Millisecond, max: 20 * time.Millisecond}
	if h.ownShim { // whatever this machine has installed
		d.conn.daemon = NewDaemon(DaemonConfig{Exe: exe, Dir: cfg.dir(), NoSync: true, Logger: h.log})
		d.conn.remember("", true)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// task describes a task that runs the probe; it is removed when the test ends.
func (h *host) task(t *testing.T, d *Driver, args ...string) runtime.TaskSpec {
	t.Helper()
	alloc := uuid.NewString()
	dir := filepath.Join(h.dir, "allocs", alloc)
	spec := runtime.TaskSpec{
		ID:     runtime.TaskID{AllocID: alloc, Task: "main"},
		Labels: map[string]string{runtime.LabelJob: "example"},
		Config: map[string]any{"image": h.image, "args": anys(args)},
		Dirs:   runtime.TaskDirs{Alloc: filepath.Join(dir, "alloc"), Local: filepath.Join(dir, "main", "local"), Secrets: filepath.Join(dir, "main", "secrets")},
		Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr"),
		Cgroup: "/" + h.cgroupTop + "/" + d.cfg.NodeID + "/" + alloc + "/main",
		Group:  alloc,
		Limits: runtime.Limits{CPUShares: 100, MemoryMB: 64},
	}
	for _, p := range []string{spec.Dirs.Alloc, spec.Dirs.Local, spec.Dirs.Secrets} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{spec.Stdout, spec.Stderr} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { h.remove(t, d, spec.ID) })
	return spec
}

func (h *host) remove(t *testing.T, d *Driver, id runtime.TaskID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Remove(ctx, id); err != nil {
		t.Error(err)
	}
}

// leavesNothing checks the machine after all tests of a host.
func (h *host) leavesNothing(t *testing.T, d *Driver) {
	t.Helper()
	s, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.ContainerService().List(ctx)
	if err != nil || len(list) > 0 {
		t.Errorf("%d containers are left, %v", len(list), err)
	}
	for _, name := range snapshotsOf(t, ctx, s) {
		if !strings.HasPrefix(name, "sha256:") { // the image's
			t.Errorf("snapshot %s is left", name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for len(h.processes()) > 1 {
		if pause(ctx, 10*time.Millisecond) != nil {
			t.Errorf("shims are left: %s", strings.Join(h.processes(), "\n"))
			break
		}
	}
	noMounts(t, h)
	noCgroups(t, h)
}

func noMounts(t *testing.T, h *host) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, h.dir+"/") {
			t.Errorf("a mount is left: %s", line)
		}
	}
}

func noCgroups(t *testing.T, h *host) {
	t.Helper()
	for _, m := range cgroupMounts(cgroupRoot) {
		top := filepath.Join(m, h.cgroupTop)
		left, _ := os.ReadDir(top) // not there is best
		for _, e := range left {
			if e.IsDir() {
				t.Errorf("cgroup %s is left", filepath.Join(top, e.Name()))
			}
		}
	}
}

// processes finds the daemon and its shims by the daemon's directories on their command lines.
func (h *host) processes() []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err == nil && (strings.Contains(string(b), h.dir+"/") || h.state != "" && strings.Contains(string(b), h.state+"/")) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// start starts and fails the test on an error.
func start(t *testing.T, d *Driver, spec runtime.TaskSpec) runtime.Started {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := d.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func wait(t *testing.T, d *Driver, id runtime.TaskID) runtime.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exit, err := d.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

// run starts the task, waits, and returns what it printed.
func run(t *testing.T, d *Driver, spec runtime.TaskSpec) (exit runtime.Exit, stdout string) {
	t.Helper()
	start(t, d, spec)
	exit = wait(t, d, spec.ID)
	for stdout = read(t, spec.Stdout); stdout == "" && time.Since(exit.At) < time.Second; stdout = read(t, spec.Stdout) { // see flushed
		if pause(t.Context(), 10*time.Millisecond) != nil {
			break
		}
	}
	return exit, stdout
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !ok() {
		if pause(ctx, 10*time.Millisecond) != nil {
			t.Fatalf("not so after %s: %s", patience, what)
		}
	}
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// both runs a test against our own daemon and the distribution's.
func both(t *testing.T, suite func(t *testing.T, h *host)) {
	for _, c := range []struct {
		name string
		host func(*testing.T) *host
	}{{"embedded", embeddedHost}, {"installed", installedHost}} {
		t.Run(c.name, func(t *testing.T) {
			h := c.host(t)
			t.Run("all", func(t *testing.T) { suite(t, h) })
			h.leavesNothing(t, h.driver(t, "checker"))
		})
	}
}

// cases runs named tests at the same time.
func cases(t *testing.T, h *host, all map[string]func(t *testing.T, h *host)) {
	for _, name := range sortedKeys(all) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all[name](t, h)
		})
	}
}
