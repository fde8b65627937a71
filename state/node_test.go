package state

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRegisterNode(t *testing.T) {
	h := newHerd(t)
	in := testNode("n1")
	in.Status, in.Generation, in.Eligibility, in.Returns = NodeStatusDown, 99, NodeIneligible, []int64{1}
	r := h.must(RegisterNode{Node: in, Time: 50}).(RegisterNodeResult)
	n := h.snap().Node("n1")
	if n.Status != NodeStatusReady || n.Eligibility != NodeEligible || n.Returns != nil || n.StatusUpdatedAt != 50 {
		t.Errorf("what is the cluster's was taken from the agent: %+v", n)
	}
	if r.Generation != n.Generation || r.Boot != 1 {
		t.Errorf("result %+v, row %+v", r, n)
	}
	index := h.index
	if again := h.must(RegisterNode{Node: testNode("n1"), Time: 60}); again != any(r) || h.snap().Node("n1").ModifyIndex != index {
		t.Errorf("same boot, same content: %+v, modified at %d", again, h.snap().Node("n1").ModifyIndex)
	}

	changed := testNode("n1")
	changed.Attributes = map[string]string{"kernel.name": "plan9"}
	h.must(RegisterNode{Node: changed})
	if got := h.snap().Node("n1"); got.Attributes["kernel.name"] != "plan9" || got.Generation != r.Generation {
		t.Errorf("changed content: %+v", got)
	}

	restarted := testNode("n1")
	restarted.Boot = 2
	if got := h.must(RegisterNode{Node: restarted}).(RegisterNodeResult); got.Generation <= r.Generation || got.Boot != 2 {
		t.Errorf("agent restarted: %+v", got)
	}
	h.refuse(RegisterNode{}, ErrInvalid)
	h.refuse(RegisterNode{Node: &Node{ID: "../x"}}, ErrInvalid)
}

func TestNodeComesBack(t *testing.T) {
	h := newHerd(t)
	generation := h.node("n1").Generation
	for i := range 6 {
		h.down("n1")
		if i%2 == 0 {
			h.must(RegisterNode{Node: testNode("n1"), Time: int64(100 + i)})
		} else {
			h.must(SetNodeStatus{Term: testTerm, Time: int64(100 + i), Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusReady}}})
		}
		n := h.snap().Node("n1")
		if n.Status != NodeStatusReady || n.Generation <= generation {
			t.Fatalf("return %d: %+v", i, n)
		}
		generation = n.Generation
	}
	if diff := cmp.Diff([]int64{102, 103, 104, 105}, h.snap().Node("n1").Returns); diff != "" {
		t.Errorf("returns (-want +got):\n%s", diff)
	}
	h.down("n1")
	back := SetNodeStatus{Term: testTerm, Time: 200, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusReady}}}
	one, _ := h.snap().With(h.index+1, testTerm, back)
	back.Time = 300
	h.must(back)
	if got := one.Node("n1").Returns; got[3] != 200 {
		t.Errorf("a snapshot looked ahead to has changed with the store: %v", got)
	}
	generation = h.snap().Node("n1").Generation
	h.must(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusDisconnected}}})
	h.must(RegisterNode{Node: testNode("n1")})
	if n := h.snap().Node("n1"); n.Status != NodeStatusReady || n.Generation != generation || len(n.Returns) != 4 {
		t.Errorf("back from disconnected: %+v", n)
	}
}

func TestClonedNode(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	clone := testNode("n1")
	clone.Name, clone.PeerAddr, clone.Boot = "twin", "elsewhere:4647", 2
	h.refuse(RegisterNode{Node: clone}, ErrConflict)
	err := h.try(RegisterNode{Node: clone}).(error).Error()
	for _, want := range []string{"twin", "n1", "elsewhere:4647", "n1:4647"} {
		if !strings.Contains(err, want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	h.must(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusDisconnected}}})
	h.refuse(RegisterNode{Node: clone}, ErrConflict) // the other one may be alive
	h.must(DeclareNodeLost{NodeID: "n1"})
	if got := h.snap().Node("n1"); got.StatusDescription != "declared lost by an operator" || got.Status != NodeStatusDown {
		t.Errorf("declared lost: %+v", got)
	}
	h.must(RegisterNode{Node: clone})
	if got := h.snap().Node("n1"); got.Name != "twin" || got.PeerAddr != clone.PeerAddr || len(got.Returns) != 1 {
		t.Errorf("taken over: %+v", got)
	}
	h.refuse(DeclareNodeLost{NodeID: "none"}, ErrNotFound)
}

func TestWipedAgentTakesItsNodeBack(t *testing.T) {
	h := newHerd(t)
	n := testNode("n1")
	n.Boot = 7
	h.must(RegisterNode{Node: n})
	j := h.job(testJob("a", 1))
	a := h.place(j, 0, "n1")
	if got := h.must(reportOf(a, 7, 5, ClientRunning)).(ReportResult); got.Applied != 1 {
		t.Fatalf("report %+v", got)
	}
	for name, boot := range map[string]uint64{"counts from 1": 1, "has no counter": 0} {
		before := h.snap().Node("n1")
		wiped := testNode("n1")
		wiped.Boot = boot
		r := h.must(RegisterNode{Node: wiped}).(RegisterNodeResult)
		if r.Boot != before.Boot+1 || r.Generation <= before.Generation || h.snap().Node("n1").Boot != r.Boot {
			t.Errorf("agent that %s: %+v after boot %d", name, r, before.Boot)
		}
	}
	rebooted := testNode("n1")
	rebooted.Boot, rebooted.BootID = h.snap().Node("n1").Boot, "kernel-2"
	r := h.must(RegisterNode{Node: rebooted}).(RegisterNodeResult)
	if r.Boot != rebooted.Boot+1 {
		t.Errorf("same counter on another boot of the machine: %+v, want %d", r, rebooted.Boot+1)
	}
	if got := h.must(reportOf(a, r.Boot, 1, ClientFailed)).(ReportResult); got.Applied != 1 {
		t.Errorf("the wiped agent's report is ignored: %+v", got)
	}
}

func reportOf(a *Alloc, boot, seq uint64, status string) Report {
	return Report{Nodes: []NodeReport{{NodeID: a.NodeID, Boot: boot, Seq: seq, Allocs: []AllocReport{{ID: a.ID, Status: status}}}}}
}

func TestLowLevelAgentIsRefused(t *testing.T) {
	h := newHerd(t)
	n := testNode("n1")
	n.Level = 0
	h.refuse(RegisterNode{Node: n}, ErrLevel)
	if err := h.try(RegisterNode{Node: n}).(error).Error(); !strings.Contains(err, "n1") || !strings.Contains(err, "upgrade") {
		t.Errorf("error %q", err)
	}
}

func TestSetNodeStatus(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.refuse(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: "asleep"}}}, ErrInvalid)
	r := h.must(SetNodeStatus{Term: testTerm, Time: 9, Changes: []NodeStatusChange{
		{NodeID: "n1", Boot: 2, Status: NodeStatusDown},
		{NodeID: "none", Boot: 1, Status: NodeStatusDown},
		{NodeID: "n1", Boot: 1, Status: NodeStatusReady},
	}}).(SetNodeStatusResult)
	if r.Changed != 0 || r.Dropped != 2 {
		t.Errorf("result %+v", r)
	}
	h.must(SetNodeStatus{Term: testTerm, Time: 9, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: NodeStatusDown, Description: "silent"}}})
	if n := h.snap().Node("n1"); n.Status != NodeStatusDown || n.StatusDescription != "silent" || n.StatusUpdatedAt != 9 {
		t.Errorf("row %+v", n)
	}
}

func TestSetEligibility(t *testing.T) {
	h := newHerd(t)
	h.node("n1")
	h.must(SetEligibility{NodeID: "n1", Eligibility: NodeIneligible})
	index := h.index
	h.must(SetEligibility{NodeID: "n1", Eligibility: NodeIneligible})
	if n := h.snap().Node("n1"); n.Eligibility != NodeIneligible || n.ModifyIndex != index {
		t.Errorf("row %+v", n)
	}
	h.refuse(SetEligibility{NodeID: "n1", Eligibility: "perhaps"}, ErrInvalid)
	h.refuse(SetEligibility{NodeID: "none", Eligibility: NodeEligible}, ErrNotFound)
}

func TestDerivedStatuses(t *testing.T) {
	h := newHerd(t)
	a := h.place(h.job(testJob("a", 1)), 0, h.node("n1").ID)
	h.report(a, 1, ClientRunning)
	steps := []struct {
		status, client string
		holds          bool
	}{
		{NodeStatusReady, ClientRunning, true},
		{NodeStatusDisconnected, ClientUnknown, true},
		{NodeStatusDown, ClientLost, false},
		{NodeStatusReady, ClientRunning, true},
	}
	for _, step := range steps {
		h.must(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: "n1", Boot: 1, Status: step.status}}})
		row := h.snap().Alloc(a.ID)
		if got := h.snap().ClientStatus(row); got != step.client {
			t.Errorf("node %s: client status %s, want %s", step.status, got, step.client)
		}
		if got := h.snap().Holds(row); got != step.holds || h.snap().Live(row) != step.holds {
			t.Errorf("node %s: holds %v, want %v", step.status, got, step.holds)
		}
		if row.ClientStatus != ClientRunning {
			t.Errorf("node %s: %s was written over the node's word", step.status, row.ClientStatus)
		}
	}
	h.report(a, 2, ClientComplete)
	h.down("n1")
	if got := h.snap().ClientStatus(h.snap().Alloc(a.ID)); got != ClientComplete {
		t.Errorf("an ended copy on a lost node is %s", got)
	}
}
