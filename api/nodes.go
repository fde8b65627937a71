package api

import (
	"strings"

	"github.com/drover-io/drover/state"
)

func listNodes(c *call, snap *state.Snapshot) ([]NodeListItem, error) {
	return page(c, snap.NodesByPrefix(c.opts.prefix), nodeKeyOf, func(n *state.Node) NodeListItem { return nodeListItem(snap, n) })
}

func readNode(c *call, snap *state.Snapshot) (*NodeView, error) {
	n := snap.Node(c.id())
	if n == nil {
		return nil, noNode(c.id())
	}
	return nodeView(snap, n), nil
}

func noNode(id string) *Error {
	return NewError(CodeNotFound, "list them with `drover node status` or GET /v1/nodes", "there is no node %s", id)
}

func listNodeAllocs(c *call, snap *state.Snapshot) ([]AllocListItem, error) {
	if snap.Node(c.id()) == nil {
		return nil, noNode(c.id())
	}
	rows := filtered(byAllocID(snap.AllocsByNode(c.id())), func(a *state.Alloc) bool {
		return strings.HasPrefix(a.ID, c.opts.prefix) && (!c.query.Has("namespace") || c.inNamespace(a))
	})
	return page(c, rows, allocKeyOf, func(a *state.Alloc) AllocListItem { return allocListItem(snap, a) })
}

func setEligibility(c *call, req *EligibilityRequest) (*WriteResponse, error) {
	if req.NodeID != "" && req.NodeID != c.id() {
		return nil, NewError(CodeInvalid, "", "the path names node %s, the body %s", c.id(), req.NodeID)
	}
	if req.Eligibility != state.NodeEligible && req.Eligibility != state.NodeIneligible {
		return nil, NewError(CodeInvalid, "", "eligibility %q: want %q or %q", req.Eligibility, state.NodeEligible, state.NodeIneligible)
	}
	return c.written(state.SetEligibility{
		RequestID: c.requestID, NodeID: c.id(), Eligibility: req.Eligibility, Time: c.s.b.Now(),
	})
}

func declareLost(c *call) (*WriteResponse, error) {
	return c.written(state.DeclareNodeLost{RequestID: c.requestID, NodeID: c.id(), Time: c.s.b.Now()})
}
