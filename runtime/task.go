package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drover-io/drover/state"
)

// maxStartLag is how much later a driver may say that a task was started than that it ended: it learns of the start from a daemon.
const maxStartLag = 10 * time.Second

// task is one task of a living allocation. All but kill, ended and restarts belongs to its goroutine.
type task struct {
	a      *alloc
	name   string
	id     TaskID
	leader bool
	driver *listed // nil: not on this node

	work     context.Context // ends when the task is killed, with a *killReason as its cause, or the Runner's context ends
	cancel   context.CancelCauseFunc
	ended    chan struct{}      // closed when the goroutine returns
	restarts chan chan struct{} // wishes to start over; what is sent is closed when that is done
	wishes   []chan struct{}
	gated    bool // must not start before the leader has confirmed the allocation
	tries    int  // failures in a row that are not counted
}

func newTask(ctx context.Context, a *alloc, name string, driver *listed, leader bool) *task {
	t := &task{
		a: a, name: name, id: TaskID{AllocID: a.id, Task: name}, leader: leader, driver: driver,
		ended: make(chan struct{}), restarts: make(chan chan struct{}),
	}
	t.work, t.cancel = context.WithCancelCause(ctx)
	return t
}

// run leads the task from wherever it stands to its death, or returns when ctx ends. Each turn does what the recorded phase
// says and records the next one.
func (t *task) run(ctx context.Context) {
	defer close(t.ended)
	defer t.answer()
	defer t.cancel(nil)
	t.reattach(ctx)
	for ctx.Err() == nil {
		switch t.record().Phase {
		case phasePending:
			t.prepare(ctx)
		case phaseStarting:
			t.start(ctx)
		case phaseRunning:
			t.watch(ctx)
		case phaseDead:
			t.a.poke() // siblings may have to follow
			t.remove(ctx)
			return
		}
	}
}

func (t *task) record() taskRecord { return t.a.record().Tasks[t.name] }

// change is a change of this task as a change of the record.
func (t *task) change(f func(*taskRecord), events ...state.TaskEvent) func(*record) {
	return func(rec *record) {
		rec.setTask(t.name, func(tr *taskRecord) {
			if f != nil {
				f(tr)
			}
			tr.State.Events = addEvents(tr.State.Events, events...)
		})
	}
}

// set records a change; when the disk refuses for long, or the task is killed meanwhile, it holds in memory only.
func (t *task) set(ctx context.Context, f func(*taskRecord), events ...state.TaskEvent) {
	change := t.change(f, events...)
	if err := t.a.save(t.work, change); err != nil && ctx.Err() == nil {
		t.a.note(change)
	}
}

// answer tells those who wished for a restart that it is done.
func (t *task) answer() {
	for _, w := range t.wishes {
		close(w)
	}
	t.wishes = nil
}

// reattach adjusts the recorded phase to what is on the machine, once per life of the agent.
func (t *task) reattach(ctx context.Context) {
	tr := t.record()
	if tr.Phase == phaseDead || t.driver == nil {
		return
	}
	asking := t.work
	if tr.Phase == phaseStarting {
		asking = ctx // it may run: also who wants it stopped has to know, or it would not get its chance to end well
	}
	var f Found
	var there bool
	ok := t.a.retry(asking, "cannot ask what runs", func(ctx context.Context) (err error) {
		f, there, err = t.driver.find(ctx, t.id)
		return err
	})
	if !ok {
		return // killed, or the agent ends
	}
	t.gated = t.a.restored && !f.Running
	switch {
	case tr.Phase == phaseStarting && !there:
		t.a.remember(t.change(func(tr *taskRecord) { tr.Phase = phasePending }))
	case tr.Phase == phasePending && (!there || tr.Runs > 0):
		// new, or waiting to be started again: the old run is removed before that
	case f.Running:
		t.set(ctx, func(tr *taskRecord) {
			tr.Phase = phaseRunning
			if tr.State.StartedAt == 0 {
				tr.State.StartedAt = time.Now().UnixNano()
			}
			tr.Runs = max(tr.Runs, 1)
		}, event(EventReattached, "it was running when the agent started"))
	default: // it ended meanwhile; the driver says how, or that it is lost
		t.set(ctx, func(tr *taskRecord) { tr.Phase, tr.Runs = phaseRunning, max(tr.Runs, 1) })
	}
}

// prepare waits until the task may start, clears away its last run, and records that it is about to start.
func (t *task) prepare(ctx context.Context) {
	if !t.hold(ctx) {
		return
	}
	if why := t.killed(); why != nil {
		t.die(ctx, why)
		return
	}
	tr := t.record()
	if tr.Runs > 0 && !t.remove(t.work) {
		return
	}
	var events []state.TaskEvent
	if tr.Runs == 0 {
		events = append(events, event(EventSetup, "preparing its directories, image and limits"))
	}
	err := t.a.save(t.work, t.change(func(tr *taskRecord) { tr.Phase, tr.DueAt, tr.Runs = phaseStarting, 0, tr.Runs+1 }, events...))
	if err != nil && t.work.Err() == nil {
		t.failed(ctx, EventSetupFailure, err)
	}
}

// hold waits until the task is due and confirmed, or killed. It returns false when ctx ended.
func (t *task) hold(ctx context.Context) bool {
	if t.gated && !t.a.isConfirmed() && t.work.Err() == nil {
		t.a.note(t.change(nil, event(EventWaitingForLeader, "it does not run; it is started when the cluster has confirmed that it should")))
		select {
		case <-t.a.confirmed:
		case <-t.work.Done():
		}
	}
	wait := time.Until(time.Unix(0, t.record().DueAt))
	if p := t.policy(); wait > p.Interval+2*p.Delay {
		wait = p.Delay // somebody set the clock back
	}
	if wait > 0 && t.work.Err() == nil {
		due := time.NewTimer(wait)
		defer due.Stop()
		select {
		case <-due.C:
		case w := <-t.restarts:
			t.wishes = append(t.wishes, w)
		case <-t.work.Done():
		}
	}
	return ctx.Err() == nil
}

// start starts the task.
func (t *task) start(ctx context.Context) {
	if why := t.killed(); why != nil {
		t.die(ctx, why)
		return
	}
	started, kind, err := t.launch(t.work)
	switch {
	case err == nil && ctx.Err() == nil:
		t.tries, t.gated = 0, false
		at := started.StartedAt
		if at.IsZero() {
			at = time.Now()
		}
		e := event(EventStarted, "it runs")
		e.Time = at.UnixNano() // not now: a task that ends at once has ended by now
		if started.Attached {
			e = event(EventReattached, "it was running already")
		}
		t.set(ctx, func(tr *taskRecord) { tr.Phase, tr.State.StartedAt = phaseRunning, at.UnixNano() }, e)
		t.a.r.pinTasks() // others may have taken or given back cores since its specification was made
		t.answer()
	case t.work.Err() != nil: // killed: the next turn sees it; or the agent ends
	case errors.Is(err, ErrUnavailable):
		t.a.note(t.change(nil, event(EventDriverFailure, "%v; trying again", err)))
		_ = pause(t.work, backoff(t.tries))
		t.tries++
	default:
		t.failed(ctx, kind, err)
	}
}

// launch does what has to be done for the task to run. On an error it says which kind of event that is.
func (t *task) launch(ctx context.Context) (Started, string, error) {
	if t.driver == nil {
		d := t.a.record().task(t.name).Driver
		return Started{}, EventDriverFailure, fmt.Errorf("driver %q is not on this node (it has: %s): %w", d, t.a.r.driverNames(), ErrNotRetryable)
	}
	if err := t.a.ensure(ctx, t.name); err != nil {
		return Started{}, EventSetupFailure, err
	}
	spec, err := t.a.spec(t.name)
	if err != nil {
		return Started{}, EventSetupFailure, err
	}
	if err := makeLogs(t.a.dir, spec); err != nil {
		return Started{}, EventSetupFailure, err
	}
	if p, ok := t.driver.driver.(ImagePuller); ok {
		if err := t.fetch(ctx, p, spec); err != nil {
			return Started{}, EventDriverFailure, err
		}
	}
	if t.a.record().group().CoreCount() > 0 {
		t.a.r.pinTasks() // the others make room first
	}
	t.a.marksOf(t.name).note(logMark{At: time.Now().UnixNano(), Sizes: t.a.logSizes(t.name), Run: t.record().Runs})
	started, err := t.driver.driver.Start(ctx, spec)
	return started, EventDriverFailure, err
}

// policy is the task's restart policy.
func (t *task) policy() state.RestartPolicy {
	if spec := t.a.record().task(t.name); spec != nil {
		return spec.RestartPolicy
	}
	return state.RestartPolicy{}
}

// failed deals with a start that did not work.
func (t *task) failed(ctx context.Context, kind string, err error) {
	t.answer()
	happened := event(kind, "%v", err)
	if errors.Is(err, ErrNotRetryable) {
		t.set(ctx, func(tr *taskRecord) { tr.Phase, tr.State.Failed, tr.Why = phaseDead, true, err.Error() },
			happened, event(EventNotRestarting, "starting it again on this node cannot help"))
		return
	}
	t.again(ctx, err.Error(), func(*taskRecord) {}, happened)
}

// again asks the restart policy what is to become of a task that ended for the given reason, and records that with finish.
func (t *task) again(ctx context.Context, why string, finish func(*taskRecord), happened ...state.TaskEvent) {
	tr := t.record()
	v := judgeRestart(t.policy(), tr.Window, time.Now(), t.id, tr.Runs)
	if !v.restart {
		t.set(ctx, func(tr *taskRecord) {
			finish(tr)
			tr.Phase, tr.Window, tr.State.Failed, tr.Why = phaseDead, v.window, true, why+"; "+v.reason
		}, append(happened, event(EventNotRestarting, "%s", v.reason))...)
		return
	}
	t.set(ctx, func(tr *taskRecord) {
		finish(tr)
		tr.Phase, tr.Window, tr.DueAt = phasePending, v.window, time.Now().Add(v.delay).UnixNano()
		tr.State.Restarts++
	}, append(happened, event(EventRestarting, "%s", v.reason))...)
}

// exited records how the task ended and what follows from it. why is set when it was killed, over when it is to start over.
func (t *task) exited(ctx context.Context, x Exit, why *killReason, over bool) {
	if begun := time.Unix(0, t.record().State.StartedAt); x.At.Before(begun) && begun.Sub(x.At) < maxStartLag {
		x.At = begun
	}
	ended := exitEvent(x)
	finish := func(tr *taskRecord) { tr.State.FinishedAt = ended.Time }
	switch {
	case why != nil:
		t.set(ctx, func(tr *taskRecord) { finish(tr); tr.Phase = phaseDead }, ended, event(EventKilled, "%s", why.message))
	case over:
		t.set(ctx, func(tr *taskRecord) { finish(tr); tr.Phase, tr.DueAt = phasePending, 0; tr.State.Restarts++ },
			ended, event(EventRestarting, "by order of a user, now"))
	case x.Success() && t.a.record().Job.Type == state.JobTypeBatch:
		t.set(ctx, func(tr *taskRecord) { finish(tr); tr.Phase = phaseDead }, ended)
	case x.Success():
		t.again(ctx, exitMessage(x), finish, ended)
	default:
		crash := t.crash(ctx, x)
		t.again(ctx, exitMessage(x), func(tr *taskRecord) { finish(tr); tr.State.Crash = crash }, ended)
	}
}

// remove deletes the task's run from the driver. It returns false when ctx ended first.
func (t *task) remove(ctx context.Context) bool {
	if t.driver == nil {
		return true
	}
	return t.a.retry(ctx, fmt.Sprintf("cannot remove task %q", t.name), func(ctx context.Context) error {
		return t.driver.remove(ctx, t.id)
	})
}
