package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/drover-io/drover/state"
)

// Errors of commands inside tasks; test with errors.Is.
var (
	// ErrNoCommand says that the program does not exist in the task.
	ErrNoCommand = errors.New("no such program")
	// ErrBadCommand says that the program exists and cannot be executed.
	ErrBadCommand = errors.New("the program cannot be executed")
	// ErrBusy says that so much is done on this machine already that no more is begun.
	ErrBusy = errors.New("too much is done already")
	// ErrNotRunning says that the task does not run.
	ErrNotRunning = errors.New("the task does not run")
)

// MaxCommands bounds the commands that run inside the tasks of a machine at a time.
const MaxCommands = 16

// Execer is what a driver implements that can run a further command inside a running task.
type Execer interface {
	// Exec runs a command in the namespaces, under the limits and as the user of the task, until it has ended or ctx has, which
	// kills it and all that came of it. spec is the task's. Everything that the command wrote has been handed out when Exec
	// returns. ErrNotFound: the task does not run. ErrNoCommand and ErrBadCommand: the command could not be started.
	Exec(ctx context.Context, spec TaskSpec, cmd Command) (exitCode int, err error)
}

// Command is a command to run inside a task.
type Command struct {
	Args   []string
	TTY    bool          // with a terminal of its own; what it writes all goes to Stdout then
	Stdin  io.ReadCloser // nil is an empty one. Exec closes it and waits for a Read that is under way
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan TTYSize // sizes of the terminal
}

// TTYSize is the size of a terminal in characters.
type TTYSize struct{ Rows, Columns int }

// CommandMark begins the entry of a command's environment by which what came of it is found and ended. The node's ID and the
// session's stand behind it, with a slash between them.
const CommandMark = "DROVER_COMMAND="

// Exec checks that a command can be run inside a task; task may be "" when the allocation has only one. The function that is
// returned runs it. At most MaxCommands run on the machine at a time: ErrBusy.
func (r *Runner) Exec(allocID, task string, cmd Command) (func(context.Context, Command) (int, error), error) {
	a, t, err := r.running(allocID, task)
	if err != nil {
		return nil, fmt.Errorf("run a command in allocation %s: %w", allocID, err)
	}
	driver, ok := t.driver.driver.(Execer)
	if !ok {
		return nil, fmt.Errorf("run a command in allocation %s: the driver %s cannot do that: %w", allocID, t.driver.driver.Name(), ErrNotRetryable)
	}
	if len(cmd.Args) == 0 || cmd.Args[0] == "" {
		return nil, fmt.Errorf("run a command in allocation %s: no program is named: %w", allocID, ErrNotRetryable)
	}
	return func(ctx context.Context, io Command) (int, error) {
		if !r.commands.enter(MaxCommands) {
			return -1, fmt.Errorf("%d commands run inside the tasks of this machine: %w", MaxCommands, ErrBusy)
		}
		defer r.commands.leave()
		spec, err := a.spec(t.name)
		if err != nil {
			return -1, err
		}
		io.Args, io.TTY = cmd.Args, cmd.TTY
		if io.Stdout == nil {
			io.Stdout = discard{}
		}
		if io.Stderr == nil {
			io.Stderr = discard{}
		}
		a.log.Info("a command runs inside a task", "task", t.name, "program", cmd.Args[0], "tty", cmd.TTY)
		return driver.Exec(ctx, spec, io)
	}, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// counter counts what is under way.
type counter struct{ n atomic.Int64 }

func (c *counter) enter(most int64) bool {
	if c.n.Add(1) > most {
		c.n.Add(-1)
		return false
	}
	return true
}

func (c *counter) leave() { c.n.Add(-1) }

// running finds a task that runs; name may be "" when the allocation has only one.
func (r *Runner) running(allocID, name string) (*alloc, *task, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return nil, nil, err
	}
	rec := a.record()
	if rec == nil {
		return nil, nil, ErrNotRunning
	}
	if name == "" {
		tasks := rec.group().Tasks
		if len(tasks) != 1 {
			return nil, nil, fmt.Errorf("name one of its tasks: %s: %w", taskNames(tasks), ErrNotRetryable)
		}
		name = tasks[0].Name
	}
	if rec.task(name) == nil {
		return nil, nil, fmt.Errorf("it has no task %q, it has %s: %w", name, taskNames(rec.group().Tasks), ErrNotFound)
	}
	a.mu.Lock()
	t := a.tasks[name]
	a.mu.Unlock()
	if t == nil || t.driver == nil || rec.Tasks[name].Phase != phaseRunning {
		return nil, nil, fmt.Errorf("task %q is %s: %w", name, rec.Tasks[name].State.State, ErrNotRunning)
	}
	return a, t, nil
}

func taskNames(tasks []state.Task) string { return strings.Join(namesOf(tasks), ", ") }

// SignalTask sends a signal, by name or number, to one task, to all that run when name is "".
func (r *Runner) SignalTask(ctx context.Context, allocID, name, signal string) error {
	sig, err := ParseSignal(signal)
	if err != nil {
		return fmt.Errorf("signal allocation %s: %w", allocID, err)
	}
	names := []string{name}
	if name == "" {
		a, err := r.alloc(allocID)
		if err != nil {
			return fmt.Errorf("signal allocation %s: %w", allocID, err)
		}
		if names = a.runningTasks(); len(names) == 0 {
			return fmt.Errorf("signal allocation %s: %w", allocID, ErrNotRunning)
		}
	}
	for _, name := range names {
		a, t, err := r.running(allocID, name)
		if err == nil {
			err = t.driver.driver.Signal(ctx, t.id, sig)
		}
		if errors.Is(err, ErrNotFound) && a != nil {
			err = fmt.Errorf("task %q has just ended: %w", t.name, ErrNotRunning)
		}
		if err != nil {
			return fmt.Errorf("signal allocation %s: %w", allocID, err)
		}
		a.note(t.change(nil, event(EventSignaling, "a user sent it %s", signalName(sig))))
	}
	return nil
}

// runningTasks are the names of the tasks that run, in the order of the job.
func (a *alloc) runningTasks() []string {
	rec := a.record()
	if rec == nil {
		return nil
	}
	var names []string
	for _, t := range rec.group().Tasks {
		if rec.Tasks[t.Name].Phase == phaseRunning {
			names = append(names, t.Name)
		}
	}
	return names
}
