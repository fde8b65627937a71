package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// termRetry is the pause before leader work that failed is begun again in the same term.
const termRetry = time.Second

// Leader returns the ID and the present address of the leader, both empty when this server knows none.
func (c *Consensus) Leader() (id, addr string) {
	a, i := c.raft().LeaderWithID()
	if i == "" {
		return "", ""
	}
	return string(i), c.addressOf(string(i), string(a))
}

// IsLeader reports whether this server believes that it leads. It may be wrong for as long as a leader's lease; see
// VerifyLeader.
func (c *Consensus) IsLeader() bool { return c.raft().State() == raft.Leader }

// leading returns the term that this server leads, 0 when it does not lead.
func (c *Consensus) leading() uint64 {
	for {
		// Raft leaves the state Leader before it raises the term, so a term that was the same before and after the state was
		// seen as Leader is the term that is led.
		term := c.raft().CurrentTerm()
		if c.raft().State() != raft.Leader {
			return 0
		}
		if c.raft().CurrentTerm() == term {
			return term
		}
	}
}

// LeaderChanges returns a channel that has something in it after leadership may have changed: look again. Changes while nobody
// looks are one. stop ends it.
func (c *Consensus) LeaderChanges() (changes <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[ch] = struct{}{}
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subs, ch)
	}
}

// watchLeadership turns raft's observations into nudges. Observations are dropped while one waits in the channel, which loses
// nothing: a nudge only says that it is time to look.
func (c *Consensus) watchLeadership() {
	seen := make(chan raft.Observation, 1)
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			return true
		}
		return false
	})
	r := c.raft()
	r.RegisterObserver(o)
	c.wg.Go(func() {
		defer r.DeregisterObserver(o)
		for {
			select {
			case <-seen:
				c.nudge()
			case <-c.closing.Done():
				c.nudge()
				return
			}
		}
	})
}

func (c *Consensus) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// WhileLeader calls fn each time this server begins to lead, with a context that ends when that term's leadership does (cause
// ErrTermOver), and waits for fn to return before it serves the next term. A leadership that was lost and regained is a new term
// even when nobody saw the gap. fn that returns nil early is done for its term; after an error it is called again in the same
// term a second later, so that a leader which leads nothing does not last. WhileLeader returns when ctx ends, with its cause,
// or with ErrClosed.
func (c *Consensus) WhileLeader(ctx context.Context, fn func(ctx context.Context, term uint64) error) error {
	wake, stop := c.LeaderChanges()
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.closing, func() { cancel(ErrClosed) })()
	t := terms{leading: c.leading, wake: wake, log: c.log}
	over := make(chan error, 1)
	// Raft stays up until fn has returned: Close waits for what was spawned.
	if err := c.spawn(&c.leads, func() { over <- t.serve(ctx, fn) }); err != nil {
		return fmt.Errorf("serve as leader: %w", err)
	}
	return <-over
}

// terms runs leader work term by term.
type terms struct {
	leading func() uint64   // the term led now, 0 when none
	wake    <-chan struct{} // look again
	log     hclog.Logger
}

func (t terms) serve(ctx context.Context, fn func(context.Context, uint64) error) error {
	for served := uint64(0); ; {
		if term := t.leading(); term != 0 && term != served {
			t.serveTerm(ctx, term, fn)
			served = term
			if ctx.Err() == nil {
				continue // the next term may have begun meanwhile
			}
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// serveTerm runs fn until the term is over and fn has returned.
func (t terms) serveTerm(ctx context.Context, term uint64, fn func(context.Context, uint64) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(ErrTermOver)
	wg.Go(func() {
		for {
			err := fn(ctx, term)
			if err == nil || ctx.Err() != nil {
				return
			}
			if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLeadershipLost) {
				t.log.Error("leader work failed, trying again", "term", term, "error", err)
			}
			select {
			case <-time.After(termRetry):
			case <-ctx.Done():
				return
			}
		}
	})
	for t.leading() == term {
		select {
		case <-t.wake:
		case <-ctx.Done():
			return
		}
	}
}
