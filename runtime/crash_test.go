package runtime_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

var errCrash = errors.New("killed here")

// crasher kills the agent at its nth operation: an operation of a driver, or a write of a record; before or after it.
type crasher struct {
	mu    sync.Mutex
	left  int // operations to go; 0: it is not armed
	dead  bool
	where []string
	fire  chan struct{}
}

func (c *crasher) at(op string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCrash
	}
	if c.left == 0 {
		return nil
	}
	if c.left--; c.left > 0 {
		return nil
	}
	c.dead, c.where = true, append(c.where, op)
	close(c.fire)
	return errCrash
}

func (c *crasher) arm(left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.dead, c.fire = left, false, make(chan struct{})
}

// story is what happens to one allocation, and what must have come of it.
type story struct {
	name string
	as   func() runtime.Assigned
	stop bool // it is ordered to stop after a while
	want string
	runs int // most runs that are allowed, besides one for each kill
}

var stories = []story{
	{"service runs", func() runtime.Assigned { return service(task("a", nil), task("b", nil)) }, false, state.ClientRunning, 1},
	{"service is stopped", func() runtime.Assigned { return service(task("a", conf{"kill_after": "1s"}), task("b", nil)) }, true, state.ClientComplete, 1},
	{"batch completes", func() runtime.Assigned {
		return batch(task("a", conf{"run_for": "3s"}), task("b", conf{"run_for": "1s"}))
	}, false, state.ClientComplete, 1},
	{"batch recovers", func() runtime.Assigned { return batch(quick("a", conf{"run_for": "1s", "fail_runs": 1})) }, false, state.ClientRunning, 2},
	{"service fails", func() runtime.Assigned {
		return service(quick("a", conf{"run_for": "2s", "exit_code": 1}), task("b", nil))
	}, false, state.ClientFailed, 2},
}

// quick is a task that is restarted once, after a second.
func quick(name string, config conf) state.Task {
	a := task(name, config)
	a.RestartPolicy = state.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Second, Mode: state.RestartModeFail}
	return a
}

// TestKilledAnywhere kills the agent at each of its operations in turn and starts it again: what comes of the allocation must
// be the same as without, with exactly one instance and nothing left over.
func TestKilledAnywhere(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			points := 0
			for n := 1; ; n++ {
				fired := false
				synctest.Test(t, func(t *testing.T) { fired = playKilled(t, s, []int{n}) })
				if t.Failed() {
					t.Fatalf("killed at operation %d", n)
				}
				if !fired {
					break
				}
				points++
			}
			if points < 8 {
				t.Errorf("only %d points to be killed at", points)
			}
			t.Logf("killed at %d points", points)
		})
	}
}

// TestKilledAgainAndAgain kills it several times in its life, at random points.
func TestKilledAgainAndAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := stories[rapid.IntRange(0, len(stories)-1).Draw(rt, "story")]
		kills := rapid.SliceOfN(rapid.IntRange(1, 14), 1, 5).Draw(rt, "kills")
		ok := t.Run(fmt.Sprintf("%s %v", s.name, kills), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playKilled(t, s, kills) })
		})
		if !ok {
			rt.Fatalf("story %q killed at %v", s.name, kills)
		}
	})
}

// playKilled plays a story with kills and reports whether the first one happened.
func playKilled(t *testing.T, s story, kills []int) bool {
	g := newRig(t)
	var c crasher
	g.m.Hook(func(op string, id runtime.TaskID) error { return c.at(op + " " + id.Task) })
	g.change = func(cfg *runtime.Config) { cfg.SetFault(c.at) }
	c.arm(kills[0])
	g.open()
	defer func() { g.end() }()
	begin, fired := time.Now(), 0
	for time.Since(begin) < 40*time.Second { // the leader polls every second and says the same again
		select {
		case <-c.fire:
			fired++
			g.kill()
			time.Sleep(500 * time.Millisecond)
			if c.arm(0); fired < len(kills) {
				c.arm(kills[fired])
			}
			g.open()
		default:
		}
		switch since := time.Since(begin); {
		case s.stop && since > 5*time.Second:
			g.r.Obey(runtime.Orders{Stop: []string{allocID}})
		default:
			g.r.Obey(runtime.Orders{Run: []runtime.Assigned{s.as()}})
		}
		g.sleep(time.Second)
	}
	c.arm(0)
	a := g.view(allocID)
	if a.Status != s.want {
		t.Errorf("status %s (%s), want %s; last killed at %q\n%s", a.Status, a.Description, s.want, c.where, describe(a))
	}
	wantExits(t, g, a)
	for name := range a.Tasks {
		if n := g.m.Starts(runtime.TaskID{AllocID: allocID, Task: name}); n > s.runs+fired {
			t.Errorf("task %s was started %d times, want at most %d", name, n, s.runs+fired)
		}
	}
	if s.want == state.ClientRunning {
		g.wantRunning(len(a.Tasks))
	} else if left := g.m.Tasks(); len(left) != 0 {
		t.Errorf("left on the machine: %v", left)
	}
	g.gone(allocID)
	g.sleep(time.Minute)
	if left := g.m.Tasks(); len(left) != 0 || len(g.r.Found()) != 0 {
		t.Errorf("left after gone: %v, found %v", left, g.r.Found())
	}
	if entries, err := os.ReadDir(g.dir + "/allocs"); err != nil || len(entries) != 0 {
		t.Errorf("directories after gone: %v, %v", entries, err)
	}
	return fired > 0
}
