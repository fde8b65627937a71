package state

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// herd is a store under test with the index of its last entry.
type herd struct {
	t     testing.TB
	store *Store
	index uint64
	log   [][]byte // the entries, as they would stand in the Raft log
}

const testTerm = 3

// newHerd is a cluster with a leader of term testTerm.
func newHerd(t testing.TB) *herd {
	h := &herd{t: t, store: NewStore()}
	h.must(InitCluster{ClusterID: "herd", Time: 1})
	h.must(Lead{NodeID: "s1", Time: 2})
	return h
}

func (h *herd) snap() *Snapshot { return h.store.Snapshot() }

// try applies a command through its encoded form, or as it is when Encode refuses it.
func (h *herd) try(cmd Command) any {
	h.t.Helper()
	data, err := Encode(cmd)
	h.index++
	if err != nil {
		if result, isError := h.store.ApplyCommand(h.index, testTerm, cmd).(error); isError {
			return errors.Join(err, result)
		}
		h.t.Fatalf("encode refuses what apply accepts: %v", err)
	}
	h.log = append(h.log, data)
	return h.store.Apply(h.index, testTerm, data)
}

func (h *herd) must(cmd Command) any {
	h.t.Helper()
	result := h.try(cmd)
	if err, bad := result.(error); bad {
		h.t.Fatalf("apply %s: %v", cmd.kind(), err)
	}
	return result
}

// refuse applies a command that must fail with target and change nothing.
func (h *herd) refuse(cmd Command, target error) {
	h.t.Helper()
	before := h.snap().Hash()
	err, _ := h.try(cmd).(error)
	if !errors.Is(err, target) {
		h.t.Fatalf("apply %s: got %v, want %v", cmd.kind(), err, target)
	}
	if diff := before.Diff(h.snap().Hash()); len(diff) > 0 {
		h.t.Fatalf("refused %s changed %v", cmd.kind(), diff)
	}
	if got, want := h.snap().Index(), h.index; got != want {
		h.t.Fatalf("refused %s left the index at %d, want %d", cmd.kind(), got, want)
	}
}

// node registers a node and returns its row.
func (h *herd) node(id string) *Node {
	h.t.Helper()
	h.must(RegisterNode{Node: testNode(id)})
	return h.snap().Node(id)
}

// job registers a job and returns its row.
func (h *herd) job(j *Job) *Job {
	h.t.Helper()
	h.must(RegisterJob{Job: j})
	return h.snap().Job(j.Namespace, j.ID)
}

// plan applies one record and returns the result.
func (h *herd) plan(rec PlanRecord, nodes ...string) PlanResult {
	h.t.Helper()
	return h.must(h.planCommand(rec, nodes...)).(PlanResult)
}

func (h *herd) planCommand(rec PlanRecord, nodes ...string) ApplyPlan {
	c := ApplyPlan{Term: testTerm, Records: []PlanRecord{rec}}
	c.Seed[0], c.Seed[1] = byte(h.index), byte(h.index>>8)
	for _, id := range nodes {
		ref := NodeRef{ID: id}
		if n := h.snap().Node(id); n != nil {
			ref.Generation = n.Generation
		}
		c.Nodes = append(c.Nodes, ref)
	}
	return c
}

// place puts one copy on a node and returns it.
func (h *herd) place(j *Job, index int, nodeID string, ports ...int) *Alloc {
	h.t.Helper()
	j = h.snap().Job(j.Namespace, j.ID)
	cmd := h.planCommand(record(j, []int{index}, []int{0}, ports...), nodeID)
	if got := h.must(cmd).(PlanResult); got.Placed != 1 {
		h.t.Fatalf("place copy %d: %+v", index, got)
	}
	return h.snap().Alloc(AllocID(cmd.Seed, 0))
}

// report lets a node say one thing of one allocation.
func (h *herd) report(a *Alloc, seq uint64, status string) ReportResult {
	h.t.Helper()
	return h.must(Report{Nodes: []NodeReport{{
		NodeID: a.NodeID, Boot: 1, Seq: seq, Allocs: []AllocReport{{ID: a.ID, Status: status}},
	}}}).(ReportResult)
}

func (h *herd) down(id string) {
	h.t.Helper()
	h.must(SetNodeStatus{Term: testTerm, Changes: []NodeStatusChange{{NodeID: id, Boot: h.snap().Node(id).Boot, Status: NodeStatusDown}}})
}

func record(j *Job, index, node []int, ports ...int) PlanRecord {
	return PlanRecord{
		Namespace: j.Namespace, JobID: j.ID, JobModifyIndex: j.JobModifyIndex, TaskGroup: "web",
		Index: index, Node: node, Ports: ports,
	}
}

func stopRef(a *Alloc) StopRef {
	return StopRef{AllocID: a.ID, ModifyIndex: a.ModifyIndex, Desired: DesiredStop, Description: "by the test"}
}

func testNode(id string) *Node {
	return &Node{
		ID: id, Name: id, Datacenter: "dc1", NodePool: "default", Region: "global",
		PeerAddr: id + ":4647", HTTPAddr: id + ":4646", HostIP: "10.0.0.1",
		Attributes: map[string]string{"kernel.name": "linux"},
		Drivers:    map[string]DriverInfo{"exec": {Detected: true, Healthy: true}},
		Resources:  NodeResources{CPU: 4000, MemoryMB: 4096, DiskMB: 10_000, MinDynamicPort: 20000, MaxDynamicPort: 20099, ReservedPorts: []int{22}},
		Level:      MaxLevel, Boot: 1, BootID: "kernel-1",
	}
}

func testJob(id string, count int) *Job {
	restart := RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: RestartModeFail}
	return &Job{
		Namespace: "default", ID: id, Name: id, Type: JobTypeService, Region: "global",
		Datacenters: []string{"*"}, NodePool: "default", Priority: 50,
		TaskGroups: []TaskGroup{{
			Name: "web", Count: count,
			RestartPolicy:    restart,
			ReschedulePolicy: ReschedulePolicy{Delay: 30 * time.Second, DelayFunction: DelayExponential, MaxDelay: time.Hour, Unlimited: true},
			Update:           UpdateStrategy{MaxParallel: 1},
			EphemeralDisk:    EphemeralDisk{SizeMB: 300},
			Tasks: []Task{{
				Name: "server", Driver: "exec", Config: map[string]any{"command": "/bin/true"},
				Resources: Resources{CPU: 500, MemoryMB: 256}, RestartPolicy: restart,
				LogConfig: LogConfig{MaxFiles: 10, MaxFileSizeMB: 10}, KillTimeout: 5 * time.Second,
			}},
		}},
	}
}

func withPorts(j *Job, static []int, dynamic int) *Job {
	n := Network{Mode: "host"}
	for _, p := range static {
		n.ReservedPorts = append(n.ReservedPorts, Port{Label: "s" + string(rune('a'+len(n.ReservedPorts))), Value: p})
	}
	for i := range dynamic {
		n.DynamicPorts = append(n.DynamicPorts, Port{Label: "d" + string(rune('a'+i)), To: 80 * (i % 2)})
	}
	j.TaskGroups[0].Networks = []Network{n}
	return j
}

func saved(t rapid.TB, s *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func allocIDs(s *Snapshot) []string {
	var out []string
	for a := range s.Allocs() {
		out = append(out, a.ID)
	}
	return out
}

func reasons(r PlanResult) []string {
	var out []string
	for _, d := range r.Dropped {
		out = append(out, d.Reason)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
