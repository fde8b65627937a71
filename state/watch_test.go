package state

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func fired(w *Watch) bool {
	select {
	case <-w.C():
		return true
	default:
		return false
	}
}

func TestOnlyChangedKeysWake(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(testJob("a", 4))
	h.job(testJob("b", 1))
	a := h.place(j, 0, "n1")
	keys := map[string]Key{
		"index": KeyIndex(), "all": KeyAll(), "meta": KeyMeta(), "jobs": KeyJobs(), "job a": KeyJob("default", "a"),
		"job b": KeyJob("default", "b"), "nodes": KeyNodes(), "node n1": KeyNode("n1"), "node n2": KeyNode("n2"),
		"allocs": KeyAllocs(), "alloc": KeyAlloc(a.ID), "other alloc": KeyAlloc("x"), "n1's": KeyNodeAllocs("n1"),
		"n2's": KeyNodeAllocs("n2"), "a's": KeyJobAllocs("default", "a"), "b's": KeyJobAllocs("default", "b"),
		"pools": KeyNodePools(), "pool gpu": KeyNodePool("gpu"), "pool default": KeyNodePool("default"),
		"orders of n1": KeyNodeOrders("n1"), "orders of n2": KeyNodeOrders("n2"),
	}
	full, half := record(j, []int{9}, []int{0}), record(j, []int{2, 9}, []int{0, 0})
	half.Atomic = true
	halfPlan := h.planCommand(half, "n1")
	halfPlan.Seed[9] = 1
	for _, step := range []struct {
		name  string
		cmd   Command
		wakes []string
	}{
		{"nothing", StopJob{Namespace: "default", JobID: "none"}, nil},
		{"time alone", Report{Time: 50}, nil},
		{"meta", AllowEvictions{Time: 60}, []string{"all", "meta"}},
		{"job", RegisterJob{Job: testJob("b", 2)}, []string{"all", "jobs", "job b"}},
		{"same job", RegisterJob{Job: testJob("b", 2)}, nil},
		{"node", SetEligibility{NodeID: "n2", Eligibility: NodeIneligible}, []string{"all", "nodes", "node n2"}},
		{"report", reportOf(a, 1, 1, ClientRunning), []string{"all", "allocs", "alloc", "n1's", "a's"}},
		{"ignored report", reportOf(a, 1, 1, ClientFailed), nil},
		{"placement", h.planCommand(record(j, []int{1}, []int{0}), "n1"), []string{"all", "allocs", "n1's", "a's", "orders of n1"}},
		{"dropped copy", h.planCommand(full, "n1"), []string{"all"}},
		{"dropped record", halfPlan, []string{"all"}},
		{"level", RaiseLevel{Term: testTerm, Level: 2}, []string{"all", "meta"}},
		{"pool", UpsertNodePool{Pool: &NodePool{Name: "gpu"}}, []string{"all", "pools", "pool gpu"}},
		{"same pool", UpsertNodePool{Pool: &NodePool{Name: "gpu"}}, nil},
		{"pool deleted", DeleteNodePool{Name: "gpu"}, []string{"all", "pools", "pool gpu"}},
		{"scheduler", SetSchedulerConfig{Config: SchedulerConfig{SchedulerAlgorithm: AlgorithmSpread}}, []string{"all", "meta"}},
		{"purge", StopJob{Namespace: "default", JobID: "b", Purge: true}, []string{"all", "jobs", "job b"}},
	} {
		watches := map[string]*Watch{}
		for name, k := range keys {
			watches[name] = h.store.Watch(k)
		}
		h.try(step.cmd)
		want := map[string]bool{"index": true}
		for _, name := range step.wakes {
			want[name] = true
		}
		for name, w := range watches {
			if got := fired(w); got != want[name] {
				t.Errorf("%s: watch of %s fired: %v, want %v", step.name, name, got, want[name])
			}
			w.Stop()
			w.Stop()
		}
		if n := len(h.store.watches.byKey); n != 0 {
			t.Fatalf("%s: %d keys are still watched", step.name, n)
		}
	}
}

func TestWatchOfSeveralKeysFiresOnce(t *testing.T) {
	h := newHerd(t)
	w := h.store.Watch(KeyNodes(), KeyNode("n1"), KeyNode("n1"), KeyAll())
	h.node("n1")
	if !fired(w) || len(h.store.watches.byKey) != 0 {
		t.Error("not fired, or not forgotten")
	}
	h.node("n2")
	none := h.store.Watch()
	h.node("n3")
	if fired(none) {
		t.Error("a watch of nothing fired")
	}
}

func TestRestoreWakesAll(t *testing.T) {
	h := newHerd(t)
	watches := []*Watch{h.store.Watch(KeyMeta()), h.store.Watch(KeyAlloc("x"), KeyIndex()), h.store.Watch(KeyNode("n"))}
	if err := h.store.Restore(bytes.NewReader(saved(t, h.snap()))); err != nil {
		t.Fatal(err)
	}
	for i, w := range watches {
		if !fired(w) {
			t.Errorf("watch %d did not fire", i)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHerd(t)
		var wg sync.WaitGroup
		for index := uint64(1); index <= 20; index++ {
			wg.Go(func() {
				snap, err := h.store.Wait(t.Context(), index)
				if err != nil || snap.Index() < index {
					t.Errorf("wait for %d: %v, %v", index, snap, err)
				}
			})
		}
		synctest.Wait()
		for range 18 {
			h.refuse(StopJob{Namespace: "default", JobID: "none"}, ErrNotFound)
		}
		wg.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.store.Wait(ctx, 99); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for ever: %v", err)
		}
		if n := len(h.store.watches.byKey); n != 0 {
			t.Errorf("%d keys are still watched", n)
		}
	})
}

// TestIdleWatchersCostNothing counts what a commit does, not how long it takes: it may not allocate more because of 10,000
// watchers whose keys do not change.
func TestIdleWatchersCostNothing(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	commit := func() {
		h.index++
		e := NodeEligible
		if h.index%2 == 0 {
			e = NodeIneligible
		}
		h.store.ApplyCommand(h.index, testTerm, SetEligibility{NodeID: "n1", Eligibility: e})
	}
	alone := testing.AllocsPerRun(100, commit)
	var idle []*Watch
	for i := range 10_000 {
		idle = append(idle, h.store.Watch(KeyAlloc(string(rune('a'+i%26))+"-"+time.Duration(i).String())))
	}
	// A handful more or less comes from trees and the ring of events, which grow now and then; the watchers are ten thousand.
	if crowded := testing.AllocsPerRun(100, commit); crowded > alone+10 {
		t.Errorf("a commit allocates %.0f times with idle watchers, %.0f without", crowded, alone)
	}
	for _, w := range idle {
		if fired(w) {
			t.Fatal("an idle watcher was woken")
		}
		w.Stop()
	}
	if n := len(h.store.watches.byKey); n != 0 {
		t.Errorf("%d keys are still watched", n)
	}
}

// TestOldSnapshotsStayReadable reads snapshots on other goroutines while the store goes on; the race detector watches.
func TestOldSnapshotsStayReadable(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	big := testNode("n2")
	big.Resources = NodeResources{CPU: 1 << 29, MemoryMB: 1 << 29, DiskMB: 1 << 29, MinDynamicPort: 1, MaxDynamicPort: 2}
	h.must(RegisterNode{Node: big})
	j := h.job(testJob("a", 2000))
	var readers sync.WaitGroup
	for i := range 20 {
		snap := h.snap()
		want := saved(t, snap)
		readers.Go(func() {
			for range 3 {
				if got := saved(t, snap); !bytes.Equal(got, want) {
					t.Error("a snapshot has changed")
				}
				n := 0
				for a := range snap.AllocsByJob("default", "a") {
					n++
					_ = snap.Alloc(a.ID)
				}
				for range snap.AllocsByNode("n2") {
					n--
				}
				for range snap.JobsDirtySince(0) {
					n += 0
				}
				if n != 0 {
					t.Errorf("by job and by node differ by %d", n)
				}
				snap.With(snap.Index()+1, testTerm, RegisterJob{Job: testJob("dry", 1)})
			}
		})
		index := make([]int, 30)
		for k := range index {
			index[k] = i*30 + k
		}
		h.plan(record(j, index, make([]int, 30)), "n2")
		h.must(Report{Nodes: []NodeReport{{NodeID: "n2", Boot: 1, Seq: uint64(i + 1), Allocs: []AllocReport{{ID: h.firstAlloc().ID, Status: ClientFailed}}}}})
	}
	readers.Wait()
	if s := h.snap(); s.Job("default", "dry") != nil || s.AllocCount() != 600 {
		t.Errorf("%d allocations", s.AllocCount())
	}
}
