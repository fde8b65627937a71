package runtime

import (
	"context"
	"fmt"
	"slices"

	"github.com/drover-io/drover/state"
)

// Step is one thing that must be there before tasks start: a directory, a cgroup, a network namespace. Both functions are
// idempotent, are called again after crashes, and undo themselves as far as they got when ctx ends. What they make on the host
// is named by the allocation.
type Step struct {
	Name   string
	Task   string                          // only this task needs it; "" means all
	Ensure func(ctx context.Context) error // called before every start of a task; nil means nothing to do
	Remove func(ctx context.Context) error // no error when there is nothing; nil means nothing to do
}

// StepInput is what steps are made from.
type StepInput struct {
	Alloc *state.Alloc
	Job   *state.Job // with the allocation's group only
	Group *state.TaskGroup
	Dir   string // the allocation's directory
	// Spec is a task's specification as it will be started, without what Config.Complete adds.
	Spec func(task string) (TaskSpec, error)
	// Event adds an event to a task, "" means to all of them.
	Event func(task, kind, message string)
}

// stepInput makes the input of steps from a record.
func (a *alloc) stepInput(rec *record) StepInput {
	return StepInput{
		Alloc: rec.Alloc, Job: rec.Job, Group: rec.group(), Dir: a.dir,
		Spec: func(task string) (TaskSpec, error) { return a.bareSpec(rec, task) },
		Event: func(task, kind, message string) {
			a.note(func(rec *record) {
				for name := range rec.Tasks {
					if task == "" || name == task {
						rec.setTask(name, func(t *taskRecord) {
							t.State.Events = addEvents(t.State.Events, event(kind, "%s", message))
						})
					}
				}
			})
		},
	}
}

// steps lists the allocation's steps in order: those of the whole allocation first.
func (a *alloc) steps(rec *record) []Step {
	steps := []Step{a.dirStep(rec)}
	if a.r.cfg.Steps != nil && rec.Job != nil {
		steps = append(steps, a.r.cfg.Steps(a.stepInput(rec))...)
	}
	slices.SortStableFunc(steps, func(x, y Step) int {
		switch {
		case x.Task == "" && y.Task != "":
			return -1
		case x.Task != "" && y.Task == "":
			return 1
		}
		return 0
	})
	return steps
}

// ensure does the steps of the whole allocation, one task at a time, then those of one task.
func (a *alloc) ensure(ctx context.Context, task string) error {
	steps := a.steps(a.record())
	select { // not a mutex: steps may take long, and a killed task must not wait for its sibling's
	case a.ensuring <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := ensureSteps(ctx, steps, "")
	<-a.ensuring
	if err != nil {
		return err
	}
	return ensureSteps(ctx, steps, task)
}

func ensureSteps(ctx context.Context, steps []Step, task string) error {
	for _, s := range steps {
		if s.Task != task || s.Ensure == nil {
			continue
		}
		if err := s.Ensure(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.Name, explainDisk(err))
		}
	}
	return nil
}

// dirStep is the allocation's directories. When it ends, its files and logs stay for those who want to know why, and go with
// the directory.
func (a *alloc) dirStep(rec *record) Step {
	return Step{
		Name: "directories",
		Ensure: func(context.Context) error {
			return makeTaskDirs(a.dir, rec.group().Tasks)
		},
		Remove: func(context.Context) error {
			return removeSecrets(a.dir, rec.group().Tasks)
		},
	}
}
