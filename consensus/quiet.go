package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// quietFor is how long a follower of an idle leader is told nothing beside heartbeats.
	quietFor = 250 * time.Millisecond
	// noticeAfter is how long a commit index waits for the next entry to carry it: under load there always is one, and a message of
	// its own would cost both sides 50 µs.
	noticeAfter = 500 * time.Microsecond
	// maxAppendBytes bounds the entries in one message: a follower must read, write and answer it within RPCTimeout.
	maxAppendBytes = 4 << 20
	// flightsNoted bounds the messages with entries whose answers are waited for; raft's pipeline has two on their way.
	flightsNoted = 8
)

// quietPipeline says to a follower what is new, and says it soon.
//
// Raft repeats the commit index every CommitTimeout, in case it moved: dozens of messages a second to each follower of an idle
// cluster, which is most of what such a cluster costs. It waits for no answer to a message that it sends through a pipeline, so one
// that is not sent is never missed; a follower's silence is noticed by the heartbeats, which go another way.
//
// And a follower learns from raft what is committed with the next entry, or by that timer: with the last entry of a burst 20 to 40 ms
// late, and with it every node that asks the follower for its work. So when the commit index moves, each follower that has stored the
// entries is told by an exchange of its own, half a millisecond later, unless an entry told it meanwhile.
type quietPipeline struct {
	raft.AppendPipeline
	t       *transport
	id      raft.ServerID
	target  raft.ServerAddress
	moved   chan struct{} // has something in it after the commit index moved
	flights chan flight
	done    chan struct{}
	once    sync.Once

	mu           sync.Mutex
	sent         time.Time
	commit, prev uint64 // of the last message sent
}

// flight is a message with entries on its way.
type flight struct {
	answer raft.AppendFuture
	args   *raft.AppendEntriesRequest
	resp   *raft.AppendEntriesResponse
}

// AppendEntriesPipeline opens a pipeline to another server.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	q := newQuietPipeline(t, id, target, p)
	t.mu.Lock()
	t.pipes[q] = struct{}{}
	t.mu.Unlock()
	t.wg.Go(q.run)
	return q, nil
}

func newQuietPipeline(t *transport, id raft.ServerID, target raft.ServerAddress, p raft.AppendPipeline) *quietPipeline {
	return &quietPipeline{
		AppendPipeline: p, t: t, id: id, target: target,
		moved: make(chan struct{}, 1), flights: make(chan flight, flightsNoted), done: make(chan struct{}),
	}
}

// committed is called when entries that were committed begin to be applied.
func (t *transport) committed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for q := range t.pipes {
		select {
		case q.moved <- struct{}{}:
		default:
		}
	}
}

// AppendEntries sends entries, a commit index that moved, or now and then a sign that the pipeline still works.
func (q *quietPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if !q.news(args) {
		return nil, nil
	}
	for len(args.Entries) > 0 {
		head, more := split(args)
		if !more {
			break
		}
		if _, err := q.AppendPipeline.AppendEntries(head, new(raft.AppendEntriesResponse)); err != nil {
			return nil, err
		}
	}
	f, err := q.AppendPipeline.AppendEntries(args, resp)
	if err == nil && f != nil && len(args.Entries) > 0 {
		select {
		case q.flights <- flight{f, args, resp}:
		default: // the next one says as much
		}
	}
	return f, err
}

// split takes from a message as many entries as one may carry, when it has more. What is left is the message that follows.
func split(args *raft.AppendEntriesRequest) (head *raft.AppendEntriesRequest, more bool) {
	n := fitting(args.Entries)
	if n == len(args.Entries) {
		return args, false
	}
	first, last := *args, args.Entries[n-1]
	first.Entries = args.Entries[:n]
	args.Entries, args.PrevLogEntry, args.PrevLogTerm = args.Entries[n:], last.Index, last.Term
	return &first, true
}

// fitting is how many of the entries, one at least, one message may carry.
func fitting(entries []*raft.Log) int {
	bytes := 0
	for i, l := range entries {
		if bytes += len(l.Data); bytes > maxAppendBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

// news reports whether a message says something new, and notes it as sent.
func (q *quietPipeline) news(args *raft.AppendEntriesRequest) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(args.Entries) == 0 && args.LeaderCommitIndex == q.commit && args.PrevLogEntry == q.prev && time.Since(q.sent) < quietFor {
		return false
	}
	q.sent, q.commit, q.prev = time.Now(), args.LeaderCommitIndex, args.PrevLogEntry
	return true
}

// told is the newest commit index that the follower was told.
func (q *quietPipeline) told() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.commit
}

// Close ends the pipeline.
func (q *quietPipeline) Close() error {
	q.once.Do(func() {
		close(q.done)
		q.t.mu.Lock()
		delete(q.t.pipes, q)
		q.t.mu.Unlock()
	})
	return q.AppendPipeline.Close()
}

// run notes what the follower has stored and tells it what of that is committed.
func (q *quietPipeline) run() {
	var stored raft.AppendEntriesRequest // how the next message to the follower would begin
	wait := time.NewTimer(noticeAfter)
	defer wait.Stop()
	for {
		select {
		case f := <-q.flights:
			// Raft's pipeline answers every message that it took, with an error when it is closed.
			if f.answer.Error() != nil || !f.resp.Success {
				continue // raft opens another pipeline
			}
			last := f.args.Entries[len(f.args.Entries)-1]
			stored = *f.args
			stored.Entries, stored.PrevLogEntry, stored.PrevLogTerm = nil, last.Index, last.Term
		case <-q.moved:
		case <-q.done:
			return
		}
		if q.unsaid(&stored) == 0 {
			continue
		}
		wait.Reset(noticeAfter)
		select {
		case <-wait.C:
		case <-q.done:
			return
		}
		q.notice(stored)
	}
}

// unsaid is the commit index that the follower may be told and was not, 0 when there is none.
func (q *quietPipeline) unsaid(stored *raft.AppendEntriesRequest) uint64 {
	r := q.t.raft.Load()
	if r == nil || stored.PrevLogEntry == 0 {
		return 0
	}
	index := min(r.CommitIndex(), stored.PrevLogEntry)
	// Looked at after the index was read: a leader's log only grows, so what was committed then is what the follower has. After the
	// term, another leader may have committed something else there.
	if index <= q.told() || r.State() != raft.Leader || r.CurrentTerm() != stored.Term {
		return 0
	}
	return index
}

// notice tells the follower what is committed of what it has stored.
func (q *quietPipeline) notice(stored raft.AppendEntriesRequest) {
	index := q.unsaid(&stored)
	if index == 0 {
		return
	}
	stored.LeaderCommitIndex = index
	var resp raft.AppendEntriesResponse
	if q.t.NetworkTransport.AppendEntries(q.id, q.target, &stored, &resp) != nil || !resp.Success {
		return // raft says it again by itself
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.commit = max(q.commit, index)
}
