package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
)

// TestRaftRefusalsAreTheOperators keeps what raft refuses from looking like a fault of ours.
func TestRaftRefusalsAreTheOperators(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{nil, nil},
		{fmt.Errorf("transfer: %w", consensus.ErrNotLeader), api.ErrNotLeader},
		{fmt.Errorf("remove: %w", consensus.ErrNoSuchServer), api.ErrNotFound},
		{errors.New("need at least one voter in configuration"), api.ErrConflict},
		{errors.New("transfer leadership to s3: it has no vote; promote it first"), api.ErrConflict},
		{context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		if got := (&server{}).explainMembers(c.err); !errors.Is(got, c.want) {
			t.Errorf("%v became %v, want %v", c.err, got, c.want)
		}
	}
}
