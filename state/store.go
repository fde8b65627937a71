package state

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Store holds the current Snapshot and swaps it for the next. Snapshot, Watch and Wait may be called from any goroutine; Apply,
// ApplyCommand and Restore are for the finite state machine, one goroutine at a time (a lock keeps mistakes harmless).
type Store struct {
	writing sync.Mutex
	current atomic.Pointer[Snapshot]
	watches watchers
	events  eventLog
}

// NewStore returns an empty store at level 1.
func NewStore() *Store {
	s := &Store{}
	s.watches.byKey = map[Key]map[*Watch]struct{}{}
	s.current.Store(newSnapshot())
	return s
}

// Snapshot returns the current state. It is an atomic load.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }

// Apply decodes one Raft entry, applies it and returns the command's result, or an error that says why nothing was changed.
// The index advances in both cases. ErrOutgrown means that this server cannot go on.
func (s *Store) Apply(index, term uint64, data []byte) any {
	cmd, err := Decode(data)
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.applyDecoded(Entry{Index: index, Term: term}, cmd, err)
}

// ApplyCommand is Apply without decoding, for tests and simulations. The store keeps what cmd refers to: do not change it
// afterwards.
func (s *Store) ApplyCommand(index, term uint64, cmd Command) any {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.applyDecoded(Entry{Index: index, Term: term}, cmd, nil)
}

// With returns the snapshot that applying cmd would lead to, and the command's result. The receiver does not change; nothing
// is stored. It is how a dry run looks ahead.
func (s *Snapshot) With(index, term uint64, cmd Command) (*Snapshot, any) {
	branch := s.clone()
	branch.newLine()
	next, result, _ := branch.apply(index, term, cmd)
	return next, result
}

// apply is the whole of the finite state machine: a function of a snapshot and an entry.
func (s *Snapshot) apply(index, term uint64, cmd Command) (*Snapshot, any, *changes) {
	t := &tx{next: s.clone(), index: index, term: term}
	t.next.index = index
	result, err := t.run(cmd)
	if err != nil {
		return s.at(index), err, &changes{}
	}
	t.changes.orders = func(nodeID string) bool { return t.next.OrdersOf(nodeID).At == index }
	t.changes.meta = t.changes.meta || s.meta.announced() != t.next.meta.announced()
	return t.next, result, &t.changes
}

// at returns the same state at a later index: an entry was read and changed nothing.
func (s *Snapshot) at(index uint64) *Snapshot {
	next := s.clone()
	next.index = index
	return next
}

// announced is the part of the row that wakes those who watch it: cluster time moves with nearly every entry.
func (m metaRow) announced() metaRow {
	m.LatestTime = 0
	return m
}

func (s *Store) swap(next *Snapshot, changed *changes) {
	prev := s.current.Swap(next)
	s.events.record(prev, next, changed)
	s.watches.wake(changed)
}

// Restore replaces the whole state by what Save wrote, or leaves it as it is and says why.
func (s *Store) Restore(r io.Reader) error {
	next, err := readSnapshot(r)
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	// An operator's restore may take the index back: what was seen of the state before must not look up to date.
	next.settleDirty(max(next.index, s.Snapshot().index+1))
	s.events.restart(s.current.Swap(next), next)
	s.watches.wakeAll()
	return nil
}

// Wait returns the first snapshot at or after index, or the context's error.
func (s *Store) Wait(ctx context.Context, index uint64) (*Snapshot, error) {
	for {
		if snap := s.Snapshot(); snap.index >= index {
			return snap, nil
		}
		w := s.Watch(KeyIndex())
		if snap := s.Snapshot(); snap.index >= index {
			w.Stop()
			return snap, nil
		}
		select {
		case <-w.C():
		case <-ctx.Done():
			w.Stop()
			return nil, fmt.Errorf("wait for index %d, at %d: %w", index, s.Snapshot().index, context.Cause(ctx))
		}
	}
}
