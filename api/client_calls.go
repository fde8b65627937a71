package api

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/drover-io/drover/state"
)

// Jobs lists jobs, one page.
func (c *Client) Jobs(ctx context.Context, q QueryOptions) ([]JobListItem, QueryMeta, error) {
	return readInto[[]JobListItem](ctx, c, routeJobs, "", q, nil)
}

// readInto reads a route's answer into a T.
func readInto[T any](ctx context.Context, c *Client, route, id string, q QueryOptions, extra url.Values) (T, QueryMeta, error) {
	var out T
	meta, err := c.read(ctx, route, id, q, extra, &out)
	return out, meta, err
}

// writeInto writes and reads the answer into a T.
func writeInto[T any](ctx context.Context, c *Client, route, id string, w WriteOptions, query url.Values, body any) (*T, error) {
	out := new(T)
	if err := c.write(ctx, route, id, w, query, body, out); err != nil {
		return nil, err
	}
	return out, nil
}

// askInto asks and reads the answer into a T.
func askInto[T any](ctx context.Context, c *Client, route, id string, body any) (*T, error) {
	out := new(T)
	if err := c.ask(ctx, route, id, body, out); err != nil {
		return nil, err
	}
	return out, nil
}

// RegisterJob stores a job.
func (c *Client) RegisterJob(ctx context.Context, req *JobRegisterRequest, w WriteOptions) (*JobRegisterResponse, error) {
	if w.Namespace == "" && req.Job != nil {
		w.Namespace = req.Job.Namespace
	}
	return writeInto[JobRegisterResponse](ctx, c, routeJobRegister, "", w, nil, req)
}

// Job reads a job.
func (c *Client) Job(ctx context.Context, id string, q QueryOptions) (*JobView, QueryMeta, error) {
	return readInto[*JobView](ctx, c, routeJob, id, q, nil)
}

// StopJob stops all copies of a job; with purge the cluster forgets it once they have ended.
func (c *Client) StopJob(ctx context.Context, id string, purge bool, w WriteOptions) (*WriteResponse, error) {
	query := url.Values{}
	if purge {
		query.Set("purge", "true")
	}
	return writeInto[WriteResponse](ctx, c, routeJobStop, id, w, query, nil)
}

// PlanJob says what registering a job would do.
func (c *Client) PlanJob(ctx context.Context, job *state.Job, q QueryOptions) (*JobPlanResponse, error) {
	return c.PlanJobAs(ctx, &JobPlanRequest{Job: job}, q)
}

// PlanJobAs is PlanJob with everything that a plan can be asked.
func (c *Client) PlanJobAs(ctx context.Context, req *JobPlanRequest, q QueryOptions) (*JobPlanResponse, error) {
	out := new(JobPlanResponse)
	x := exchange{route: routeJobPlan, id: req.Job.ID, namespace: firstOf(q.Namespace, req.Job.Namespace), body: req}
	if _, err := c.call(ctx, x, out); err != nil {
		return nil, err
	}
	return out, nil
}

// JobAllocations lists the allocations of a job, one page.
func (c *Client) JobAllocations(ctx context.Context, id string, q QueryOptions) ([]AllocListItem, QueryMeta, error) {
	return readInto[[]AllocListItem](ctx, c, routeJobAllocs, id, q, nil)
}

// JobVersions reads the stored versions of a job, newest first.
func (c *Client) JobVersions(ctx context.Context, id string, q QueryOptions) (*JobVersionsResponse, QueryMeta, error) {
	return readInto[*JobVersionsResponse](ctx, c, routeJobVersions, id, q, nil)
}

// ExplainJob says why copies of a job can or cannot be placed.
func (c *Client) ExplainJob(ctx context.Context, id string, q QueryOptions) (*state.Explanation, QueryMeta, error) {
	return readInto[*state.Explanation](ctx, c, routeJobWhy, id, q, nil)
}

// Nodes lists nodes, one page.
func (c *Client) Nodes(ctx context.Context, q QueryOptions) ([]NodeListItem, QueryMeta, error) {
	return readInto[[]NodeListItem](ctx, c, routeNodes, "", q, nil)
}

// Node reads a node.
func (c *Client) Node(ctx context.Context, id string, q QueryOptions) (*NodeView, QueryMeta, error) {
	return readInto[*NodeView](ctx, c, routeNode, id, q, nil)
}

// NodeAllocations lists the allocations of a node, one page, of all namespaces unless the options name one.
func (c *Client) NodeAllocations(ctx context.Context, id string, q QueryOptions) ([]AllocListItem, QueryMeta, error) {
	q.Namespace = firstOf(q.Namespace, AllNamespaces)
	return readInto[[]AllocListItem](ctx, c, routeNodeAllocs, id, q, nil)
}

// SetEligibility lets a node take new work (state.NodeEligible) or not (state.NodeIneligible).
func (c *Client) SetEligibility(ctx context.Context, id, eligibility string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeNodeEligible, id, w, nil, EligibilityRequest{NodeID: id, Eligibility: eligibility})
}

// DeclareNodeLost says that a machine is gone.
func (c *Client) DeclareNodeLost(ctx context.Context, id string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeNodeLost, id, w, nil, nil)
}

// Allocations lists allocations, one page.
func (c *Client) Allocations(ctx context.Context, q QueryOptions) ([]AllocListItem, QueryMeta, error) {
	return readInto[[]AllocListItem](ctx, c, routeAllocs, "", q, nil)
}

// Allocation reads an allocation.
func (c *Client) Allocation(ctx context.Context, id string, q QueryOptions) (*AllocView, QueryMeta, error) {
	v, meta, err := readInto[*AllocView](ctx, c, routeAlloc, id, q, nil)
	if err == nil && (v == nil || !v.Whole()) {
		return nil, meta, NewError(CodeInternal, "check that the agent and this program are of the same version", "the agent's answer to allocation %s is none", id)
	}
	return v, meta, err
}

// StopAllocation stops one copy; another is placed in its stead.
func (c *Client) StopAllocation(ctx context.Context, id string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeAllocStop, id, w, nil, nil)
}

// RestartAllocation restarts one task of an allocation where it is, all of them when task is "".
func (c *Client) RestartAllocation(ctx context.Context, id, task string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeAllocRestart, id, w, nil, RestartRequest{TaskName: task})
}

// Logs opens a task's output. With Follow it lasts until the task has ended, ctx does, or the reader is closed. The caller
// closes it.
func (c *Client) Logs(ctx context.Context, req LogsRequest) (io.ReadCloser, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("task", req.Task)
	set("type", req.Type)
	set("origin", req.Origin)
	if req.Follow {
		q.Set("follow", "true")
	}
	if req.Previous {
		q.Set("previous", "true")
	}
	if req.Ago > 0 {
		q.Set("since", req.Ago.String())
	} else if !req.Since.IsZero() {
		q.Set("since", req.Since.UTC().Format(time.RFC3339Nano))
	}
	if req.Offset > 0 {
		q.Set("offset", strconv.FormatInt(req.Offset, 10))
	}
	if req.Tail > 0 {
		q.Set("tail", strconv.Itoa(req.Tail))
	}
	res, err := c.do(ctx, exchange{route: routeAllocLogs, id: req.AllocID, query: q})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// AgentSelf describes the agent asked.
func (c *Client) AgentSelf(ctx context.Context) (*AgentSelf, error) {
	out, _, err := readInto[*AgentSelf](ctx, c, routeAgentSelf, "", QueryOptions{}, nil)
	return out, err
}

// AgentMembers lists the agents that gossip knows.
func (c *Client) AgentMembers(ctx context.Context) (*MembersResponse, error) {
	out, _, err := readInto[*MembersResponse](ctx, c, routeAgentMembers, "", QueryOptions{}, nil)
	return out, err
}

// AgentHealth is the agent's judgement of its roles. It is no error when one is not well.
func (c *Client) AgentHealth(ctx context.Context) (*AgentHealth, error) {
	out, _, err := readInto[*AgentHealth](ctx, c, routeAgentHealth, "", QueryOptions{}, nil)
	return out, err
}

// Metrics reads the agent's metrics.
func (c *Client) Metrics(ctx context.Context) (*MetricsView, error) {
	out, _, err := readInto[*MetricsView](ctx, c, routeMetrics, "", QueryOptions{}, nil)
	return out, err
}

// PrometheusMetrics opens the agent's metrics as Prometheus takes them. The caller closes it.
func (c *Client) PrometheusMetrics(ctx context.Context) (io.ReadCloser, error) {
	res, err := c.do(ctx, exchange{route: routeMetrics, query: url.Values{"format": {"prometheus"}}})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// StatusLeader is the leader's peer address, "" while there is none.
func (c *Client) StatusLeader(ctx context.Context) (string, error) {
	out, _, err := readInto[string](ctx, c, routeStatusLeader, "", QueryOptions{}, nil)
	return out, err
}

// StatusPeers are the servers' peer addresses.
func (c *Client) StatusPeers(ctx context.Context) ([]string, error) {
	out, _, err := readInto[[]string](ctx, c, routeStatusPeers, "", QueryOptions{}, nil)
	return out, err
}

// RaftConfiguration lists the servers of the Raft configuration.
func (c *Client) RaftConfiguration(ctx context.Context, q QueryOptions) (*RaftConfiguration, QueryMeta, error) {
	return readInto[*RaftConfiguration](ctx, c, routeRaftConfig, "", q, nil)
}

// RemoveRaftPeer takes a server out of the Raft configuration.
func (c *Client) RemoveRaftPeer(ctx context.Context, id string, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeRaftRemove, "", w, url.Values{"id": {id}}, nil)
}

// TransferLeadership gives leadership to a server, to the fittest when id is "".
func (c *Client) TransferLeadership(ctx context.Context, id string, w WriteOptions) (*WriteResponse, error) {
	out := new(WriteResponse)
	x := exchange{
		route: routeRaftTransfer, namespace: w.Namespace, requestID: firstOf(w.RequestID, NewRequestID()), body: TransferRequest{ID: id}, again: id != "",
	}
	if _, err := c.call(ctx, x, out); err != nil {
		return nil, err
	}
	return out, nil
}

// SaveSnapshot opens the cluster's whole state. The caller closes it, and checks the file: a stream cut off ends in an error.
func (c *Client) SaveSnapshot(ctx context.Context, stale bool) (io.ReadCloser, QueryMeta, error) {
	x := exchange{route: routeSnapshotSave, query: url.Values{}}
	if stale {
		x.query.Set("stale", "true")
	}
	res, err := c.do(ctx, x)
	if err != nil {
		return nil, QueryMeta{}, err
	}
	return res.Body, metaOf(res.Header), nil
}

// RestoreSnapshot replaces the cluster's state with a saved one of size bytes.
func (c *Client) RestoreSnapshot(ctx context.Context, r io.Reader, size int64) (*WriteResponse, error) {
	out := new(WriteResponse)
	if _, err := c.call(ctx, exchange{route: routeSnapshotLoad, stream: r, length: size}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Evictions says how the eviction guard stands.
func (c *Client) Evictions(ctx context.Context) (*EvictionsView, error) {
	out, _, err := readInto[*EvictionsView](ctx, c, routeEvictions, "", QueryOptions{}, nil)
	return out, err
}

// AllowEvictions lets go of the eviction guard.
func (c *Client) AllowEvictions(ctx context.Context, w WriteOptions) (*WriteResponse, error) {
	return writeInto[WriteResponse](ctx, c, routeEvictionsAllow, "", w, nil, nil)
}
