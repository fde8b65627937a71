package consensus

import (
	"time"

	"github.com/hashicorp/raft"
)

// quietFor is how long a follower of an idle leader is told nothing beside heartbeats.
const quietFor = 250 * time.Millisecond

// quietPipeline keeps to itself what would tell a follower nothing new. Raft repeats the commit index every CommitTimeout, in case it
// moved: 33 messages a second to each follower of an idle cluster, which is most of what such a cluster costs. Raft waits for no
// answer to a message that it sends through a pipeline, so one that is not sent is never missed; a follower's silence is noticed
// by the heartbeats, which go another way.
type quietPipeline struct {
	raft.AppendPipeline
	sent         time.Time
	commit, prev uint64 // of the last message sent
}

// AppendEntriesPipeline opens a pipeline to another server.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return &quietPipeline{AppendPipeline: p}, nil
}

// AppendEntries sends entries, a commit index that moved, or now and then a sign that the pipeline still works.
func (q *quietPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	news := len(args.Entries) > 0 || args.LeaderCommitIndex != q.commit || args.PrevLogEntry != q.prev
	if !news && time.Since(q.sent) < quietFor {
		return nil, nil
	}
	q.sent, q.commit, q.prev = time.Now(), args.LeaderCommitIndex, args.PrevLogEntry
	return q.AppendPipeline.AppendEntries(args, resp)
}
