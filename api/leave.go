package api

import (
	"context"
	"reflect"
	"time"
)

const routeAgentLeave = "agent.leave"

// leaveTimeout bounds a departure: leadership is handed over, the servers agree, gossip hears of it.
const leaveTimeout = 30 * time.Second

// leaveRoutes let agents go.
func leaveRoutes() []Route {
	return []Route{{
		Name: routeAgentLeave, Method: put, Path: "/v1/agent/leave", Capability: CapOperatorWrite, Where: AtAgent, Timeout: leaveTimeout, Concurrency: 4,
		handler: take(leaveAgent).withRequest(reflect.TypeFor[LeaveRequest]()),
		Doc:     "let an agent leave the cluster and end: a server gives up leadership and its vote, where that is safe",
	}}
}

// LeaveRequest asks an agent to leave.
type LeaveRequest struct {
	Force bool // also while allocations run on its machine: they run on, unsupervised
}

// LeaveResponse says how an agent left.
type LeaveResponse struct {
	NodeID      string
	Name        string
	Server      bool // it was one, and is no longer of the Raft configuration
	Client      bool
	Allocations int  // that run on its machine, and run on
	Down        bool // its machine is down by its own word, at once; otherwise it counts as out of touch first
}

func leaveAgent(c *call, req *LeaveRequest) (*LeaveResponse, error) {
	if c.s.b.Tools == nil {
		return nil, errNoTools()
	}
	return c.s.b.Tools.Leave(c.ctx, req.Force)
}

// LeaveAgent lets an agent leave the cluster; its process ends.
func (c *Client) LeaveAgent(ctx context.Context, ref AgentRef, force bool) (*LeaveResponse, error) {
	return writeInto[LeaveResponse](ctx, c, routeAgentLeave, "", WriteOptions{}, ref.query(nil), LeaveRequest{Force: force})
}
