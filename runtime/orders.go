package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

// Orders is the leader's word on allocations of this node. What is in no list is left alone.
type Orders struct {
	Run  []Assigned // start, or keep
	Stop []string   // end, keep the directory, report
	Gone []string   // end and remove everything: nobody will ask for it again
}

// Assigned is an allocation with the version of the job that it runs.
type Assigned struct {
	Alloc *state.Alloc
	Job   *state.Job
}

// again is how long an ended allocation that the leader names again is not reported again.
const again = 30 * time.Second

// Obey takes orders. It returns at once; the work is done by Run. Orders only add up: stop and gone are never taken back.
func (r *Runner) Obey(o Orders) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, as := range o.Run {
		if err := as.validate(); err != nil {
			r.log.Error("refuse to run an allocation", "error", err)
			continue
		}
		r.assign(as)
	}
	for _, id := range o.Stop {
		r.endByOrder(id, wantStop)
	}
	for _, id := range o.Gone {
		r.endByOrder(id, wantGone)
	}
	r.kick()
}

func (r *Runner) assign(as Assigned) {
	if as.Alloc.TerminalClient() {
		return // by our own word; the leader has it
	}
	if as.Alloc.NodeID != r.cfg.NodeID {
		r.log.Error("refuse to run an allocation of another node", "alloc", as.Alloc.ID, "node", as.Alloc.NodeID)
		return
	}
	a, ok := r.allocs[as.Alloc.ID]
	if !ok {
		a = newAlloc(r, as.Alloc.ID)
		r.allocs[a.id] = a
	}
	if a.want != wantRun {
		return
	}
	rec := a.record()
	if rec != nil && rec.Ended {
		r.reportAgain(a) // the leader does not know, or forgot: its state was restored from an older one
		return
	}
	a.confirm()
	if rec == nil || !rec.sameRows(as) {
		a.next = &as
		a.poke()
	}
}

func (r *Runner) endByOrder(id string, w want) {
	if validName(id) != nil {
		return
	}
	a, ok := r.allocs[id]
	if !ok {
		if w == wantGone && !r.driversHave(id) {
			return
		}
		a = newAlloc(r, id)
		r.allocs[id] = a
	}
	if rec := a.record(); rec != nil && rec.Ended && w == wantStop {
		r.reportAgain(a)
		return
	}
	a.end(w)
}

// reportAgain repeats the report of an ended allocation that the leader asks for although it confirmed it, but not at each
// poll: the order may just have crossed the report.
func (r *Runner) reportAgain(a *alloc) {
	if !r.ledger.owes(a) && time.Since(a.touched) >= again {
		r.ledger.touch(a)
		r.notify()
	}
}

// Found lists every allocation on the machine, in directories and in drivers, also those that nobody here knows. The leader
// says what is to become of each.
func (r *Runner) Found() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := map[string]struct{}{}
	for id := range r.allocs {
		ids[id] = struct{}{}
	}
	for _, l := range r.drivers {
		l.addAllocs(ids)
	}
	return slices.Sorted(maps.Keys(ids))
}

func (r *Runner) driversHave(id string) bool {
	for _, l := range r.drivers {
		if l.hasAlloc(id) {
			return true
		}
	}
	return false
}

// validate refuses what could not be run, or whose names would lead out of the allocation's directory.
func (as Assigned) validate() error {
	if as.Alloc == nil || as.Job == nil {
		return fmt.Errorf("an order has no allocation or no job")
	}
	if err := validName(as.Alloc.ID); err != nil {
		return fmt.Errorf("allocation ID: %w", err)
	}
	for _, g := range as.Job.TaskGroups {
		if g.Name != as.Alloc.TaskGroup {
			continue
		}
		for _, t := range g.Tasks {
			if err := validName(t.Name); err != nil || t.Name == sharedName {
				return fmt.Errorf("allocation %s: task name %q cannot name a directory", as.Alloc.ID, t.Name)
			}
		}
		if len(g.Tasks) > 0 {
			return nil
		}
	}
	return fmt.Errorf("allocation %s: job %s version %d has no tasks in group %q", as.Alloc.ID, as.Job.ID, as.Job.Version, as.Alloc.TaskGroup)
}

func validName(s string) error {
	if s == "" || strings.HasPrefix(s, ".") || strings.ContainsAny(s, "/\x00") || len(s) > 128 {
		return fmt.Errorf("name %q cannot name a directory", s)
	}
	return nil
}
