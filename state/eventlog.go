package state

import (
	"cmp"
	"slices"
	"sync"
)

// eventLog keeps the newest events, for readers that come later or were away for a moment. It is not part of the state: each
// server keeps what it has applied since it started, and what is the same on two servers is the same event.
type eventLog struct {
	mu      sync.Mutex
	entries []loggedEntry // ascending; not more than maxEvents changes in all, unless one entry alone has more
	count   int           // of changes
	floor   uint64        // events up to this index may be missing
	epoch   uint64        // raised when the whole state was replaced
}

// eagerRows is up to how many changed rows an entry's events are made at once. Those of larger entries are made when somebody reads
// them: mostly nobody does. Until then both states are kept, which costs what the entry changed: little for so many rows together,
// too much for thousands of small entries.
const eagerRows = 64

// loggedEntry is what one entry changed.
type loggedEntry struct {
	index      uint64
	size       int       // rows changed, each counted as often as it was
	prev, next *Snapshot // around the entry; nil once the events are made
	changes    *changes
	batch      EventBatch
}

// events makes the entry's events, or returns those made before. The caller holds the log's lock.
func (e *loggedEntry) events() *EventBatch {
	if e.changes != nil {
		e.batch = EventBatch{Index: e.index, Time: e.next.meta.LatestTime, Events: eventsBetween(&before{base: e.prev, meta: e.prev.meta}, e.next, e.changes)}
		e.prev, e.next, e.changes = nil, nil, nil
	}
	return &e.batch
}

// EventCursor is a reader's place in the events. Make one with Store.EventCursor.
type EventCursor struct {
	next  uint64 // index of the next event to read
	epoch uint64
}

// EventGap says that events are missing: whoever keeps a copy of the state reads it anew.
type EventGap struct {
	From     uint64 // the first index that was asked for
	To       uint64 // the last index of which events may be missing
	Replaced bool   // a saved state was put in place of the old one; otherwise the events were too many to keep
}

// EventCursor begins at the events of index; with 0 at those of the next entry.
func (s *Store) EventCursor(index uint64) EventCursor {
	l := &s.events
	l.mu.Lock()
	defer l.mu.Unlock()
	if index == 0 {
		index = l.end(s.Snapshot()) + 1
	}
	return EventCursor{next: index, epoch: l.epoch}
}

// OldestEvent is the lowest index from which every event is kept.
func (s *Store) OldestEvent() uint64 {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return s.events.floor + 1
}

// end is the index of the last entry whose events are in: the snapshot is swapped before.
func (l *eventLog) end(snap *Snapshot) uint64 {
	if n := len(l.entries); n > 0 {
		return max(l.floor, l.entries[n-1].index)
	}
	return max(l.floor, snap.index)
}

// Events returns what there is from the cursor on, at most some hundred batches, and the cursor for what follows. A gap says
// what is missing before them. To wait for more, watch KeyAll first, then read, then wait.
func (s *Store) Events(c EventCursor) ([]EventBatch, EventCursor, *EventGap) {
	l := &s.events
	l.mu.Lock()
	defer l.mu.Unlock()
	var gap *EventGap
	if replaced := c.epoch != l.epoch; replaced || c.next <= l.floor {
		gap = &EventGap{From: min(c.next, l.floor), To: l.floor, Replaced: replaced}
		c = EventCursor{next: l.floor + 1, epoch: l.epoch}
	}
	at, _ := slices.BinarySearchFunc(l.entries, c.next, func(e loggedEntry, index uint64) int { return cmp.Compare(e.index, index) })
	found := l.entries[at:min(len(l.entries), at+maxBatchesPerRead)]
	var out []EventBatch
	for i := range found {
		b := found[i].events()
		c.next = found[i].index + 1
		if len(b.Events) == 0 {
			continue
		}
		events := slices.Clone(b.Events)
		for j := range events {
			events[j].FilterKeys = events[j].filterKeys()
		}
		out = append(out, EventBatch{Index: b.Index, Time: b.Time, Events: events})
	}
	return out, c, gap
}

// record notes what an entry changed.
func (l *eventLog) record(prev, next *Snapshot, c *changes) {
	if !c.any() {
		return
	}
	entry := loggedEntry{index: next.index, size: c.rows(), prev: prev, next: next, changes: c}
	if entry.size <= eagerRows {
		entry.events()
	}
	l.append([]loggedEntry{entry})
}

// append adds the newest entries and drops the oldest.
func (l *eventLog) append(entries []loggedEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entries...)
	for i := range entries {
		l.count += entries[i].size
	}
	for l.count > maxEvents && len(l.entries) > 1 {
		oldest := &l.entries[0]
		l.count -= oldest.size
		l.floor = oldest.index
		*oldest = loggedEntry{} // the array lives on for a while; the rows need not
		l.entries = l.entries[1:]
	}
}

// restart forgets everything: the state was replaced, by one that may be of an earlier index.
func (l *eventLog) restart(prev, next *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.count = nil, 0
	l.floor = max(l.floor, next.index, prev.index+1) // the restore itself has an index that no entry has
	l.epoch++
}
