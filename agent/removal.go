package agent

import (
	"context"
	"fmt"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
)

// RemovePeer takes a server out of the Raft configuration, unless that would stop the cluster or be undone at once.
func (s *server) RemovePeer(ctx context.Context, id string) error {
	alive := func(id string) bool { return id == s.a.id.NodeID || s.a.members.alive(id) }
	if err := refuseRemoval(id, s.raft.Peers(), alive, s.a.members.nameOf); err != nil {
		return err
	}
	return s.explain(s.raft.Remove(ctx, id))
}

// refuseRemoval says why a server must not be removed; nil when it may.
func refuseRemoval(id string, peers []consensus.Peer, alive func(id string) bool, nameOf func(id string) string) error {
	name := nameOf(id)
	if name == "" {
		name = id
	}
	voters, answer := 0, 0 // of those that stay
	for _, p := range peers {
		if p.ID == id || !p.Voter {
			continue
		}
		voters++
		if alive(p.ID) {
			answer++
		}
	}
	switch {
	case voters == 0:
		return api.NewError(api.CodeConflict, "start another server first, and wait until it votes", "server %s is the last one with a vote: the cluster would end", name)
	case alive(id):
		return api.NewError(api.CodeConflict, "stop its agent first", "server %s is alive: it would be taken in again at once", name)
	case answer <= voters/2:
		return api.NewError(api.CodeConflict, "start one of the others first; when they are gone for good, `drover operator recover` is the way",
			"%s", fmt.Sprintf("without server %s there are %d with a vote, of which %d answer: that is no majority, and nothing could be written any more", name, voters, answer))
	}
	return nil
}
