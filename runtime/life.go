package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/state"
)

// sweepTimeout is how long a task of which nothing is known may take to end.
const sweepTimeout = 5 * time.Second

// runTasks runs the tasks until all are dead and decides how the allocation ended. It returns false when ctx ended first.
func (a *alloc) runTasks(ctx context.Context) bool {
	if !a.noticeReboot(ctx) {
		return false
	}
	tasks := a.makeTasks(ctx)
	defer a.dropTasks()
	var wg sync.WaitGroup
	defer wg.Wait()
	ended := make(chan struct{}, len(tasks))
	for _, t := range tasks {
		wg.Go(func() {
			t.run(ctx)
			ended <- struct{}{}
		})
	}
	a.settle(tasks)
	stop := a.stop
	for left := len(tasks); left > 0; {
		select {
		case <-ctx.Done():
			return false
		case <-ended:
			left--
			a.settle(tasks)
		case <-stop:
			stop = nil
			a.note(func(rec *record) { rec.Stop = "stopped by order of the cluster" })
			wg.Go(func() { stopTasks(ctx, tasks) })
		case <-a.wake:
			a.refresh(ctx)
			a.settle(tasks)
		}
	}
	return ctx.Err() == nil && a.conclude(ctx)
}

// noticeReboot has tasks that ran when the machine went down started again. That is nobody's failure.
func (a *alloc) noticeReboot(ctx context.Context) bool {
	boot := a.r.cfg.BootID
	if rec := a.record(); boot == "" || rec.BootID == boot {
		return true
	}
	err := a.save(ctx, func(rec *record) {
		rec.BootID = boot
		for name, t := range rec.Tasks {
			if t.Phase == phaseStarting || t.Phase == phaseRunning {
				rec.setTask(name, func(t *taskRecord) {
					t.Phase, t.DueAt = phasePending, 0
					t.State.Events = addEvents(t.State.Events, event(EventRebooted, "the machine was rebooted, the task is started again"))
				})
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		a.log.Warn("cannot record a reboot", "error", err) // the tasks will be missed: exit code unknown
	}
	return ctx.Err() == nil
}

func (a *alloc) makeTasks(ctx context.Context) []*task {
	rec := a.record()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tasks = map[string]*task{}
	var tasks []*task
	for _, spec := range rec.group().Tasks {
		t := newTask(ctx, a, spec.Name, a.r.drivers[CanonicalDriver(spec.Driver)], spec.Leader)
		a.tasks[spec.Name] = t
		tasks = append(tasks, t)
	}
	return tasks
}

func (a *alloc) dropTasks() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tasks = nil
}

// settle stops the siblings of a task that failed, and of a leader that ended. It looks at states, so that it does the same
// after a restart of the agent.
func (a *alloc) settle(tasks []*task) {
	rec := a.record()
	if rec.Stop != "" {
		return
	}
	for _, t := range tasks {
		tr := rec.Tasks[t.name]
		if tr.Phase != phaseDead {
			continue
		}
		switch {
		case tr.State.Failed:
			killOthers(tasks, t, EventSiblingFailed, fmt.Sprintf("task %q has failed", t.name))
		case t.leader:
			killOthers(tasks, t, EventLeaderDead, fmt.Sprintf("leader task %q has ended", t.name))
		}
	}
}

func killOthers(tasks []*task, but *task, kind, message string) {
	for _, t := range tasks {
		if t != but {
			t.kill(kind, message)
		}
	}
}

// stopTasks stops the leader first and, once it has ended, the others.
func stopTasks(ctx context.Context, tasks []*task) {
	const message = "stopped by order of the cluster"
	for _, t := range tasks {
		if t.leader {
			t.kill("", message)
			select {
			case <-t.ended:
			case <-ctx.Done():
				return
			}
		}
	}
	for _, t := range tasks {
		t.kill("", message)
	}
}

// conclude decides how the allocation ended, once, before anything is cleaned up.
func (a *alloc) conclude(ctx context.Context) bool {
	change := func(rec *record) {
		rec.Final, rec.Reason = state.ClientComplete, "all tasks have ended well"
		if rec.Stop != "" {
			rec.Reason = rec.Stop
		}
		for _, t := range rec.group().Tasks {
			if tr := rec.Tasks[t.Name]; tr.State.Failed {
				rec.Final, rec.Reason = state.ClientFailed, fmt.Sprintf("task %q failed: %s", t.Name, tr.Why)
				break
			}
		}
	}
	return a.settleRecord(ctx, change)
}

// settleRecord records a change that happens even when the disk refuses: the leader, who is told, remembers it then.
func (a *alloc) settleRecord(ctx context.Context, change func(*record)) bool {
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := a.save(soon, change); err != nil && ctx.Err() == nil {
		a.note(change)
	}
	return ctx.Err() == nil
}

// clean removes everything of an ended allocation but its directory, in reverse order. Only then it is reported as ended: its
// resources and ports are free. It returns false when ctx ended first.
func (a *alloc) clean(ctx context.Context) bool {
	rec := a.record()
	for _, t := range slices.Backward(rec.group().Tasks) {
		l := a.r.drivers[CanonicalDriver(t.Driver)]
		if l == nil {
			continue
		}
		id := TaskID{AllocID: a.id, Task: t.Name}
		ok := a.retry(ctx, fmt.Sprintf("cannot remove task %q", t.Name), func(ctx context.Context) error {
			return l.remove(ctx, id)
		})
		if !ok {
			return false
		}
	}
	for _, s := range slices.Backward(a.steps(rec)) {
		if s.Remove == nil {
			continue
		}
		if !a.retry(ctx, fmt.Sprintf("cannot clean up (%s)", s.Name), s.Remove) {
			return false
		}
	}
	a.trim(func(string, int64, logBound) {}) // for the last time
	ok := a.settleRecord(ctx, func(rec *record) { rec.Ended, rec.EndedAt = true, time.Now().UnixNano() })
	if ok && rec.group().CoreCount() > 0 {
		a.r.pinTasks() // its cores are everybody's again
	}
	return ok
}

// sweep ends the tasks of an allocation of which there is no record, as far as drivers know any. It returns false when ctx
// ended first.
func (a *alloc) sweep(ctx context.Context) bool {
	if a.wanted() == wantRun {
		return false // no order, or rows that could not be taken over
	}
	for name, l := range a.r.drivers {
		ok := a.retry(ctx, "cannot end what is left with driver "+name, func(ctx context.Context) error {
			return a.sweepDriver(ctx, l)
		})
		if !ok {
			return false
		}
	}
	if a.wanted() == wantGone {
		return true
	}
	rec := &record{
		Format: recordFormat, Alloc: &state.Alloc{ID: a.id, AllocGroup: &state.AllocGroup{}, AllocNode: &state.AllocNode{}}, BootID: a.r.cfg.BootID,
		Final: state.ClientComplete, Reason: "stopped by order of the cluster; this node had no record of it",
		Ended: true, EndedAt: time.Now().UnixNano(),
	}
	if next := a.takeNext(); next != nil {
		rec.Alloc, rec.Reason = assignedRow(next.Alloc), "stopped before it started"
	}
	_ = a.put(rec, true) // without a directory it holds in memory only; who asks again is told again
	return true
}

func (a *alloc) sweepDriver(ctx context.Context, l *listed) error {
	if err := l.list(ctx); err != nil {
		if !l.driver.Fingerprint(ctx).Info.Detected {
			return nil // there is no such thing here; should it come back with tasks, they are found and asked about
		}
		return err
	}
	for _, f := range l.ofAlloc(a.id) {
		if f.Running {
			if err := l.driver.Signal(ctx, f.ID, syscall.SIGTERM); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			grace, cancel := context.WithTimeout(ctx, sweepTimeout)
			_, _ = l.driver.Wait(grace, f.ID) // removal follows in any case
			cancel()
		}
		if err := l.remove(ctx, f.ID); err != nil {
			return err
		}
	}
	return nil
}

// erase removes the directory of an ended allocation and forgets it.
func (a *alloc) erase(ctx context.Context) {
	ok := a.retry(ctx, "cannot remove the allocation's directory", func(context.Context) error {
		return removeTree(a.dir)
	})
	if ok {
		a.r.forget(a)
	}
}

// restart asks tasks to start over, see Runner.RestartAlloc.
func (a *alloc) restart(ctx context.Context, name string) error {
	a.mu.Lock()
	var tasks []*task
	for _, t := range a.tasks {
		if name == "" || t.name == name {
			tasks = append(tasks, t)
		}
	}
	living := a.tasks != nil
	a.mu.Unlock()
	if !living || a.wanted() != wantRun {
		return errors.New("it is not running")
	}
	if len(tasks) == 0 {
		return fmt.Errorf("task %q: %w", name, ErrNotFound)
	}
	asked := make([]chan struct{}, len(tasks))
	for i, t := range tasks {
		asked[i] = make(chan struct{})
		select {
		case t.restarts <- asked[i]:
		case <-t.ended:
			if name != "" {
				return fmt.Errorf("task %q has ended", t.name)
			}
			close(asked[i])
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, done := range asked {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
