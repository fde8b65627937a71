package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// Operations that Driver.Fail and Machine.Hook know.
const (
	OpStart  = "Start"
	OpWait   = "Wait"
	OpSignal = "Signal"
	OpRemove = "Remove"
	OpList   = "List"
)

// Driver is one agent's view of a machine. It implements runtime.Driver.
type Driver struct {
	m *Machine

	mu     sync.Mutex
	closed bool
	source runtime.ImageSource
	faults map[string]*fault
	moving map[string]fakeMove // images that are being fetched, by digest and name
}

// fault is an error to come.
type fault struct {
	err  error
	left int // < 0: always
}

var (
	_ runtime.Driver      = (*Driver)(nil)
	_ runtime.StatsReader = (*Driver)(nil)
	_ runtime.Confiner    = (*Driver)(nil)
)

// New makes a driver on a machine.
func New(m *Machine) *Driver { return &Driver{m: m, faults: map[string]*fault{}} }

// Name is "fake".
func (d *Driver) Name() string { return "fake" }

// InContainer says that tasks see their directories at /alloc, /local and /secrets.
func (d *Driver) InContainer() bool { return true }

// Fingerprint says that the driver works.
func (d *Driver) Fingerprint(context.Context) runtime.Fingerprint {
	return runtime.Fingerprint{
		Info:       state.DriverInfo{Detected: true, Healthy: true, HealthDescription: "pretends to run tasks"},
		Attributes: map[string]string{"driver.fake": "1"},
	}
}

// Fail has the next so many calls of an operation fail with err; times < 0 means all, 0 none any more.
func (d *Driver) Fail(op string, err error, times int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if times == 0 {
		delete(d.faults, op)
		return
	}
	d.faults[op] = &fault{err: err, left: times}
}

// Close makes every later operation of this driver fail, as if its agent had been killed. The machine goes on.
func (d *Driver) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// enter is the begin of every operation.
func (d *Driver) enter(ctx context.Context, op string, id runtime.TaskID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.m.hooked(op, id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%s: %w", op, context.Canceled)
	}
	f, ok := d.faults[op]
	if !ok {
		return nil
	}
	if f.left > 0 {
		if f.left--; f.left == 0 {
			delete(d.faults, op)
		}
	}
	return f.err
}

// Start starts a task, or attaches to it when it runs. One that has ended is started anew.
func (d *Driver) Start(ctx context.Context, spec runtime.TaskSpec) (runtime.Started, error) {
	if err := d.enter(ctx, OpStart, spec.ID); err != nil {
		return runtime.Started{}, fmt.Errorf("start task %s: %w", spec.ID.Task, err)
	}
	s, err := readScript(spec.Config)
	if err != nil {
		return runtime.Started{}, fmt.Errorf("start task %s: %w", spec.ID.Task, err)
	}
	if s.startDelay > 0 {
		select {
		case <-time.After(s.startDelay):
		case <-ctx.Done():
			return runtime.Started{}, ctx.Err()
		}
	}
	started, err := d.start(spec, s)
	if err != nil {
		return started, fmt.Errorf("start task %s: %w", spec.ID.Task, err)
	}
	if !started.Attached {
		if err := errors.Join(appendLine(spec.Stdout, s.stdout), appendLine(spec.Stderr, s.stderr)); err != nil {
			d.m.Lose(spec.ID)
			return runtime.Started{}, fmt.Errorf("start task %s: %w", spec.ID.Task, err)
		}
	}
	if err := d.m.hooked("after "+OpStart, spec.ID); err != nil {
		return runtime.Started{}, err
	}
	return started, nil
}

func (d *Driver) start(spec runtime.TaskSpec, s script) (runtime.Started, error) {
	m := d.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.tasks[spec.ID]; ok && t.running(time.Now()) {
		return runtime.Started{PID: t.pid, StartedAt: t.started, Attached: true}, nil
	}
	if s.startError != "" && (s.startFailures == 0 || m.refused[spec.ID] < s.startFailures) {
		m.refused[spec.ID]++
		if s.notRetryable {
			return runtime.Started{}, fmt.Errorf("%s: %w", s.startError, runtime.ErrNotRetryable)
		}
		return runtime.Started{}, errors.New(s.startError)
	}
	t := m.start(spec, s)
	return runtime.Started{PID: t.pid, StartedAt: t.started}, nil
}

// Wait blocks until the task has ended.
func (d *Driver) Wait(ctx context.Context, id runtime.TaskID) (runtime.Exit, error) {
	if err := d.enter(ctx, OpWait, id); err != nil {
		return runtime.Exit{}, fmt.Errorf("wait for task %s: %w", id.Task, err)
	}
	d.m.mu.Lock()
	t, ok := d.m.tasks[id]
	d.m.mu.Unlock()
	if !ok {
		return runtime.Exit{}, fmt.Errorf("wait for task %s: %w", id.Task, runtime.ErrNotFound)
	}
	for {
		d.m.mu.Lock()
		endsAt, exit, gone, changed := t.endsAt, t.exit, t.gone, t.changed
		d.m.mu.Unlock()
		left := time.Until(endsAt)
		switch {
		case !endsAt.IsZero() && left <= 0:
			return exit, d.m.hooked("after "+OpWait, id)
		case gone:
			return runtime.Exit{}, fmt.Errorf("wait for task %s: %w", id.Task, runtime.ErrNotFound)
		}
		if err := sleep(ctx, endsAt, left, changed); err != nil {
			return runtime.Exit{}, fmt.Errorf("wait for task %s: %w", id.Task, err)
		}
	}
}

// sleep waits for the task's end, or for something to change.
func sleep(ctx context.Context, endsAt time.Time, left time.Duration, changed <-chan struct{}) error {
	var due <-chan time.Time
	if !endsAt.IsZero() {
		timer := time.NewTimer(left)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Signal sends a signal to a running task: SIGKILL ends it at once, others as its script says. SIGHUP, SIGUSR1 and SIGUSR2 are
// only heard.
func (d *Driver) Signal(ctx context.Context, id runtime.TaskID, sig syscall.Signal) error {
	if err := d.enter(ctx, OpSignal, id); err != nil {
		return fmt.Errorf("signal task %s: %w", id.Task, err)
	}
	d.m.mu.Lock()
	t, ok := d.m.tasks[id]
	if !ok || !t.running(time.Now()) {
		d.m.mu.Unlock()
		return fmt.Errorf("signal task %s: %w", id.Task, runtime.ErrNotFound)
	}
	x := runtime.Exit{Code: 128 + int(sig), Signal: int(sig)}
	switch sig {
	case syscall.SIGKILL:
		t.endIn(0, x)
	case syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2:
	default:
		if !t.script.ignoreTerm {
			t.endIn(t.script.killAfter, x)
		}
	}
	d.m.mu.Unlock()
	return d.m.hooked("after "+OpSignal, id)
}

// Remove ends and deletes a task.
func (d *Driver) Remove(ctx context.Context, id runtime.TaskID) error {
	if err := d.enter(ctx, OpRemove, id); err != nil {
		return fmt.Errorf("remove task %s: %w", id.Task, err)
	}
	d.m.Lose(id)
	return d.m.hooked("after "+OpRemove, id)
}

// List lists the tasks on the machine.
func (d *Driver) List(ctx context.Context) ([]runtime.Found, error) {
	if err := d.enter(ctx, OpList, runtime.TaskID{}); err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	now := time.Now()
	var out []runtime.Found
	for id, t := range d.m.tasks {
		f := runtime.Found{ID: id, Labels: t.spec.Labels}
		if t.running(now) {
			f.Running, f.PID = true, t.pid
		}
		out = append(out, f)
	}
	return out, nil
}

// Stats pretends that a task uses a tenth of a core and half of its memory.
func (d *Driver) Stats(_ context.Context, id runtime.TaskID) (runtime.Usage, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	t, ok := d.m.tasks[id]
	if !ok || !t.running(time.Now()) {
		return runtime.Usage{}, fmt.Errorf("read stats of task %s: %w", id.Task, runtime.ErrNotFound)
	}
	limit := uint64(max(0, t.spec.Limits.MemoryMB)) << 20
	return runtime.Usage{
		CPUNanos: uint64(time.Since(t.started) / 10), MemoryBytes: limit / 2, MemoryLimit: limit, Pids: 1,
	}, nil
}

func appendLine(path, text string) error {
	if text == "" || path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Close())
}
