package consensus

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// Result is what became of a proposal.
type Result struct {
	Index uint64 // where in the log the entry is
	Value any    // what FSM.Apply returned on this server; may be an error value
}

// Propose appends data to the log and waits until it is committed and applied here, at most Config.ProposeTimeout. The error
// says whether it may be sent again; see the package comment. data must not be changed afterwards.
func (c *Consensus) Propose(ctx context.Context, data []byte) (Result, error) {
	return c.ProposeShared(ctx, "", data)
}

// ProposeShared is Propose for a command that may share an entry of the log, and so its index, with others that are proposed at the same
// time. Key names the object that it changes, among all that are shared: two of the same never share. With "" it has an entry of its own.
func (c *Consensus) ProposeShared(ctx context.Context, key string, data []byte) (Result, error) {
	if len(data) > MaxProposal {
		return Result{}, fmt.Errorf("propose %d bytes, limit %d: %w", len(data), MaxProposal, ErrTooLarge)
	}
	if !c.IsLeader() {
		return Result{}, fmt.Errorf("propose: %w", ErrNotLeader)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	result, err := c.hand(ctx, key, data)
	if err != nil {
		return Result{}, fmt.Errorf("propose: %w", err)
	}
	return result, nil
}

// hand gives raft a proposal, at once or with others, and waits for the answer.
func (c *Consensus) hand(ctx context.Context, key string, data []byte) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, context.Cause(ctx)
	}
	if len(data) > gatherBytes {
		return c.handAlone(ctx, data)
	}
	gather := &c.alone
	if key != "" {
		gather = &c.shared
	}
	result, handed, err := gather.propose(ctx, &gathered{key: key, data: data, timeout: c.cfg.ProposeTimeout, apply: c.raft().ApplyLog})
	if !handed {
		return Result{}, withdrawn(ctx)
	}
	return result, outcome(ctx, err)
}

func (c *Consensus) handAlone(ctx context.Context, data []byte) (Result, error) {
	got := make(chan Result, 1)
	err := c.ask(ctx, func() error {
		f := c.raft().Apply(data, c.cfg.ProposeTimeout)
		if err := f.Error(); err != nil {
			return proposed(err)
		}
		got <- Result{Index: f.Index(), Value: f.Response()}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	return <-got, nil
}

// Barrier waits until everything committed before the call is applied here. Only the leader can.
func (c *Consensus) Barrier(ctx context.Context) error {
	return c.question(ctx, "wait for barrier", func() raft.Future { return c.raft().Barrier(c.cfg.ProposeTimeout) })
}

// VerifyLeader asks a majority whether this server still leads, so that what it reads next is not older than the call.
func (c *Consensus) VerifyLeader(ctx context.Context) error {
	return c.question(ctx, "verify leadership", func() raft.Future { return c.raft().VerifyLeader() })
}

// question asks raft something that only a leader answers.
func (c *Consensus) question(ctx context.Context, what string, f func() raft.Future) error {
	if !c.IsLeader() {
		return fmt.Errorf("%s: %w", what, ErrNotLeader)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if err := c.ask(ctx, func() error { return f().Error() }); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
