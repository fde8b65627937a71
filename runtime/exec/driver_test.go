package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
)

func TestRunToTheEnd(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec(`echo "$GREETING $0 $1"; pwd; ls /proc/self/fd | tr '\n' ' '; echo oops >&2; exit 3`)
		spec.Config["args"] = append(spec.Config["args"].([]any), "zero", 1.5)
		if err := os.WriteFile(spec.Stdout, []byte("earlier\n"), 0o644); err != nil {
			b.Fatal(err)
		}
		before := time.Now()
		started := b.start(spec)
		if started.Attached || started.StartedAt.Before(before.Add(-time.Second)) {
			b.Errorf("got %+v", started)
		}
		x := b.wait(spec.ID)
		if x.Code != 3 || x.Signal != 0 || x.Unknown || x.OOM || x.Success() || x.At.Before(started.StartedAt) {
			b.Errorf("got exit %+v", x)
		}
		out := strings.Split(b.read("out"), "\n")
		if out[0] != "earlier" || out[1] != "moo zero 1.5" || out[2] != filepath.Dir(spec.Dirs.Local) {
			b.Errorf("got output %q", out)
		}
		if fds := strings.Fields(out[3]); len(fds) != 4 { // 0, 1, 2 and that of ls
			b.Errorf("the task has descriptors %v", fds)
		}
		if got := b.read("err"); got != "oops\n" {
			b.Errorf("got errors %q", got)
		}
		if again := b.wait(spec.ID); again != x {
			b.Errorf("waiting again: got %+v, want %+v", again, x)
		}
		if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGTERM); !errors.Is(err, runtime.ErrNotFound) {
			b.Errorf("signal after the end: got %v", err)
		}
		found, err := b.driver.List(b.ctx())
		if err != nil || len(found) != 1 || found[0].Running || found[0].ID != spec.ID {
			b.Errorf("list: got %+v, %v", found, err)
		}
	})
}

func TestStartAgainAfterTheEnd(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`echo run; exit 1`)
	b.start(spec)
	b.wait(spec.ID)
	if s, err := b.driver.Start(b.ctx(), spec); err != nil || s.Attached {
		t.Fatalf("got %+v, %v", s, err)
	}
	b.wait(spec.ID)
	if got, want := b.read("out"), "run\nrun\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The init's own care about broken pipes is not handed down: a task's pipelines end as its author expects.
func TestBrokenPipesAreNotIgnored(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec(`grep SigIgn /proc/self/status`)
		b.start(spec)
		b.wait(spec.ID)
		words := strings.Fields(b.read("out"))
		if len(words) != 2 {
			b.Fatalf("got %q", words)
		}
		if mask, err := strconv.ParseUint(words[1], 16, 64); err != nil || mask>>(syscall.SIGPIPE-1)&1 != 0 {
			b.Errorf("the task ignores SIGPIPE: %q, %v", words, err)
		}
	})
}

func TestSignals(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec(`trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done`)
		b.start(spec)
		b.printed("ready")
		if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if x := b.wait(spec.ID); x.Code != 7 || x.Signal != 0 {
			b.Errorf("SIGTERM: got %+v", x)
		}
		spec = b.spec(`exec sleep 1000`)
		b.start(spec)
		if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		if x := b.wait(spec.ID); x.Code != 137 || x.Signal != 9 || x.Unknown {
			b.Errorf("SIGKILL: got %+v", x)
		}
	})
}

func TestInitHandsSignalsOn(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`trap 'exit 8' TERM; echo ready; while :; do sleep 0.02; done`)
	b.start(spec)
	b.printed("ready")
	if err := syscall.Kill(b.record(spec.ID).PID, syscall.SIGTERM); err != nil { // as a machine that shuts down does
		t.Fatal(err)
	}
	if x := b.wait(spec.ID); x.Code != 8 {
		t.Errorf("got %+v", x)
	}
}

func (b *bench) record(id runtime.TaskID) record {
	b.Helper()
	name, _ := taskName(id)
	task, err := b.driver.load(name)
	if err != nil {
		b.Fatal(err)
	}
	return task.rec
}

func TestAnotherAgentTakesOver(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec(`echo ready; read x < ` + filepath.Join(b.root, "fifo") + `; exit $x`)
		if err := syscall.Mkfifo(filepath.Join(b.root, "fifo"), 0o600); err != nil {
			b.Fatal(err)
		}
		first := b.start(spec)
		if !alive(first.PID) {
			b.Errorf("no process %d", first.PID)
		}
		b.open()
		found, err := b.driver.List(b.ctx())
		if err != nil || len(found) != 1 || !found[0].Running || found[0].PID != first.PID || found[0].Labels[runtime.LabelTask] != "web" {
			b.Fatalf("list: got %+v, %v", found, err)
		}
		second, err := b.driver.Start(b.ctx(), spec)
		if err != nil || !second.Attached || second.PID != first.PID || second.StartedAt.IsZero() {
			b.Fatalf("start: got %+v, %v", second, err)
		}
		if err := os.WriteFile(filepath.Join(b.root, "fifo"), []byte("5\n"), 0); err != nil {
			b.Fatal(err)
		}
		if x := b.wait(spec.ID); x.Code != 5 {
			b.Errorf("got %+v", x)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`exec sleep 1000`)
	b.start(spec)
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		if _, err := b.driver.Wait(ctx, spec.ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
}

func TestKilledInitIsAnUnknownExit(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec(`exec sleep 1000`)
		started := b.start(spec)
		if err := syscall.Kill(b.record(spec.ID).PID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		if x := b.wait(spec.ID); !x.Unknown || x.Success() {
			b.Errorf("got %+v", x)
		}
		eventually(b.T, "the command dies with init", func() bool { return !alive(started.PID) })
	})
}

// A grandchild in its own session, whose parent has ended, outlives neither the command nor Remove.
func TestOrphansDie(t *testing.T) {
	const orphan = `(setsid sh -c 'echo $$ > orphan.tmp; mv orphan.tmp orphan; exec sleep 1000' &) ; `
	isolated(t, func(b *bench) {
		spec := b.spec(orphan + `while [ ! -e orphan ]; do sleep 0.01; done`)
		b.start(spec)
		b.wait(spec.ID)
		if name, _ := taskName(spec.ID); len(marked(marker(name))) > 0 {
			b.Errorf("the orphan outlives the command")
		}
		b.remove(spec.ID)
		_ = os.Remove(filepath.Join(b.root, "web", "orphan"))

		spec = b.spec(orphan + `exec sleep 1000`)
		b.start(spec)
		eventually(b.T, "an orphan", func() bool { _, err := os.Stat(filepath.Join(b.root, "web", "orphan")); return err == nil })
		b.remove(spec.ID) // looks for processes
		b.remove(spec.ID) // once more is no error
		_ = os.Remove(filepath.Join(b.root, "web", "orphan"))

		spec = b.spec(orphan + `exec sleep 1000`)
		spec.Cgroup = "" // only the mark is left to find it by
		b.start(spec)
		eventually(b.T, "an orphan", func() bool { _, err := os.Stat(filepath.Join(b.root, "web", "orphan")); return err == nil })
		if err := syscall.Kill(b.record(spec.ID).PID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		b.wait(spec.ID)
		b.remove(spec.ID)
	})
}

func TestStateOfAnotherBoot(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`exec sleep 1000`)
	b.start(spec)
	b.driver.boot = "another"
	if _, err := b.driver.Wait(b.ctx(), spec.ID); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("wait: got %v", err)
	}
	if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGTERM); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("signal: got %v", err)
	}
	if found, err := b.driver.List(b.ctx()); err != nil || len(found) > 0 {
		t.Errorf("list: got %v, %v", found, err)
	}
	b.open() // the true boot again: the task is still ours to remove
}

func TestSweepOfOldState(t *testing.T) {
	b := newBench(t)
	for name, data := range map[string]string{
		"a~old":  `{"PID":1,"BootID":"another"}`,
		"a~torn": `{"PID":1,"Bo`,
		"a~none": ``,
	} {
		dir := filepath.Join(b.cfg.Dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.open()
	if left, err := os.ReadDir(b.cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestNothingThere(t *testing.T) {
	b := newBench(t)
	id := runtime.TaskID{AllocID: "a", Task: "b"}
	if _, err := b.driver.Wait(b.ctx(), id); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("wait: got %v", err)
	}
	if err := b.driver.Signal(b.ctx(), id, syscall.SIGTERM); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("signal: got %v", err)
	}
	if err := b.driver.Remove(b.ctx(), id); err != nil {
		t.Errorf("remove: got %v", err)
	}
	for _, id := range []runtime.TaskID{{}, {AllocID: "a"}, {AllocID: "../a", Task: "b"}, {AllocID: "a", Task: "b~c"}} {
		if err := b.driver.Remove(b.ctx(), id); err == nil {
			t.Errorf("remove %v: want an error", id)
		}
	}
}

// The kernel is asked for a number that it hands to another process: the start time tells them apart.
func TestAnotherProcessOfThatPID(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`exit 0`)
	b.start(spec)
	b.wait(spec.ID)
	name, _ := taskName(spec.ID)
	task, err := b.driver.load(name)
	if err != nil {
		t.Fatal(err)
	}
	other := osexec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	task.rec.PID = other.Process.Pid
	if err := task.save(durable); err != nil {
		t.Fatal(err)
	}
	if found, err := b.driver.List(b.ctx()); err != nil || found[0].Running {
		t.Errorf("list: got %+v, %v", found, err)
	}
	b.remove(spec.ID)
	if !alive(other.Process.Pid) {
		t.Error("a stranger was killed")
	}
}

func TestFingerprint(t *testing.T) {
	b := newBench(t)
	f := b.driver.Fingerprint(b.ctx())
	if !f.Info.Detected || !f.Info.Healthy || f.Attributes["driver.exec"] != "1" {
		t.Errorf("got %+v", f)
	}
	t.Log(f.Info.HealthDescription)
	plain := newBench(t, func(c *Config) { c.Isolation = IsolationNone })
	if got := plain.driver.Fingerprint(b.ctx()).Attributes["driver.exec.isolation"]; got != IsolationNone {
		t.Errorf("got %s", got)
	}
	if _, err := Open(Config{Dir: b.cfg.Dir, Isolation: "jail"}); err == nil {
		t.Error("want an error for an unknown isolation")
	}
	if _, err := Open(Config{Dir: "relative"}); err == nil {
		t.Error("want an error for a relative directory")
	}
}

// A program that forgets to call InitMain must not start itself without end.
func TestProgramThatIsNoInit(t *testing.T) {
	if _, err := Open(Config{Dir: t.TempDir(), Exe: "/bin/true"}); err == nil || !strings.Contains(err.Error(), "ended early") {
		t.Errorf("got %v", err)
	}
	t.Setenv(initMarker, "1")
	if _, err := Open(Config{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "InitMain") {
		t.Errorf("got %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`exit 4`)
	done := make(chan error)
	const n = 8
	for i := range n {
		s := spec
		s.ID.Task = "t" + strconv.Itoa(i)
		if s.Cgroup != "" {
			s.Cgroup = b.cgroup + "/" + s.ID.Task // parents come and go under the others' feet
		}
		go func() {
			_, err := b.driver.Start(b.ctx(), s)
			if err == nil {
				var x runtime.Exit
				if x, err = b.driver.Wait(b.ctx(), s.ID); err == nil && x.Code != 4 {
					err = fmt.Errorf("got %+v", x)
				}
			}
			done <- errors.Join(err, b.driver.Remove(b.ctx(), s.ID))
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	b.remove(spec.ID)
}
