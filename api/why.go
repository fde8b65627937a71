package api

import (
	"context"

	"github.com/drover-io/drover/state"
)

// Names of the routes that explain placement; routeJobWhy is the third.
const (
	routeAllocWhy = "alloc.why"
	routeNodeWhy  = "node.why"
)

// whyRoutes answer questions that look at the whole cluster: few at a time.
func whyRoutes() []Route {
	return []Route{
		{
			Name: routeAllocWhy, Method: get, Path: "/v1/allocation/{id}/why", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Concurrency: 16, handler: read(explainAlloc, nil),
			Doc: "explain why a copy is on its node: the scores of that node and of the runners-up, as if it were placed now",
		},
		{
			Name: routeNodeWhy, Method: get, Path: "/v1/node/{id}/why", Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Concurrency: 16, handler: read(explainNode, nil),
			Doc: "explain what could still fit on a node: what is free, which blocked jobs fit, how many more copies of each group",
		},
	}
}

// clusterNow is the time that an explanation is as of. A follower's clock may be behind the newest row.
func (c *call) clusterNow(snap *state.Snapshot) int64 { return max(snap.LatestTime(), c.s.b.Now()) }

func explainAlloc(c *call, snap *state.Snapshot) (*state.AllocExplanation, error) {
	e := c.s.b.Decider.ExplainAlloc(snap, c.id(), c.clusterNow(snap))
	if e == nil {
		return nil, noAlloc(c.id())
	}
	return e, nil
}

func explainNode(c *call, snap *state.Snapshot) (*state.NodeExplanation, error) {
	e := c.s.b.Decider.ExplainNode(snap, c.id(), c.clusterNow(snap))
	if e == nil {
		return nil, noNode(c.id())
	}
	return e, nil
}

// ExplainAllocation says why a copy is on its node.
func (c *Client) ExplainAllocation(ctx context.Context, id string, q QueryOptions) (*state.AllocExplanation, QueryMeta, error) {
	return readInto[*state.AllocExplanation](ctx, c, routeAllocWhy, id, q, nil)
}

// ExplainNode says what could still fit on a node.
func (c *Client) ExplainNode(ctx context.Context, id string, q QueryOptions) (*state.NodeExplanation, QueryMeta, error) {
	return readInto[*state.NodeExplanation](ctx, c, routeNodeWhy, id, q, nil)
}
