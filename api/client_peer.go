package api

import (
	"context"
)

// These are the calls of agents to agents. The client's Config has a NodeID, and its address is a peer listener's.

// As is the same client speaking for another agent, over the same connections: for one process that simulates many nodes.
func (c *Client) As(nodeID string) *Client {
	other := *c
	other.cfg.NodeID = nodeID
	return &other
}

// NodeRegister says what this machine is.
func (c *Client) NodeRegister(ctx context.Context, req *RegisterRequest) (*RegisterResponse, error) {
	return writeInto[RegisterResponse](ctx, c, routeProtoRegister, "", WriteOptions{}, nil, req)
}

// NodeReport says how this machine's allocations stand.
func (c *Client) NodeReport(ctx context.Context, req *ReportRequest) (*ReportResponse, error) {
	return writeInto[ReportResponse](ctx, c, routeProtoReport, "", WriteOptions{}, nil, req)
}

// RelayLeases hands the leader the leases that this server's polls renewed.
func (c *Client) RelayLeases(ctx context.Context, req *LeasesRequest) (*LeasesResponse, error) {
	return writeInto[LeasesResponse](ctx, c, routeProtoLeases, "", WriteOptions{}, nil, req)
}

// Probe asks the server to knock at nodes.
func (c *Client) Probe(ctx context.Context, req *ProbeRequest) (*ProbeResponse, error) {
	return askInto[ProbeResponse](ctx, c, routeProtoProbe, "", req)
}

// Ping asks the agent whether it lives.
func (c *Client) Ping(ctx context.Context) (*PingResponse, error) {
	return askInto[PingResponse](ctx, c, routeProtoPing, "", nil)
}

// ConfirmBootstrap asks the server whether it has no log and expects as many servers.
func (c *Client) ConfirmBootstrap(ctx context.Context, req *BootstrapRequest) (*BootstrapResponse, error) {
	return askInto[BootstrapResponse](ctx, c, routeProtoBootstrap, "", req)
}

// JoinRaft asks the leader to take this server in.
func (c *Client) JoinRaft(ctx context.Context, req *JoinRequest) (*JoinResponse, error) {
	return writeInto[JoinResponse](ctx, c, routeProtoJoin, "", WriteOptions{}, nil, req)
}

// AnnounceLevel tells the leader the highest level that this server can apply.
func (c *Client) AnnounceLevel(ctx context.Context, req *AnnounceRequest) (*AnnounceResponse, error) {
	return writeInto[AnnounceResponse](ctx, c, routeProtoAnnounce, "", WriteOptions{}, nil, req)
}

// Progress asks the server how far its log is applied.
func (c *Client) Progress(ctx context.Context) (*ProgressResponse, error) {
	return askInto[ProgressResponse](ctx, c, routeProtoProgress, "", nil)
}
