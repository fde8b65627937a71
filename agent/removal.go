package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
)

// answersWithin is how fresh a server's last answer to the leader must be to count on it. Heartbeats go several times a second.
const answersWithin = time.Second

// RemovePeer takes a server out of the Raft configuration, unless nothing could be written without it.
func (s *server) RemovePeer(ctx context.Context, id string) error {
	if err := s.mayGoSoon(ctx, id); err != nil {
		return err
	}
	if err := s.raft.Remove(ctx, id); err != nil {
		return s.explainMembers(err)
	}
	s.departed.note(id)
	return nil
}

// mayGoSoon is mayGo that waits a moment before it says no: a leader that has just begun has not heard everybody yet.
func (s *server) mayGoSoon(ctx context.Context, id string) error {
	for start := time.Now(); ; {
		err := s.mayGo(id)
		if err == nil || time.Since(start) > answersWithin || pause(ctx, answersWithin/10) != nil {
			return err
		}
	}
}

// mayGo says why a server must not leave the Raft configuration; nil when it may. The leader knows.
func (s *server) mayGo(id string) error {
	within := max(answersWithin, 2*s.a.cfg.Server.RaftTimeout)
	answers := func(p consensus.Peer) bool { return p.ID == s.a.id.NodeID || p.LastContact < within }
	return refuseRemoval(id, s.raft.Peers(), answers, s.a.members.nameOf)
}

// refuseRemoval says why a server must not be removed; nil when it may. It may when a majority of the voters that remain answers,
// whether it lives itself or not.
func refuseRemoval(id string, peers []consensus.Peer, answers func(p consensus.Peer) bool, nameOf func(id string) string) error {
	call := func(id string) string {
		if name := nameOf(id); name != "" {
			return name
		}
		return id
	}
	voters, answer, votes := 0, 0, false
	var silent []string
	for _, p := range peers {
		switch {
		case !p.Voter:
		case p.ID == id:
			votes = true
		case answers(p):
			voters, answer = voters+1, answer+1
		default:
			voters, silent = voters+1, append(silent, call(p.ID))
		}
	}
	switch {
	case !votes: // it counts for nothing
		return nil
	case voters == 0:
		return api.NewError(api.CodeConflict, "start another server and wait until `drover operator raft list-peers` shows that it votes",
			"server %s is the last one with a vote: without it there is no cluster", call(id))
	case answer <= voters/2:
		return api.NewError(api.CodeConflict, fmt.Sprintf("bring back server %s; if the data of those that do not answer is gone for good, use `drover operator recover`",
			strings.Join(silent, " or ")),
			"without server %s there would be %d with a vote, of which %d %s and %d must: nothing could be changed any more",
			call(id), voters, answer, verb(answer), voters/2+1)
	}
	return nil
}

func verb(n int) string {
	if n == 1 {
		return "answers"
	}
	return "answer"
}
