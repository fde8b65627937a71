package runtime_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

// TestEventsAreInOrderOfTheirTimes: a task ends while its driver still says that it was started. Who reads its events by their times
// must not miss the end.
func TestEventsAreInOrderOfTheirTimes(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.m.Hook(func(op string, _ runtime.TaskID) error {
			if op == "after "+fake.OpStart {
				time.Sleep(time.Second) // as long as a busy daemon takes to answer
			}
			return nil
		})
		as := service(task("a", conf{"run_for": "1ns", "exit_code": 3}))
		as.Job.TaskGroups[1].Tasks[0].RestartPolicy = state.RestartPolicy{Mode: state.RestartModeFail, Interval: time.Hour}
		g.run(as)
		g.sleep(5 * time.Second)
		events := g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted, runtime.EventTerminated,
			runtime.EventNotRestarting)
		for i := 1; i < len(events); i++ {
			if events[i].Time < events[i-1].Time {
				t.Errorf("%s is %s earlier than %s before it", events[i].Type, time.Duration(events[i-1].Time-events[i].Time), events[i-1].Type)
			}
		}
		if ts := g.view(allocID).Tasks["a"]; ts.FinishedAt < ts.StartedAt {
			t.Errorf("it ended %s before it began", time.Duration(ts.StartedAt-ts.FinishedAt))
		}
	})
}

// wantExits checks that each run of a task that has ended has told how, once.
func wantExits(t *testing.T, g *rig, a state.AllocReport) {
	t.Helper()
	for name, ts := range a.Tasks {
		id := runtime.TaskID{AllocID: a.ID, Task: name}
		over := g.m.Starts(id)
		if slices.Contains(g.m.Running(), id) {
			over--
		}
		told := 0
		for _, e := range ts.Events {
			if e.Type == runtime.EventTerminated {
				told++
			}
		}
		if told != over && len(ts.Events) < state.MaxTaskEvents {
			t.Errorf("task %s ended %d times, told %d times\n%s", name, over, told, describe(a))
		}
	}
}

// TestStoppedBeforeItIsKnown: the agent died between the start of a task and the record of it. In its next life the task is ordered
// to stop while the driver cannot say yet what runs: it gets its chance to end well, and its end is told.
func TestStoppedBeforeItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.m.Hook(func(op string, _ runtime.TaskID) error {
			if op != "after "+fake.OpStart {
				return nil
			}
			g.dead.Store(true)
			return errCrash
		})
		g.open()
		defer func() { g.end() }()
		g.run(service(task("a", conf{"kill_after": "2s"})))
		g.wantRunning(1)
		g.kill()
		g.m.Hook(nil)
		g.change = func(*runtime.Config) { g.d.Fail(fake.OpList, fmt.Errorf("dial: %w", runtime.ErrUnavailable), 3) }
		g.open()
		g.stop(allocID)
		g.sleep(time.Minute)
		a := g.wantStatus(allocID, state.ClientComplete)
		wantExits(t, g, a)
		for _, e := range a.Tasks["a"].Events {
			if e.Type == runtime.EventTerminated && e.ExitCode != 143 {
				t.Errorf("%+v", e)
			}
		}
	})
}
