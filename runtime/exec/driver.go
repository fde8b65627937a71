package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// Name is the driver's name in jobs and fingerprints.
const Name = "exec"

// Isolation levels, for Config.Isolation and the attribute "driver.exec.isolation".
const (
	// IsolationAuto takes namespaces where they work.
	IsolationAuto = ""
	// IsolationNamespaces gives each task its own mount, PID, UTS and IPC namespaces. Open fails where that does not work.
	IsolationNamespaces = "namespaces"
	// IsolationNone runs each task as a plain process in its own session.
	IsolationNone = "none"
)

// Cgroup versions of the attribute "driver.exec.cgroups".
const (
	CgroupsV1   = "v1"
	CgroupsV2   = "v2"
	CgroupsNone = "none"
)

// Config is what the driver needs to know.
type Config struct {
	// Dir holds one directory of state per task. Made with mode 0700 when missing. Absolute.
	Dir string
	// DataDir is the agent's data directory. A task in namespaces sees nothing below it but its own directories, so that it
	// reads no other task's secrets, and a task that runs as another user reaches its own. Empty hides nothing.
	DataDir string
	// Exe is the program that answers "exec-init" by calling InitMain; empty means this program.
	Exe string
	// Isolation is an Isolation constant.
	Isolation string
	// Logger is told of what the driver swallows; nil means nobody is.
	Logger hclog.Logger
}

// Driver runs tasks as plain programs. It holds no process and no descriptor between calls, so there is nothing to close.
type Driver struct {
	cfg    Config
	log    hclog.Logger
	boot   string
	mode   isolation
	groups cgroups
	locks  locks
	// step, when set by a test, is called with the name of each step of a start before it is done.
	step func(name string)
}

var _ runtime.Driver = (*Driver)(nil)

// Open finds out what works on this machine (namespaces, cgroups) and clears away what an agent that died in the middle of a
// Start, or a boot of the machine, left behind in cfg.Dir. Running tasks are not touched.
func Open(cfg Config) (*Driver, error) {
	if os.Getenv(initMarker) != "" {
		return nil, errors.New("open exec driver: this program was started as exec-init but does not call exec.InitMain")
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("open exec driver: state directory %q is not absolute", cfg.Dir)
	}
	if cfg.Exe == "" {
		cfg.Exe = "/proc/self/exe" // stays the program that runs when its file is replaced by an upgrade
	}
	d := &Driver{cfg: cfg, log: cfg.Logger, locks: locks{held: map[string]*lock{}}}
	if d.log == nil {
		d.log = hclog.NewNullLogger()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open exec driver: %w", err)
	}
	var err error
	if d.boot, err = bootID(); err != nil {
		return nil, fmt.Errorf("open exec driver: %w", err)
	}
	if d.mode, err = d.probeIsolation(cfg.Isolation); err != nil {
		return nil, fmt.Errorf("open exec driver: %w", err)
	}
	d.groups = probeCgroups(d.log)
	if err := errors.Join(d.adopt(), d.sweep()); err != nil {
		return nil, fmt.Errorf("open exec driver: %w", err)
	}
	return d, nil
}

// Name returns "exec".
func (d *Driver) Name() string { return Name }

// Fingerprint says what Open found.
func (d *Driver) Fingerprint(context.Context) runtime.Fingerprint {
	return runtime.Fingerprint{
		Info: state.DriverInfo{Detected: true, Healthy: true, HealthDescription: d.describe()},
		Attributes: map[string]string{
			"driver.exec":           "1",
			"driver.exec.isolation": d.mode.name(),
			"driver.exec.cgroups":   d.groups.version,
		},
	}
}

// describe says in one line what a task gets here.
func (d *Driver) describe() string {
	s := "plain processes"
	if d.mode.namespaces {
		s = "own namespaces"
	}
	if d.groups.version == CgroupsNone {
		return s + ", limits are not enforced (no cgroups)"
	}
	return s + ", limits by cgroups " + d.groups.version
}

// sweep removes the tasks that never ran and those of earlier boots.
func (d *Driver) sweep() error {
	names, err := d.names()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range names {
		if t, err := d.load(name); err == nil && t.ran() {
			continue
		}
		if err := d.destroy(ctx, name); err != nil {
			d.log.Warn("cannot clear away an unfinished start", "task", name, "error", err)
		}
	}
	return nil
}

// List finds every task of this boot that was started, running or not.
func (d *Driver) List(ctx context.Context) ([]runtime.Found, error) {
	names, err := d.names()
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	var found []runtime.Found
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list tasks: %w", err)
		}
		t, err := d.load(name)
		if err != nil || !t.ran() {
			continue // unreadable, of another boot, or not (yet) started: Start and Remove deal with it by name
		}
		f := runtime.Found{ID: t.rec.ID, Labels: t.rec.Labels}
		if p := t.process(); p != nil {
			f.Running, f.PID = true, t.hostPID()
			p.close()
		}
		found = append(found, f)
	}
	return found, nil
}

// Signal sends sig to the task's first process.
func (d *Driver) Signal(_ context.Context, id runtime.TaskID, sig syscall.Signal) error {
	name, err := taskName(id)
	if err != nil {
		return fmt.Errorf("signal task: %w", err)
	}
	t, err := d.load(name)
	if err != nil {
		return fmt.Errorf("signal task %s: %w", name, err)
	}
	init := t.process()
	if init == nil {
		return fmt.Errorf("signal task %s: it has ended: %w", name, runtime.ErrNotFound)
	}
	defer init.close()
	// Not by way of init: SIGKILL and SIGSTOP cannot be handed on, and killing init would lose the exit code.
	p := t.command()
	if p == nil {
		return fmt.Errorf("signal task %s: its command has ended: %w", name, runtime.ErrNotFound)
	}
	defer p.close()
	if err := p.signal(sig); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			err = runtime.ErrNotFound
		}
		return fmt.Errorf("signal task %s: %w", name, err)
	}
	return nil
}

// dir is where a task's state is kept.
func (d *Driver) dir(name string) string { return filepath.Join(d.cfg.Dir, name) }

// names lists the task directories.
func (d *Driver) names() ([]string, error) {
	entries, err := os.ReadDir(d.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && strings.Contains(e.Name(), nameSeparator) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// locks serialises starts and removals of one task; others go on.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	mu    sync.Mutex
	users int
}

// lock waits for the task's turn and returns what ends it.
func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	k := l.held[name]
	if k == nil {
		k = &lock{}
		l.held[name] = k
	}
	k.users++
	l.mu.Unlock()
	k.mu.Lock()
	return func() {
		k.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, name)
		}
	}
}
