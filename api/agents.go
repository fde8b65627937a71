package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/drover-io/drover/state"
)

// untilClosing is the request's context, which ends when the server stops too. The function given must be called.
func (c *call) untilClosing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(c.ctx)
	stop := context.AfterFunc(c.s.life, func() { cancel(errStopping()) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func agentSelf(c *call) (*AgentSelf, error) {
	self := c.s.b.Cluster.Self()
	return &self, nil
}

func agentMembers(c *call) (*MembersResponse, error) {
	self := c.s.b.Cluster.Self()
	return &MembersResponse{
		ServerName: self.Name, ServerRegion: self.Region, ServerDC: self.Datacenter, Members: c.s.b.Cluster.Members(),
	}, nil
}

// agentHealth answers 200, or 503 when a role is not well: the body is the same, so that it is no error to a reader.
func agentHealth(c *call) error {
	p := parser{values: c.query}
	role := p.oneOf("type", "", "server", "client")
	if p.err != nil {
		return p.err
	}
	health := c.s.b.Cluster.Health()
	if role == "server" {
		health.Client = nil
	}
	if role == "client" {
		health.Server = nil
	}
	status := http.StatusOK
	for _, r := range []*RoleHealth{health.Server, health.Client} {
		if r != nil && !r.OK {
			status = http.StatusServiceUnavailable
		}
	}
	if role != "" && health.Server == nil && health.Client == nil {
		return NewError(CodeUnavailable, "", "this agent is no %s", role)
	}
	data, err := json.Marshal(health)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.mark(c.w.Header())
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(data, '\n')) // the reader may be gone; there is nobody to tell
	return nil
}

func statusLeader(c *call) (string, error) {
	_, addr, known := c.s.b.Cluster.Leader()
	if !known {
		return "", nil
	}
	return addr, nil
}

func statusPeers(c *call) ([]string, error) {
	peers := []string{}
	for _, p := range c.s.b.Cluster.RaftPeers() {
		peers = append(peers, p.Address)
	}
	slices.Sort(peers)
	return peers, nil
}

func raftConfiguration(c *call, snap *state.Snapshot) (*RaftConfiguration, error) {
	return &RaftConfiguration{Servers: c.s.b.Cluster.RaftPeers(), Index: snap.Index()}, nil
}
