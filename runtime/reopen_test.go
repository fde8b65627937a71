package runtime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

var taskA = runtime.TaskID{AllocID: allocID, Task: "a"}

func TestReattach(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		started := g.view(allocID).Tasks["a"].StartedAt
		g.sleep(time.Minute)
		g.reopen()
		synctest.Wait()
		a := g.wantStatus(allocID, state.ClientRunning) // also without the leader
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted, runtime.EventReattached)
		if a.Tasks["a"].StartedAt != started || a.Tasks["a"].Restarts != 0 || g.m.Starts(taskA) != 1 {
			t.Errorf("%d starts: %s", g.m.Starts(taskA), describe(a))
		}
		if err := g.m.Exit(taskA, runtime.Exit{Code: 4}); err != nil {
			t.Fatal(err)
		}
		g.sleep(20 * time.Second)
		g.wantRunning(1) // restarts go on without the leader: it ran when the agent came
	})
}

func TestMissedExits(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   string
		exit   *runtime.Exit // nil: lost
		want   string
		code   int
		unsure bool
	}{
		{"batch ended well", state.JobTypeBatch, &runtime.Exit{}, state.ClientComplete, 0, false},
		{"batch failed", state.JobTypeBatch, &runtime.Exit{Code: 9}, state.ClientFailed, 9, false},
		{"batch lost is a failure", state.JobTypeBatch, nil, state.ClientFailed, 0, true},
		{"service failed", state.JobTypeService, &runtime.Exit{Code: 9}, state.ClientFailed, 9, false},
		{"service lost is a failure", state.JobTypeService, nil, state.ClientFailed, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *rig) {
				a := task("a", nil)
				a.RestartPolicy = state.RestartPolicy{Interval: time.Minute, Mode: state.RestartModeFail}
				g.run(assigned(c.kind, a))
				g.kill()
				if c.exit == nil {
					g.m.Lose(taskA)
				} else if err := g.m.Exit(taskA, *c.exit); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				g.open()
				synctest.Wait()
				rep := g.wantStatus(allocID, c.want)
				i := slices.IndexFunc(rep.Tasks["a"].Events, func(e state.TaskEvent) bool { return e.Type == runtime.EventTerminated })
				if i < 0 {
					t.Fatalf("%s", describe(rep))
				}
				if e := rep.Tasks["a"].Events[i]; e.ExitCode != c.code || e.Unknown != c.unsure {
					t.Errorf("%+v", e)
				}
			})
		})
	}
}

func TestMissedExitIsNotRestartedBeforeTheLeaderSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		g.kill()
		if err := g.m.Exit(taskA, runtime.Exit{Code: 1}); err != nil {
			t.Fatal(err)
		}
		g.open()
		g.sleep(time.Hour)
		g.wantRunning(0) // its place may have been given to another node
		a := g.wantStatus(allocID, state.ClientPending)
		if events := a.Tasks["a"].Events; events[len(events)-1].Type != runtime.EventWaitingForLeader {
			t.Errorf("%s", describe(a))
		}
		g.run(service(task("a", nil)))
		g.wantRunning(1)
		if got := g.view(allocID).Tasks["a"].Restarts; got != 1 {
			t.Errorf("%d restarts, want 1", got)
		}
	})
}

func TestReboot(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		a := task("a", nil)
		a.RestartPolicy = state.RestartPolicy{Attempts: 0, Interval: time.Minute, Mode: state.RestartModeFail}
		done := task("done", conf{"run_for": "1s"})
		g.run(batch(a, done))
		g.sleep(2 * time.Second)
		g.kill()
		g.m.Reboot()
		g.boot = "boot-2"
		g.open()
		g.sleep(time.Minute)
		g.wantRunning(0) // not before the leader has said so
		g.run(batch(a, done))
		g.wantRunning(1)
		rep := g.wantStatus(allocID, state.ClientRunning)
		if rep.Tasks["a"].Restarts != 0 || rep.Tasks["a"].Failed {
			t.Errorf("a reboot is nobody's failure: %s", describe(rep))
		}
		n := 0
		for _, e := range rep.Tasks["a"].Events {
			if e.Type == runtime.EventRebooted {
				n++
			}
			if e.Type == runtime.EventTerminated {
				t.Errorf("%s", describe(rep))
			}
		}
		if n != 1 {
			t.Errorf("%d events of a reboot: %s", n, describe(rep))
		}
		if n := g.m.Starts(runtime.TaskID{AllocID: allocID, Task: "done"}); n != 1 {
			t.Errorf("a task that was done was started %d times", n)
		}
		g.reopen() // the same boot: nothing happens
		synctest.Wait()
		g.wantRunning(1)
		g.stop(allocID)
		g.wantStatus(allocID, state.ClientComplete)
	})
}

func TestCorruptRecord(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"flipped bit": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"TaskGroup":"g"`, `"TaskGroup":"h"`, 1))
		},
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
		"empty":     func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *rig) {
				g.run(service(task("a", nil)))
				g.kill()
				path := filepath.Join(g.dir, "allocs", allocID, "alloc.json")
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, spoil(data), 0o600); err != nil {
					t.Fatal(err)
				}
				g.open()
				g.sleep(time.Hour)
				g.wantRunning(1) // nobody has said that it may go
				if found := g.r.Found(); !slices.Equal(found, []string{allocID}) {
					t.Fatalf("found %v", found)
				}
				if _, err := os.Stat(path + ".corrupt"); err != nil {
					t.Errorf("the record was not kept aside: %v", err)
				}
				g.run(service(task("a", nil)))
				g.wantStatus(allocID, state.ClientRunning)
				g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventReattached)
				if n := g.m.Starts(taskA); n != 1 {
					t.Errorf("%d starts", n)
				}
				g.gone(allocID)
				g.wantRunning(0)
			})
		})
	}
}

func TestStopOfACorruptRecord(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"ignore_term": true})))
		g.kill()
		path := filepath.Join(g.dir, "allocs", allocID, "alloc.json")
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		g.open()
		g.stop(allocID)
		g.sleep(10 * time.Second)
		g.wantRunning(0)
		g.wantStatus(allocID, state.ClientComplete)
		g.reopen()
		g.wantStatus(allocID, state.ClientComplete) // and stays so
		g.run(service(task("a", nil)))
		g.wantRunning(0)
	})
}

// TestWipedDirectory: labels alone are enough to find and take back what runs.
func TestWipedDirectory(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		g.kill()
		if err := os.RemoveAll(filepath.Join(g.dir, "allocs")); err != nil {
			t.Fatal(err)
		}
		g.open()
		if found := g.r.Found(); !slices.Equal(found, []string{allocID}) {
			t.Fatalf("found %v", found)
		}
		g.run(service(task("a", nil)))
		g.wantStatus(allocID, state.ClientRunning)
		if n := g.m.Starts(taskA); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestDriverAwayWhenTheAgentComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		g.kill()
		g.change = func(c *runtime.Config) {
			g.d.Fail(fake.OpList, runtime.ErrUnavailable, 4)
		}
		g.open()
		synctest.Wait()
		g.run(service(task("a", nil)))
		a := g.wantStatus(allocID, state.ClientRunning) // as far as is known
		if !strings.Contains(a.Description, "cannot ask what runs") {
			t.Errorf("description %q", a.Description)
		}
		g.sleep(time.Minute)
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventStarted, runtime.EventReattached)
		if n := g.m.Starts(taskA); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestStopGoesOnAfterAKill(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"ignore_term": true})))
		g.stop(allocID)
		g.reopen() // in the middle of the kill timeout
		g.sleep(10 * time.Second)
		g.wantRunning(0)
		g.wantStatus(allocID, state.ClientComplete)
	})
}

func TestReports(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		select {
		case <-g.r.Reports():
		default:
			t.Fatal("no word of a report")
		}
		one, allocs := g.r.TakeReport()
		if len(allocs) != 1 || allocs[0].Status != state.ClientRunning {
			t.Fatalf("report %d: %+v", one, allocs)
		}
		two, allocs := g.r.TakeReport() // not confirmed: again
		if two <= one || len(allocs) != 1 {
			t.Fatalf("report %d after %d: %+v", two, one, allocs)
		}
		g.r.AckReport(one) // late
		if seq, _ := g.r.TakeReport(); seq <= two {
			t.Fatalf("a late confirmation was believed: %d after %d", seq, two)
		}
		three, _ := g.r.TakeReport()
		g.stop(allocID) // changes after the report was taken
		g.r.AckReport(three)
		four, allocs := g.r.TakeReport()
		if four <= three || len(allocs) != 1 || allocs[0].Status != state.ClientComplete {
			t.Fatalf("report %d: %+v", four, allocs)
		}
		g.r.AckReport(four)
		if seq, allocs := g.r.TakeReport(); seq != 0 || allocs != nil {
			t.Fatalf("report %d of nothing: %+v", seq, allocs)
		}
		g.stop(allocID) // the leader asks again at once: the order crossed the report
		if seq, _ := g.r.TakeReport(); seq != 0 {
			t.Error("reported at each poll")
		}
		g.sleep(time.Minute)
		g.stop(allocID) // it forgot: restored from an older state
		if seq, _ := g.r.TakeReport(); seq == 0 {
			t.Error("not reported again")
		}
		g.reopen() // another boot: everything again
		if _, allocs := g.r.TakeReport(); len(allocs) != 1 || allocs[0].Status != state.ClientComplete {
			t.Errorf("after a restart of the agent: %+v", allocs)
		}
	})
}

func TestReportsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		for i := range 120 {
			as := service(task("a", nil))
			as.Alloc.ID = "alloc-" + string(rune('a'+i%26)) + "-" + string(rune('a'+i/26))
			g.r.Obey(runtime.Orders{Run: []runtime.Assigned{as}})
		}
		synctest.Wait()
		seen, rounds := map[string]bool{}, 0
		for range g.r.Reports() {
			seq, allocs := g.r.TakeReport()
			if len(allocs) > 100 {
				t.Fatalf("%d allocations in a report", len(allocs))
			}
			for _, a := range allocs {
				seen[a.ID] = true
			}
			g.r.AckReport(seq)
			if rounds++; len(seen) == 120 || rounds > 10 {
				break
			}
		}
		if len(seen) != 120 {
			t.Fatalf("%d allocations reported in %d rounds", len(seen), rounds)
		}
	})
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var full atomic.Bool
		full.Store(true)
		g.change = func(c *runtime.Config) {
			c.SetFault(func(op string) error {
				if full.Load() && op == "save" {
					return &os.PathError{Op: "write", Path: "alloc.json", Err: syscall.ENOSPC}
				}
				return nil
			})
		}
		g.open()
		defer func() { g.end() }()
		g.run(service(task("a", nil)))
		g.sleep(5 * time.Second)
		g.wantRunning(0) // not before its record is written
		full.Store(false)
		g.sleep(30 * time.Second)
		g.wantStatus(allocID, state.ClientRunning)

		full.Store(true) // a stop does not wait for a disk
		g.stop(allocID)
		g.sleep(10 * time.Second)
		g.wantRunning(0)
		g.wantStatus(allocID, state.ClientComplete)
		g.gone(allocID)
		if found := g.r.Found(); len(found) != 0 {
			t.Errorf("found %v", found)
		}

		g.run(service(task("a", nil))) // and one that never can be written fails, to be placed elsewhere
		g.sleep(5 * time.Minute)
		a := g.wantStatus(allocID, state.ClientFailed)
		if !strings.Contains(a.Description, "disk of the data directory is full") {
			t.Errorf("description %q", a.Description)
		}
	})
}

func TestDiskFillsBeforeARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var full atomic.Bool
		g.change = func(c *runtime.Config) {
			c.SetFault(func(op string) error {
				if full.Load() && op == "save" {
					return syscall.ENOSPC
				}
				return nil
			})
		}
		g.open()
		defer func() { g.end() }()
		g.run(service(task("a", conf{"run_for": "10s", "exit_code": 1})))
		full.Store(true)
		g.sleep(30 * time.Second)
		g.wantRunning(0)
		if a := g.view(allocID); !strings.Contains(a.Description, "disk of the data directory is full") {
			t.Errorf("description %q", a.Description)
		}
		full.Store(false)
		g.sleep(3 * time.Minute)
		if n := g.m.Starts(taskA); n < 2 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestUpdatedRowsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		as := service(task("a", nil))
		as.Job.Version, as.Alloc.JobVersion = 1, 1
		as.Job.Meta = map[string]string{"color": "red"}
		g.run(as)
		g.reopen()
		synctest.Wait()
		if n := g.m.Starts(taskA); n > 1 {
			t.Errorf("%d starts", n)
		}
		g.run(as)
		g.sleep(time.Second)
		if err := g.m.Exit(taskA, runtime.Exit{Code: 1}); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			t.Fatal(err)
		}
		g.sleep(30 * time.Second)
		spec, ok := g.m.Spec(taskA)
		if !ok || spec.Env["NOMAD_META_color"] != "red" {
			t.Errorf("the next run does not see the new version: %v", spec.Env["NOMAD_META_color"])
		}
	})
}

// TestKilledBetweenStartAndRecord: the driver knows what the record does not.
func TestKilledBetweenStartAndRecord(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		dead := g.dead
		g.m.Hook(func(op string, _ runtime.TaskID) error {
			if op == "after Start" {
				dead.Store(true)
				return errCrash
			}
			return nil
		})
		g.run(service(task("a", nil)))
		g.m.Hook(nil)
		g.reopen()
		synctest.Wait()
		g.wantStatus(allocID, state.ClientRunning)
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventReattached)
		if n := g.m.Starts(taskA); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

// TestNotEndedBeforeItIsClean: the leader gives resources and ports to others once it hears of the end.
func TestNotEndedBeforeItIsClean(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		var busy atomic.Bool
		busy.Store(true)
		g.change = func(c *runtime.Config) {
			c.Steps = func(runtime.StepInput) []runtime.Step {
				return []runtime.Step{{Name: "network", Remove: func(context.Context) error {
					if busy.Load() {
						return errors.New("address is in use")
					}
					return nil
				}}}
			}
		}
		g.reopen()
		g.run(batch(task("a", conf{"run_for": "1s"})))
		g.sleep(time.Minute)
		if a := g.wantStatus(allocID, state.ClientRunning); !strings.Contains(a.Description, "cannot clean up (network), trying again: address is in use") {
			t.Errorf("description %q", a.Description)
		}
		g.reopen() // and a new life of the agent goes on with it
		g.sleep(time.Minute)
		g.wantStatus(allocID, state.ClientRunning)
		busy.Store(false)
		g.sleep(time.Minute)
		g.wantStatus(allocID, state.ClientComplete)
		if n := g.m.Starts(taskA); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

// TestRecordsAreSynced is the whole way with records that are synced to the disk.
func TestRecordsAreSynced(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.change = func(c *runtime.Config) { c.NoSync = false }
		g.reopen()
		g.run(service(task("a", nil)))
		g.reopen()
		synctest.Wait()
		g.wantStatus(allocID, state.ClientRunning)
		g.stop(allocID)
		g.reopen()
		g.wantStatus(allocID, state.ClientComplete)
		g.gone(allocID)
		if found := g.r.Found(); len(found) != 0 {
			t.Errorf("found %v", found)
		}
	})
}
