package api

import "github.com/drover-io/drover/state"

func fakeExplainAlloc(snap *state.Snapshot, id string, _ int64) *state.AllocExplanation {
	a := snap.Alloc(id)
	if a == nil {
		return nil
	}
	return &state.AllocExplanation{AllocID: id, Chosen: state.NodeScore{NodeID: a.NodeID, Rank: 1}}
}

func fakeExplainNode(snap *state.Snapshot, id string, _ int64) *state.NodeExplanation {
	n := snap.Node(id)
	if n == nil {
		return nil
	}
	return &state.NodeExplanation{NodeID: id, Status: n.Status}
}
