package agent

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// levelPatience is how long a restore waits for the cluster's level to reach the file's: a new cluster begins at the first one.
const levelPatience = 5 * time.Second

// RestoreSnapshot replaces the cluster's state with a saved one, as a new restore generation: nodes then know that their
// allocations may be newer than what the state says, and stop nothing for a while. The cluster stays who it is, see
// state.Snapshot.Adopt.
func (s *server) RestoreSnapshot(ctx context.Context, r io.Reader, size int64) error {
	t, err := s.leading()
	if err != nil {
		return err
	}
	if size <= 0 || size > api.DefaultLimits().MaxSnapshot {
		return api.NewError(api.CodeTooLarge, "", "a snapshot of %d bytes cannot be restored", size)
	}
	if err := s.a.dir.Writable(); err != nil {
		return api.NewError(api.CodeUnavailable, "free disk space on the leader", "the leader restores nothing: %s", err)
	}
	backup, err := state.ReadSnapshot(io.LimitReader(r, size))
	if err != nil {
		return fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	s.awaitLevel(ctx, backup.Level())
	now := s.store.Snapshot()
	next, err := now.Adopt(backup, nextGeneration(now, backup))
	if err != nil {
		return err
	}
	if err := s.explain(s.raft.RestoreSnapshot(ctx, next.Index(), next.Save)); err != nil {
		return err
	}
	t.log.Warn("state restored from a backup", "of_cluster", backup.ClusterID(), "its_index", backup.Index(), "jobs", backup.JobCount(),
		"generation", next.Generation())
	// Nobody leads the restored state yet: without this the leader's next command would be refused, and its work begun anew.
	t.clock.advance(next.LatestTime())
	_, _, err = s.commit(ctx, state.Lead{NodeID: s.a.id.NodeID, Time: t.clock.Now()})
	return err
}

// nextGeneration is the restore generation behind that of every state given. It is not below the wall clock in seconds: a cluster
// that lost all its logs begins to count anew, and its nodes must find the generation of its backup above all that they have seen.
func nextGeneration(states ...*state.Snapshot) uint64 {
	next := uint64(max(time.Now().Unix(), 0))
	for _, s := range states {
		next = max(next, s.Generation()+1)
	}
	return next
}

// awaitLevel waits a moment for the cluster's level to be raised by itself. What needs the level says why not.
func (s *server) awaitLevel(ctx context.Context, level int) {
	ctx, cancel := context.WithTimeout(ctx, levelPatience)
	defer cancel()
	for s.store.Snapshot().Level() < level && pause(ctx, manageEvery/4) == nil {
	}
}
