package agent

import (
	"context"
	"errors"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

const (
	// gatherFor is how long the first report of a batch waits for others: one fsync then serves them all. Behind a batch of many it is a
	// millisecond for each of them, up to gatherMost: when thousands of nodes report, an entry costs more than what is in it.
	gatherFor  = 3 * time.Millisecond
	gatherMost = 50 * time.Millisecond
	// maxGathered bounds the bytes of the reports in one entry.
	maxGathered = consensus.MaxProposal / 2
	// maxWaiting bounds the allocations in reports that wait to be in the log, a second's worth. Whoever comes then is told to come again: nodes
	// that wait for longer than they have patience send the same again while the first is still on its way into the log, and then there is no end of it.
	maxWaiting = 50_000
)

// reportCall is one node's report, waiting to be committed together with others.
type reportCall struct {
	report state.NodeReport
	size   int // bytes in the log
	done   chan reportDone
}

// reportDone is the fate of a reportCall.
type reportDone struct {
	index uint64
	err   error
}

// gatherReports commits the nodes' reports, those that arrive within a few milliseconds together.
func (t *term) gatherReports(ctx context.Context) error {
	var left, last []reportCall
	for {
		batch := left
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case c := <-t.reports:
				batch = []reportCall{c}
			}
		}
		batch, left = t.gather(ctx, batch, gatherTime(len(last)))
		t.commitReports(ctx, batch)
		last = batch
	}
}

// gatherTime is how long to gather behind a batch of so many reports.
func gatherTime(last int) time.Duration {
	return min(max(gatherFor, time.Duration(last)*time.Millisecond), gatherMost)
}

// gather waits a while for more reports, as long as they fit into one entry; left is the one that did not.
func (t *term) gather(ctx context.Context, batch []reportCall, wait time.Duration) (full, left []reportCall) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for size := batch[0].size; ; {
		select {
		case c := <-t.reports:
			if size += c.size; size > maxGathered {
				return batch, []reportCall{c}
			}
			batch = append(batch, c)
		case <-timer.C:
			return batch, nil
		case <-ctx.Done():
			return batch, nil
		}
	}
}

func (t *term) commitReports(ctx context.Context, batch []reportCall) {
	nodes := make([]state.NodeReport, len(batch))
	for i, c := range batch {
		nodes[i] = c.report
	}
	cmd := state.Report{Nodes: nodes, Time: t.clock.Now()}
	packed := cmd
	if t.s.store.Snapshot().Level() >= 2 {
		packed = state.PackReports(nodes, cmd.Time)
	}
	_, index, err := t.s.commit(ctx, packed)
	if errors.Is(err, state.ErrLimit) { // times so far apart that columns of them are longer than what the reports were
		_, index, err = t.s.commit(ctx, cmd)
	}
	for _, c := range batch {
		c.done <- reportDone{index: index, err: err} // buffered: the caller may have gone
	}
}

// report hands a node's report to the gatherer and waits for it to be in the log. One that is too large for an entry goes there
// in parts.
func (t *term) report(ctx context.Context, r state.NodeReport) (uint64, error) {
	n := int64(r.Len())
	if waiting := t.waiting.Add(n); waiting > maxWaiting && waiting > n {
		t.waiting.Add(-n)
		return 0, api.NewError(api.CodeBusy, "report again in a moment", "the leader stores what nodes say of %d allocations already", waiting-n)
	}
	defer t.waiting.Add(-n)
	return t.store(ctx, r)
}

// store is report for one that may wait.
func (t *term) store(ctx context.Context, r state.NodeReport) (uint64, error) {
	size := r.Size()
	if n := r.Len() / 2; n > 0 && size > maxGathered {
		r = r.Unpacked()
		first, second := r, r
		first.Allocs, second.Allocs = r.Allocs[:n], r.Allocs[n:]
		if index, err := t.store(ctx, first.Packed()); err != nil {
			return index, err
		}
		return t.store(ctx, second.Packed())
	}
	c := reportCall{report: r, size: size, done: make(chan reportDone, 1)}
	select {
	case t.reports <- c:
	case <-t.ended:
		return 0, api.ErrNotLeader
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case d := <-c.done:
		return d.index, d.err
	case <-t.ended:
	case <-ctx.Done():
	}
	return 0, api.ErrUnknownOutcome
}
