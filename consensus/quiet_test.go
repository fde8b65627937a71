package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// countingPipeline counts what goes out.
type countingPipeline struct {
	raft.AppendPipeline
	sent int
}

func (c *countingPipeline) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	c.sent++
	return nil, nil
}

func TestQuietPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &countingPipeline{}
		q := newQuietPipeline(nil, "", "", out)
		send := func(want int, what string, args raft.AppendEntriesRequest) {
			t.Helper()
			before := out.sent
			if _, err := q.AppendEntries(&args, nil); err != nil {
				t.Fatal(err)
			}
			if got := out.sent - before; got != want {
				t.Errorf("%s: sent %d, want %d", what, got, want)
			}
		}
		send(1, "the first", raft.AppendEntriesRequest{PrevLogEntry: 7, LeaderCommitIndex: 6})
		send(0, "the same again", raft.AppendEntriesRequest{PrevLogEntry: 7, LeaderCommitIndex: 6})
		send(1, "committed", raft.AppendEntriesRequest{PrevLogEntry: 7, LeaderCommitIndex: 7})
		send(1, "an entry", raft.AppendEntriesRequest{PrevLogEntry: 7, LeaderCommitIndex: 7, Entries: []*raft.Log{{Index: 8}}})
		send(1, "behind the entry", raft.AppendEntriesRequest{PrevLogEntry: 8, LeaderCommitIndex: 7})
		send(0, "the same again", raft.AppendEntriesRequest{PrevLogEntry: 8, LeaderCommitIndex: 7})
		time.Sleep(quietFor)
		send(1, "after a while", raft.AppendEntriesRequest{PrevLogEntry: 8, LeaderCommitIndex: 7})
	})
}

// TestFollowersHearSoon: what is committed reaches an idle cluster's followers in three trips of the network and half a millisecond.
func TestFollowersHearSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		for range 20 {
			time.Sleep(3 * time.Second)
			index := cl.propose(l, "x")
			start := time.Now()
			for _, s := range cl.all() {
				if err := s.WaitApplied(t.Context(), index); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took > 10*time.Millisecond {
				t.Errorf("the followers applied it %s after the leader", took)
			}
		}
	})
}
