package runtime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

// wantCrash compares a task's crash tail, its time aside.
func (g *rig) wantCrash(name string, want *state.CrashTail) {
	g.t.Helper()
	got := g.view(allocID).Tasks[name].Crash
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(state.CrashTail{}, "Time")); diff != "" {
		g.t.Fatalf("crash tail of task %s (-want +got):\n%s", name, diff)
	}
	if got != nil && got.Time == 0 {
		g.t.Error("it has no time")
	}
}

// write appends to a task's log file, as the task would.
func (g *rig) write(name string, kind runtime.LogKind, text string) {
	g.t.Helper()
	f, err := os.OpenFile(filepath.Join(g.dir, "allocs", allocID, "alloc/logs", name+"."+string(kind)), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	_ = f.Close()
}

func (g *rig) exit(name string, x runtime.Exit) {
	g.t.Helper()
	if err := g.m.Exit(runtime.TaskID{AllocID: allocID, Task: name}, x); err != nil {
		g.t.Fatal(err)
	}
	synctest.Wait()
}

// TestCrashTail: of each run that fails its end is kept, with the last of what that run wrote and nothing of the runs before. A run
// that ends well, or by order, leaves what was known.
func TestCrashTail(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		as := service(task("a", conf{"stdout": "begun"}), task("b", nil))
		as.Job.TaskGroups[1].Tasks[0].RestartPolicy = state.RestartPolicy{Attempts: 9, Interval: time.Hour, Delay: time.Second, Mode: state.RestartModeFail}
		g.run(as)
		g.wantCrash("a", nil)
		g.write("a", runtime.Stderr, "\x1b[31mwarning\x1b[0m\r\n\n10%\r20%\nno \xffluck\n")
		g.exit("a", runtime.Exit{Code: 3})
		first := &state.CrashTail{Reason: "exit code 3", ExitCode: 3, Stderr: []string{"warning", "20%", "no \ufffdluck"}, Stdout: []string{"begun"}}
		g.wantCrash("a", first)
		g.wantCrash("b", nil)

		g.sleep(5 * time.Second)
		g.wantRunning(2)
		g.wantCrash("a", first)
		g.exit("a", runtime.Exit{})
		g.wantCrash("a", first)

		g.sleep(5 * time.Second)
		g.write("a", runtime.Stdout, strings.Repeat("line\n", 5000)+"the end")
		g.exit("a", runtime.Exit{Code: 137, Signal: 9, OOM: true})
		lines := append(slices.Repeat([]string{"line"}, state.MaxCrashLines-1), "the end")
		oom := &state.CrashTail{Reason: "exit code 137: killed for using more memory than its limit", ExitCode: 137, Signal: 9, OOM: true, Stdout: lines}
		g.wantCrash("a", oom)

		g.sleep(5 * time.Second)
		g.stop(allocID)
		g.wantStatus(allocID, state.ClientComplete)
		g.wantCrash("a", oom)
		g.wantCrash("b", nil)
	})
}

// TestCrashTailOfWhatNobodySaw: a task fails while the agent is away, after a run that wrote something else and one that was silent.
func TestCrashTailOfWhatNobodySaw(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		as := batch(task("a", nil))
		as.Job.TaskGroups[1].Tasks[0].RestartPolicy = state.RestartPolicy{Attempts: 2, Interval: time.Hour, Delay: time.Second, Mode: state.RestartModeFail}
		g.run(as)
		g.write("a", runtime.Stderr, "of the first run\n")
		g.exit("a", runtime.Exit{Code: 1})
		g.sleep(5 * time.Second)
		g.exit("a", runtime.Exit{Code: 2})
		g.wantCrash("a", &state.CrashTail{Reason: "exit code 2", ExitCode: 2})
		g.sleep(5 * time.Second)
		g.kill()
		g.write("a", runtime.Stderr, "alone\n")
		g.exit("a", runtime.Exit{Code: 143, Signal: 15})
		g.open()
		g.sleep(time.Second)
		g.wantStatus(allocID, state.ClientFailed)
		want := &state.CrashTail{Reason: "exit code 143, signal SIGTERM", ExitCode: 143, Signal: 15, Stderr: []string{"alone"}}
		g.wantCrash("a", want)
		g.reopen()
		g.wantCrash("a", want)
	})
}

// lagging is a driver whose tasks' output is copied by somebody else.
type lagging struct{ *fake.Driver }

func (lagging) OutputLag() time.Duration { return time.Second }

// TestCrashTailWaitsForTheCopier: what copies a task's output may write on after its end.
func TestCrashTailWaitsForTheCopier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.change = func(c *runtime.Config) { c.Drivers = map[string]runtime.Driver{"fake": lagging{g.d}} }
		g.open()
		defer func() { g.end() }()
		g.run(batch(task("a", nil)))
		begin := time.Now()
		g.exit("a", runtime.Exit{Code: 1})
		g.write("a", runtime.Stderr, "late,\n")
		g.sleep(150 * time.Millisecond)
		g.write("a", runtime.Stderr, "later\n")
		for g.view(allocID).Tasks["a"].Crash == nil {
			g.sleep(10 * time.Millisecond)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %s", took)
		}
		g.wantCrash("a", &state.CrashTail{Reason: "exit code 1", ExitCode: 1, Stderr: []string{"late,", "later"}})
	})
}

func TestLastLines(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 20_000)
	for name, tc := range map[string]struct {
		content string
		from    int64
		want    []string
	}{
		"empty":                    {"", 0, nil},
		"no end of line":           {"a\nb", 0, []string{"a", "b"}},
		"from the middle":          {"a\nb\n", 2, []string{"b"}},
		"behind the end":           {"a\nb\n", 99, []string{"a", "b"}},
		"only blank ones":          {"\n \r\n\t\n", 0, nil},
		"one that is too long":     {long, 0, []string{long[:8<<10]}},
		"begins in a line":         {long + "\nb\n", 0, []string{"b"}},
		"written over by progress": {"1 %\r2 %\r3 %\r\n", 0, []string{"3 %"}},
	} {
		if err := os.WriteFile(filepath.Join(dir, "out"), []byte(tc.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := runtime.LastLines(dir, "out", tc.from)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %.100q, %v", name, got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "out"), []byte(strings.Repeat("0123456\n", 32<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.TrimFile(dir, "out", 64<<10, 32<<10, true); err != nil {
		t.Fatal(err)
	}
	if got, err := runtime.LastLines(dir, "out", 0); err != nil || len(got) < 1000 || slices.ContainsFunc(got, func(s string) bool { return s != "0123456" }) {
		t.Errorf("of a file whose head was freed: %d lines, %v", len(got), err)
	}
	if got, err := runtime.LastLines(dir, "none", 0); got != nil || err != nil {
		t.Errorf("of no file: %q, %v", got, err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if got, err := runtime.LastLines(dir, "link", 0); got != nil || err == nil {
		t.Errorf("through a link that the task made: %q", got)
	}
}

// TestReportOfALargeAllocation: however much its tasks have to say, what says how it stands fits into a report.
func TestReportOfALargeAllocation(t *testing.T) {
	large := func(message string) state.AllocReport {
		r := state.AllocReport{ID: allocID, Status: state.ClientFailed, Description: strings.Repeat(message, 100), Tasks: map[string]state.TaskState{}}
		for i := range 20 {
			ts := state.TaskState{State: state.TaskDead, Failed: true, Crash: (&state.CrashTail{Stderr: slices.Repeat([]string{message}, 50)}).Bound()}
			for range state.MaxTaskEvents {
				ts.Events = append(ts.Events, state.TaskEvent{Type: runtime.EventDriverFailure, Message: message})
			}
			r.Tasks[fmt.Sprint("task-", i)] = ts
		}
		return r
	}
	for name, message := range map[string]string{"plain": strings.Repeat("x", 1000), "markup": strings.Repeat("<", 1000), "few": "no"} {
		in := large(message)
		got, size, most := runtime.BoundReport(in)
		if size > most || got.Status != in.Status || len(got.Tasks) != 20 || !got.Tasks["task-7"].Failed || len(got.Tasks["task-7"].Events) < 3 {
			t.Errorf("%s: %d bytes, at most %d; %d tasks, %+v", name, size, most, len(got.Tasks), got.Tasks["task-7"])
		}
		if whole := cmp.Equal(got, in); whole != (name == "few") {
			t.Errorf("%s: left as it was: %v", name, whole)
		}
	}
}
