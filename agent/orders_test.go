package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	nodeA = "11111111-1111-4111-8111-111111111111"
	nodeB = "22222222-2222-4222-8222-222222222222"
)

// world is a store with a counter for its log.
type world struct {
	t     *testing.T
	store *state.Store
	index uint64
	now   int64
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: state.NewStore(), index: 10, now: int64(1e9)}
	w.apply(state.InitCluster{ClusterID: "c1", Time: w.now})
	w.apply(state.Lead{NodeID: "s1", Time: w.now})
	return w
}

// apply commits a command, in term 1, and returns its result.
func (w *world) apply(cmd state.Command) any {
	w.t.Helper()
	w.index++
	w.now += 1e9
	v := w.store.ApplyCommand(w.index, 1, cmd)
	if err, failed := v.(error); failed {
		w.t.Fatalf("%T: %v", cmd, err)
	}
	return v
}

func (w *world) register(id string, boot uint64) state.RegisterNodeResult {
	w.t.Helper()
	v := w.apply(state.RegisterNode{Time: w.now, Node: &state.Node{
		ID: id, Name: id[:4], Datacenter: "dc1", Region: "global", NodePool: "default", PeerAddr: "10.0.0.1:4647", HTTPAddr: "10.0.0.1:4646",
		Drivers: map[string]state.DriverInfo{"fake": {Detected: true, Healthy: true}}, Level: state.MaxLevel, Boot: boot, BootID: "kernel",
		Resources: state.NodeResources{CPU: 4000, MemoryMB: 4096, DiskMB: 10000, MinDynamicPort: 20000, MaxDynamicPort: 30000},
	}})
	return v.(state.RegisterNodeResult)
}

// place registers a job and puts copies of it on a node; it returns their IDs.
func (w *world) place(job, node string, copies int) []string {
	w.t.Helper()
	w.apply(state.RegisterJob{Time: w.now, Job: &state.Job{
		Namespace: "default", ID: job, Name: job, Type: state.JobTypeService, Region: "global", Datacenters: []string{"*"},
		NodePool: "default", Priority: 50,
		TaskGroups: []state.TaskGroup{{
			Name: "g", Count: copies, Update: state.UpdateStrategy{MaxParallel: 1},
			RestartPolicy:    state.RestartPolicy{Attempts: 2, Interval: time.Minute, Delay: time.Second, Mode: state.RestartModeFail},
			ReschedulePolicy: state.ReschedulePolicy{Delay: 30 * time.Second, DelayFunction: state.DelayConstant, Unlimited: true},
			EphemeralDisk:    state.EphemeralDisk{SizeMB: 10},
			Tasks: []state.Task{{
				Name: "t", Driver: "fake", Resources: state.Resources{CPU: 20, MemoryMB: 32}, KillTimeout: time.Second,
				RestartPolicy: state.RestartPolicy{Attempts: 2, Interval: time.Minute, Delay: time.Second, Mode: state.RestartModeFail},
				LogConfig:     state.LogConfig{MaxFiles: 2, MaxFileSizeMB: 1},
			}},
		}},
	}})
	snap := w.store.Snapshot()
	rec := state.PlanRecord{Namespace: "default", JobID: job, JobModifyIndex: snap.Job("default", job).JobModifyIndex, TaskGroup: "g"}
	for i := range copies {
		rec.Index, rec.Node = append(rec.Index, i), append(rec.Node, 0)
	}
	seed := [16]byte{byte(w.index)}
	v := w.apply(state.ApplyPlan{
		Term: 1, Seed: seed, Time: w.now, Records: []state.PlanRecord{rec},
		Nodes: []state.NodeRef{{ID: node, Generation: snap.Node(node).Generation}},
	})
	if r := v.(state.PlanResult); r.Placed != copies {
		w.t.Fatalf("placed %d of %d: %+v", r.Placed, copies, r.Dropped)
	}
	var ids []string
	for i := range copies {
		ids = append(ids, state.AllocID(seed, i))
	}
	return ids
}

func held(ids ...string) []api.HeldAlloc {
	var out []api.HeldAlloc
	for _, id := range ids {
		out = append(out, api.HeldAlloc{ID: id})
	}
	return out
}

// names are the allocations that an answer orders to run, and of how many of them it has the rows.
func names(resp *api.PollResponse) (ids []string, rows int) {
	for _, r := range resp.Run {
		rows += len(r.IDs)
		ids = append(ids, r.IDs...)
	}
	ids = append(ids, resp.Keep...)
	slices.Sort(ids)
	return ids, rows
}

// stop has the leader stop an allocation.
func (w *world) stop(id string) {
	w.t.Helper()
	snap := w.store.Snapshot()
	a := snap.Alloc(id)
	w.apply(state.ApplyPlan{Term: 1, Time: w.now, Records: []state.PlanRecord{{
		Namespace: a.Namespace, JobID: a.JobID, JobModifyIndex: snap.Job(a.Namespace, a.JobID).JobModifyIndex, TaskGroup: "g",
		Index: []int{-1}, Node: []int{-1}, Stop: []state.StopRef{{AllocID: a.ID, ModifyIndex: a.ModifyIndex, Desired: state.DesiredStop}},
	}}})
}

func TestOrders(t *testing.T) {
	w := newWorld(t)
	w.register(nodeA, 1)
	w.register(nodeB, 1)
	mine := w.place("web", nodeA, 3)
	other := w.place("db", nodeB, 1)
	slices.Sort(mine)
	ask := &api.PollRequest{NodeID: nodeA, Boot: 1}

	resp := orders(w.store.Snapshot(), ask)
	if ids, rows := names(resp); !slices.Equal(ids, mine) || rows != 3 {
		t.Errorf("a machine with nothing is to run %v with %d rows, want %v with all", ids, rows, mine)
	}
	if len(resp.Stop)+len(resp.Gone) > 0 || resp.Register || resp.ClusterID != "c1" || resp.NodeStatus != state.NodeStatusReady {
		t.Errorf("answer to a machine with nothing: %+v", resp)
	}
	if len(resp.Run) != 1 || len(resp.Jobs) != 1 || resp.ToRun.Count != 3 {
		t.Errorf("three copies of one job are %d orders with %d jobs, and %+v in all; want one of each, 3", len(resp.Run), len(resp.Jobs), resp.ToRun)
	}
	for _, row := range resp.Run[0].Rows() {
		want := *w.store.Snapshot().Alloc(row.ID)
		want.ClientStatus, want.ModifyIndex = "", 0
		if diff := cmp.Diff(&want, row); diff != "" {
			t.Errorf("row of %s (-want +got):\n%s", row.ID, diff)
		}
	}

	// Rows that the machine has are not sent again; what it has beside them is gone: another node's, and nobody's.
	for _, id := range mine {
		ask.Held = append(ask.Held, api.HeldAlloc{ID: id, CreateIndex: resp.Run[0].Alloc.CreateIndex})
	}
	ask.Held = append(ask.Held, held(other[0], "stranger")...)
	resp = orders(w.store.Snapshot(), ask)
	if ids, rows := names(resp); !slices.Equal(ids, mine) || rows != 0 {
		t.Errorf("to keep: %v with %d rows, want %v without", ids, rows, mine)
	}
	if want := []string{other[0], "stranger"}; !slices.Equal(resp.Gone, want) || len(resp.Stop) > 0 {
		t.Errorf("gone: %v, stop: %v; want %v, none", resp.Gone, resp.Stop, want)
	}

	// A stopped copy is named until the node has said that it has ended, also to a machine that never got it: its room would be held
	// for ever. Then only to one that has it.
	w.stop(mine[0])
	resp = orders(w.store.Snapshot(), ask)
	if !slices.Equal(resp.Stop, mine[:1]) || len(resp.Keep) != 2 {
		t.Errorf("stop: %v, %d to keep; want %v, 2", resp.Stop, len(resp.Keep), mine[:1])
	}
	ask.Held = nil
	if resp = orders(w.store.Snapshot(), ask); !slices.Equal(resp.Stop, mine[:1]) {
		t.Errorf("a machine without it is to stop %v, want %v", resp.Stop, mine[:1])
	}
	w.says(nodeA, state.ClientComplete, mine[0])
	if resp = orders(w.store.Snapshot(), ask); len(resp.Stop) > 0 {
		t.Errorf("a machine without it is to stop %v after it has ended", resp.Stop)
	}
	ask.Held = held(mine[0])
	if resp = orders(w.store.Snapshot(), ask); !slices.Equal(resp.Stop, mine[:1]) {
		t.Errorf("a machine that has it is to stop %v, want %v", resp.Stop, mine[:1])
	}
}

// says has a node report an allocation.
func (w *world) says(node, status, id string) {
	w.t.Helper()
	w.apply(state.Report{Time: w.now, Nodes: []state.NodeReport{{
		NodeID: node, Boot: 1, Seq: w.index, Allocs: []state.AllocReport{{ID: id, Status: status}},
	}}})
}

// TestOrdersSince: an answer about what has changed holds that and nothing else: no row because the node itself has reported it.
func TestOrdersSince(t *testing.T) {
	w := newWorld(t)
	w.register(nodeA, 1)
	mine := w.place("web", nodeA, 3)
	ask := &api.PollRequest{NodeID: nodeA, Boot: 1}
	since := func(what string, run, stop, over []string) {
		t.Helper()
		resp := orders(w.store.Snapshot(), ask)
		ids, _ := names(resp)
		slices.Sort(run)
		if !slices.Equal(ids, run) || !slices.Equal(resp.Stop, stop) || !slices.Equal(resp.Over, over) || len(resp.Keep)+len(resp.Gone) > 0 {
			t.Errorf("%s: run %v, stop %v, over %v, keep %v, gone %v; want run %v, stop %v, over %v",
				what, ids, resp.Stop, resp.Over, resp.Keep, resp.Gone, run, stop, over)
		}
		ask.Since = w.index
	}
	ask.Since = w.index - 1
	since("placed", slices.Clone(mine), nil, nil)
	w.says(nodeA, state.ClientRunning, mine[0])
	since("its own word", nil, nil, nil)
	w.stop(mine[0])
	w.says(nodeA, state.ClientFailed, mine[1])
	more := w.place("db", nodeA, 2)
	since("one stopped, one failed, two placed", more, mine[:1], mine[1:2])
	since("nothing", nil, nil, nil)
	ask.Since, ask.RestoreGeneration = 1, 7
	since("another generation", nil, nil, nil)
}

// TestOrdersForStrangers: who is not registered, or in another life of the agent, is told to register and nothing else. An empty
// state, or a second machine with the same ID, must not end or start anything.
func TestOrdersForStrangers(t *testing.T) {
	w := newWorld(t)
	ask := &api.PollRequest{NodeID: nodeA, Boot: 1, Held: held("x", "y")}
	check := func(what string, snap *state.Snapshot) {
		t.Helper()
		resp := orders(snap, ask)
		if !resp.Register || len(resp.Run)+len(resp.Stop)+len(resp.Gone) > 0 || resp.NodeStatus != "" {
			t.Errorf("%s: register %v, run %d, stop %v, gone %v; want only to register", what, resp.Register, len(resp.Run), resp.Stop, resp.Gone)
		}
	}
	check("empty store", state.NewStore().Snapshot())
	check("unknown node", w.store.Snapshot())
	w.register(nodeA, 2)
	w.place("web", nodeA, 2)
	check("an earlier life of the agent", w.store.Snapshot())
	ask.Boot = 3
	check("a later one, not registered", w.store.Snapshot())

	ask.Boot = 2
	w.apply(state.SetNodeStatus{Term: 1, Time: w.now, Changes: []state.NodeStatusChange{{NodeID: nodeA, Boot: 2, Status: state.NodeStatusDown}}})
	resp := orders(w.store.Snapshot(), ask)
	if ids, _ := names(resp); !resp.Register || resp.NodeStatus != state.NodeStatusDown || len(ids) != 2 {
		t.Errorf("a node that is down and asks: register %v, status %s, run %v; want to register and keep its copies", resp.Register, resp.NodeStatus, ids)
	}
}

func TestNews(t *testing.T) {
	w := newWorld(t)
	check := func(what string, index, since uint64, some, urgent bool) {
		t.Helper()
		gotSome, gotUrgent := news(w.store.Snapshot(), &api.PollRequest{NodeID: nodeA, Index: index, Since: since})
		if gotSome != some || gotUrgent != urgent {
			t.Errorf("%s: news %v, urgent %v; want %v, %v", what, gotSome, gotUrgent, some, urgent)
		}
	}
	check("an unknown node is told to register", w.index, w.index, true, true)
	w.register(nodeA, 1)
	registered := w.index
	w.register(nodeB, 1)
	check("nothing has changed", registered, 1, false, false)
	check("the node's own row has changed", registered-1, 1, true, true)
	check("the server is behind", w.index+1, 1, false, false)
	w.place("db", nodeB, 1)
	check("another node's allocation", registered, registered, false, false)
	mine := w.place("web", nodeA, 1)
	check("one of its own", w.index, w.index-1, true, false)
	check("one that it knows", w.index, w.index, false, false)
	told := w.index
	w.says(nodeA, state.ClientRunning, mine[0])
	check("what the node says itself", w.index, told, false, false)
	w.stop(mine[0])
	check("one is to stop", w.index, told, true, false)
	if some, urgent := news(w.store.Snapshot(), &api.PollRequest{NodeID: nodeA, Index: w.index, Since: w.index, RestoreGeneration: 7}); !some || !urgent {
		t.Error("a node of another generation is not told so")
	}
}

func TestCompareHashes(t *testing.T) {
	w := newWorld(t)
	good := w.store.Snapshot().Hash()
	w.register(nodeA, 1)
	bad := w.store.Snapshot().Hash()
	at := func(h state.Hashes, indexes ...uint64) (out []api.HashReading) {
		for _, i := range indexes {
			out = append(out, api.HashReading{Index: i, Hashes: h})
		}
		return out
	}
	tables := bad.Diff(good)
	for _, tc := range []struct {
		name   string
		own    []api.HashReading
		others map[string][]api.HashReading
		voters int
		want   hashVerdict
	}{
		{"nobody else", at(good, 256), nil, 3, hashVerdict{}},
		{"no common reading", at(good, 256), map[string][]api.HashReading{"b": at(bad, 512)}, 3, hashVerdict{}},
		{"all alike", at(good, 256, 512), map[string][]api.HashReading{"b": at(good, 256, 512), "c": at(good, 512)}, 3,
			hashVerdict{Index: 512, Majority: true, Differs: map[string][]state.Table{}}},
		{"the newest of all counts", at(good, 256, 512), map[string][]api.HashReading{"b": at(good, 512), "c": at(good, 256, 512)}, 3,
			hashVerdict{Index: 512, Majority: true, Differs: map[string][]state.Table{}}},
		{"another differs", at(good, 256), map[string][]api.HashReading{"b": at(good, 256), "c": at(bad, 256)}, 3,
			hashVerdict{Index: 256, Majority: true, Differs: map[string][]state.Table{"c": tables}}},
		{"this one differs", at(bad, 256), map[string][]api.HashReading{"b": at(good, 256), "c": at(good, 256)}, 3,
			hashVerdict{Index: 256, Majority: true, Differs: map[string][]state.Table{"a": tables}}},
		{"one against one is no majority", at(bad, 256), map[string][]api.HashReading{"b": at(good, 256)}, 3,
			hashVerdict{Index: 256, Majority: false, Differs: map[string][]state.Table{"b": tables}}},
		{"two of five are no majority", at(bad, 256), map[string][]api.HashReading{"b": at(good, 256), "c": at(good, 256)}, 5,
			hashVerdict{Index: 256, Majority: false, Differs: map[string][]state.Table{"a": tables}}},
	} {
		if diff := cmp.Diff(tc.want, compareHashes("a", tc.own, tc.others, tc.voters)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
