package runtime

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/drover-io/drover/state"
)

// MaxReport bounds the allocations in one report, so that a report fits in one log entry together with others.
const MaxReport = 100

// maxReportBytes bounds its size: several reports share one log entry of 1 MiB.
const maxReportBytes = 256 << 10

// shortMessage is to what the messages of an allocation's events are cut when it would be too large otherwise, in bytes.
const shortMessage = 200

// ledger remembers which allocations the leader has not confirmed. One counter stamps changes and reports alike, so that a
// change that a report missed is always newer than it. Guarded by Runner.mu.
type ledger struct {
	clock uint64
	owed  map[string]*alloc // changed since the last confirmed report
	last  uint64            // sequence of the latest report
	upto  uint64            // newest change in it
}

// touch notes that an allocation has changed.
func (l *ledger) touch(a *alloc) {
	if l.owed == nil {
		l.owed = map[string]*alloc{}
	}
	l.clock++
	a.changed, a.touched = l.clock, time.Now()
	l.owed[a.id] = a
}

func (l *ledger) drop(a *alloc) { delete(l.owed, a.id) }

func (l *ledger) owes(a *alloc) bool {
	_, ok := l.owed[a.id]
	return ok
}

// take picks what goes into the next report, oldest changes first.
func (l *ledger) take() (seq uint64, allocs []*alloc, stamps []uint64) {
	if len(l.owed) == 0 {
		return 0, nil, nil
	}
	allocs = slices.SortedFunc(maps.Values(l.owed), func(x, y *alloc) int { return cmp.Compare(x.changed, y.changed) })
	allocs = allocs[:min(len(allocs), MaxReport)]
	l.clock++
	l.last, l.upto = l.clock, allocs[len(allocs)-1].changed
	for _, a := range allocs {
		stamps = append(stamps, a.changed)
	}
	return l.last, allocs, stamps
}

// cut says that the report with this sequence ends with the change last: what was to follow did not fit.
func (l *ledger) cut(seq, last uint64) {
	if seq == l.last {
		l.upto = last
	}
}

// ack confirms the latest report. Confirmations of older ones are ignored: what they had is in the latest too.
func (l *ledger) ack(seq uint64) {
	if seq != l.last || seq == 0 {
		return
	}
	for id, a := range l.owed {
		if a.changed <= l.upto {
			delete(l.owed, id)
		}
	}
}

// Reports tells that there is something to report. Many changes may come as one.
func (r *Runner) Reports() <-chan struct{} { return r.reports }

// TakeReport returns the allocations that changed since the last confirmed report, at most 100 (call again after AckReport:
// Reports tells), and the report's sequence number, which grows within a boot of the agent. A report that is not confirmed is
// contained in the next. Sequence 0: there is nothing to report.
func (r *Runner) TakeReport() (seq uint64, allocs []state.AllocReport) {
	r.mu.Lock()
	seq, due, stamps := r.ledger.take()
	r.mu.Unlock()
	size := 0
	for i, a := range due {
		report := a.report()
		if size += sizeOf(report); size > maxReportBytes && i > 0 {
			r.mu.Lock()
			r.ledger.cut(seq, stamps[i-1])
			r.mu.Unlock()
			break
		}
		allocs = append(allocs, report)
	}
	return seq, allocs
}

// sizeOf is how many bytes a report of one allocation takes.
func sizeOf(r state.AllocReport) int {
	data, err := json.Marshal(r)
	if err != nil {
		return maxReportBytes // never: it is plain data
	}
	return len(data)
}

// bounded is a report that fits into a report of its own, whatever drivers and tasks said: messages are shortened, then the ends of
// outputs left out, then the older events. The node's word of how an allocation stands must never be too long to be taken.
func bounded(r state.AllocReport) state.AllocReport {
	r.Description = cutMessage(r.Description, maxMessage)
	for _, lighten := range []func(*state.TaskState){
		func(t *state.TaskState) {
			for i := range t.Events {
				t.Events[i].Message = cutMessage(t.Events[i].Message, shortMessage)
			}
		},
		func(t *state.TaskState) { t.Crash = nil },
		func(t *state.TaskState) { t.Events = t.Events[max(0, len(t.Events)-3):] },
	} {
		if sizeOf(r) <= maxReportBytes {
			return r
		}
		for name, t := range r.Tasks {
			lighten(&t)
			r.Tasks[name] = t
		}
	}
	return r
}

// NodeReport is TakeReport in the form that goes into the log. Seq 0: there is nothing to report.
func (r *Runner) NodeReport() state.NodeReport {
	seq, allocs := r.TakeReport()
	return state.NodeReport{NodeID: r.cfg.NodeID, Boot: r.cfg.Boot, Seq: seq, Allocs: allocs}
}

// AckReport confirms that the leader has the report with this sequence number.
func (r *Runner) AckReport(seq uint64) {
	r.mu.Lock()
	r.ledger.ack(seq)
	more := len(r.ledger.owed) > 0
	r.mu.Unlock()
	if more {
		r.notify()
		return
	}
	r.kick() // ended allocations may be collected now
}

// ReportAll has every allocation reported again: the leader's state was restored from an older one.
func (r *Runner) ReportAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.allocs {
		if a.record() != nil {
			r.ledger.touch(a)
		}
	}
	r.notify()
}

// notify never blocks: one signal stands for many.
func (r *Runner) notify() {
	select {
	case r.reports <- struct{}{}:
	default:
	}
}
