package fake

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// Machine is an imaginary machine. It keeps what runs on it while drivers, that is agents, come and go.
type Machine struct {
	mu       sync.Mutex
	tasks    map[runtime.TaskID]*task
	starts   map[runtime.TaskID]int // runs, over the machine's whole life
	refused  map[runtime.TaskID]int // starts that failed by script
	shelf    shelf
	pid      int
	commands int // that run inside tasks
	hook     func(op string, id runtime.TaskID) error
}

// task is one run on the machine.
type task struct {
	id      runtime.TaskID
	spec    runtime.TaskSpec
	script  script
	pid     int
	started time.Time
	endsAt  time.Time     // zero: not by itself
	exit    runtime.Exit  // how it ends at endsAt
	changed chan struct{} // closed, and replaced, when endsAt changes or the task goes
	gone    bool          // removed, or lost by a reboot
}

// NewMachine makes a machine on which nothing runs.
func NewMachine() *Machine {
	return &Machine{
		tasks: map[runtime.TaskID]*task{}, starts: map[runtime.TaskID]int{}, refused: map[runtime.TaskID]int{}, pid: 1000,
		shelf: shelf{images: map[string]state.Image{}, parts: map[string][]byte{}, begun: map[string][]byte{}},
	}
}

// Hook has every operation of every driver on this machine, by name, pass f before it does anything and, with "after " before
// its name, once it is done. An error of f is the operation's.
func (m *Machine) Hook(f func(op string, id runtime.TaskID) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

func (m *Machine) hooked(op string, id runtime.TaskID) error {
	m.mu.Lock()
	f := m.hook
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(op, id)
}

// Running lists the tasks that run now.
func (m *Machine) Running() []runtime.TaskID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []runtime.TaskID
	for id, t := range m.tasks {
		if t.running(time.Now()) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// Tasks lists the tasks that exist, running or not.
func (m *Machine) Tasks() []runtime.TaskID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []runtime.TaskID
	for id := range m.tasks {
		out = append(out, id)
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// Spec is the specification with which a task that exists was started.
func (m *Machine) Spec(id runtime.TaskID) (runtime.TaskSpec, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tasks[id]
	if !ok {
		return runtime.TaskSpec{}, false
	}
	return t.spec, true
}

// Starts counts the runs of a task over the machine's whole life.
func (m *Machine) Starts(id runtime.TaskID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.starts[id]
}

// Exit ends a running task now, as if by itself.
func (m *Machine) Exit(id runtime.TaskID, x runtime.Exit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tasks[id]
	if !ok || !t.running(time.Now()) {
		return fmt.Errorf("end task %s of %s: %w", id.Task, id.AllocID, runtime.ErrNotFound)
	}
	t.endIn(0, x)
	return nil
}

// Lose makes the machine forget a task: what happens when a daemon restarts while the task ends.
func (m *Machine) Lose(id runtime.TaskID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lose(id)
}

// Reboot ends everything that runs. Nothing remembers how.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.tasks {
		m.lose(id)
	}
}

// Put places a task on the machine as if another agent had started it: for tests of what nobody knows.
func (m *Machine) Put(spec runtime.TaskSpec) error {
	s, err := readScript(spec.Config)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.tasks[spec.ID]; ok {
		return errors.New("there is such a task already")
	}
	m.start(spec, s)
	return nil
}

func (m *Machine) lose(id runtime.TaskID) {
	if t, ok := m.tasks[id]; ok {
		t.gone = true
		t.wake()
		delete(m.tasks, id)
	}
}

// start makes a run. The machine's lock is held.
func (m *Machine) start(spec runtime.TaskSpec, s script) *task {
	m.pid++
	m.starts[spec.ID]++
	t := &task{id: spec.ID, spec: spec, script: s, pid: m.pid, started: time.Now(), changed: make(chan struct{})}
	x := runtime.Exit{Code: s.exitCode, Signal: s.exitSignal, OOM: s.oom}
	if s.oom {
		x.Code, x.Signal = 137, int(syscall.SIGKILL)
	}
	switch {
	case s.failRuns > 0 && m.starts[spec.ID] <= s.failRuns:
		x = runtime.Exit{Code: 1}
		t.endIn(s.runFor, x)
	case s.failRuns > 0:
	case s.runFor > 0:
		t.endIn(s.runFor, x)
	}
	m.tasks[spec.ID] = t
	return t
}

func (t *task) running(now time.Time) bool { return t.endsAt.IsZero() || now.Before(t.endsAt) }

// endIn sets when and how the task ends, unless it ends before.
func (t *task) endIn(d time.Duration, x runtime.Exit) {
	at := time.Now().Add(d)
	if !t.endsAt.IsZero() && t.endsAt.Before(at) {
		return
	}
	t.endsAt, t.exit = at, x
	t.exit.At = at
	t.wake()
}

func (t *task) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func compareIDs(a, b runtime.TaskID) int {
	return cmp.Or(cmp.Compare(a.AllocID, b.AllocID), cmp.Compare(a.Task, b.Task))
}
