package agent

import (
	"errors"
	"io"
	"sync"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

// hashEvery is how many applied entries lie between two readings of the state's hash.
const hashEvery = 256

// hashRing is how many readings a server remembers.
const hashRing = 64

// fsm applies the log to the store and remembers the state's hash at the same entries on every server, so that servers that
// differ can be told apart.
type fsm struct {
	store *state.Store
	// outgrown is called when the cluster was raised to a level that this binary cannot apply: its state is behind from there on.
	outgrown func(error)
	// count is told of every entry; nil where nobody counts.
	count func(data []byte)

	mu   sync.Mutex
	next uint64 // the next index at or after which to read the hash
	ring []api.HashReading
}

// Apply applies entries. Called by one goroutine.
func (f *fsm) Apply(entries []consensus.Committed) []any {
	results := make([]any, 0, len(entries))
	for len(entries) > 0 {
		n := f.untilReading(entries)
		batch := make([]state.Entry, n)
		for i, e := range entries[:n] {
			batch[i] = state.Entry(e)
		}
		results = append(results, f.store.ApplyAll(batch)...)
		f.read(entries[n-1].Index)
		if f.count != nil {
			for _, e := range entries[:n] {
				f.count(e.Data)
			}
		}
		entries = entries[n:]
	}
	for _, r := range results {
		if err, failed := r.(error); failed && errors.Is(err, state.ErrOutgrown) {
			f.outgrown(err)
		}
	}
	return results
}

// untilReading is how many of the commands may be applied together: up to the end of the next entry at which the hash is to be read.
func (f *fsm) untilReading(entries []consensus.Committed) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range entries {
		if e.Index >= f.next && (i+1 == len(entries) || entries[i+1].Index > e.Index) {
			return i + 1
		}
	}
	return len(entries)
}

// read takes a reading at the first entry at or after each multiple of hashEvery: the same entries on every server, since all
// apply the same ones.
func (f *fsm) read(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index < f.next {
		return
	}
	f.next = (index/hashEvery + 1) * hashEvery
	f.ring = append(f.ring, api.HashReading{Index: index, Hashes: f.store.Snapshot().Hash()})
	if len(f.ring) > hashRing {
		f.ring = f.ring[1:]
	}
}

// Readings returns the hashes remembered, oldest first.
func (f *fsm) Readings() []api.HashReading {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]api.HashReading(nil), f.ring...)
}

// Snapshot captures the current state; the function that it returns writes it.
func (f *fsm) Snapshot() func(io.Writer) error { return f.store.Snapshot().Save }

// Restore replaces the state.
func (f *fsm) Restore(r io.Reader) error {
	if err := f.store.Restore(r); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// A restored server begins its readings anew: the entry at which the next one falls due must not depend on where it was.
	f.ring, f.next = nil, (f.store.Snapshot().Index()/hashEvery+1)*hashEvery
	return nil
}
