package agent

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/gossip"
	"github.com/drover-io/drover/jobspecs"
	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

var (
	_ api.Cluster  = (*Agent)(nil)
	_ api.Tools    = (*Agent)(nil)
	_ api.Writer   = (*server)(nil)
	_ api.Operator = (*server)(nil)
)

// backend is what the API needs of this agent. Parts that its roles do not have stay nil.
func (a *Agent) backend() api.Backend {
	b := api.Backend{
		Cluster: a, Jobs: api.JobsFunc(parseJob), Ping: a.ping, Dial: a.network.Dial, Now: a.clusterNow,
		Metrics: a.metrics.registry, Tools: a, Logger: a.log.Named("http"), Limits: api.DefaultLimits(),
		NoPrometheus: !a.cfg.Telemetry.PrometheusMetrics,
	}
	b.ResolveImages = a.resolveImages
	if s := a.server; s != nil {
		b.State, b.Writer, b.Operator, b.Nodes, b.Servers, b.Recovery = s.store, s, s, s, s, s
		b.ImageNodes = s
		b.Decider = s.readings()
	}
	if a.client != nil {
		b.Owner, b.Inside = a.client, a.client
		if a.images != nil {
			b.Images = a.images
		}
	}
	return b
}

// parseJob is the door by which a job enters.
func parseJob(data []byte) (*state.Job, []string, error) {
	job, diags := jobspecs.ParseJSON(data)
	if diags.HasErrors() {
		return nil, nil, fmt.Errorf("%w: %w", state.ErrInvalid, diags)
	}
	var warnings []string
	for _, d := range diags {
		warnings = append(warnings, d.String())
	}
	problems, more := CheckJob(job)
	for _, w := range more {
		warnings = append(warnings, w.Error())
	}
	if len(problems) > 0 {
		return nil, nil, fmt.Errorf("%w: %w", state.ErrInvalid, joinFields(problems))
	}
	return job, warnings, nil
}

func (a *Agent) ping() api.PingResponse {
	return api.PingResponse{NodeID: a.id.NodeID, ClusterID: a.clusterID(), Boot: a.boot(), Server: a.server != nil}
}

// clusterNow is cluster time; off the leader it stands still at the newest stamp.
func (a *Agent) clusterNow() int64 {
	if a.server == nil {
		return 0
	}
	if t := a.server.term.Load(); t != nil {
		return t.clock.Now()
	}
	return a.server.store.Snapshot().LatestTime()
}

// Self describes this agent.
func (a *Agent) Self() api.AgentSelf {
	self := api.AgentSelf{
		NodeID: a.id.NodeID, Name: a.cfg.Name, Region: a.cfg.Region, Datacenter: a.cfg.Datacenter, NodePool: a.cfg.Client.NodePool,
		ClusterID: a.clusterID(), Version: a.opts.Version, Server: a.server != nil, Client: a.client != nil, Leader: a.IsLeader(),
		HTTPAddr: a.addrs.http, PeerAddr: a.addrs.peer, GossipAddr: a.addrs.gossip, DataDir: a.cfg.DataDir, Boot: a.boot(),
		Stats: map[string]map[string]string{},
	}
	if a.server != nil {
		self.Stats["raft"] = a.server.raft.Stats()
		snap := a.server.store.Snapshot()
		self.Stats["state"] = map[string]string{
			"index": strconv.FormatUint(snap.Index(), 10), "level": strconv.Itoa(snap.Level()),
			"jobs": strconv.Itoa(snap.JobCount()), "nodes": strconv.Itoa(snap.NodeCount()), "allocs": strconv.Itoa(snap.AllocCount()),
		}
	}
	return self
}

// Health is this agent's judgement of its roles.
func (a *Agent) Health() api.AgentHealth {
	var h api.AgentHealth
	if a.server != nil {
		h.Server = &api.RoleHealth{OK: true, Message: "ok"}
		if _, _, known := a.Leader(); !known {
			h.Server = &api.RoleHealth{Message: a.server.noLeader()}
		}
	}
	if a.client != nil {
		h.Client = &api.RoleHealth{OK: true, Message: "ok"}
		if err := a.client.health(); err != nil {
			h.Client = &api.RoleHealth{Message: err.Error()}
		}
	}
	return h
}

// noLeader says why there is no leader, as far as this server knows.
func (s *server) noLeader() string {
	alive, voters := 0, 0
	for _, p := range s.raft.Peers() {
		if !p.Voter {
			continue
		}
		voters++
		if p.ID == s.a.id.NodeID || s.a.members.alive(p.ID) {
			alive++
		}
	}
	if why := s.down.Load(); why != nil {
		return *why
	}
	if voters == 0 {
		return "no leader: the cluster has not begun; waiting for its servers to find each other"
	}
	if alive <= voters/2 {
		return fmt.Sprintf("no leader: %d of %d servers are reachable, %d are needed; what runs goes on running", alive, voters, voters/2+1)
	}
	return fmt.Sprintf("no leader yet: %d of %d servers are reachable and are electing one", alive, voters)
}

// Members are the agents that gossip knows, in the order of their names.
func (a *Agent) Members() []api.Member {
	leader, _, _ := a.Leader()
	var out []api.Member
	for _, m := range a.members.all() {
		out = append(out, memberView(m, leader))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func memberView(m gossip.Member, leader string) api.Member {
	host, port := splitAddr(m.Addr)
	status := string(m.Status)
	if status == "dead" {
		status = api.MemberFailed
	}
	return api.Member{
		ID: m.Tags.ID, Name: m.Tags.Name, Addr: host, Port: port, Status: status, Server: m.Tags.Server,
		Leader: m.Tags.ID == leader, Datacenter: m.Tags.Datacenter, Region: m.Tags.Region, ClusterID: m.Tags.ClusterID,
		Version: m.Tags.Version, PeerAddr: m.Tags.PeerAddr, HTTPAddr: m.Tags.HTTPAddr, Level: m.Tags.Level,
	}
}

// Leader is the leader's node ID and peer address, as far as this agent knows.
func (a *Agent) Leader() (id, peerAddr string, known bool) {
	if a.server != nil {
		id, peerAddr = a.server.raft.Leader()
		return id, peerAddr, id != ""
	}
	if a.client != nil {
		hint := a.client.leaderSeen()
		return hint.id, hint.addr, hint.id != ""
	}
	return "", "", false
}

// IsLeader is true once this server leads and its term's Lead entry is applied.
func (a *Agent) IsLeader() bool { return a.server != nil && a.server.term.Load() != nil }

// LastContact is how long ago this server heard of the leader.
func (a *Agent) LastContact() time.Duration {
	if a.server == nil {
		return 0
	}
	return a.server.raft.LastContact()
}

// VerifyLeader confirms with a majority that this server still leads, and that its state holds everything committed before.
func (a *Agent) VerifyLeader(ctx context.Context) error {
	if !a.IsLeader() {
		return api.ErrNotLeader
	}
	commit := a.server.raft.CommitIndex()
	if err := a.server.raft.VerifyLeader(ctx); err != nil {
		return a.server.explain(err)
	}
	// Everything up to the commit index is on its way into the store; entries of raft's own never reach it, hence applied.
	return a.server.raft.WaitApplied(ctx, commit)
}

// RaftPeers is the Raft configuration as this server knows it.
func (a *Agent) RaftPeers() []api.RaftPeer {
	if a.server == nil {
		return nil
	}
	var out []api.RaftPeer
	for _, p := range a.server.raft.Peers() {
		out = append(out, api.RaftPeer{ID: p.ID, Node: a.members.nameOf(p.ID), Address: p.Addr, Leader: p.Leader, Voter: p.Voter})
	}
	return out
}

// Propose commits a command of the API.
func (s *server) Propose(ctx context.Context, cmd state.Command) (value any, index uint64, err error) {
	if _, err := s.leading(); err != nil {
		return nil, 0, err
	}
	if err := s.a.dir.Writable(); err != nil {
		return nil, 0, api.NewError(api.CodeUnavailable, "free disk space on the leader", "the leader refuses writes: %s", err)
	}
	return s.commit(ctx, cmd)
}

// TransferLeadership gives leadership to a server.
func (s *server) TransferLeadership(ctx context.Context, id string) error {
	return s.explainMembers(s.raft.Transfer(ctx, id))
}

// guard is how the eviction guard stands.
func (s *server) guard() api.EvictionsView {
	view := api.EvictionsView{AllowedAt: s.store.Snapshot().EvictionsAllowedAt()}
	t := s.term.Load()
	if t == nil {
		return view
	}
	for _, p := range t.watch.view().Pools {
		view.Pools = append(view.Pools, poolGuard(p))
	}
	return view
}

// poolGuard is one pool of the guard as the API shows it.
func poolGuard(p sched.PoolGuardView) api.PoolGuard {
	g := api.PoolGuard{NodePool: p.Pool, Nodes: p.Nodes, Silent: p.Silent, Holding: p.State == sched.GuardHolding, Until: p.NextAt}
	switch p.State {
	case sched.GuardHolding:
		g.Reason = fmt.Sprintf("%d of %d nodes are silent: that looks like the network; nothing is moved until one returns or `drover operator evictions allow`", p.Silent, p.Nodes)
	case sched.GuardSlow:
		g.Reason = fmt.Sprintf("one node at a time is declared down; %d wait", p.Waiting)
	}
	return g
}
