package state

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// TaskStates is how the tasks of an allocation stand, by name. The zero value has none. It never changes. Allocations whose tasks
// stand alike share all but the times, which is most of it: a report of "running" costs an allocation its times.
type TaskStates struct {
	shape *taskShape
	times []int64 // those of the tasks, in the order of eachTime, task by task in the order of their names
}

// taskShape is task states with someTime for every time.
type taskShape struct {
	names []string // ascending
	tasks []TaskState
	times int    // how many times it has
	key   string // two shapes are the same if their keys are
	hash  uint64 // of the key
}

// MakeTaskStates packs task states. It keeps nothing of the map.
func MakeTaskStates(tasks map[string]TaskState) TaskStates { return (*shapes)(nil).pack(tasks) }

// Map unpacks the task states, into a map that is the caller's; nil when there are none.
func (t TaskStates) Map() map[string]TaskState {
	if t.shape == nil {
		return nil
	}
	out := make(map[string]TaskState, len(t.shape.names))
	rest := t.times
	for i, name := range t.shape.names {
		ts := t.shape.tasks[i].clone()
		ts.eachTime(func(at *int64) { *at, rest = rest[0], rest[1:] })
		out[name] = ts
	}
	return out
}

// Get unpacks one task's state; the zero value for a task that there is not.
func (t TaskStates) Get(name string) TaskState { return t.Map()[name] }

// Names are the names of the tasks, ascending. They are not the caller's.
func (t TaskStates) Names() []string {
	if t.shape == nil {
		return nil
	}
	return t.shape.names
}

// Len is the number of tasks.
func (t TaskStates) Len() int { return len(t.Names()) }

// IsZero reports whether there are none.
func (t TaskStates) IsZero() bool { return t.shape == nil }

// Equal reports whether both say the same.
func (t TaskStates) Equal(o TaskStates) bool {
	if t.shape == nil || o.shape == nil {
		return t.shape == o.shape
	}
	return (t.shape == o.shape || t.shape.key == o.shape.key) && slices.Equal(t.times, o.times)
}

// MarshalJSON writes an object of TaskState by name.
func (t TaskStates) MarshalJSON() ([]byte, error) { return marshal(t.Map()), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *TaskStates) UnmarshalJSON(data []byte) error {
	var m map[string]TaskState
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	*t = MakeTaskStates(m)
	return nil
}

// someTime stands in a shape for a time; 0 for none.
const someTime = 1

// eachTime visits the times of a task's state that are not 0, always in the same order.
func (ts *TaskState) eachTime(visit func(*int64)) {
	some := func(at *int64) {
		if *at != 0 {
			visit(at)
		}
	}
	some(&ts.StartedAt)
	some(&ts.FinishedAt)
	for i := range ts.Events {
		some(&ts.Events[i].Time)
	}
	if ts.Crash != nil {
		some(&ts.Crash.Time)
	}
}

// clone is a copy whose times may be changed.
func (ts *TaskState) clone() TaskState {
	c := *ts
	c.Events = slices.Clone(ts.Events)
	if ts.Crash != nil {
		crash := *ts.Crash
		c.Crash = &crash
	}
	return c
}

// timeless takes the times out of task states, in the order of the tasks' names.
func timeless(in map[string]TaskState) (tasks map[string]TaskState, times []int64) {
	tasks = make(map[string]TaskState, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		ts := in[name]
		ts = ts.clone()
		ts.eachTime(func(at *int64) {
			times = append(times, *at)
			*at = someTime
		})
		tasks[name] = ts
	}
	return tasks, times
}

const (
	// maxShapes bounds the shapes that are remembered, to be shared.
	maxShapes = 1024
	// maxSharedKey bounds the size of one: what tasks wrote before they crashed is nobody else's.
	maxSharedKey = 2048
)

// shapes remembers shapes so that allocations share them. Nothing that apply decides depends on it.
type shapes struct {
	mu    sync.Mutex
	byKey map[string]*taskShape
}

// pack packs task states.
func (s *shapes) pack(in map[string]TaskState) TaskStates {
	if len(in) == 0 {
		return TaskStates{}
	}
	tasks, times := timeless(in)
	return TaskStates{shape: s.share(tasks, len(times)), times: times}
}

// share is the shape of task states that have no times in them. It keeps them.
func (s *shapes) share(tasks map[string]TaskState, times int) *taskShape {
	key := marshal(tasks)
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if known := s.byKey[string(key)]; known != nil {
			return known
		}
	}
	shape := &taskShape{names: slices.Sorted(maps.Keys(tasks)), times: times, key: string(key), hash: xxhash.Sum64(key)}
	for _, name := range shape.names {
		shape.tasks = append(shape.tasks, tasks[name])
	}
	if s == nil || len(key) > maxSharedKey {
		return shape
	}
	if s.byKey == nil || len(s.byKey) >= maxShapes {
		s.byKey = map[string]*taskShape{}
	}
	s.byKey[shape.key] = shape
	return shape
}
