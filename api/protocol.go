package api

// speaksFor refuses an agent that speaks for another one.
func (c *call) speaksFor(nodeID string) error {
	if nodeID == "" {
		return NewError(CodeInvalid, "", "the body names no node")
	}
	if c.caller.NodeID != nodeID {
		return NewError(CodeForbidden, "set the header "+headerNodeID+" to the agent's own node ID", "agent %q speaks for node %q", c.caller.NodeID, nodeID)
	}
	return nil
}

func protoRegister(c *call, req *RegisterRequest) (*RegisterResponse, error) {
	if req.Node == nil {
		return nil, NewError(CodeInvalid, "", "the body has no Node")
	}
	if err := c.speaksFor(req.Node.ID); err != nil {
		return nil, err
	}
	return c.s.b.Nodes.Register(c.ctx, c.caller, req)
}

func protoPoll(c *call, req *PollRequest) (*PollResponse, error) {
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	req.Wait, req.Closing = min(max(req.Wait, 0), MaxPollWait), c.s.life.Done()
	return c.s.b.Nodes.Poll(c.ctx, c.caller, req)
}

func protoReport(c *call, req *ReportRequest) (*ReportResponse, error) {
	if err := c.speaksFor(req.Report.NodeID); err != nil {
		return nil, err
	}
	return c.s.b.Nodes.Report(c.ctx, c.caller, req)
}

func protoLeases(c *call, req *LeasesRequest) (*LeasesResponse, error) {
	if err := c.speaksFor(req.ServerID); err != nil {
		return nil, err
	}
	return c.s.b.Servers.Renew(c.ctx, req)
}

func protoProbe(c *call, req *ProbeRequest) (*ProbeResponse, error) {
	if err := c.isServer(); err != nil {
		return nil, err
	}
	return c.s.b.Servers.Probe(c.ctx, req)
}

// isServer refuses what only servers are asked, on an agent that is none.
func (c *call) isServer() error {
	if c.s.b.Servers == nil {
		return NewError(CodeUnavailable, "ask a server", "this agent is no server")
	}
	return nil
}

func protoPing(c *call) (*PingResponse, error) {
	p := c.s.b.Ping()
	return &p, nil
}

func protoBootstrap(c *call, req *BootstrapRequest) (*BootstrapResponse, error) {
	if err := c.isServer(); err != nil {
		return nil, err
	}
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	return c.s.b.Servers.Bootstrap(c.ctx, req)
}

func protoJoin(c *call, req *JoinRequest) (*JoinResponse, error) {
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	return c.s.b.Servers.Join(c.ctx, req)
}

func protoAnnounce(c *call, req *AnnounceRequest) (*AnnounceResponse, error) {
	if err := c.speaksFor(req.NodeID); err != nil {
		return nil, err
	}
	return c.s.b.Servers.Announce(c.ctx, req)
}

func protoProgress(c *call) (*ProgressResponse, error) {
	if err := c.isServer(); err != nil {
		return nil, err
	}
	return c.s.b.Servers.Progress(c.ctx)
}
