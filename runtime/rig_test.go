package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

const allocID = "a1b2c3d4-0000-8000-8000-000000000001"

// rig is a machine with an agent's runner on it, in a bubble.
type rig struct {
	t      *testing.T
	dir    string
	m      *fake.Machine
	boot   string
	lives  uint64
	change func(*runtime.Config)

	d    *fake.Driver
	r    *runtime.Runner
	dead *atomic.Bool // this life of the agent was killed
	end  func()
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, dir: t.TempDir(), m: fake.NewMachine(), boot: "boot-1"}
}

// open starts a life of the agent.
func (g *rig) open() {
	g.t.Helper()
	g.lives++
	g.d, g.dead = fake.New(g.m), &atomic.Bool{}
	cfg := runtime.DefaultConfig()
	cfg.NodeID, cfg.Dir, cfg.Drivers = "node-1", g.dir, map[string]runtime.Driver{"fake": g.d}
	cfg.Boot, cfg.BootID, cfg.NoSync = g.lives, g.boot, true
	cfg.Node = func() *state.Node {
		return &state.Node{ID: "node-1", Name: "n1", Datacenter: "dc1", Attributes: map[string]string{
			"kernel.name": "linux", "cpu.totalcompute": "8000", "cpu.numcores": "4"}, Meta: map[string]string{"rack": "r7"}}
	}
	dead := g.dead
	cfg.SetFault(func(string) error {
		if dead.Load() {
			return errors.New("killed")
		}
		return nil
	})
	if g.change != nil {
		g.change(&cfg)
	}
	r, err := runtime.Open(cfg)
	if err != nil {
		g.t.Fatalf("open: %v", err)
	}
	g.r = r
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			g.t.Errorf("run: %v", err)
		}
	})
	g.end = func() { cancel(); wg.Wait() }
}

// kill ends a life of the agent as kill -9 does: nothing is written or done any more.
func (g *rig) kill() {
	g.dead.Store(true)
	g.d.Close()
	g.end()
}

func (g *rig) reopen() { g.kill(); g.open() }

// run orders an allocation to run.
func (g *rig) run(as ...runtime.Assigned) {
	g.r.Obey(runtime.Orders{Run: as})
	synctest.Wait()
}

func (g *rig) stop(ids ...string) { g.r.Obey(runtime.Orders{Stop: ids}); synctest.Wait() }
func (g *rig) gone(ids ...string) { g.r.Obey(runtime.Orders{Gone: ids}); synctest.Wait() }

// sleep lets virtual time pass and everything settle.
func (g *rig) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

// reports takes and confirms everything there is to report.
func (g *rig) reports() map[string]state.AllocReport {
	out := map[string]state.AllocReport{}
	for {
		seq, allocs := g.r.TakeReport()
		if seq == 0 {
			return out
		}
		for _, a := range allocs {
			out[a.ID] = a
		}
		g.r.AckReport(seq)
		synctest.Wait()
	}
}

// view takes a report without confirming it.
func (g *rig) view(id string) state.AllocReport {
	g.t.Helper()
	g.r.ReportAll()
	_, allocs := g.r.TakeReport()
	for _, a := range allocs {
		if a.ID == id {
			return a
		}
	}
	g.t.Fatalf("no report of %s", id)
	return state.AllocReport{}
}

func (g *rig) wantStatus(id, want string) state.AllocReport {
	g.t.Helper()
	a := g.view(id)
	if a.Status != want {
		g.t.Fatalf("status %q (%s), want %q; tasks:\n%s", a.Status, a.Description, want, describe(a))
	}
	return a
}

func (g *rig) wantRunning(want int) {
	g.t.Helper()
	if got := g.m.Running(); len(got) != want {
		g.t.Fatalf("%d tasks run (%v), want %d", len(got), got, want)
	}
}

// wantEvents checks a task's event types, oldest first.
func (g *rig) wantEvents(id, task string, want ...string) []state.TaskEvent {
	g.t.Helper()
	events := g.view(id).Tasks[task].Events
	var got []string
	for _, e := range events {
		got = append(got, e.Type)
	}
	if !slices.Equal(got, want) {
		g.t.Fatalf("events of task %s:\n got %q\nwant %q\n%s", task, got, want, describe(g.view(id)))
	}
	return events
}

func describe(a state.AllocReport) string {
	var b strings.Builder
	for name, t := range a.Tasks {
		fmt.Fprintf(&b, "%s: %s failed=%v restarts=%d\n", name, t.State, t.Failed, t.Restarts)
		for _, e := range t.Events {
			fmt.Fprintf(&b, "  %s: %s\n", e.Type, e.Message)
		}
	}
	return b.String()
}

// bubble runs a test in virtual time with a machine and an open runner.
func bubble(t *testing.T, test func(t *testing.T, g *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.open()
		defer func() { g.end() }()
		test(t, g)
	})
}

// service is a job of one group with these tasks.
func service(tasks ...state.Task) runtime.Assigned { return assigned(state.JobTypeService, tasks...) }

func batch(tasks ...state.Task) runtime.Assigned { return assigned(state.JobTypeBatch, tasks...) }

func assigned(kind string, tasks ...state.Task) runtime.Assigned {
	for i := range tasks {
		t := &tasks[i]
		if t.Driver == "" {
			t.Driver = "fake"
		}
		if t.KillTimeout == 0 {
			t.KillTimeout = 5 * time.Second
		}
		if t.RestartPolicy == (state.RestartPolicy{}) {
			t.RestartPolicy = state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail}
		}
		t.LogConfig = state.LogConfig{MaxFiles: 10, MaxFileSizeMB: 10}
	}
	job := &state.Job{Namespace: "default", ID: "web", Name: "web", Type: kind, Region: "global", CreateIndex: 7,
		TaskGroups: []state.TaskGroup{{Name: "other"}, {Name: "g", Count: 1, Tasks: tasks}}}
	return runtime.Assigned{Job: job, Alloc: &state.Alloc{
		ID: allocID, AllocGroup: &state.AllocGroup{Namespace: "default", JobID: "web", JobType: kind, TaskGroup: "g"},
		AllocNode: &state.AllocNode{NodeID: "node-1"}, Name: "web.g[0]",
		DesiredStatus: state.DesiredRun, ClientStatus: state.ClientPending, CreateIndex: 9, ModifyIndex: 9,
	}}
}

func task(name string, config map[string]any) state.Task {
	return state.Task{Name: name, Config: config}
}

type conf = map[string]any
