package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// TestPlanHasRoom: each half of the racks has room for half of the copies and half as many again, in nodes that are valid and mixed.
func TestPlanHasRoom(t *testing.T) {
	for _, p := range []Plan{{Nodes: 100, Copies: 2000}, {Nodes: 5000, Copies: 1_000_000}, {Nodes: 20, Copies: 7}} {
		room, sizes, ids := [2]int{}, map[int]bool{}, map[string]bool{}
		for i := range p.Nodes {
			n := p.Node(i)
			if err := n.Validate(); err != nil {
				t.Fatalf("node %d: %v", i, err)
			}
			ids[n.ID] = true
			sizes[n.Resources.CPU] = true
			room[i%2] += n.Resources.CPU / copyCPU
		}
		if len(ids) != p.Nodes {
			t.Errorf("%+v: %d IDs of %d nodes", p, len(ids), p.Nodes)
		}
		if p.Copies > p.Nodes && len(sizes) < 5 {
			t.Errorf("%+v: nodes of %d sizes, want 5", p, len(sizes))
		}
		for half, n := range room {
			if n < p.Copies*14/20 {
				t.Errorf("%+v: half %d of the racks has room for %d copies", p, half, n)
			}
		}
	}
}

// TestJobsAreValid: every shape is a job that the API takes, with the constraint that it is named for.
func TestJobsAreValid(t *testing.T) {
	for _, shape := range Shapes() {
		for i := range 2 {
			j := Job("x", shape, i, 10)
			Stamp(j)
			if err := j.Validate(); err != nil {
				t.Errorf("%s: %v", shape, err)
			}
			if submitted(j) == 0 {
				t.Errorf("%s: it does not say when it was submitted", shape)
			}
		}
	}
	even, odd := Job("x", "constraint", 0, 1).Constraints[0].RTarget, Job("x", "constraint", 1, 1).Constraints[0].RTarget
	if len(strings.Split(even, ",")) != Racks/2 || strings.Contains(odd, "r00") || !strings.Contains(even, "r00") {
		t.Errorf("halves of the racks: %s and %s", even, odd)
	}
	if CheckShape("round") == nil {
		t.Error("a shape that there is not was taken")
	}
}

// TestSimulatedObeys: what a poll brings is held, named in the next poll and reported once, however often a server repeats it; what
// is to stop is reported as ended; an older answer changes nothing.
func TestSimulatedObeys(t *testing.T) {
	base, err := api.New(api.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSimulated(order{Plan: Plan{Nodes: 1, Copies: 1}, Servers: []string{"127.0.0.1:1", "127.0.0.1:2"}}, 0, base, &counts{})
	if err != nil {
		t.Fatal(err)
	}
	job := Job("j", "plain", 0, 2)
	Stamp(job)
	run := func(ids ...string) api.RunOrder {
		return api.RunOrder{Alloc: &state.Alloc{AllocGroup: &state.AllocGroup{JobID: job.ID, TaskGroup: "g"}, AllocNode: &state.AllocNode{}, CreateIndex: 9}, IDs: ids, Indexes: make([]int, len(ids))}
	}
	sum := state.Digest{}.With("a").With("b")
	say := func(resp *api.PollResponse) {
		t.Helper()
		req, _ := s.question()
		resp.NodeStatus = state.NodeStatusReady
		if _, err := s.obey(req, resp); err != nil {
			t.Errorf("obey %+v: %v", resp, err)
		}
	}
	say(&api.PollResponse{Index: 10, LeaderAddr: "127.0.0.1:2", LeasePeriod: time.Second, Run: []api.RunOrder{run("b")}, Jobs: []*state.Job{job}, ToRun: state.Digest{}.With("b")})
	say(&api.PollResponse{Index: 11, Run: []api.RunOrder{run("a")}, Jobs: []*state.Job{job}, ToRun: sum})
	say(&api.PollResponse{Index: 5, Gone: []string{"a", "b"}})
	if req, first := s.question(); first || req.Index != 11 || req.Since != 11 || req.Wait < time.Second/2 || req.Wait > time.Second*3/2 || len(req.Held) != 0 {
		t.Errorf("the next poll is %+v", req)
	}
	s.roster.Recheck()
	req, _ := s.question()
	slices.SortFunc(req.Held, func(a, b api.HeldAlloc) int { return strings.Compare(a.ID, b.ID) })
	if want := []api.HeldAlloc{{ID: "a", CreateIndex: 9}, {ID: "b", CreateIndex: 9}}; req.Since != 0 || !slices.Equal(req.Held, want) {
		t.Errorf("a poll about everything is %+v", req)
	}
	say(&api.PollResponse{Index: 11, Keep: []string{"a", "b"}, ToRun: sum})
	if s.leader != 1 {
		t.Errorf("reports go to server %d, want the leader, 1", s.leader)
	}
	if len(s.unsaid) != 2 || s.unsaid[0].Status != state.ClientRunning {
		t.Errorf("to be reported: %+v, want each of the two once", s.unsaid)
	}
	say(&api.PollResponse{Index: 12, Stop: []string{"a"}, Over: []string{"b"}})
	if s.roster.Count() != 0 || len(s.unsaid) != 3 || s.unsaid[2].ID != "a" || s.unsaid[2].Status != state.ClientComplete {
		t.Errorf("after the end: held %d, to be reported %+v", s.roster.Count(), s.unsaid)
	}
	if c := s.count.take(true); c.Held != 0 || c.Rows != 2 || len(c.Latencies) != 2 {
		t.Errorf("counted: %+v", c)
	}
}

// TestSimulatedFails: what fails is reported once, is not begun again while the cluster does not know, and goes when it does.
func TestSimulatedFails(t *testing.T) {
	base, err := api.New(api.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSimulated(order{Plan: Plan{Nodes: 1, Copies: 1}, Servers: []string{"127.0.0.1:1"}}, 0, base, &counts{})
	if err != nil {
		t.Fatal(err)
	}
	say := func(resp *api.PollResponse) {
		t.Helper()
		req, _ := s.question()
		resp.NodeStatus = state.NodeStatusReady
		if _, err := s.obey(req, resp); err != nil {
			t.Errorf("obey %+v: %v", resp, err)
		}
	}
	sum := state.Digest{}.With("a")
	say(&api.PollResponse{Index: 1, Run: []api.RunOrder{{Alloc: &state.Alloc{AllocGroup: &state.AllocGroup{}, AllocNode: &state.AllocNode{}, CreateIndex: 1}, IDs: []string{"a"}, Indexes: []int{0}}}, ToRun: sum})
	c := crowd{agents: []*simulated{s}}
	c.fail("5")
	c.fail("nonsense")
	s.roster.Recheck()
	say(&api.PollResponse{Index: 2, Keep: []string{"a"}, ToRun: sum})
	if len(s.unsaid) != 2 || s.unsaid[1].Status != state.ClientFailed || !s.unsaid[1].Tasks[taskName].Failed {
		t.Errorf("to be reported: %+v, want that it ran and that it failed", s.unsaid)
	}
	say(&api.PollResponse{Index: 3, Over: []string{"a"}})
	if len(s.unsaid) != 2 || s.roster.Count() != 0 || len(s.over) != 0 {
		t.Errorf("after the end: held %d, over %v, to be reported %+v", s.roster.Count(), s.over, s.unsaid)
	}
}

// TestVerdictComparesServers: equal tables at one index are equal, and whatever differs is named.
func TestVerdictComparesServers(t *testing.T) {
	view := func(index uint64, hash string) *api.StateView {
		return &api.StateView{NodeID: "n", Index: index, Tables: []api.TableView{{Name: "allocs", Rows: 1, Hash: hash}}}
	}
	for _, tc := range []struct {
		name  string
		views []*api.StateView
		equal bool
	}{
		{"nobody", nil, false},
		{"the same", []*api.StateView{view(1, "a"), view(1, "a"), view(1, "a")}, true},
		{"another hash", []*api.StateView{view(1, "a"), view(1, "b"), view(1, "a")}, false},
		{"another index", []*api.StateView{view(1, "a"), view(2, "a")}, false},
	} {
		var v Verdict
		v.compare(tc.views)
		if v.HashesEqual != tc.equal {
			t.Errorf("%s: equal is %v, want %v (%v)", tc.name, v.HashesEqual, tc.equal, v.Differs)
		}
	}
}

// TestVerdictCounts: a copy that is missing is lost, one that is there twice is doubled, one that nobody asked for too, and what has
// ended holds nothing.
func TestVerdictCounts(t *testing.T) {
	var v Verdict
	live, held := map[slot]int{}, map[string]state.AllocResources{}
	item := func(job string, index int, status, desired string) api.AllocListItem {
		return api.AllocListItem{JobID: job, Index: index, NodeID: "n", ClientStatus: status, DesiredStatus: desired, Resources: state.AllocResources{CPU: 1}}
	}
	for _, a := range []api.AllocListItem{
		item("j", 0, state.ClientRunning, state.DesiredRun), item("j", 0, state.ClientPending, state.DesiredRun),
		item("j", 1, state.ClientFailed, state.DesiredRun), item("j", 2, state.ClientRunning, state.DesiredStop),
		item("j", 3, state.ClientRunning, state.DesiredRun), item("other", 0, state.ClientRunning, state.DesiredRun),
	} {
		v.see(a, live, held)
	}
	v.count(live, map[string]int{"j": 3})
	want := Verdict{Live: 3, NotRunning: 1, Lost: 2, Doubled: 3}
	if v.Live != want.Live || v.NotRunning != want.NotRunning || v.Lost != want.Lost || v.Doubled != want.Doubled {
		t.Errorf("got %+v, want %+v", v, want)
	}
	if held["n"].CPU != 5 {
		t.Errorf("held on the node: %d, want 5", held["n"].CPU)
	}
}
