package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotStore is raft's file store whose sources know their index, so that the FSM's applied index is right after a restore.
type snapshotStore struct{ raft.SnapshotStore }

// indexedSource is an open snapshot.
type indexedSource struct {
	io.ReadCloser
	index uint64
}

// Open opens a snapshot by its ID.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, rc, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	return meta, &indexedSource{rc, meta.Index}, nil
}

// SnapshotInfo says what a snapshot holds.
type SnapshotInfo struct {
	ID    string
	Index uint64 // newest entry in it
	Term  uint64
	Size  int64 // bytes
}

// openedSnapshot is the result of a snapshot that somebody may still be waiting for.
type openedSnapshot struct {
	meta   *raft.SnapshotMeta
	source io.ReadCloser
}

// SaveSnapshot writes a snapshot of this server's state to its disk and opens it, for an operator's backup. The caller closes
// the reader. What a follower gives may be old; ask the leader after VerifyLeader.
func (c *Consensus) SaveSnapshot(ctx context.Context) (io.ReadCloser, SnapshotInfo, error) {
	got := make(chan openedSnapshot, 1)
	err := c.ask(ctx, func() error {
		meta, source, err := c.takeSnapshot()
		if err != nil {
			return err
		}
		if ctx.Err() != nil { // nobody waits any more
			return errors.Join(ctx.Err(), source.Close())
		}
		got <- openedSnapshot{meta, source}
		return nil
	})
	if err != nil {
		return nil, SnapshotInfo{}, fmt.Errorf("save snapshot: %w", err)
	}
	o := <-got
	return o.source, SnapshotInfo{ID: o.meta.ID, Index: o.meta.Index, Term: o.meta.Term, Size: o.meta.Size}, nil
}

func (c *Consensus) takeSnapshot() (*raft.SnapshotMeta, io.ReadCloser, error) {
	list, err := c.snaps.List()
	if err != nil {
		return nil, nil, err
	}
	if len(list) > 0 && list[0].Index >= c.AppliedIndex() {
		return c.snaps.Open(list[0].ID) // nothing is newer
	}
	f := c.snapshot()
	if err := f.Error(); err != nil {
		return nil, nil, err
	}
	return f.Open()
}

// RestoreSnapshot replaces the state of the whole cluster by what save writes: a file as SaveSnapshot gave it once, whose entries have
// indexes up to index. Config.CheckSnapshot reads it first. Proposals in flight end with ErrUnknownOutcome. Only the leader can. It
// returns when a majority has the new state. The log goes on behind the larger of index and its own end.
func (c *Consensus) RestoreSnapshot(ctx context.Context, index uint64, save func(io.Writer) error) error {
	if !c.IsLeader() {
		return fmt.Errorf("restore snapshot: %w", ErrNotLeader)
	}
	file, err := os.CreateTemp(c.cfg.Dir, "restore-*.tmp")
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	err = c.restoreFrom(ctx, file, index, save)
	return errors.Join(err, file.Close(), os.Remove(file.Name()))
}

func (c *Consensus) restoreFrom(ctx context.Context, file *os.File, index uint64, save func(io.Writer) error) error {
	if err := save(file); err != nil {
		return fmt.Errorf("restore snapshot: write to %s: %w", c.cfg.Dir, err)
	}
	n, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if c.cfg.CheckSnapshot != nil {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("restore snapshot: %w", err)
		}
		if err := c.cfg.CheckSnapshot(file); err != nil {
			return fmt.Errorf("restore snapshot: the file is not whole, nothing was changed: %w", err)
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Size: n}
	finished := make(chan error, 1)
	// Not to be interrupted: raft reads the file, and half a restore is none.
	if err := c.spawn(&c.ops, func() { finished <- c.raft().Restore(meta, file, c.restoreLimit(n)) }); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if err := outcome(ctx, <-finished); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	return nil
}

// restoreLimit is how long a restore may wait for its turn: the usual bound, and a second for every 4 MiB.
func (c *Consensus) restoreLimit(size int64) time.Duration {
	return c.cfg.ProposeTimeout + time.Duration(size>>22)*time.Second
}
