package agent

import (
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// orders answers, from one snapshot, what a node's allocations are to do: what has changed since the index that it names, or, when it
// names none, each that it holds and those that it does not have yet. What the snapshot says nothing about is "gone" only because the
// node named it.
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
	resp.NodeStatus, resp.NodeName, resp.ToRun = node.Status, node.Name, snap.OrdersOf(node.ID).Run
	switch {
	case req.Since == 0:
		ordersAll(snap, req, resp)
	case req.RestoreGeneration == snap.Generation():
		ordersSince(snap, req, resp)
	}
	// Else the index is one of a state that is no more: the node learns of the new one and asks about everything.
	return resp
}

// ordersAll answers every allocation that the node holds by its name, and adds what it does not have.
func ordersAll(snap *state.Snapshot, req *api.PollRequest, resp *api.PollResponse) {
	held := make(map[string]uint64, len(req.Held))
	for _, h := range req.Held {
		held[h.ID] = h.CreateIndex
	}
	runs := runOrders{resp: resp, snap: snap}
	for a := range snap.AllocsByNode(req.NodeID) {
		known, holds := held[a.ID]
		delete(held, a.ID)
		switch {
		case a.IsToRun() && known == a.CreateIndex: // what a node needs of a row does not change while it lives
			resp.Keep = append(resp.Keep, a.ID)
		case a.IsToRun():
			runs.add(a)
		case holds || !a.TerminalClient(): // one that it never got ends too, when the node has said so
			resp.Stop = append(resp.Stop, a.ID)
		}
	}
	for _, h := range req.Held {
		if _, left := held[h.ID]; !left {
			continue
		}
		// Not this node's by the index. An allocation that belongs to another node is not this machine's to run either.
		resp.Gone = append(resp.Gone, h.ID)
	}
}

// ordersSince answers what has changed since an index. Rows that were removed since are not among it: they had ended, and the node asks
// about what is left of them when it names everything.
func ordersSince(snap *state.Snapshot, req *api.PollRequest, resp *api.PollResponse) {
	o := snap.OrdersOf(req.NodeID)
	if max(o.At, o.Ended) <= req.Since {
		return
	}
	runs := runOrders{resp: resp, snap: snap}
	if max(o.Stopped, o.Ended) <= req.Since { // only some more are to run: a look at each of hundreds costs more than all the rest
		for a := range snap.NewestByNode(req.NodeID) {
			if a.CreateIndex <= req.Since {
				return
			}
			if a.IsToRun() {
				runs.add(a)
			}
		}
		return
	}
	for a := range snap.AllocsByNode(req.NodeID) {
		switch {
		case a.ModifyIndex <= req.Since:
		case a.IsToRun():
			if a.CreateIndex > req.Since { // else the node's own report changed the row
				runs.add(a)
			}
		case a.TerminalClient():
			resp.Over = append(resp.Over, a.ID)
		default:
			resp.Stop = append(resp.Stop, a.ID)
		}
	}
}

// runOrders gathers rows into as few orders as they take, with each job's version once.
type runOrders struct {
	resp *api.PollResponse
	snap *state.Snapshot
	at   map[likeAlloc]int // position in resp.Run of those that differ in ID, index and name only
}

// likeAlloc tells which rows are alike: copies of one group that one entry placed.
type likeAlloc struct {
	group   *state.AllocGroup
	created uint64
}

func (r *runOrders) add(a *state.Alloc) {
	like := likeAlloc{group: a.AllocGroup, created: a.CreateIndex}
	i, known := r.at[like]
	if !known || !plain(a) {
		i = len(r.resp.Run)
		r.resp.Run = append(r.resp.Run, api.RunOrder{Alloc: template(a), Plain: plain(a)})
		r.send(a)
		if plain(a) {
			if r.at == nil {
				r.at = map[likeAlloc]int{}
			}
			r.at[like] = i
		}
	}
	o := &r.resp.Run[i]
	o.IDs, o.Indexes = append(o.IDs, a.ID), append(o.Indexes, a.Index)
}

// plain reports whether the row has nothing that is its own.
func plain(a *state.Alloc) bool {
	return len(a.Ports)+len(a.Resources.Cores)+len(a.Resources.Devices)+len(a.RescheduleEvents) == 0 && a.PreviousAllocation == ""
}

// send adds the version of the job that an allocation runs, unless it is there.
func (r *runOrders) send(a *state.Alloc) {
	for _, j := range r.resp.Jobs {
		if j.ID == a.JobID && j.Version == a.JobVersion && j.Namespace == a.Namespace {
			return
		}
	}
	if j := r.snap.JobVersion(a.Namespace, a.JobID, a.JobVersion); j != nil {
		r.resp.Jobs = append(r.resp.Jobs, j)
	}
}

// template is a row without what a RunOrder says beside it, and without what the node itself says of it.
func template(a *state.Alloc) *state.Alloc {
	row := *a
	row.ID, row.Name, row.Index = "", "", 0
	row.ClientStatus, row.ClientDescription, row.TaskStates = "", "", state.TaskStates{}
	row.ReportBoot, row.ReportSeq, row.ClientModifyTime, row.ModifyIndex = 0, 0, 0, 0
	row.NextAllocation, row.Migrate = "", false
	return &row
}
