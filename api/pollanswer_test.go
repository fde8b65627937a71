package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/drover-io/drover/state"
)

// ordersOf is the answer to a poll of a node: copies of one group, one with a port of its own, and their job.
func ordersOf(group *state.AllocGroup, job *state.Job, node string) *PollResponse {
	at := &state.AllocNode{NodeID: node, NodeName: "name of " + node}
	return &PollResponse{
		ClusterID: "c", Index: 7, NodeName: at.NodeName, ToRun: state.Digest{}.With("a").With("b").With("c"),
		Run: []RunOrder{
			{Alloc: &state.Alloc{AllocGroup: group, AllocNode: at, CreateIndex: 7, DesiredStatus: state.DesiredRun}, Plain: true, IDs: []string{"a", "b"}, Indexes: []int{0, 1}},
			{Alloc: &state.Alloc{AllocGroup: group, AllocNode: at, CreateIndex: 7, Ports: []state.AllocPort{{Label: node, HostPort: 20000}}}, IDs: []string{"c"}, Indexes: []int{2}},
		},
		Jobs: []*state.Job{job},
	}
}

// TestPollAnswer: what a node reads is what the server meant for it, whatever of it was sent to another node before.
func TestPollAnswer(t *testing.T) {
	group := &state.AllocGroup{Namespace: "default", JobID: "web", TaskGroup: "g", Priority: 50}
	job := &state.Job{Namespace: "default", ID: "web", Name: "two\nlines"}
	l := newSentLines()
	for what, m := range map[string]*common{"one node": nil, "many": newCommon()} {
		for _, node := range []string{"n1", "n2", "n1"} {
			data, err := l.encode(ordersOf(group, job, node))
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.decode(data, node)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			want := ordersOf(group, job, node)
			want.Lines = 3
			want.Run[0].Plain = false // not sent
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got %s, want %s", what, node, asJSON(t, got), asJSON(t, want))
			}
			if err := got.whole(); err != nil {
				t.Error(err)
			}
		}
	}
	if n := l.kept.Len(); n != 2 {
		t.Errorf("%d lines are kept, want those of the plain row and of the job", n)
	}
}

func asJSON(t *testing.T, resp *PollResponse) string {
	t.Helper()
	data, err := json.Marshal(struct {
		Head *PollResponse
		Jobs []*state.Job
		Rows []*state.Alloc
	}{resp, resp.Jobs, []*state.Alloc{resp.Run[0].Alloc, resp.Run[1].Alloc}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCutPollAnswer: an answer of which a part is missing is none.
func TestCutPollAnswer(t *testing.T) {
	data, err := newSentLines().encode(ordersOf(&state.AllocGroup{JobID: "web"}, &state.Job{ID: "web"}, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(data) {
		if _, err := (*common)(nil).decode(data[:n], "n1"); err == nil {
			t.Errorf("%d of %d bytes are taken for an answer", n, len(data))
		}
	}
	lines := bytes.SplitAfter(data, []byte{'\n'})
	lines[2] = []byte("{\n")
	if _, err := (*common)(nil).decode(bytes.Join(lines, nil), "n1"); err == nil {
		t.Error("half a row is taken for one")
	}
	if _, err := (*common)(nil).decode(append(data, "{}\n"...), "n1"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a line too many: %v", err)
	}
}
