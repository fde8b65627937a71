package runtime

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/state"
)

// killGrace is how long the kernel, and a driver, get to end a task after SIGKILL.
const killGrace = 5 * time.Second

// killReason is the cause with which a task's context ends when it is killed.
type killReason struct {
	kind    string // type of an event that says why; "" for none
	message string
}

func (k *killReason) Error() string { return k.message }

// kill has the task end for good. The first reason counts.
func (t *task) kill(kind, message string) { t.cancel(&killReason{kind: kind, message: message}) }

// killed says why the task is to end, nil when it is not.
func (t *task) killed() *killReason {
	var k *killReason
	if errors.As(context.Cause(t.work), &k) {
		return k
	}
	return nil
}

// die ends a task that does not run.
func (t *task) die(ctx context.Context, why *killReason) {
	var events []state.TaskEvent
	if why.kind != "" {
		events = append(events, event(why.kind, "%s", why.message))
	}
	t.set(ctx, func(tr *taskRecord) { tr.Phase = phaseDead }, append(events, event(EventKilled, "before it ran: %s", why.message))...)
}

// waited is what Driver.Wait returned.
type waited struct {
	exit Exit
	err  error
}

// watch waits until the task has ended, or is to end, and records how it did.
func (t *task) watch(ctx context.Context) {
	if t.driver == nil {
		t.a.setTrouble("driver of task %q is not on this node any more", t.name)
		<-t.work.Done()
		if why := t.killed(); why != nil {
			t.die(ctx, why)
		}
		return
	}
	wctx, cancel := context.WithCancel(ctx)
	result := make(chan waited, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		x, err := t.driver.driver.Wait(wctx, t.id)
		result <- waited{exit: x, err: err}
	})
	select {
	case w := <-result:
		if w.err != nil && !errors.Is(w.err, ErrNotFound) {
			if ctx.Err() == nil {
				t.a.log.Warn("cannot wait for task, trying again", "task", t.name, "error", w.err)
				_ = pause(ctx, backoff(0))
			}
			return
		}
		t.exited(ctx, w.known(), nil, false)
	case <-t.work.Done():
		if why := t.killed(); why != nil {
			var events []state.TaskEvent
			if why.kind != "" {
				events = append(events, event(why.kind, "%s", why.message))
			}
			if x, ok := t.terminate(ctx, result, why.message, events...); ok {
				t.exited(ctx, x, why, false)
			}
		}
	case w := <-t.restarts:
		t.wishes = append(t.wishes, w)
		if x, ok := t.terminate(ctx, result, "to be started again", event(EventRestartSignaled, "a user asked for a restart")); ok {
			t.exited(ctx, x, t.killed(), true)
		}
	}
}

// known is the exit, unknown when the driver has no such task any more.
func (w waited) known() Exit {
	if w.err != nil {
		return Exit{Unknown: true, At: time.Now()}
	}
	return w.exit
}

// terminate ends a running task: its kill signal, after its kill timeout SIGKILL, and what survives that is removed. It
// returns false when ctx ended first: the next life of the agent goes on.
func (t *task) terminate(ctx context.Context, result <-chan waited, why string, events ...state.TaskEvent) (Exit, bool) {
	sig, timeout := t.killWith()
	t.a.note(t.change(nil, append(events, event(EventKilling, "%s sent, SIGKILL follows after %s: %s", signalName(sig), short(timeout), why))...))
	if w, ok := t.signal(ctx, sig, result); ok {
		return w.known(), ctx.Err() == nil
	}
	if w, ok := receive(ctx, result, timeout); ok {
		return w.known(), ctx.Err() == nil
	}
	if ctx.Err() != nil {
		return Exit{}, false
	}
	if w, ok := t.signal(ctx, syscall.SIGKILL, result); ok {
		return w.known(), ctx.Err() == nil
	}
	if w, ok := receive(ctx, result, killGrace); ok {
		return w.known(), ctx.Err() == nil
	}
	if !t.remove(ctx) {
		return Exit{}, false
	}
	if w, ok := receive(ctx, result, killGrace); ok {
		return w.known(), ctx.Err() == nil
	}
	return Exit{Unknown: true, At: time.Now()}, ctx.Err() == nil
}

// killWith is the task's kill signal and timeout.
func (t *task) killWith() (syscall.Signal, time.Duration) {
	spec := t.a.record().task(t.name)
	if spec == nil {
		return syscall.SIGTERM, sweepTimeout
	}
	sig, err := parseSignal(spec.KillSignal)
	if err != nil {
		sig = syscall.SIGTERM // it could not have started with that; the rows have changed since
	}
	return sig, max(0, min(spec.KillTimeout, t.a.r.cfg.MaxKillTimeout))
}

// signal sends a signal, again and again while the driver is not available: the task must not lose its chance to end well
// because a daemon is being restarted. It returns what Wait said, when it said something meanwhile.
func (t *task) signal(ctx context.Context, sig syscall.Signal, result <-chan waited) (waited, bool) {
	for try := 0; ; try++ {
		err := t.driver.driver.Signal(ctx, t.id, sig)
		if err == nil || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
			return waited{}, false
		}
		t.a.log.Warn("cannot signal task", "task", t.name, "signal", signalName(sig), "error", err)
		if !errors.Is(err, ErrUnavailable) {
			return waited{}, false
		}
		t.a.setTrouble("cannot stop task %q, trying again: %v", t.name, err)
		if w, ok := receive(ctx, result, backoff(try)); ok {
			return w, true
		}
	}
}

// receive waits for a result for at most d.
func receive(ctx context.Context, result <-chan waited, d time.Duration) (waited, bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case w := <-result:
		return w, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return waited{}, false
}
