package agent

import (
	"context"
	"errors"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
)

// explainMembers translates what raft says when it refuses a change of the servers: that is the operator's to know, not a fault
// of ours.
func (s *server) explainMembers(err error) error {
	err = s.explain(err)
	var known *api.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, consensus.ErrNoSuchServer):
		return api.NewError(api.CodeNotFound, "list them with `drover operator raft list-peers`", "%s", err)
	}
	return api.NewError(api.CodeConflict, "look at `drover operator raft list-peers`, then try again", "%s", err)
}
