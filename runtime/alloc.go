package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/state"
)

// want is what the leader wants of an allocation. It only grows.
type want int

const (
	wantRun want = iota
	wantStop
	wantGone
)

// saveTries bounds the tries to write a record, about a minute in all, before it counts as a failure of the task's set-up.
const saveTries = 6

// alloc is one allocation on this machine.
type alloc struct {
	r   *Runner
	id  string
	dir string
	log hclog.Logger

	stop      chan struct{} // closed when want leaves wantRun
	confirmed chan struct{} // closed when the leader has named it to run in this life of the agent
	wake      chan struct{} // capacity 1: next is set
	ensuring  chan struct{} // capacity 1: held while the allocation's own steps are ensured
	restored  bool          // it was on the machine when the Runner was opened

	// Guarded by Runner.mu.
	busy    bool // has a goroutine
	want    want
	next    *Assigned // rows to take over
	changed uint64    // stamp of the ledger
	touched time.Time // when it was stamped

	saving  sync.Mutex // one change of the record at a time; before mu
	mu      sync.Mutex
	rec     *record          // nil while there is none
	trouble string           // what keeps it from moving on, for humans
	tasks   map[string]*task // while they have goroutines
	marks   map[string]*logMarks
}

func newAlloc(r *Runner, id string) *alloc {
	return &alloc{
		r: r, id: id, dir: filepath.Join(r.allocsDir(), id), log: r.log.With("alloc", id),
		stop: make(chan struct{}), confirmed: make(chan struct{}),
		wake: make(chan struct{}, 1), ensuring: make(chan struct{}, 1),
	}
}

// restore takes over what an earlier life of the agent left; rec is nil when it cannot be read.
func (a *alloc) restore(rec *record) {
	a.restored, a.rec = true, rec
	if rec != nil && rec.Stop != "" {
		a.end(wantStop)
	}
}

// end raises what is wanted. Runner.mu is held, or nobody else knows the allocation yet.
func (a *alloc) end(w want) {
	if a.want == wantRun {
		close(a.stop)
	}
	a.want = max(a.want, w)
}

// confirm notes that the leader wants it to run. Runner.mu is held.
func (a *alloc) confirm() {
	if !a.isConfirmed() {
		close(a.confirmed)
	}
}

func (a *alloc) isConfirmed() bool {
	select {
	case <-a.confirmed:
		return true
	default:
		return false
	}
}

// hasWork reports whether it needs a goroutine. Runner.mu is held.
func (a *alloc) hasWork() bool {
	rec := a.record()
	switch {
	case a.want == wantGone:
		return true
	case rec == nil:
		return a.next != nil || a.want == wantStop
	}
	return !rec.Ended
}

func (a *alloc) wanted() want {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	return a.want
}

func (a *alloc) takeNext() *Assigned {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	next := a.next
	a.next = nil
	return next
}

func (a *alloc) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *alloc) record() *record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rec
}

// report is the allocation as the leader is told of it.
func (a *alloc) report() state.AllocReport {
	a.mu.Lock()
	rec, trouble := a.rec, a.trouble
	a.mu.Unlock()
	rep := state.AllocReport{ID: a.id, Status: state.ClientPending, Description: trouble}
	if rec == nil {
		return rep
	}
	rep.Status, rep.Description = rec.status()
	if trouble != "" && !rec.Ended {
		rep.Description = trouble
	}
	rep.Tasks = make(map[string]state.TaskState, len(rec.Tasks))
	for name, t := range rec.Tasks {
		t.State.Events = slices.Clone(t.State.Events)
		rep.Tasks[name] = t.State
	}
	state.BoundCrashTails(rep.Tasks)
	return bounded(rep)
}

// live is the life of an allocation, from wherever it stands. It returns when there is nothing to do until the next order, or
// when ctx ends.
func (a *alloc) live(ctx context.Context) {
	a.admit(ctx)
	if ctx.Err() != nil {
		return
	}
	switch rec := a.record(); {
	case rec == nil:
		if !a.sweep(ctx) {
			return
		}
	case !rec.Ended:
		if rec.Final == "" && !a.runTasks(ctx) {
			return
		}
		if !a.clean(ctx) {
			return
		}
	}
	if a.wanted() == wantGone {
		a.erase(ctx)
	}
}

// admit makes the record of an allocation that was just assigned. When that fails for a while the allocation has failed: the
// leader places it on a node that can write.
func (a *alloc) admit(ctx context.Context) {
	if a.record() != nil || a.wanted() != wantRun {
		return
	}
	next := a.takeNext()
	if next == nil {
		return
	}
	rec := newRecord(*next, a.r.cfg.BootID)
	var err error
	for try := range saveTries {
		if err = a.makeDir(); err == nil {
			err = a.put(rec, false)
		}
		if err == nil {
			return
		}
		a.setTrouble("cannot write its record, trying again: %v", err)
		a.touch()
		if pause(ctx, backoff(try)) != nil || a.wanted() != wantRun {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	rec.Final, rec.Reason = state.ClientFailed, fmt.Sprintf("cannot write its record: %v", err)
	for name := range rec.Tasks {
		rec.setTask(name, func(t *taskRecord) {
			t.Phase, t.State.Failed = phaseDead, true
			t.State.Events = addEvents(t.State.Events, event(EventSetupFailure, "%s", rec.Reason))
		})
	}
	_ = a.put(rec, true) // known to fail; it holds in memory
}

// refresh takes over changed rows.
func (a *alloc) refresh(ctx context.Context) {
	if next := a.takeNext(); next != nil && !a.record().sameRows(*next) {
		if err := a.save(ctx, func(rec *record) { rec.assign(*next) }); err != nil && ctx.Err() == nil {
			a.log.Warn("cannot record changed rows", "error", err)
		}
	}
}

// save records a change before the act that it announces. It tries again while the disk refuses; an error means that nothing
// has changed: ctx has ended, or the tries are used up.
func (a *alloc) save(ctx context.Context, change func(*record)) error {
	for try := 0; ; try++ {
		err := a.write(change, false)
		if err == nil {
			return nil
		}
		if try == 0 {
			a.remember(func(rec *record) { rec.remark(err) })
		}
		a.setTrouble("cannot write its record, trying again: %v", err)
		if try == saveTries-1 {
			return fmt.Errorf("write the allocation's record: %w", err)
		}
		if err := pause(ctx, backoff(try)); err != nil {
			return err
		}
	}
}

// remark has the tasks that wait for the record say so.
func (r *record) remark(err error) {
	for name, t := range r.Tasks {
		if t.Phase == phasePending || t.Phase == phaseStarting {
			r.setTask(name, func(t *taskRecord) {
				t.State.Events = addEvents(t.State.Events, event(EventSetupFailure, "cannot write the allocation's record, trying again: %v", err))
			})
		}
	}
}

// note changes the record, on disk if that works, and in memory in any case: for what must not wait for a disk.
func (a *alloc) note(change func(*record)) {
	if err := a.write(change, true); err != nil {
		a.log.Warn("cannot write the allocation's record, going on without", "error", err)
		a.setTrouble("cannot write its record: %v", err)
	}
}

// remember changes the record in memory only: for what may be lost.
func (a *alloc) remember(change func(*record)) {
	a.saving.Lock()
	rec := a.record().clone()
	change(rec)
	a.mu.Lock()
	a.rec = rec
	a.mu.Unlock()
	a.saving.Unlock()
	a.touch()
}

func (a *alloc) write(change func(*record), anyway bool) error {
	a.saving.Lock()
	rec := a.record().clone()
	change(rec)
	err := a.putLocked(rec, anyway)
	a.saving.Unlock()
	if err == nil || anyway {
		a.touch()
	}
	return err
}

func (a *alloc) put(rec *record, anyway bool) error {
	a.saving.Lock()
	err := a.putLocked(rec, anyway)
	a.saving.Unlock()
	if err == nil || anyway {
		a.touch()
	}
	return err
}

func (a *alloc) putLocked(rec *record, anyway bool) error {
	var err error
	if a.r.cfg.fault != nil {
		err = a.r.cfg.fault("save")
	}
	if err == nil {
		err = writeRecord(a.dir, rec, !a.r.cfg.NoSync)
	}
	if err == nil && a.r.cfg.fault != nil {
		err = a.r.cfg.fault("saved")
	}
	if err != nil && !anyway {
		return explainDisk(err)
	}
	a.mu.Lock()
	a.rec = rec
	if err == nil {
		a.trouble = ""
	}
	a.mu.Unlock()
	return explainDisk(err)
}

// explainDisk says what to do about a full disk.
func explainDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (the disk of the data directory is full: free some space)", err)
	}
	return err
}

// touch has the allocation reported.
func (a *alloc) touch() {
	a.r.mu.Lock()
	a.r.ledger.touch(a)
	a.r.mu.Unlock()
	a.r.notify()
}

func (a *alloc) setTrouble(format string, args ...any) {
	a.mu.Lock()
	a.trouble = fmt.Sprintf(format, args...)
	a.mu.Unlock()
	if a.record() != nil {
		a.touch()
	}
}

// retry repeats what has to work in the end. It returns false when ctx ended first.
func (a *alloc) retry(ctx context.Context, what string, do func(context.Context) error) bool {
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return false
		}
		err := do(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		a.log.Warn("will try again", "what", what, "error", err)
		a.setTrouble("%s, trying again: %v", what, err)
		if pause(ctx, backoff(try)) != nil {
			return false
		}
	}
}
