package runtime

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// meterShort is the least time between two readings that a rate is made of.
	meterShort = 250 * time.Millisecond
	// meterLong is the most: what is older says nothing of now.
	meterLong = 30 * time.Second
)

// TaskUsage is what a task uses now.
type TaskUsage struct {
	Usage
	CPUPercent float64 // of one core, since the reading before
	At         time.Time
}

// meter makes rates of counters. It remembers the last reading of each, so that who asks now and then gets the rate since, and who
// asks for the first time waits a moment for a second one.
type meter[K comparable] struct {
	mu   sync.Mutex
	last map[K]metered
}

type metered struct {
	at    time.Time
	count uint64  // nanoseconds of work
	rate  float64 // since the reading before, in per cent of the time
	rated bool
}

// note takes readings and returns the keys whose rate is not known yet.
func (m *meter[K]) note(at time.Time, counts map[K]uint64) (unrated []K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[K]metered{}
	}
	maps.DeleteFunc(m.last, func(_ K, r metered) bool { return at.Sub(r.at) > meterLong })
	for k, count := range counts {
		old, known := m.last[k]
		passed := at.Sub(old.at)
		switch {
		case !known || count < old.count: // another run of the task
			m.last[k] = metered{at: at, count: count}
		case passed >= meterShort:
			m.last[k] = metered{at: at, count: count, rated: true, rate: 100 * float64(count-old.count) / float64(passed)}
		}
		if !m.last[k].rated {
			unrated = append(unrated, k)
		}
	}
	return unrated
}

func (m *meter[K]) rate(k K) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[k].rate
}

// Usage reads what the running tasks of some allocations use. Tasks whose driver cannot tell are left out, and so are allocations
// that are not on this machine.
func (r *Runner) Usage(ctx context.Context, allocIDs []string) (map[TaskID]TaskUsage, error) {
	used, counts, err := r.readUsage(ctx, allocIDs)
	if err != nil {
		return nil, err
	}
	if len(r.taskMeter.note(time.Now(), counts)) > 0 {
		if err := pause(ctx, meterShort+meterShort/10); err != nil {
			return nil, err
		}
		if used, counts, err = r.readUsage(ctx, allocIDs); err != nil {
			return nil, err
		}
		r.taskMeter.note(time.Now(), counts)
	}
	for id, u := range used {
		u.CPUPercent = r.taskMeter.rate(id)
		used[id] = u
	}
	return used, nil
}

func (r *Runner) readUsage(ctx context.Context, allocIDs []string) (map[TaskID]TaskUsage, map[TaskID]uint64, error) {
	used, counts := map[TaskID]TaskUsage{}, map[TaskID]uint64{}
	for _, alloc := range allocIDs {
		tasks, err := r.Stats(ctx, alloc)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for name, u := range tasks {
			id := TaskID{AllocID: alloc, Task: name}
			used[id], counts[id] = TaskUsage{Usage: u, At: time.Now()}, u.CPUNanos
		}
	}
	return used, counts, nil
}

// Running lists the allocations that have running tasks.
func (r *Runner) Running() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id, a := range r.allocs {
		if len(a.runningTasks()) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
