package agent

import (
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// orders answers, from one snapshot, what a node's allocations are to do: each that the node holds by its name, and the ones
// that it does not have yet. What the snapshot says nothing about is "gone" only because the node named it.
func orders(snap *state.Snapshot, req *api.PollRequest) *api.PollResponse {
	resp := &api.PollResponse{
		ClusterID: snap.ClusterID(), Index: snap.Index(), RestoreGeneration: snap.Generation(), Epoch: snap.Epoch(),
		Level: snap.Level(),
	}
	node := snap.Node(req.NodeID)
	resp.Register = node == nil || node.Status == state.NodeStatusDown || node.Boot != req.Boot
	if node == nil || node.Boot != req.Boot {
		// A stranger: a node that an older state does not know, or a second machine with the same ID. The node that the
		// allocations belong to registers first and is told then.
		return resp
	}
	resp.NodeStatus = node.Status
	held := make(map[string]uint64, len(req.Held))
	for _, h := range req.Held {
		held[h.ID] = h.ModifyIndex
	}
	for a := range snap.AllocsByNode(req.NodeID) {
		known, holds := held[a.ID]
		delete(held, a.ID)
		switch {
		case a.TerminalDesired() || a.TerminalClient():
			if holds {
				resp.Stop = append(resp.Stop, a.ID)
			}
		default:
			resp.Run = append(resp.Run, runOrder(snap, a, known))
		}
	}
	for _, h := range req.Held {
		if _, left := held[h.ID]; !left {
			continue
		}
		// Not this node's by the index. An allocation that belongs to another node is not this machine's to run either.
		resp.Gone = append(resp.Gone, h.ID)
	}
	return resp
}

// runOrder names an allocation to run, with its row and its job's version unless the node has them.
func runOrder(snap *state.Snapshot, a *state.Alloc, known uint64) api.RunOrder {
	o := api.RunOrder{ID: a.ID}
	if known == a.ModifyIndex {
		return o
	}
	o.Alloc, o.Job = a, snap.JobVersion(a.Namespace, a.JobID, a.JobVersion)
	return o
}

// news reports whether anything about the node has changed after the index.
func news(snap *state.Snapshot, nodeID string, index uint64) bool {
	node := snap.Node(nodeID)
	if node == nil || node.ModifyIndex > index {
		return true
	}
	for a := range snap.AllocsByNode(nodeID) {
		if a.ModifyIndex > index {
			return true
		}
	}
	return false
}
