package api

import (
	"strings"

	"github.com/drover-io/drover/state"
)

// NodePoolView is a node pool with what is in it.
type NodePoolView struct {
	Name                   string
	Description            string
	Meta                   map[string]string
	SchedulerConfiguration *state.NodePoolSchedulerConfig
	BuiltIn                bool // exists in every cluster and cannot be changed
	Nodes                  int  // of all statuses
	Jobs                   int  // that have not ended
	CreateIndex            uint64
	ModifyIndex            uint64
}

func nodePoolView(snap *state.Snapshot, p *state.NodePool) NodePoolView {
	v := NodePoolView{
		Name: p.Name, Description: p.Description, Meta: p.Meta, SchedulerConfiguration: p.SchedulerConfiguration, BuiltIn: p.BuiltIn(),
		CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex,
	}
	for n := range snap.Nodes() {
		if inPool(p.Name, n.NodePool) {
			v.Nodes++
		}
	}
	for j := range snap.Jobs() {
		if state.PoolOf(j.NodePool) == p.Name && snap.JobStatus(j) != state.JobStatusDead {
			v.Jobs++
		}
	}
	return v
}

// inPool reports whether a node's pool is the one named, or part of it.
func inPool(pool, of string) bool { return pool == state.NodePoolAll || state.PoolOf(of) == pool }

func noPool(name string) *Error {
	return NewError(CodeNotFound, "list them with `drover node pool list` or GET /v1/node/pools", "there is no node pool %s", name)
}

func poolKeyOf(p *state.NodePool) string { return p.Name }

func listNodePools(c *call, snap *state.Snapshot) ([]NodePoolView, error) {
	rows := filtered(snap.NodePools(), func(p *state.NodePool) bool { return strings.HasPrefix(p.Name, c.opts.prefix) })
	return page(c, rows, poolKeyOf, func(p *state.NodePool) NodePoolView { return nodePoolView(snap, p) })
}

func readNodePool(c *call, snap *state.Snapshot) (*NodePoolView, error) {
	p := snap.NodePool(c.id())
	if p == nil {
		return nil, noPool(c.id())
	}
	v := nodePoolView(snap, p)
	return &v, nil
}

func listPoolNodes(c *call, snap *state.Snapshot) ([]NodeListItem, error) {
	if snap.NodePool(c.id()) == nil {
		return nil, noPool(c.id())
	}
	rows := filtered(snap.NodesByPrefix(c.opts.prefix), func(n *state.Node) bool { return inPool(c.id(), n.NodePool) })
	return page(c, rows, nodeKeyOf, func(n *state.Node) NodeListItem { return nodeListItem(snap, n) })
}

// listPoolJobs lists the jobs that name the pool, of all namespaces unless the request names one.
func listPoolJobs(c *call, snap *state.Snapshot) ([]JobListItem, error) {
	if snap.NodePool(c.id()) == nil {
		return nil, noPool(c.id())
	}
	namespace := AllNamespaces
	if c.query.Has("namespace") {
		namespace = c.opts.namespace
	}
	rows := filtered(snap.JobsByPrefix(namespace, c.opts.prefix), func(j *state.Job) bool { return state.PoolOf(j.NodePool) == c.id() })
	return page(c, rows, jobKeyOf, func(j *state.Job) JobListItem { return jobListItem(snap, j) })
}

func putNodePool(c *call, p *state.NodePool) (*WriteResponse, error) {
	if err := p.Validate(); err != nil {
		return nil, NewError(CodeInvalid, "", "node pool %q: %s", p.Name, err)
	}
	return c.written(state.UpsertNodePool{RequestID: c.requestID, Pool: p, Time: c.s.b.Now()})
}

func deleteNodePool(c *call) (*WriteResponse, error) {
	return c.written(state.DeleteNodePool{RequestID: c.requestID, Name: c.id(), Time: c.s.b.Now()})
}

// watchPools waits for a change of the pools, or of what is in them.
func watchPools(*call) watchFor {
	return watchFor{
		keys: []state.Key{state.KeyNodePools(), state.KeyNodes(), state.KeyJobs(), state.KeyAllocs()},
		changed: func(snap *state.Snapshot, since uint64) bool {
			for range snap.NodesDirtySince(since) {
				return true
			}
			return snap.NodePoolsIndex() > since || anyJobChanged(snap, since, AllNamespaces)
		},
	}
}

// watchPoolJobs waits for a change of any job: one may have left the pool.
func watchPoolJobs(*call) watchFor {
	return watchFor{
		keys:    []state.Key{state.KeyJobs(), state.KeyAllocs(), state.KeyNodes()},
		changed: func(snap *state.Snapshot, since uint64) bool { return anyJobChanged(snap, since, AllNamespaces) },
	}
}
