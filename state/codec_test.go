package state

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everyCommand is one of each kind, with every column filled.
func everyCommand() []Command {
	return []Command{
		InitCluster{ClusterID: "c", Time: 1},
		Lead{NodeID: "n", Time: 2},
		RaiseLevel{Term: 1, Level: 1, Time: 3},
		RegisterJob{RequestID: "r", Job: withPorts(testJob("a", 1), []int{80}, 1), EnforceIndex: true, JobModifyIndex: 4, Time: 4},
		StopJob{RequestID: "r", Namespace: "default", JobID: "a", Purge: true, Time: 5},
		StopAlloc{RequestID: "r", AllocID: "x", Time: 6},
		RegisterNode{Node: testNode("n1"), Time: 7},
		SetNodeStatus{Term: 1, Changes: []NodeStatusChange{{NodeID: "n", Boot: 1, Status: NodeStatusDown, Description: "<d>"}}, Time: 8},
		DeclareNodeLost{RequestID: "r", NodeID: "n", Time: 9},
		SetEligibility{RequestID: "r", NodeID: "n", Eligibility: NodeEligible, Time: 10},
		AllowEvictions{RequestID: "r", Time: 11},
		ApplyPlan{
			Term: 1, Seed: [16]byte{1, 2, 3}, Nodes: []NodeRef{{ID: "n", Generation: 1}}, Time: 12,
			Records: []PlanRecord{{
				Namespace: "default", JobID: "a", JobModifyIndex: 4, TaskGroup: "web", Atomic: true, Index: []int{0}, Node: []int{0},
				Ports: []int{20000}, Stop: []StopRef{{AllocID: "x", ModifyIndex: 1, Desired: DesiredStop, Description: "d"}},
				Reschedule: []RescheduleEvent{{Time: 1, PrevAllocID: "x", PrevNodeID: "n", Delay: 1}},
			}},
			Blocked: []BlockedChange{{Namespace: "default", JobID: "a", JobModifyIndex: 4, Blocked: &Blocked{Since: 1, Groups: map[string]int{"web": 1}, Reason: "r"}}},
		},
		Report{Time: 13, Nodes: []NodeReport{{NodeID: "n", Boot: 1, Seq: 1, Allocs: []AllocReport{{
			ID: "x", Status: ClientRunning, Description: "d", Tasks: map[string]TaskState{"t": {State: TaskRunning, Events: []TaskEvent{{Type: "Started"}}}},
		}}}}},
		SetSchedulerConfig{RequestID: "r", Config: SchedulerConfig{SchedulerAlgorithm: AlgorithmSpread}, EnforceIndex: true, ModifyIndex: 3, Time: 15},
		UpsertNodePool{RequestID: "r", Pool: &NodePool{Name: "gpu", Description: "d", Meta: map[string]string{"a": "b"}}, Time: 16},
		DeleteNodePool{RequestID: "r", Name: "gpu", Time: 17},
		CollectGarbage{Term: 1, Allocs: []string{"x"}, Jobs: []JobKey{{"default", "a"}}, Nodes: []string{"n"}, Time: 14},
		UpsertImage{RequestID: "r", Image: testImage("a", app1), Restored: true, Time: 15},
		RemoveImage{RequestID: "r", Ref: ImageRef{Name: app1, Digest: digestOf("a")}, Force: true, Time: 16},
		HoldImages{NodeID: "n", Boot: 1, Digests: []string{digestOf("a")}, Time: 17},
	}
}

func TestEncodeDecode(t *testing.T) {
	for _, cmd := range everyCommand() {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"Kind":"` + cmd.kind() + `","Level":` + strconv.Itoa(levelOf(cmd)) + `,`; !strings.HasPrefix(string(data), want) {
			t.Errorf("%s starts with %.60s, want %s", cmd.kind(), data, want)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("decode %s: %v", data, err)
		}
		if diff := cmp.Diff(cmd, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", cmd.kind(), diff)
		}
		if got, want := reflect.ValueOf(cmd).Type().Name(), cmd.kind(); got != want {
			t.Errorf("kind %q of %s", want, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		data string
		want error
	}{
		{``, ErrInvalid},
		{`{}`, ErrInvalid},
		{`null`, ErrInvalid},
		{`{"Kind":"Lead","Level":1,"Body":{}} {}`, ErrInvalid},
		{`{"Kind":"Lead","Level":1,"Body":{}}}`, ErrInvalid},
		{`{"Kind":"Lead","Level":1,"Body":{},"More":1}`, ErrInvalid},
		{`{"Kind":"Lead","Level":1,"Body":{"Unknown":1}}`, ErrInvalid},
		{`{"Kind":"Lead","Level":1,"Body":{"Time":"now"}}`, ErrInvalid},
		{`{"Kind":"Lead","Level":1}`, ErrInvalid},
		{`{"Kind":"Lead","Level":0,"Body":{}}`, ErrInvalid},
		{`{"Kind":"Conquer","Level":1,"Body":{}}`, ErrInvalid},
		{`{"Kind":"Conquer","Level":3,"Body":{}}`, ErrLevel},
		{`{"Kind":"RegisterJob","Level":1,"Body":{"Job":{"Colour":"red"}}}`, ErrInvalid},
		{strings.Repeat(" ", MaxCommandBytes+1), ErrLimit},
	} {
		if _, err := Decode([]byte(tc.data)); !errors.Is(err, tc.want) {
			t.Errorf("decode %.80q: %v, want %v", tc.data, err, tc.want)
		}
		s := NewStore()
		before := s.Snapshot().Hash()
		if err, _ := s.Apply(9, 1, []byte(tc.data)).(error); !errors.Is(err, tc.want) {
			t.Errorf("apply %.80q: %v, want %v", tc.data, err, tc.want)
		}
		if got := s.Snapshot(); got.Index() != 9 || got.Hash() != before {
			t.Errorf("apply %.80q left index %d", tc.data, got.Index())
		}
	}
	if _, err := Encode(nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("encode nothing: %v", err)
	}
	j := testJob("a", 1)
	j.TaskGroups[0].Tasks[0].Config["f"] = func() {}
	if _, err := Encode(RegisterJob{Job: j}); !errors.Is(err, ErrInvalid) {
		t.Errorf("encode what JSON cannot hold: %v", err)
	}
}

func TestCommandSizeLimit(t *testing.T) {
	frame, err := Encode(StopAlloc{})
	if err != nil {
		t.Fatal(err)
	}
	for _, extra := range []int{-1, 0, 1} {
		data, err := Encode(StopAlloc{AllocID: strings.Repeat("x", MaxCommandBytes-len(frame)+extra)})
		if extra > 0 {
			if !errors.Is(err, ErrLimit) {
				t.Errorf("limit%+d: %v", extra, err)
			}
			continue
		}
		if err != nil || len(data) != MaxCommandBytes+extra {
			t.Errorf("limit%+d: %d bytes, %v", extra, len(data), err)
		}
		if _, err := Decode(data); err != nil {
			t.Errorf("limit%+d: decode: %v", extra, err)
		}
	}
}

// FuzzDecode feeds the log's decoder and the state machine: neither may panic, and what is decoded encodes to what decodes to
// the same.
func FuzzDecode(f *testing.F) {
	for _, cmd := range everyCommand() {
		data, err := Encode(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := newHerd(t)
		h.place(h.job(testJob("a", 2)), 0, h.node("n1").ID)
		h.store.Apply(h.index+1, testTerm, data)
		h.store.Apply(h.index+2, testTerm, data)
		cmd, err := Decode(data)
		if _, shrunk := cmd.(RegisterNode); !shrunk { // a node may come back smaller than what it holds
			checkInvariants(t, h.snap())
		}
		if err != nil {
			return
		}
		again, err := Encode(cmd)
		if err != nil {
			if errors.Is(err, ErrInvalid) { // escapes may grow, and Encode validates
				return
			}
			t.Fatal(err)
		}
		cmd2, err := Decode(again)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		third, err := Encode(cmd2)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("encoding is not stable: %s, then %s, %v", again, third, err)
		}
	})
}
