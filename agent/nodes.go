package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

var (
	_ api.NodeProtocol   = (*server)(nil)
	_ api.ServerProtocol = (*server)(nil)
)

// leading is the term that this server leads, or why it cannot answer as the leader.
func (s *server) leading() (*term, error) {
	if t := s.term.Load(); t != nil {
		return t, nil
	}
	return nil, api.ErrNotLeader
}

// sameCluster refuses agents of another cluster by name.
func (s *server) sameCluster(theirs, who string) error {
	ours := s.store.Snapshot().ClusterID()
	if theirs == "" || ours == "" || theirs == ours {
		return nil
	}
	return api.NewError(api.CodeForbidden,
		"give the machine a new data directory, or point retry_join at its own cluster",
		"%s belongs to cluster %s, this is cluster %s", who, theirs, ours)
}

// Register stores what an agent says of its machine.
func (s *server) Register(ctx context.Context, caller api.Caller, req *api.RegisterRequest) (*api.RegisterResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	if req.Node == nil || req.Node.ID == "" || req.Node.ID != caller.NodeID {
		return nil, api.NewError(api.CodeForbidden, "", "agent %q cannot register node %q", caller.NodeID, nodeID(req.Node))
	}
	if err := errors.Join(s.sameCluster(req.ClusterID, "node "+req.Node.Name), s.sameHistory(req.History, "node "+req.Node.Name)); err != nil {
		return nil, err
	}
	// An agent says all it knows: the leader keeps from a cluster of a lower level what its servers cannot store, see client.obey.
	level := s.store.Snapshot().Level()
	value, index, err := s.commit(ctx, state.RegisterNode{
		Node: req.Node.AtLevel(level), Moved: s.moved(ctx, t, req.Node), Time: t.clock.Now(),
	})
	if err != nil {
		return nil, err
	}
	result, ok := value.(state.RegisterNodeResult)
	if !ok {
		return nil, fmt.Errorf("register node %s: unexpected result %T", req.Node.ID, value)
	}
	t.leases.Renew(req.Node.ID, req.Node.Boot, time.Now())
	snap := s.store.Snapshot()
	return &api.RegisterResponse{
		ClusterID: snap.ClusterID(), Level: level, Generation: result.Generation, Boot: result.Boot,
		RestoreGeneration: snap.Generation(), Index: index, LeasePeriod: leasePeriod(snap.NodeCount()),
	}, nil
}

func nodeID(n *state.Node) string {
	if n == nil {
		return ""
	}
	return n.ID
}

// Poll renews a node's lease and answers its orders: at once when something changed since the index that it names, else after
// its wait.
func (s *server) Poll(ctx context.Context, caller api.Caller, req *api.PollRequest) (*api.PollResponse, error) {
	if req.NodeID != caller.NodeID {
		return nil, api.NewError(api.CodeForbidden, "", "agent %q cannot ask for node %q", caller.NodeID, req.NodeID)
	}
	if err := s.sameCluster(req.ClusterID, "node "+req.NodeID); err != nil {
		return nil, err
	}
	if err := s.inTouch(); err != nil {
		return nil, err
	}
	if err := s.sameHistory(api.History{Epoch: req.Epoch, Generation: req.RestoreGeneration}, "node "+req.NodeID); err != nil {
		return nil, err
	}
	s.renew(req)
	wait := min(max(0, req.Wait), api.MaxPollWait)
	if req.Since == 0 {
		wait = 0 // it asks about everything
	}
	if wait > 0 {
		switch later, err := s.awaitNews(ctx, req, wait); {
		case err != nil:
			return nil, err
		case later:
			return s.sign(s.store.Snapshot(), &api.PollResponse{
				ClusterID: s.store.Snapshot().ClusterID(), Index: req.Index, RestoreGeneration: req.RestoreGeneration, Epoch: req.Epoch, Later: true,
			}), nil
		}
	}
	s.pace.told(req.NodeID)
	s.answering <- struct{}{} // as few at a time as there are processors: what servers say to each other does not stand in line behind thousands of nodes
	defer func() { <-s.answering }()
	return s.pollAnswer(s.store.Snapshot(), req)
}

// inTouch is nil while this server hears of a leader. One that does not (it is cut off, or was taken out of the configuration)
// has old orders and cannot hand on the lease: its nodes would believe themselves well and be lost.
func (s *server) inTouch() error {
	limit := overduePeriods * leasePeriod(s.store.Snapshot().NodeCount())
	if since := s.raft.LastContact(); since > limit {
		return api.NewError(api.CodeUnavailable, "ask another server", "this server has heard of no leader for %s", since.Round(time.Second))
	}
	return nil
}

// renew notes the sign of life, for this server's own term or for the leader.
func (s *server) renew(req *api.PollRequest) {
	if t := s.term.Load(); t != nil {
		t.leases.Renew(req.NodeID, req.Boot, time.Now())
		return
	}
	s.relay.Note(req.NodeID, req.Boot, time.Now())
}

func (s *server) pollAnswer(snap *state.Snapshot, req *api.PollRequest) (*api.PollResponse, error) {
	if snap.Generation() < req.RestoreGeneration || (snap.Generation() == req.RestoreGeneration && snap.Index() < req.Index) {
		return nil, api.NewError(api.CodeBehind, "ask another server", "this server is at index %d, behind %d", snap.Index(), req.Index)
	}
	return s.sign(snap, orders(snap, req)), nil
}

// sign adds what every answer to a poll says.
func (s *server) sign(snap *state.Snapshot, resp *api.PollResponse) *api.PollResponse {
	resp.LeaderID, resp.LeaderAddr = s.raft.Leader()
	resp.Level, resp.LeasePeriod = snap.Level(), leasePeriod(snap.NodeCount())
	if !s.flooded(time.Now()).IsZero() {
		resp.Gather = gatherInFlood
	}
	return resp
}

// Report stores what a node says of its allocations.
func (s *server) Report(ctx context.Context, caller api.Caller, req *api.ReportRequest) (*api.ReportResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	if req.Report.NodeID != caller.NodeID {
		return nil, api.NewError(api.CodeForbidden, "", "agent %q cannot report for node %q", caller.NodeID, req.Report.NodeID)
	}
	if err := s.sameCluster(req.ClusterID, "node "+req.Report.NodeID); err != nil {
		return nil, err
	}
	// Only the agent that is registered may say how its allocations stand: another machine with a copy of its data directory
	// would call them failed.
	if n := s.store.Snapshot().Node(caller.NodeID); n == nil || n.Boot != req.Report.Boot {
		return nil, api.NewError(api.CodeConflict, "register first", "node %s is not registered with boot counter %d", caller.NodeID, req.Report.Boot)
	}
	// What the cluster knows to have ended is not written again: the node repeats it while it is asked about it.
	snap := s.store.Snapshot()
	report, err := snap.NewsIn(req.Report)
	if err != nil {
		return nil, err
	}
	if report.Len() == 0 {
		return &api.ReportResponse{Seq: req.Report.Seq, Index: snap.Index()}, nil
	}
	index, err := t.report(ctx, report.AtLevel(snap.Level()))
	if err != nil {
		return nil, err
	}
	return &api.ReportResponse{Seq: req.Report.Seq, Index: index}, nil
}

// Renew takes the leases that another server's polls renewed.
func (s *server) Renew(_ context.Context, req *api.LeasesRequest) (*api.LeasesResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	t.renew(req.Leases)
	return &api.LeasesResponse{Term: t.number, LeasePeriod: leasePeriod(s.store.Snapshot().NodeCount())}, nil
}

// Probe knocks at nodes from here.
func (s *server) Probe(ctx context.Context, req *api.ProbeRequest) (*api.ProbeResponse, error) {
	return &api.ProbeResponse{ServerID: s.a.id.NodeID, Results: s.a.prober.knock(ctx, req.Targets, req.Timeout)}, nil
}

// Bootstrap says whether this server may found a cluster with another.
func (s *server) Bootstrap(_ context.Context, req *api.BootstrapRequest) (*api.BootstrapResponse, error) {
	wiped, err := s.wiped()
	if err != nil {
		return nil, err
	}
	if wiped && req.Expect == s.a.cfg.Server.BootstrapExpect {
		s.letIn() // it is one of the founders: the first of them will speak raft in a moment
	}
	return &api.BootstrapResponse{
		NodeID: s.a.id.NodeID, PeerAddr: s.a.addrs.peer, Expect: s.a.cfg.Server.BootstrapExpect,
		HasLog: !wiped, ClusterID: s.store.Snapshot().ClusterID(),
	}, nil
}

// Join takes a server into the Raft configuration.
func (s *server) Join(ctx context.Context, req *api.JoinRequest) (*api.JoinResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	if err := s.sameCluster(req.ClusterID, "server "+req.Name); err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	if req.Level < snap.Level() {
		return nil, api.NewError(api.CodeForbidden, "upgrade it first",
			"server %s can apply level %d, the cluster is at level %d", req.Name, req.Level, snap.Level())
	}
	t.levels.note(req.NodeID, req.Level)
	if req.Wiped {
		// It may have voted, and acknowledged entries, that it no longer knows of: the member that it was must go first.
		if err := s.raft.Remove(ctx, req.NodeID); err != nil && !errors.Is(err, consensus.ErrNoSuchServer) {
			return nil, s.explain(err)
		}
		if err := t.removeAt(ctx, req); err != nil {
			return nil, s.explain(err)
		}
		t.log.Info("server without a log is taken in, without a vote until it is caught up", "server", req.Name, "id", req.NodeID)
	}
	if err := s.raft.AddNonvoter(ctx, req.NodeID, req.PeerAddr); err != nil {
		return nil, s.explain(err)
	}
	return &api.JoinResponse{ClusterID: snap.ClusterID(), Level: snap.Level()}, nil
}

// Announce notes the highest level that a server can apply.
func (s *server) Announce(_ context.Context, req *api.AnnounceRequest) (*api.AnnounceResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	t.levels.note(req.NodeID, req.Level)
	return &api.AnnounceResponse{Level: s.store.Snapshot().Level()}, nil
}

// Progress says how far this server's log is applied, and what it holds.
func (s *server) Progress(context.Context) (*api.ProgressResponse, error) {
	snap := s.store.Snapshot()
	wiped, err := s.wiped()
	if err != nil {
		return nil, err
	}
	at := s.raft.Standing()
	return &api.ProgressResponse{
		HasLog: !wiped, LastIndex: at.LastIndex, LastLogTerm: at.LastTerm,
		NodeID: s.a.id.NodeID, ClusterID: snap.ClusterID(), AppliedIndex: snap.Index(), LastTerm: s.raft.Term(),
		Level: state.MaxLevel, Version: s.a.opts.Version, Readings: s.fsm.Readings(),
	}, nil
}
