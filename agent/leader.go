package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
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
	levels  *levels
}

// leadTerm leads for one term: first the Lead entry, then every loop of a leader until ctx ends with the term.
func (s *server) leadTerm(ctx context.Context, number uint64) error {
	snap := s.store.Snapshot()
	clock := newClusterClock(snap)
	t := &term{
		number: number, s: s, log: s.log.Named("leader").With("term", number),
		clock: clock, leases: newLeases(time.Now()), reports: make(chan reportCall, 1024), levels: newLevels(),
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
	s.term.Store(t)
	defer s.term.Store(nil)
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

// reportCall is one node's report, waiting to be committed together with others.
type reportCall struct {
	report state.NodeReport
	done   chan reportDone
}

// reportDone is the fate of a reportCall.
type reportDone struct {
	index uint64
	err   error
}

const (
	// gatherFor is how long the first report of a batch waits for others: one fsync then serves them all.
	gatherFor = 3 * time.Millisecond
	// maxGathered bounds the allocations in one entry; a report of one allocation is about 1 KiB with its events.
	maxGathered = 400
)

// gatherReports commits the nodes' reports, those that arrive within a few milliseconds together.
func (t *term) gatherReports(ctx context.Context) error {
	for {
		var batch []reportCall
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-t.reports:
			batch = append(batch, c)
		}
		size := len(batch[0].report.Allocs)
		timer := time.NewTimer(gatherFor)
	gather:
		for size < maxGathered {
			select {
			case c := <-t.reports:
				batch = append(batch, c)
				size += len(c.report.Allocs)
			case <-timer.C:
				break gather
			case <-ctx.Done():
				break gather
			}
		}
		timer.Stop()
		t.commitReports(ctx, batch)
	}
}

func (t *term) commitReports(ctx context.Context, batch []reportCall) {
	cmd := state.Report{Time: t.clock.Now()}
	for _, c := range batch {
		cmd.Nodes = append(cmd.Nodes, c.report)
	}
	_, index, err := t.s.commit(ctx, cmd)
	for _, c := range batch {
		c.done <- reportDone{index: index, err: err} // buffered: the caller may have gone
	}
}

// report hands a node's report to the gatherer and waits for it to be in the log.
func (t *term) report(ctx context.Context, r state.NodeReport) (uint64, error) {
	c := reportCall{report: r, done: make(chan reportDone, 1)}
	select {
	case t.reports <- c:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case d := <-c.done:
		return d.index, d.err
	case <-ctx.Done():
		return 0, api.ErrUnknownOutcome
	}
}
