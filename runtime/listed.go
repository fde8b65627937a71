package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// listed is a driver with what it was last seen to have.
type listed struct {
	driver Driver

	mu    sync.Mutex
	known bool // a List has succeeded
	tasks map[TaskID]Found
}

// listAll looks at what the drivers have. A driver that cannot say keeps its last answer.
func (r *Runner) listAll(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, l := range r.drivers {
		wg.Go(func() {
			if err := l.list(ctx); err != nil && ctx.Err() == nil {
				r.log.Debug("cannot list tasks", "driver", name, "error", err)
			}
		})
	}
}

func (l *listed) list(ctx context.Context) error {
	found, err := l.driver.List(ctx)
	if err != nil {
		return fmt.Errorf("list tasks of driver %s: %w", l.driver.Name(), err)
	}
	tasks := make(map[TaskID]Found, len(found))
	for _, f := range found {
		tasks[f.ID] = f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.tasks = true, tasks
	return nil
}

// find says what the driver had of a task when it was last asked. It asks when it was never answered: a task must not be
// started, nor be called lost, while nobody knows whether it runs.
func (l *listed) find(ctx context.Context, id TaskID) (f Found, there bool, err error) {
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	if !known {
		if err := l.list(ctx); err != nil {
			return Found{}, false, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, there = l.tasks[id]
	return f, there, nil
}

// remove deletes everything of a task.
func (l *listed) remove(ctx context.Context, id TaskID) error {
	if err := l.driver.Remove(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tasks, id)
	return nil
}

// ofAlloc lists an allocation's tasks.
func (l *listed) ofAlloc(allocID string) []Found {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Found
	for id, f := range l.tasks {
		if id.AllocID == allocID {
			out = append(out, f)
		}
	}
	return out
}

func (l *listed) hasAlloc(allocID string) bool { return len(l.ofAlloc(allocID)) > 0 }

func (l *listed) addAllocs(ids map[string]struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.tasks {
		ids[id.AllocID] = struct{}{}
	}
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
