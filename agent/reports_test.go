package agent

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

// bigReport is of n allocations with that many bytes each.
func bigReport(n, bytes int) state.NodeReport {
	r := state.NodeReport{NodeID: nodeA, Boot: 1, Seq: 7}
	for range n {
		r.Allocs = append(r.Allocs, state.AllocReport{ID: "a", Status: state.ClientRunning, Description: strings.Repeat("x", bytes)})
	}
	return r
}

// TestReportsFitIntoEntries: whatever the nodes have to say, no entry is too large for the log, and everything is said.
func TestReportsFitIntoEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := &term{reports: make(chan reportCall, 100), ended: make(chan struct{})}
		reports := []state.NodeReport{bigReport(100, 100), bigReport(100, 20_000), bigReport(3, 400_000), bigReport(1, 10)}
		var callers, leader sync.WaitGroup
		said, entries := 0, 0
		leader.Go(func() {
			var left []reportCall
			for {
				batch := left
				if len(batch) == 0 {
					select {
					case <-tm.ended:
						return
					case c := <-tm.reports:
						batch = []reportCall{c}
					}
				}
				batch, left = tm.gather(t.Context(), batch, gatherFor)
				var cmd state.Report
				for _, c := range batch {
					cmd.Nodes = append(cmd.Nodes, c.report)
					said += len(c.report.Allocs)
					c.done <- reportDone{index: 1}
				}
				entries++
				if data, err := json.Marshal(cmd); err != nil || len(data) > consensus.MaxProposal-1024 {
					t.Errorf("an entry has %d bytes, %v", len(data), err)
				}
			}
		})
		for _, r := range reports {
			callers.Go(func() {
				if _, err := tm.report(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		close(tm.ended)
		leader.Wait()
		if said != 204 || entries < 5 {
			t.Errorf("%d allocations in %d entries, want all 204", said, entries)
		}
	})
}

// TestReportWhenTheTermEnds: who waits for a leader that leads no more is told at once.
func TestReportWhenTheTermEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := &term{reports: make(chan reportCall, 1), ended: make(chan struct{})}
		var wg sync.WaitGroup
		errs := make(chan error, 2)
		for range 2 { // one is taken and not committed, for the other there is no room
			wg.Go(func() {
				_, err := tm.report(t.Context(), bigReport(1, 1))
				errs <- err
			})
		}
		synctest.Wait()
		close(tm.ended)
		wg.Wait()
		unknown, refused := 0, 0
		for range 2 {
			switch err := <-errs; {
			case errors.Is(err, api.ErrUnknownOutcome):
				unknown++
			case errors.Is(err, api.ErrNotLeader):
				refused++
			}
		}
		if unknown != 1 || refused != 1 {
			t.Errorf("unknown %d, refused %d; want one of each", unknown, refused)
		}
	})
}

// TestReportsAreBounded: a leader that has enough to store says so at once, and takes one report that is larger than that.
func TestReportsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := &term{reports: make(chan reportCall, 10), ended: make(chan struct{})}
		said := func(n int) chan error {
			done := make(chan error, 1)
			go func() { // ends when it is answered
				_, err := tm.report(t.Context(), bigReport(n, 1))
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first, second, third := said(maxWaiting+1), said(1), said(maxWaiting)
		for _, refused := range []chan error{second, third} {
			if err := <-refused; !errors.Is(err, api.ErrBusy) {
				t.Errorf("beside %d: %v, want busy", maxWaiting+1, err)
			}
		}
		for len(tm.reports) > 0 {
			for len(tm.reports) > 0 {
				(<-tm.reports).done <- reportDone{index: 1}
			}
			synctest.Wait()
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		last := said(1)
		(<-tm.reports).done <- reportDone{index: 2}
		if err := <-last; err != nil {
			t.Errorf("once the others are stored: %v", err)
		}
	})
}

func TestGatherTime(t *testing.T) {
	for last, want := range map[int]time.Duration{0: gatherFor, 1: gatherFor, 20: 20 * time.Millisecond, 5000: gatherMost} {
		if got := gatherTime(last); got != want {
			t.Errorf("behind %d reports: %s, want %s", last, got, want)
		}
	}
}
