package runtime

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/drover-io/drover/state"
)

// pins remembers which task was last kept on which cores.
type pins struct {
	mu   sync.Mutex // held while they are set: one look at the machine at a time
	last map[TaskID]string
}

// sharedCores are the node's cores that no living allocation has for itself: where all other tasks run.
func (r *Runner) sharedCores() []int {
	all := r.cfg.Node().Resources.Cores
	held := map[int]bool{}
	r.mu.Lock()
	for _, a := range r.allocs {
		for _, core := range a.heldCores() {
			held[core] = true
		}
	}
	r.mu.Unlock()
	shared := slices.DeleteFunc(slices.Clone(all), func(core int) bool { return held[core] })
	if len(shared) == 0 { // the node has shrunk: better together than nowhere
		return all
	}
	return shared
}

// heldCores are the cores that the allocation has for itself until nothing of it is left. Runner.mu is held.
func (a *alloc) heldCores() []int {
	if rec := a.record(); rec != nil {
		if rec.Ended || rec.Alloc == nil {
			return nil
		}
		return rec.Alloc.Resources.Cores
	}
	if a.next != nil {
		return a.next.Alloc.Resources.Cores
	}
	return nil
}

// coresOf are the cores that a task is to run on; nil where cores are not kept apart.
func (r *Runner) coresOf(rec *record, task string, shared func() []int) []int {
	if r.cfg.Pin == nil || len(r.cfg.Node().Resources.Cores) == 0 || rec.Alloc == nil {
		return nil
	}
	if own := rec.group().TaskCores(&rec.Alloc.Resources, task); len(own) > 0 {
		return own
	}
	return shared()
}

// pinTasks keeps every running task on its cores: those of its own, or those that nobody has. It is called whenever that may have
// changed, and again later where it did not work.
func (r *Runner) pinTasks() {
	if r.cfg.Pin == nil || r.cfg.Cgroup == "" || len(r.cfg.Node().Resources.Cores) == 0 {
		return
	}
	r.pins.mu.Lock()
	defer r.pins.mu.Unlock()
	shared := sync.OnceValue(r.sharedCores)
	running := map[TaskID]string{}
	for _, a := range r.living() {
		rec := a.record()
		for name, t := range rec.Tasks {
			if t.Phase != phaseStarting && t.Phase != phaseRunning {
				continue
			}
			id, cores := TaskID{AllocID: a.id, Task: name}, r.coresOf(rec, name, shared)
			want := FormatCores(cores)
			if r.pins.last[id] == want {
				running[id] = want
				continue
			}
			switch err := r.cfg.Pin(filepath.Join(r.cfg.Cgroup, a.id, name), cores); {
			case err == nil:
				running[id] = want
			case !errors.Is(err, fs.ErrNotExist): // otherwise it is about to start, on the right ones, or has ended
				a.log.Warn("cannot keep a task on its cores, trying again", "task", name, "cores", want, "error", err)
			}
		}
	}
	r.pins.last = running
}

// living lists the allocations that have a record and have not ended.
func (r *Runner) living() []*alloc {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*alloc
	for _, a := range r.allocs {
		if rec := a.record(); rec != nil && !rec.Ended {
			out = append(out, a)
		}
	}
	return out
}

// limits are what the task may use on this node.
func (a *alloc) limits(rec *record, t *state.Task) Limits {
	node := a.r.cfg.Node()
	l := Limits{
		CPUShares: cpuShares(node, t.Resources.CPUOn(&node.Resources)), MemoryMB: int64(t.Resources.MemoryMB),
		Cores: a.r.coresOf(rec, t.Name, a.r.sharedCores),
	}
	if granted := rec.Alloc != nil && rec.Alloc.Resources.MemoryMaxMB > 0; granted && t.Resources.MemoryMaxMB > t.Resources.MemoryMB {
		l.MemoryMB, l.MemorySoftMB = int64(t.Resources.MemoryMaxMB), int64(t.Resources.MemoryMB)
	}
	return l
}
