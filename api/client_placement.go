package api

import (
	"context"
	"net/url"
	"strconv"

	"github.com/drover-io/drover/state"
)

// SchedulerConfig reads how the cluster places.
func (c *Client) SchedulerConfig(ctx context.Context, q QueryOptions) (*SchedulerConfigResponse, QueryMeta, error) {
	return readInto[*SchedulerConfigResponse](ctx, c, routeSchedulerConfig, "", q, nil)
}

// SetSchedulerConfig sets how the cluster places. cas, when it is not nil, must be the ModifyIndex that is stored.
func (c *Client) SetSchedulerConfig(ctx context.Context, req SchedulerConfigRequest, cas *uint64, w WriteOptions) (*SchedulerConfigWritten, error) {
	q := url.Values{}
	if cas != nil {
		q.Set("cas", strconv.FormatUint(*cas, 10))
	}
	return writeInto[SchedulerConfigWritten](ctx, c, routeSchedulerConfigSet, "", w, q, req)
}

// NodePools lists node pools, one page.
func (c *Client) NodePools(ctx context.Context, q QueryOptions) ([]NodePoolView, QueryMeta, error) {
	return readInto[[]NodePoolView](ctx, c, routeNodePools, "", q, nil)
}

// NodePool reads a node pool.
func (c *Client) NodePool(ctx context.Context, name string, q QueryOptions) (*NodePoolView, QueryMeta, error) {
	return readInto[*NodePoolView](ctx, c, routeNodePool, name, q, nil)
}

// PutNodePool creates a node pool, or replaces one.
func (c *Client) PutNodePool(ctx context.Context, p *state.NodePool, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeNodePoolPut, "", w, nil, p)
}

// DeleteNodePool deletes a node pool that nothing uses.
func (c *Client) DeleteNodePool(ctx context.Context, name string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeNodePoolDelete, name, w, nil, nil)
}

// NodePoolNodes lists the nodes of a node pool, one page.
func (c *Client) NodePoolNodes(ctx context.Context, name string, q QueryOptions) ([]NodeListItem, QueryMeta, error) {
	return readInto[[]NodeListItem](ctx, c, routeNodePoolNodes, name, q, nil)
}

// NodePoolJobs lists the jobs that name a node pool, one page, of all namespaces unless the options name one.
func (c *Client) NodePoolJobs(ctx context.Context, name string, q QueryOptions) ([]JobListItem, QueryMeta, error) {
	q.Namespace = firstOf(q.Namespace, AllNamespaces)
	return readInto[[]JobListItem](ctx, c, routeNodePoolJobs, name, q, nil)
}
