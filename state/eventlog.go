package state

import (
	"slices"
	"sync"
)

// eventLog keeps the newest events, for readers that come later or were away for a moment. It is not part of the state: each
// server keeps what it has applied since it started, and what is the same on two servers is the same event.
type eventLog struct {
	mu      sync.Mutex
	batches []EventBatch // ascending; not longer than maxEvents events in all, unless one entry alone has more
	count   int          // of events
	floor   uint64       // events up to this index may be missing
	epoch   uint64       // raised when the whole state was replaced
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
	if n := len(l.batches); n > 0 {
		return max(l.floor, l.batches[n-1].Index)
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
	at, _ := slices.BinarySearchFunc(l.batches, c.next, func(b EventBatch, index uint64) int {
		switch {
		case b.Index < index:
			return -1
		case b.Index > index:
			return 1
		}
		return 0
	})
	found := l.batches[at:min(len(l.batches), at+maxBatchesPerRead)]
	out := make([]EventBatch, len(found))
	for i, b := range found {
		out[i] = EventBatch{Index: b.Index, Time: b.Time, Events: slices.Clone(b.Events)}
		for j := range out[i].Events {
			out[i].Events[j].FilterKeys = out[i].Events[j].filterKeys()
		}
		c.next = b.Index + 1
	}
	return out, c, gap
}

// record notes what an entry changed.
func (l *eventLog) record(prev, next *Snapshot, c *changes) {
	if !c.any() {
		return
	}
	events := eventsBetween(prev, next, c)
	if len(events) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches = append(l.batches, EventBatch{Index: next.index, Time: next.meta.LatestTime, Events: events})
	l.count += len(events)
	for l.count > maxEvents && len(l.batches) > 1 {
		oldest := &l.batches[0]
		l.count -= len(oldest.Events)
		l.floor = oldest.Index
		*oldest = EventBatch{} // the array lives on for a while; the rows need not
		l.batches = l.batches[1:]
	}
}

// restart forgets everything: the state was replaced, by one that may be of an earlier index.
func (l *eventLog) restart(prev, next *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches, l.count = nil, 0
	l.floor = max(l.floor, next.index, prev.index+1) // the restore itself has an index that no entry has
	l.epoch++
}
