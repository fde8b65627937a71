package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/state"
)

// term is what a leader knows and does during one term. It is made when the term's Lead entry is applied and dropped with it.
type term struct {
	number  uint64
	s       *server
	log     hclog.Logger
	clock   *clusterClock
	leases  *leases
	watch   *watchkeeper
	reports chan reportCall
	waiting atomic.Int64 // allocations in reports that are not in the log yet
	levels  *levels
	said    sync.Map      // remarks made in this term
	ended   chan struct{} // closed when the term's work has ended
}

// leadTerm leads for one term: first the Lead entry, then every loop of a leader until ctx ends with the term.
func (s *server) leadTerm(ctx context.Context, number uint64) error {
	snap := s.store.Snapshot()
	clock := newClusterClock(snap)
	t := &term{
		number: number, s: s, log: s.log.Named("leader").With("term", number),
		clock: clock, leases: newLeases(time.Now()), reports: make(chan reportCall, 1024), levels: newLevels(),
		ended: make(chan struct{}),
	}
	t.watch = newWatchkeeper(t)
	if snap.ClusterID() == "" {
		if err := s.nameCluster(ctx, clock.Now()); err != nil {
			return err
		}
	}
	if _, _, err := s.commit(ctx, state.Lead{NodeID: s.a.id.NodeID, Time: clock.Now()}); err != nil {
		return fmt.Errorf("begin term %d: %w", number, err)
	}
	// With the Lead entry all that was committed before is applied: stamps that this server had not seen yet count too.
	clock.advance(s.store.Snapshot().LatestTime())
	s.term.Store(t)
	s.a.metrics.termsLed.Inc()
	defer s.term.Store(nil)
	defer close(t.ended)
	t.log.Info("leading the cluster", "cluster_id", s.store.Snapshot().ClusterID(), "index", s.store.Snapshot().Index())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.decide(ctx) })
	g.Go(func() error { return t.watch.run(ctx) })
	g.Go(func() error { return t.gatherReports(ctx) })
	g.Go(func() error { return t.manageServers(ctx) })
	err := g.Wait()
	t.log.Info("no longer leading", "reason", err)
	return err
}

// nameCluster mints the cluster's ID. Only the first leader's word is taken.
func (s *server) nameCluster(ctx context.Context, now int64) error {
	id := s.a.id.ClusterID // a server whose log was lost, and whose cluster begins anew under its old name
	if id == "" {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("mint cluster ID: %w", err)
		}
		id = uuid.UUID(b).String()
	}
	if _, _, err := s.commit(ctx, state.InitCluster{ClusterID: id, Time: now}); err != nil {
		return fmt.Errorf("name the cluster: %w", err)
	}
	return nil
}
