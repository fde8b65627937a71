package consensus

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// appliedPoll is how often a waiter looks by itself: entries without a command (a new term's first, barriers) reach no FSM and
// wake nobody.
const appliedPoll = 20 * time.Millisecond

// machine puts an FSM behind raft's interface and knows how far it has come: raft's own applied index counts entries that are
// only queued for it.
type machine struct {
	fsm       FSM
	committed func()          // called before entries are applied; nil where nobody wants to know
	closing   <-chan struct{} // closed when snapshots are in a hurry; nil for never
	applied   atomic.Uint64
	growth    growth

	mu   sync.Mutex
	wake chan struct{} // closed at the next change of applied; nil while nobody waits
}

var _ raft.BatchingFSM = (*machine)(nil)

// Apply is raft's way to apply one entry.
func (m *machine) Apply(l *raft.Log) any {
	return m.ApplyBatch([]*raft.Log{l})[0]
}

// ApplyBatch is raft's way to apply many entries.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	if m.committed != nil {
		m.committed()
	}
	results, entries := make([]any, len(logs)), make([]Committed, 0, len(logs))
	counts := make([]int, len(logs)) // of commands
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			m.growth.add(len(l.Data))
			continue
		}
		shared := commands(l)
		for _, data := range shared {
			m.growth.add(len(data))
			entries = append(entries, Committed{Index: l.Index, Term: l.Term, Data: data})
		}
		counts[i] = len(shared)
	}
	if len(entries) > 0 {
		applied := m.fsm.Apply(entries)
		for i, n := range counts {
			switch n {
			case 0:
			case 1:
				results[i] = applied[0]
			default:
				results[i] = applied[:n:n]
			}
			applied = applied[n:]
		}
	}
	m.applied.Store(logs[len(logs)-1].Index)
	m.changed()
	return results
}

// Snapshot takes the state as it is; raft writes it out later, beside Apply.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	return &saver{save: m.fsm.Snapshot(), growth: &m.growth, upTo: m.growth.now(), closing: m.closing}, nil
}

// Restore replaces the state.
func (m *machine) Restore(rc io.ReadCloser) error {
	if err := m.fsm.Restore(rc); err != nil {
		return err
	}
	m.growth.restored()
	var inner io.ReadCloser = rc
	for {
		w, ok := inner.(raft.ReadCloserWrapper)
		if !ok {
			break
		}
		inner = w.WrappedReadCloser()
	}
	if s, ok := inner.(*indexedSource); ok {
		m.applied.Store(s.index)
	}
	m.changed()
	return nil
}

func (m *machine) changed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake != nil {
		close(m.wake)
		m.wake = nil
	}
}

func (m *machine) next() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake == nil {
		m.wake = make(chan struct{})
	}
	return m.wake
}

// saver writes one snapshot.
type saver struct {
	save   func(io.Writer) error
	growth *growth
	upTo   int64 // what had been applied when it was taken

	closing <-chan struct{}
}

// Persist writes the snapshot into raft's file.
func (s *saver) Persist(sink raft.SnapshotSink) error {
	counted := &counter{w: &restful{w: sink, began: time.Now(), closing: s.closing}}
	if err := s.save(counted); err != nil {
		if cerr := sink.Cancel(); cerr != nil {
			return fmt.Errorf("write snapshot: %w (and drop it: %w)", err, cerr)
		}
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := sink.Close(); err != nil {
		return err
	}
	s.growth.saved(s.upTo, counted.n)
	return nil
}

// Release has nothing to let go of: a snapshot is a value.
func (s *saver) Release() {}

// AppliedIndex returns the index up to which the FSM has applied every entry.
func (c *Consensus) AppliedIndex() uint64 {
	queued := c.raft().AppliedIndex()
	done := c.machine.applied.Load()
	// Entries without a command never reach the FSM: those right behind its last one count as done.
	for done < queued {
		var l raft.Log
		if err := c.logs.GetLog(done+1, &l); err != nil || l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			break
		}
		done++
	}
	return done
}

// WaitApplied waits until the FSM has applied the entry at index.
func (c *Consensus) WaitApplied(ctx context.Context, index uint64) error {
	tick := time.NewTicker(appliedPoll)
	defer tick.Stop()
	for {
		next := c.machine.next()
		if c.AppliedIndex() >= index {
			return nil
		}
		select {
		case <-next:
		case <-tick.C:
		case <-c.closing.Done():
			return fmt.Errorf("wait for index %d: %w", index, ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d, applied %d: %w", index, c.AppliedIndex(), context.Cause(ctx))
		}
	}
}
