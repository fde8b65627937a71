package sched

import (
	"bytes"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// TestACursorEndsWithItsHistory: after a restore, a change of term, or so many removals that the marks of some were forgotten,
// everything is looked at again.
func TestACursorEndsWithItsHistory(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a")
	w.register(job("web"))
	w.settle()
	if !w.cur.continues(w.snap()) {
		t.Fatal("a cursor does not continue its own history")
	}
	for name, change := range map[string]func(*Cursor){
		"another cluster":  func(c *Cursor) { c.cluster = "other" },
		"another term":     func(c *Cursor) { c.term++ },
		"a restored state": func(c *Cursor) { c.generation++ },
		"a later state":    func(c *Cursor) { c.index = w.snap().Index() + 1 },
		"the zero cursor":  func(c *Cursor) { *c = Cursor{} },
	} {
		c := w.cur
		change(&c)
		if c.continues(w.snap()) {
			t.Errorf("%s: the cursor is taken to continue", name)
		}
	}

	var saved bytes.Buffer
	if err := w.snap().Save(&saved); err != nil {
		t.Fatal(err)
	}
	w.must(state.StopJob{Namespace: "default", JobID: "web", Time: w.now})
	w.settle()
	if err := w.store.Restore(&saved); err != nil {
		t.Fatal(err)
	}
	if w.cur.continues(w.snap()) {
		t.Error("after a restore the cursor is taken to continue")
	}
	if plan, _, _ := w.pass(); plan != nil {
		t.Errorf("the restored state needs nothing: %v", planLines(w.snap(), plan))
	}
}

// TestACursorMayBeUsedTwice: what a pass returned, and what it was given, stay as they are.
func TestACursorMayBeUsedTwice(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a")
	w.register(job("web", func(j *state.Job) { j.TaskGroups[0].Count = 2 }))
	w.register(job("huge", func(j *state.Job) { j.TaskGroups[0].Tasks[0].Resources.MemoryMB = 9999 }))
	w.settle()
	old := w.cur
	marks, nodes := old.agenda.marks.Len(), old.fleet.nodes[0]
	w.node("b")
	w.register(job("huge", func(j *state.Job) { j.TaskGroups[0].Tasks[0].Resources.MemoryMB = 100 }))
	w.settle()
	if old.agenda.marks.Len() != marks || len(old.fleet.nodes) != 1 || old.fleet.nodes[0] != nodes {
		t.Fatal("a cursor that was handed out has changed")
	}
	w.cur = old
	if n := w.settle(); n != 0 {
		t.Fatalf("an old cursor sees %d passes of work, there is none", n)
	}
}

func TestGarbageIsCollectedInBoundedSteps(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a", func(n *state.Node) {
		n.Resources = state.NodeResources{CPU: 1 << 20, MemoryMB: 1 << 20, DiskMB: 1 << 22}
	})
	w.register(job("once", func(j *state.Job) {
		j.Type = state.JobTypeBatch
		j.TaskGroups[0].Count = 2500
		j.TaskGroups[0].Tasks[0].Resources = state.Resources{CPU: 1, MemoryMB: 10}
	}))
	w.settle()
	for a := range w.snap().Allocs() {
		w.report(a, state.ClientComplete)
	}
	w.now += int64(5 * time.Hour)
	steps := 0
	for {
		cmds, wake := Garbage(w.snap(), w.now)
		if len(cmds) == 0 {
			break
		}
		if n := len(cmds[0].(state.CollectGarbage).Allocs); n > garbageBatch {
			t.Fatalf("%d rows in one command", n)
		}
		if steps == 0 && wake != w.now {
			t.Error("there is more to collect, and nobody is told")
		}
		w.must(cmds[0])
		if n := w.settle(); n != 0 {
			t.Fatal("what was complete is run again")
		}
		steps++
	}
	if steps != 2 || w.snap().AllocCount() != 0 || w.snap().JobCount() != 0 {
		t.Errorf("after %d steps there are %d allocations and %d jobs", steps, w.snap().AllocCount(), w.snap().JobCount())
	}
}

// TestEndedCopiesOfOneJobAreBounded, however young they are: a copy that fails for ever must not fill the state.
func TestEndedCopiesOfOneJobAreBounded(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a")
	w.register(job("web", func(j *state.Job) {
		j.TaskGroups[0].ReschedulePolicy = state.ReschedulePolicy{Unlimited: true, Delay: 5 * time.Second, DelayFunction: state.DelayConstant}
	}))
	for range 150 {
		w.settle()
		w.report(w.latest("web.web[0]"), state.ClientFailed)
		w.now += int64(5 * time.Second)
	}
	w.settle()
	cmds, _ := Garbage(w.snap(), w.now)
	if len(cmds) != 1 {
		t.Fatal("nothing is collected")
	}
	w.must(cmds[0])
	if got, want := w.snap().AllocCount(), garbagePerJob+1; got != want {
		t.Errorf("%d allocations are kept, want %d", got, want)
	}
}

func TestGarbageNowTakesWhatIsYoung(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a")
	for _, name := range []string{"done", "runs"} {
		w.register(job(name, func(j *state.Job) { j.Type = state.JobTypeBatch }))
	}
	w.settle()
	w.report(w.latest("done.done[0]"), state.ClientComplete)
	w.report(w.latest("runs.runs[0]"), state.ClientRunning)
	if cmds, _ := Garbage(w.snap(), w.now); len(cmds) != 0 {
		t.Fatalf("young rows are collected: %+v", cmds)
	}
	before := w.snap().LatestTime()
	for _, cmd := range GarbageNow(w.snap(), w.now) {
		w.must(cmd)
	}
	if s := w.snap(); s.JobCount() != 1 || s.AllocCount() != 1 || s.Job("default", "runs") == nil {
		t.Errorf("%d jobs and %d allocations are left", s.JobCount(), s.AllocCount())
	}
	if now := w.snap().LatestTime(); now > max(before, w.now) {
		t.Error("the cluster's time went ahead")
	}
	if cmds := GarbageNow(w.snap(), w.now); len(cmds) != 0 {
		t.Errorf("it does not come to an end: %+v", cmds)
	}
}
