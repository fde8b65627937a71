package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// What errors.Is finds in the errors of this package.
var (
	// ErrNotLeader: this server does not lead, or is handing over; nothing was proposed.
	ErrNotLeader = errors.New("not the leader")
	// ErrBusy: the queue of proposals stayed full; nothing was proposed.
	ErrBusy = errors.New("too many proposals waiting")
	// ErrTooLarge: the command exceeds MaxProposal; nothing was proposed.
	ErrTooLarge = errors.New("command too large")
	// ErrUnknownOutcome: the entry may be committed now, later or never.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrTimeout: no answer in time; a kind of ErrUnknownOutcome.
	ErrTimeout = fmt.Errorf("no answer in time, %w", ErrUnknownOutcome)
	// ErrLeadershipLost: leadership went while the entry was on its way; a kind of ErrUnknownOutcome.
	ErrLeadershipLost = fmt.Errorf("leadership lost on the way, %w", ErrUnknownOutcome)
	// ErrClosed: Close was called.
	ErrClosed = errors.New("consensus closed")
	// ErrTermOver is the cause with which WhileLeader ends a term's context.
	ErrTermOver = errors.New("leadership of this term ended")
	// ErrBehind: the server to promote has not yet stored what is committed.
	ErrBehind = errors.New("server is still catching up")
	// ErrHasState: Bootstrap on a server that has a log or a snapshot already.
	ErrHasState = errors.New("server has a log already")
	// ErrNoSuchServer: the ID is not in the configuration.
	ErrNoSuchServer = errors.New("no such server")
	// ErrStalled: a write to the log hung for longer than Config.StallAfter.
	ErrStalled = errors.New("write to the raft log hangs")
	// ErrLocked: another process has the log open.
	ErrLocked = errors.New("raft log is locked by another process")
)

// outcome translates what raft said about an entry, or about a question to the leader.
func outcome(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrNotVoter):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost):
		return ErrLeadershipLost
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	case errors.Is(err, raft.ErrRaftShutdown):
		// Raft gives the same error for "not taken" and for "committed while shutting down".
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, ErrClosed)
	default:
		return err
	}
}

// proposed marks as unknown what raft says about an entry that it had taken already: a failed write of the log, an operator's
// restore in between.
func proposed(err error) error {
	for _, known := range []error{
		nil, raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrLeadershipLost, raft.ErrEnqueueTimeout, raft.ErrRaftShutdown,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}
