package fake_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

var (
	id  = runtime.TaskID{AllocID: "a", Task: "t"}
	ctx = context.Background()
)

func spec(config map[string]any) runtime.TaskSpec { return runtime.TaskSpec{ID: id, Config: config} }

func TestScripts(t *testing.T) {
	for _, c := range []struct {
		name   string
		config map[string]any
		signal syscall.Signal // after a second
		want   runtime.Exit
		after  time.Duration
	}{
		{"ends by itself", map[string]any{"run_for": "5s", "exit_code": 3.0}, 0, runtime.Exit{Code: 3}, 5 * time.Second},
		{"ends by a signal of its own", map[string]any{"run_for": "5s", "exit_code": "139", "exit_signal": 11}, 0, runtime.Exit{Code: 139, Signal: 11}, 5 * time.Second},
		{"out of memory", map[string]any{"run_for": "5s", "oom": true}, 0, runtime.Exit{Code: 137, Signal: 9, OOM: true}, 5 * time.Second},
		{"SIGTERM", nil, syscall.SIGTERM, runtime.Exit{Code: 143, Signal: 15}, time.Second},
		{"SIGTERM, slow", map[string]any{"kill_after": "2s"}, syscall.SIGTERM, runtime.Exit{Code: 143, Signal: 15}, 3 * time.Second},
		{"SIGTERM ignored", map[string]any{"ignore_term": true, "run_for": "1m"}, syscall.SIGTERM, runtime.Exit{}, time.Minute},
		{"SIGKILL", map[string]any{"ignore_term": true}, syscall.SIGKILL, runtime.Exit{Code: 137, Signal: 9}, time.Second},
		{"SIGHUP", map[string]any{"run_for": "5s"}, syscall.SIGHUP, runtime.Exit{}, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := fake.New(fake.NewMachine())
				begin := time.Now()
				if _, err := d.Start(ctx, spec(c.config)); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				if c.signal != 0 {
					wg.Go(func() {
						time.Sleep(time.Second)
						if err := d.Signal(ctx, id, c.signal); err != nil {
							t.Error(err)
						}
					})
				}
				x, err := d.Wait(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took != c.after || !x.At.Equal(time.Now()) {
					t.Errorf("ended after %s at %s, want %s", took, x.At, c.after)
				}
				if x.At = (time.Time{}); x != c.want {
					t.Errorf("%+v, want %+v", x, c.want)
				}
				if err := d.Signal(ctx, id, syscall.SIGTERM); !errors.Is(err, runtime.ErrNotFound) {
					t.Errorf("signal after the end: %v", err)
				}
			})
		})
	}
}

func TestStartErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := fake.New(fake.NewMachine())
		for range 2 {
			if _, err := d.Start(ctx, spec(map[string]any{"start_error": "no luck", "start_failures": 2})); err == nil || !strings.Contains(err.Error(), "no luck") {
				t.Errorf("error %v", err)
			}
		}
		if _, err := d.Start(ctx, spec(map[string]any{"start_error": "no luck", "start_failures": 2})); err != nil {
			t.Error(err)
		}
		for _, bad := range []map[string]any{
			{"run_fro": "1s"}, {"run_for": 5}, {"run_for": "-1s"}, {"oom": 3}, {"exit_code": "x"}, {"stdout": 1},
			{"start_error": "x", "not_retryable": true},
		} {
			other := spec(bad)
			other.ID.Task = "other"
			if _, err := d.Start(ctx, other); !errors.Is(err, runtime.ErrNotRetryable) {
				t.Errorf("%v: %v", bad, err)
			}
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		other := spec(map[string]any{"start_block_for": "1h"})
		other.ID.Task = "slow"
		if _, err := d.Start(short, other); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("blocked start: %v", err)
		}
		if found, err := d.List(ctx); err != nil || len(found) != 1 {
			t.Errorf("failed starts left something: %v, %v", found, err)
		}
	})
}

func TestFail(t *testing.T) {
	d := fake.New(fake.NewMachine())
	boom := errors.New("boom")
	d.Fail(fake.OpRemove, boom, 2)
	d.Fail(fake.OpList, boom, -1)
	for i, want := range []error{boom, boom, nil} {
		if err := d.Remove(ctx, id); !errors.Is(err, want) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for range 5 {
		if _, err := d.List(ctx); !errors.Is(err, boom) {
			t.Error(err)
		}
	}
	d.Fail(fake.OpList, nil, 0)
	if _, err := d.List(ctx); err != nil {
		t.Error(err)
	}
	d.Close()
	if _, err := d.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after Close: %v", err)
	}
}

func TestMachineOutlivesItsDrivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fake.NewMachine()
		one := fake.New(m)
		first, err := one.Start(ctx, spec(map[string]any{"run_for": "10s", "exit_code": 7}))
		if err != nil {
			t.Fatal(err)
		}
		one.Close()
		two := fake.New(m)
		again, err := two.Start(ctx, spec(map[string]any{"run_for": "10s"}))
		if err != nil || !again.Attached || again.PID != first.PID || m.Starts(id) != 1 {
			t.Errorf("%+v, %v, %d starts", again, err, m.Starts(id))
		}
		time.Sleep(time.Minute) // it ends while nobody looks
		if x, err := two.Wait(ctx, id); err != nil || x.Code != 7 {
			t.Errorf("missed exit: %+v, %v", x, err)
		}
		if found, err := two.List(ctx); err != nil || len(found) != 1 || found[0].Running {
			t.Errorf("%+v, %v", found, err)
		}
		if _, err := two.Start(ctx, spec(nil)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := two.Wait(ctx, id); !errors.Is(err, runtime.ErrNotFound) {
				t.Errorf("wait over a reboot: %v", err)
			}
		})
		synctest.Wait()
		m.Reboot()
		wg.Wait()
		if len(m.Tasks()) != 0 {
			t.Errorf("after a reboot: %v", m.Tasks())
		}
	})
}

func TestOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := spec(map[string]any{"stdout": "hello"})
	s.Stdout = path
	d := fake.New(fake.NewMachine())
	for range 2 { // the second attaches and writes nothing
		if _, err := d.Start(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "hello\n" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestManyNodes: runners of many nodes live in one bubble.
func TestManyNodes(t *testing.T) {
	const nodes, copies = 100, 3
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		var runners []*runtime.Runner
		running := 0
		var machines []*fake.Machine
		for n := range nodes {
			m := fake.NewMachine()
			cfg := runtime.DefaultConfig()
			cfg.NodeID, cfg.Dir, cfg.NoSync = fmt.Sprintf("node-%d", n), t.TempDir(), true
			cfg.Drivers = map[string]runtime.Driver{"fake": fake.New(m)}
			r, err := runtime.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { _ = r.Run(ctx) })
			runners, machines = append(runners, r), append(machines, m)
			var o runtime.Orders
			for c := range copies {
				job := &state.Job{ID: "j", Type: state.JobTypeService, TaskGroups: []state.TaskGroup{{Name: "g",
					Tasks: []state.Task{{Name: "t", Driver: "fake"}}}}}
				o.Run = append(o.Run, runtime.Assigned{Job: job, Alloc: &state.Alloc{
					ID: fmt.Sprintf("alloc-%d-%d", n, c), AllocNode: &state.AllocNode{NodeID: cfg.NodeID}, AllocGroup: &state.AllocGroup{TaskGroup: "g"}, DesiredStatus: state.DesiredRun}})
			}
			r.Obey(o)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, m := range machines {
			running += len(m.Running())
		}
		if running != nodes*copies {
			t.Errorf("%d tasks run, want %d", running, nodes*copies)
		}
		cancel()
		wg.Wait()
	})
}
