package consensus

import (
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// recentEntries and recentBytes bound the entries kept in memory, for the followers that are sent them and for applying them. By
	// number alone, as raft's own cache has it, 512 entries of the largest size would be half a gigabyte.
	recentEntries = 4096
	recentBytes   = 32 << 20
)

// recentLogs keeps the newest entries of a log in memory, those behind one another without a gap, and the sizes of some more.
type recentLogs struct {
	raft.LogStore

	mu          sync.RWMutex
	ring        []*raft.Log // by index
	first, last uint64      // indexes in the ring; last is before first when there is none
	bytes       int
	sizes       []uint32 // by index, of entries stored since the start; what was never stored counts as 0
}

func newRecentLogs(store raft.LogStore, sizes uint64) *recentLogs {
	return &recentLogs{LogStore: store, ring: make([]*raft.Log, recentEntries), first: 1, sizes: make([]uint32, max(1, sizes))}
}

// GetLog reads one entry.
func (r *recentLogs) GetLog(index uint64, l *raft.Log) error {
	r.mu.RLock()
	if index >= r.first && index <= r.last {
		*l = *r.ring[index%recentEntries]
		r.mu.RUnlock()
		return nil
	}
	r.mu.RUnlock()
	return r.LogStore.GetLog(index, l)
}

// StoreLog writes one entry.
func (r *recentLogs) StoreLog(l *raft.Log) error { return r.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries.
func (r *recentLogs) StoreLogs(logs []*raft.Log) error {
	if err := r.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range logs {
		r.sizes[l.Index%uint64(len(r.sizes))] = uint32(len(l.Data))
		if r.last < r.first || l.Index != r.last+1 {
			r.forget(r.first, r.last)
			r.first = l.Index
		}
		r.last = l.Index
		if r.last-r.first >= recentEntries {
			r.forget(r.first, r.first)
		}
		r.ring[l.Index%recentEntries] = l
		for r.bytes += len(l.Data); r.bytes > recentBytes && r.first < r.last; {
			r.forget(r.first, r.first)
		}
	}
	return nil
}

// forget drops what is kept of a range that begins or ends where the kept one does.
func (r *recentLogs) forget(from, to uint64) {
	from, to = max(from, r.first), min(to, r.last)
	for i := from; i <= to; i++ {
		r.bytes -= len(r.ring[i%recentEntries].Data)
		r.ring[i%recentEntries] = nil
	}
	switch {
	case from > to:
	case from == r.first:
		r.first = to + 1
	default:
		r.last = from - 1
	}
}

// DeleteRange removes entries at the beginning of the log, or at its end.
func (r *recentLogs) DeleteRange(from, to uint64) error {
	r.mu.Lock()
	if from > r.first && to < r.last {
		from, to := r.first, r.last // neither: keep nothing
		r.forget(from, to)
	} else {
		r.forget(from, to)
	}
	r.mu.Unlock()
	return r.LogStore.DeleteRange(from, to)
}

// newest is how many entries at the end of the log, at most limit, have no more than so many bytes.
func (r *recentLogs) newest(last, limit uint64, bytes int) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := uint64(0)
	for limit = min(limit, last, uint64(len(r.sizes))); n < limit; n++ {
		if bytes -= int(r.sizes[(last-n)%uint64(len(r.sizes))]); bytes < 0 {
			break
		}
	}
	return n
}
