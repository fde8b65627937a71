package exec

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
)

// dying is what the test tells an agent that shall die.
type dying struct {
	Config Config
	Spec   runtime.TaskSpec
	Step   string
}

// dyingAgent is a program that starts a task and kills itself in the middle.
func dyingAgent() {
	var d dying
	if err := json.Unmarshal([]byte(os.Getenv("EXEC_TEST_DYING")), &d); err != nil {
		panic(err)
	}
	driver, err := Open(d.Config)
	if err != nil {
		panic(err)
	}
	driver.step = func(name string) {
		if name == d.Step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if _, err := driver.Start(context.Background(), d.Spec); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// The agent is killed between any two steps of a start: either nothing ran and nothing is left, or the task runs and is found.
func TestAgentDiesInTheMiddle(t *testing.T) {
	steps := []string{"created", "limited", "spawned", "grouped", "recorded", "released", "reported"}
	isolated(t, func(b *bench) {
		for _, step := range steps {
			b.Run(step, func(t *testing.T) {
				b := &bench{T: t, driver: b.driver, cfg: b.cfg, root: b.root, cgroup: b.cgroup}
				runs := slices.Index(steps, step) >= slices.Index(steps, "released")
				b.dieAt(step, runs)
			})
		}
	})
}

func (b *bench) dieAt(step string, runs bool) {
	proof := filepath.Join(b.root, "ran-"+step)
	spec := b.spec(`echo x >> ` + proof + `; exec sleep 1000`)
	b.Cleanup(func() { b.remove(spec.ID) })
	cfg := b.cfg
	cfg.Logger = nil
	data, err := json.Marshal(dying{Config: cfg, Spec: spec, Step: step})
	if err != nil {
		b.Fatal(err)
	}
	agent := osexec.Command("/proc/self/exe")
	agent.Env = append(os.Environ(), helperEnv+"=agent", "EXEC_TEST_DYING="+string(data))
	out, err := agent.CombinedOutput()
	if err == nil || !agent.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		b.Fatalf("the agent did not die: %v\n%s", err, out)
	}
	b.open()
	found, err := b.driver.List(b.ctx())
	if err != nil {
		b.Fatal(err)
	}
	if runs {
		if len(found) != 1 || !found[0].Running {
			b.Fatalf("list: got %+v", found)
		}
	} else if _, err := b.driver.Wait(b.ctx(), spec.ID); !errors.Is(err, runtime.ErrNotFound) {
		b.Errorf("wait: got %v", err) // at most until init has seen that the agent is dead
	}
	started, err := b.driver.Start(b.ctx(), spec)
	if err != nil || started.Attached != runs {
		b.Fatalf("start: got %+v, %v", started, err)
	}
	eventually(b.T, "it runs", func() bool { data, _ := os.ReadFile(proof); return len(data) > 1 })
	if data, _ := os.ReadFile(proof); string(data) != "x\n" {
		b.Errorf("it ran more than once: %q", data)
	}
}

// A full disk cannot take the exit code: its blocks are set aside at the start.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	b := newBench(t, func(c *Config) { c.Dir = filepath.Join(disk, "exec") })
	spec := b.spec(`trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done`)
	b.start(spec)
	b.printed("ready")
	f, err := os.Create(filepath.Join(disk, "balloon"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if x := b.wait(spec.ID); x.Code != 9 || x.Unknown {
		t.Errorf("got %+v", x)
	}
	second := spec
	second.ID.Task = "second"
	second.Cgroup = ""
	if _, err := b.driver.Start(b.ctx(), second); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("start on a full disk: got %v", err)
	}
	if left, err := os.ReadDir(b.cfg.Dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// An init process that hangs does not hang the agent.
func TestStartEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	hang := filepath.Join(b.root, "hang")
	if err := os.WriteFile(hang, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.driver.cfg.Exe = hang
	spec := b.spec(`exit 0`)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.driver.Start(ctx, spec); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	b.remove(spec.ID)
}

// Somebody has wiped the agent's data: the machine still knows what runs on it.
func TestWipedState(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec(`echo ready; exec sleep 1000`)
		first := b.start(spec)
		b.printed("ready")
		if err := os.RemoveAll(b.cfg.Dir); err != nil {
			b.Fatal(err)
		}
		b.open()
		found, err := b.driver.List(b.ctx())
		if err != nil || len(found) != 1 || !found[0].Running || found[0].PID != first.PID ||
			found[0].Labels[runtime.LabelAlloc] != spec.ID.AllocID {
			b.Fatalf("list: got %+v, %v", found, err)
		}
		if s, err := b.driver.Start(b.ctx(), spec); err != nil || !s.Attached || s.PID != first.PID {
			b.Errorf("start: got %+v, %v", s, err)
		}
		if got := b.record(spec.ID).Cgroup; got != spec.Cgroup {
			b.Errorf("cgroup: got %q, want %q", got, spec.Cgroup)
		}
		if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		if x := b.wait(spec.ID); !x.Unknown {
			b.Errorf("got %+v", x)
		}
	})
}

// A process that says of itself that it is one of the driver's cannot have another's cgroup killed.
func TestImpostor(t *testing.T) {
	b := newBench(t)
	id := runtime.TaskID{AllocID: "liar", Task: "web"}
	lie := &task{dir: filepath.Join(b.cfg.Dir, "liar~web"), rec: record{ID: id, BootID: b.driver.boot, Cgroup: "/"}}
	env, err := lie.identity()
	if err != nil {
		t.Fatal(err)
	}
	liar := osexec.Command("sleep", "1000")
	liar.Env = env
	if err := liar.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = liar.Process.Kill(); _ = liar.Wait() }()
	b.open()
	if got := b.record(id).Cgroup; got != "" {
		t.Errorf("got cgroup %q", got)
	}
	b.remove(id)
}
