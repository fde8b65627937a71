package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

// exitStalled is the exit code of a server whose log cannot be written: EX_TEMPFAIL, restart it.
const exitStalled = 75

// server is the server's side of an agent: the replicated state, and the leader's work while it leads.
type server struct {
	a         *Agent
	log       hclog.Logger
	store     *state.Store
	fsm       *fsm
	raft      *consensus.Consensus
	relay     *relay
	pace      pace
	answering chan struct{}        // polls that are being answered
	term      atomic.Pointer[term] // nil while this server does not lead

	standing atomic.Pointer[standing] // as last noted in this life
	down     atomic.Pointer[string]   // why this server has left raft until it is started again; nil while it has not

	backups  backups
	departed departed // servers that were removed a moment ago

	admitted chan struct{} // closed once this server may take part in raft; see admit
	letIn    func()        // closes admitted, once
}

func openServer(a *Agent) (*server, error) {
	s := &server{a: a, log: a.log.Named("server"), store: state.NewStore(), relay: newRelay(), admitted: make(chan struct{}),
		answering: make(chan struct{}, max(2, goruntime.GOMAXPROCS(0)))}
	s.backups.s = s
	s.letIn = sync.OnceFunc(func() { close(s.admitted) })
	s.fsm = &fsm{store: s.store, count: a.metrics.countApplied(), outgrown: func(err error) {
		s.log.Error("upgrade this agent: it cannot follow the cluster any more", "error", err)
		a.opts.Exit(1)
	}}
	cfg := consensus.DefaultConfig()
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = a.cfg.Server.RaftTimeout, a.cfg.Server.RaftTimeout
	cfg.LeaderLease = a.cfg.Server.RaftTimeout
	cfg.NodeID, cfg.Dir = a.id.NodeID, a.dir.Path("raft")
	cfg.Transport, cfg.Address = a.peer.raftLayer(s.admitted), a.addrs.peer
	cfg.FSM, cfg.Logger = s.fsm, s.log
	cfg.AddressOf = a.members.addressOf
	cfg.CheckSnapshot = state.NewStore().Restore
	cfg.OnStall = func(err error) {
		s.log.Error("this server can neither lead nor follow: exiting so that it is started again", "error", err)
		a.opts.Exit(exitStalled)
	}
	raft, err := consensus.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open server: %w", err)
	}
	s.raft = raft
	wiped, err := s.wiped()
	if err != nil {
		return nil, errors.Join(err, raft.Close())
	}
	if !wiped {
		s.letIn()
	}
	if err := a.members.setBootstrapped(!wiped); err != nil {
		return nil, errors.Join(err, raft.Close())
	}
	return s, nil
}

// run takes part in the cluster until ctx ends.
func (s *server) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.unlessDown(ctx, s.raft.WhileLeader(ctx, s.leadTerm)) })
	g.Go(func() error { return s.watchHistory(ctx) })
	g.Go(func() error { return s.noteStanding(ctx) })
	g.Go(func() error {
		if err := s.admit(ctx); err != nil {
			return err
		}
		return s.bootstrap(ctx)
	})
	g.Go(func() error { return s.adoptCluster(ctx) })
	g.Go(func() error { return s.audit(ctx) })
	g.Go(func() error { return s.backups.run(ctx) })
	g.Go(func() error {
		s.relay.run(ctx, s.handOn)
		return ctx.Err()
	})
	return g.Wait()
}

// close leaves the cluster as a crash would, only politely: leadership is handed over first, so that nobody waits for an election.
func (s *server) close() error {
	if s.raft.IsLeader() && len(s.raft.Peers()) > 1 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := s.raft.Transfer(ctx, ""); err != nil {
			s.log.Debug("leadership not handed over", "error", err)
		}
		cancel()
	}
	return s.raft.Close()
}

// commit proposes a command and returns what applying it answered. Only the leader can.
func (s *server) commit(ctx context.Context, cmd state.Command) (value any, index uint64, err error) {
	level := s.store.Snapshot().Level()
	data, err := state.EncodeFor(cmd, level)
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	res, err := s.raft.ProposeShared(ctx, state.ShareKey(cmd, level), data)
	if err != nil {
		s.a.metrics.committed(start, commitFailed)
		return nil, 0, s.explain(err)
	}
	if err, failed := res.Value.(error); failed {
		s.a.metrics.committed(start, commitRefused)
		return nil, res.Index, err
	}
	s.a.metrics.committed(start, commitApplied)
	return res.Value, res.Index, nil
}

// explain says of a failed proposal what the caller can make of it.
func (s *server) explain(err error) error {
	switch {
	case errors.Is(err, consensus.ErrNotLeader), errors.Is(err, consensus.ErrClosed) && !errors.Is(err, consensus.ErrUnknownOutcome):
		return api.ErrNotLeader
	case errors.Is(err, consensus.ErrTooLarge):
		return api.NewError(api.CodeTooLarge, "make the job smaller or split it", "%s", err)
	case errors.Is(err, consensus.ErrBusy):
		return api.NewError(api.CodeBusy, "try again", "%s", err)
	case errors.Is(err, consensus.ErrUnknownOutcome):
		next := "send it again with the same request ID"
		if full := s.raft.StoreError(); full != nil {
			next = fmt.Sprintf("this server cannot write its log (%s): free space in %s", full, s.a.dir.Path("raft"))
		}
		return api.NewError(api.CodeUnknownOutcome, next, "nobody can say whether the write happened: %s", err)
	}
	return err
}

// handOn gives renewed leases to the leader.
func (s *server) handOn(ctx context.Context, batch []api.LeaseRenewal) error {
	if t := s.term.Load(); t != nil {
		t.renew(batch)
		return nil
	}
	_, addr := s.raft.Leader()
	if addr == "" {
		return errors.New("no leader")
	}
	_, err := s.a.peers.to(addr).RelayLeases(ctx, &api.LeasesRequest{ServerID: s.a.id.NodeID, Leases: batch})
	return err
}

func (t *term) renew(batch []api.LeaseRenewal) {
	now := time.Now()
	for _, l := range batch {
		t.leases.Renew(l.NodeID, l.Boot, now.Add(-max(0, l.Age)))
	}
}

// adoptCluster remembers the cluster's ID as soon as the log says it.
func (s *server) adoptCluster(ctx context.Context) error {
	for {
		w := s.store.Watch(state.KeyMeta())
		snap := s.store.Snapshot()
		if id := snap.ClusterID(); id != "" {
			w.Stop()
			return errors.Join(s.a.joinCluster(id), s.a.members.setBootstrapped(true))
		}
		select {
		case <-ctx.Done():
			w.Stop()
			return ctx.Err()
		case <-w.C():
		}
	}
}

// wiped reports whether this server has no log.
func (s *server) wiped() (bool, error) {
	has, err := s.raft.HasState()
	return !has, err
}

// raftBytes is the size of the log on disk.
func (s *server) raftBytes() int64 {
	info, err := os.Stat(filepath.Join(s.a.dir.Path("raft"), "raft.db"))
	if err != nil {
		return 0
	}
	return info.Size()
}
