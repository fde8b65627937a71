package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

func TestRunAndStop(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil), task("b", nil)))
		g.wantStatus(allocID, state.ClientRunning)
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted)
		g.wantRunning(2)

		g.run(service(task("a", nil), task("b", nil))) // again: keep
		g.r.Obey(runtime.Orders{})                     // an empty list ends nothing
		g.sleep(time.Hour)
		g.wantRunning(2)
		if n := g.m.Starts(runtime.TaskID{AllocID: allocID, Task: "a"}); n != 1 {
			t.Fatalf("task a was started %d times", n)
		}

		g.stop(allocID)
		a := g.wantStatus(allocID, state.ClientComplete)
		if a.Tasks["a"].Failed || a.Tasks["a"].State != state.TaskDead {
			t.Fatalf("task a: %+v", a.Tasks["a"])
		}
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted,
			runtime.EventKilling, runtime.EventTerminated, runtime.EventKilled)
		if left := g.m.Tasks(); len(left) != 0 {
			t.Fatalf("left on the machine: %v", left)
		}
		if _, err := os.Stat(filepath.Join(g.dir, "allocs", allocID, "alloc/logs/a.stdout")); err != nil {
			t.Fatalf("logs of a stopped allocation are gone: %v", err)
		}

		g.run(service(task("a", nil), task("b", nil))) // terminal absorbs
		g.sleep(time.Hour)
		g.wantRunning(0)
		g.reopen()
		g.run(service(task("a", nil), task("b", nil)))
		g.sleep(time.Hour)
		g.wantRunning(0)
		g.wantStatus(allocID, state.ClientComplete)

		g.gone(allocID)
		if found := g.r.Found(); len(found) != 0 {
			t.Fatalf("found after gone: %v", found)
		}
		if _, err := os.Stat(filepath.Join(g.dir, "allocs", allocID)); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("directory after gone: %v", err)
		}
	})
}

func TestGoneEndsARunningAllocation(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		g.gone(allocID)
		if len(g.m.Tasks()) != 0 || len(g.r.Found()) != 0 {
			t.Fatalf("tasks %v, found %v", g.m.Tasks(), g.r.Found())
		}
	})
}

func TestKillTimeout(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  conf
		timeout time.Duration
		want    time.Duration
		code    int
	}{
		{"ends by itself", conf{"kill_after": "3s"}, 5 * time.Second, 3 * time.Second, 143},
		{"ignores SIGTERM", conf{"ignore_term": true}, 5 * time.Second, 5 * time.Second, 137},
		{"timeout above the cap", conf{"ignore_term": true}, 10 * time.Minute, 30 * time.Second, 137},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *rig) {
				a := task("a", c.config)
				a.KillTimeout = c.timeout
				g.run(service(a))
				begin := time.Now()
				g.stop(allocID)
				for len(g.m.Running()) > 0 {
					g.sleep(100 * time.Millisecond)
				}
				if took := time.Since(begin); took < c.want || took > c.want+200*time.Millisecond {
					t.Errorf("took %s, want %s", took, c.want)
				}
				g.sleep(time.Second)
				g.wantStatus(allocID, state.ClientComplete)
				for _, e := range g.view(allocID).Tasks["a"].Events {
					if e.Type == runtime.EventTerminated && e.ExitCode != c.code {
						t.Errorf("exit code %d, want %d", e.ExitCode, c.code)
					}
				}
			})
		})
	}
}

func TestKillSignal(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		a := task("a", nil)
		a.KillSignal = "SIGINT"
		g.run(service(a))
		g.stop(allocID)
		for _, e := range g.view(allocID).Tasks["a"].Events {
			if e.Type == runtime.EventTerminated && e.Signal != 2 {
				t.Errorf("signal %d, want 2", e.Signal)
			}
		}
	})
}

func TestRestartPolicyTimings(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"run_for": "1s", "exit_code": 3})))
		id := runtime.TaskID{AllocID: allocID, Task: "a"}
		var starts []time.Duration
		begin, seen := time.Now(), 0
		for time.Since(begin) < 2*time.Minute {
			if n := g.m.Starts(id); n > seen {
				starts, seen = append(starts, time.Since(begin)), n
			}
			g.sleep(50 * time.Millisecond)
		}
		if len(starts) != 3 {
			t.Fatalf("started at %v, want 3 starts", starts)
		}
		for i := 1; i < 3; i++ { // 1 s of running, 15 s of delay, up to 25 % jitter
			if d := starts[i] - starts[i-1]; d < 16*time.Second || d > 20*time.Second {
				t.Errorf("start %d came %s after the one before", i, d)
			}
		}
		a := g.wantStatus(allocID, state.ClientFailed)
		if ts := a.Tasks["a"]; !ts.Failed || ts.Restarts != 2 {
			t.Errorf("%s", describe(a))
		}
		if !strings.Contains(a.Description, `task "a" failed: exit code 3`) {
			t.Errorf("description %q", a.Description)
		}
		events := a.Tasks["a"].Events
		if last := events[len(events)-1]; last.Type != runtime.EventNotRestarting {
			t.Errorf("last event %+v", last)
		}
		if len(g.m.Tasks()) != 0 {
			t.Errorf("left: %v", g.m.Tasks())
		}
	})
}

func TestRestartModeDelay(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		a := task("a", conf{"run_for": "1s", "exit_code": 3})
		a.RestartPolicy = state.RestartPolicy{Attempts: 1, Interval: time.Minute, Delay: 5 * time.Second, Mode: state.RestartModeDelay}
		g.run(service(a))
		id := runtime.TaskID{AllocID: allocID, Task: "a"}
		g.sleep(50 * time.Second)
		if n := g.m.Starts(id); n != 2 {
			t.Errorf("%d starts in the first interval, want 2", n)
		}
		g.sleep(60 * time.Second)
		if n := g.m.Starts(id); n != 3 {
			t.Errorf("%d starts by the second interval, want 3", n)
		}
		g.sleep(10 * time.Minute)
		if a := g.view(allocID); a.Status == state.ClientFailed {
			t.Errorf("failed in spite of mode delay")
		}
		if events := g.view(allocID).Tasks["a"].Events; len(events) != state.MaxTaskEvents {
			t.Errorf("%d events, want the bound %d", len(events), state.MaxTaskEvents)
		}
	})
}

func TestServiceIsRestartedOnSuccess(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"run_for": "1s"})))
		g.sleep(22 * time.Second)
		if n := g.m.Starts(runtime.TaskID{AllocID: allocID, Task: "a"}); n != 2 {
			t.Fatalf("%d starts, want 2", n)
		}
	})
}

func TestBatch(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(batch(task("a", conf{"run_for": "1s"}), task("b", conf{"run_for": "10s", "fail_runs": 0})))
		g.sleep(2 * time.Second)
		g.wantStatus(allocID, state.ClientRunning) // b runs
		g.sleep(10 * time.Second)
		a := g.wantStatus(allocID, state.ClientComplete)
		if a.Tasks["a"].Restarts != 0 || a.Tasks["a"].Failed {
			t.Errorf("%s", describe(a))
		}
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted, runtime.EventTerminated)
	})
}

func TestBatchFailsAndRecovers(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(batch(task("a", conf{"run_for": "1s", "fail_runs": 1})))
		g.sleep(30 * time.Second)
		g.wantStatus(allocID, state.ClientRunning)
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted,
			runtime.EventTerminated, runtime.EventRestarting, runtime.EventStarted)
	})
}

func TestLeaderEndsSiblings(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		main := task("main", conf{"run_for": "5s"})
		main.Leader = true
		g.run(batch(main, task("side", nil)))
		g.sleep(6 * time.Second)
		a := g.wantStatus(allocID, state.ClientComplete)
		g.wantEvents(allocID, "side", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted,
			runtime.EventLeaderDead, runtime.EventKilling, runtime.EventTerminated, runtime.EventKilled)
		if a.Tasks["side"].Failed {
			t.Error("the sidecar failed")
		}
	})
}

func TestSiblingsOfAFailedTask(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("bad", conf{"start_error": "no such image", "not_retryable": true}), task("good", nil)))
		a := g.wantStatus(allocID, state.ClientFailed)
		if !a.Tasks["bad"].Failed || a.Tasks["good"].Failed || !strings.Contains(a.Description, "no such image") {
			t.Errorf("%s: %s", a.Description, describe(a))
		}
		events := a.Tasks["good"].Events
		if !slices.ContainsFunc(events, func(e state.TaskEvent) bool { return e.Type == runtime.EventSiblingFailed }) &&
			!strings.Contains(events[len(events)-1].Message, "before it ran") {
			t.Errorf("%s", describe(a))
		}
		g.wantEvents(allocID, "bad", runtime.EventReceived, runtime.EventSetup, runtime.EventDriverFailure, runtime.EventNotRestarting)
	})
}

func TestStopOrder(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		var order []string
		g.m.Hook(func(op string, id runtime.TaskID) error {
			if op == fake.OpSignal {
				order = append(order, id.Task)
			}
			return nil
		})
		main := task("main", conf{"kill_after": "2s"})
		main.Leader = true
		g.run(service(task("side", nil), main))
		g.stop(allocID)
		g.wantRunning(2) // the side car lives until the leader has ended
		g.sleep(3 * time.Second)
		g.wantRunning(0)
		if !slices.Equal(order, []string{"main", "side"}) {
			t.Errorf("signals went to %v", order)
		}
	})
}

func TestStartErrorsAreRestarted(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"start_error": "out of luck", "start_failures": 2})))
		g.sleep(time.Minute)
		a := g.wantStatus(allocID, state.ClientRunning)
		if a.Tasks["a"].Restarts != 2 {
			t.Errorf("%s", describe(a))
		}
	})
}

func TestDriverUnavailableIsNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.d.Fail(fake.OpStart, fmt.Errorf("dial: %w", runtime.ErrUnavailable), 6)
		g.run(service(task("a", nil)))
		g.sleep(10 * time.Second)
		g.wantStatus(allocID, state.ClientPending)
		g.sleep(2 * time.Minute)
		a := g.wantStatus(allocID, state.ClientRunning)
		if a.Tasks["a"].Restarts != 0 {
			t.Errorf("%s", describe(a))
		}
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventDriverFailure, runtime.EventStarted)

		g.d.Fail(fake.OpSignal, fmt.Errorf("dial: %w", runtime.ErrUnavailable), 3)
		g.d.Fail(fake.OpRemove, fmt.Errorf("dial: %w", runtime.ErrUnavailable), 3)
		g.stop(allocID)
		g.wantStatus(allocID, state.ClientRunning) // not ended while it may run
		g.sleep(time.Minute)
		g.wantStatus(allocID, state.ClientComplete)
		for _, e := range g.view(allocID).Tasks["a"].Events {
			if e.Type == runtime.EventTerminated && e.Signal != 15 {
				t.Errorf("it did not get its chance to end well: %+v", e)
			}
		}
	})
}

func TestMissingDriver(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		a := task("a", nil)
		a.Driver = "docker"
		g.run(service(a))
		if rep := g.wantStatus(allocID, state.ClientFailed); !strings.Contains(rep.Description, `driver "docker" is not on this node (it has: fake)`) {
			t.Errorf("%s", rep.Description)
		}
	})
}

func TestStopWhileStarting(t *testing.T) {
	for name, config := range map[string]conf{
		"start blocks":      {"start_block_for": "1h"},
		"waiting to retry":  {"start_error": "no"},
		"restart is due":    {"run_for": "1s"},
		"fails all the way": {"run_for": "1s", "exit_code": 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *rig) {
				g.run(service(task("a", config)))
				g.sleep(5 * time.Second)
				g.stop(allocID)
				g.wantStatus(allocID, state.ClientComplete)
				if len(g.m.Tasks()) != 0 {
					t.Errorf("left: %v", g.m.Tasks())
				}
			})
		})
	}
}

func TestStopOfWhatIsNotHere(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.stop("unknown-1")
		if got := g.reports()["unknown-1"].Status; got != state.ClientComplete {
			t.Errorf("status %q: the leader would wait for ever", got)
		}
		g.gone("unknown-1", "unknown-2", "../escape")
		if found := g.r.Found(); len(found) != 0 {
			t.Errorf("found %v", found)
		}
		as := service(task("a", nil))
		as.Alloc.ClientStatus = state.ClientFailed
		g.run(as)
		g.wantRunning(0)
	})
}

func TestBadOrdersAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		bad := service(task("..", nil))
		slash := service(task("a", nil))
		slash.Alloc.ID = "../../etc"
		group := service(task("a", nil))
		group.Alloc.TaskGroup = "nope"
		g.run(bad, slash, group, service(task("alloc", nil)), runtime.Assigned{})
		if found := g.r.Found(); len(found) != 0 {
			t.Errorf("found %v", found)
		}
	})
}

func TestOrphansAreListedAndLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		if err := g.m.Put(runtime.TaskSpec{ID: runtime.TaskID{AllocID: "orphan", Task: "x"}}); err != nil {
			t.Fatal(err)
		}
		g.reopen()
		g.sleep(time.Hour)
		g.wantRunning(1)
		if found := g.r.Found(); !slices.Equal(found, []string{"orphan"}) {
			t.Fatalf("found %v", found)
		}
		g.gone("orphan")
		g.wantRunning(0)
		if found := g.r.Found(); len(found) != 0 {
			t.Fatalf("found %v", found)
		}
	})
}

func TestRestartAlloc(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		a := task("a", nil)
		a.RestartPolicy = state.RestartPolicy{Attempts: 0, Interval: time.Minute, Mode: state.RestartModeFail}
		g.run(service(a, task("b", nil)))
		if err := g.r.RestartAlloc(ctx, allocID, "a"); err != nil {
			t.Fatal(err)
		}
		g.wantStatus(allocID, state.ClientRunning)
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted, runtime.EventRestartSignaled,
			runtime.EventKilling, runtime.EventTerminated, runtime.EventRestarting, runtime.EventStarted)
		if n := g.m.Starts(runtime.TaskID{AllocID: allocID, Task: "b"}); n != 1 {
			t.Errorf("b was started %d times", n)
		}
		if err := g.r.RestartAlloc(ctx, allocID, ""); err != nil {
			t.Fatal(err)
		}
		if n := g.m.Starts(runtime.TaskID{AllocID: allocID, Task: "b"}); n != 2 {
			t.Errorf("b was started %d times", n)
		}
		if err := g.r.RestartAlloc(ctx, allocID, "zzz"); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("unknown task: %v", err)
		}
		if err := g.r.RestartAlloc(ctx, "zzz", ""); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("unknown allocation: %v", err)
		}
		g.stop(allocID)
		if err := g.r.RestartAlloc(ctx, allocID, ""); err == nil {
			t.Error("restarted what has ended")
		}
	})
}

func TestStepsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var log []string
		failures := 2
		g.change = func(c *runtime.Config) {
			c.Steps = func(in runtime.StepInput) []runtime.Step {
				step := func(name, task string) runtime.Step {
					return runtime.Step{Name: name, Task: task,
						Ensure: func(context.Context) error {
							if name == "image" && failures > 0 {
								failures--
								return errors.New("registry is away")
							}
							log = append(log, "+"+name)
							in.Event(task, runtime.EventDownloading, name)
							return nil
						},
						Remove: func(context.Context) error { log = append(log, "-"+name); return nil }}
				}
				return []runtime.Step{step("image", "a"), step("sandbox", ""), step("volume", "a")}
			}
			c.Complete = func(_ runtime.StepInput, s *runtime.TaskSpec) { s.NetNS = "/run/netns/" + s.Group }
		}
		g.open()
		defer func() { g.end() }()
		g.run(service(task("a", nil)))
		g.sleep(time.Minute)
		a := g.wantStatus(allocID, state.ClientRunning)
		if a.Tasks["a"].Restarts != 2 {
			t.Errorf("%s", describe(a))
		}
		spec, _ := g.m.Spec(runtime.TaskID{AllocID: allocID, Task: "a"})
		if spec.NetNS != "/run/netns/"+allocID {
			t.Errorf("NetNS %q", spec.NetNS)
		}
		g.stop(allocID)
		want := "+sandbox +sandbox +sandbox +image +volume -volume -image -sandbox"
		if got := strings.Join(log, " "); got != want {
			t.Errorf("steps:\n got %s\nwant %s", got, want)
		}
	})
}

func TestEndedAllocationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.change = func(c *runtime.Config) { c.MaxEnded = 3 }
		g.open()
		defer func() { g.end() }()
		for i := range 6 {
			as := batch(task("a", conf{"run_for": "1s"}))
			as.Alloc.ID = fmt.Sprintf("alloc-%d", i)
			g.run(as)
			g.sleep(2 * time.Second)
		}
		if n := len(g.r.Found()); n != 6 {
			t.Fatalf("%d found before the leader knew, want 6", n)
		}
		g.reports()
		if found := g.r.Found(); !slices.Equal(found, []string{"alloc-3", "alloc-4", "alloc-5"}) {
			t.Fatalf("found %v", found)
		}
	})
}
