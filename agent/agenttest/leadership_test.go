package agenttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// load registers jobs, one after the other, until stop is called, which returns those that were acknowledged and how often a
// write failed. Reads of what was acknowledged go along.
func (c *Cluster) load(name string, via ...*Node) (stop func() (acked []string, failed []error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var acked []string
	var failed []error
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprintf("%s-%d", name, i)
			n := via[i%len(via)]
			if err := c.Run(n, Job(id, 0)); err != nil {
				failed = append(failed, fmt.Errorf("%s through %s: %w", id, n.Name, err))
			} else {
				acked = append(acked, id)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return func() ([]string, []error) {
		cancel()
		wg.Wait()
		return acked, failed
	}
}

// TestLeaderTransfersUnderLoad: leadership moves twenty times; every write succeeds, no node is thought gone, nothing restarts.
func TestLeaderTransfersUnderLoad(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 8)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[0], 8, 20*time.Second)
		before := c.Starts()
		stop := c.load("move", c.Nodes...)
		moved, last := 0, c.Leader()
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := c.Nodes[3].API.TransferLeadership(ctx, "", api.WriteOptions{})
			cancel()
			if err != nil {
				t.Error("transfer:", err)
			}
			c.Eventually(5*time.Second, func() error {
				if c.Leader() == nil {
					return errors.New("no leader")
				}
				return nil
			})
			if l := c.Leader(); l != last {
				moved, last = moved+1, l
			}
			time.Sleep(500 * time.Millisecond)
		}
		acked, failed := stop()
		if moved < 18 || len(failed) > 0 || len(acked) < 50 {
			t.Errorf("leadership moved %d times, %d writes acknowledged, failed: %v; want 20, many, none", moved, len(acked), errors.Join(failed...))
		}
		c.noneLost(c.Nodes[3], acked)
		c.WaitReady(10 * time.Second)
		c.WaitSettled(c.Nodes[0], 8, 10*time.Second)
		if got := c.Starts(); got != before {
			t.Errorf("tasks started: got %d, want %d as before", got, before)
		}
	})
}

// TestRollingRestart: every agent is stopped and started in turn. Nothing that runs notices, and every write succeeds.
func TestRollingRestart(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 10)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[0], 10, 20*time.Second)
		before := c.Starts()
		for _, n := range slices.Clone(c.Nodes) {
			stop := c.load("roll-"+n.Name, c.Others(n)...)
			n.Stop()
			time.Sleep(3 * time.Second)
			n.Start()
			c.WaitReady(30 * time.Second)
			time.Sleep(2 * time.Second)
			acked, failed := stop()
			if len(failed) > 0 {
				t.Errorf("while %s was restarted %d writes succeeded, failed: %v", n.Name, len(acked), errors.Join(failed...))
			}
			c.noneLost(n, acked)
		}
		c.WaitSettled(c.Nodes[0], 10, 20*time.Second)
		if got := c.Starts(); got != before {
			t.Errorf("tasks started: got %d, want %d as before", got, before)
		}
	})
}

// TestElectionChurn: five servers, whose leader dies again and again, up to two of them dead at a time. Nothing acknowledged is
// lost, the terms' work never overlaps into double copies.
func TestElectionChurn(t *testing.T) {
	inBubble(t, Options{Servers: 5}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 10)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(c.Nodes[0], 10, 20*time.Second)
		before := c.Starts()
		var acked []string
		var down []*Node
		for round := range 8 {
			l := c.Leader()
			l.Crash()
			down = append(down, l)
			c.Eventually(15*time.Second, func() error {
				id := fmt.Sprintf("churn-%d", round)
				err := c.Run(c.Follower(), Job(id, 0))
				if err == nil {
					acked = append(acked, id)
				}
				return err
			})
			if len(down) == 2 {
				down[0].Restart()
				down = down[1:]
			}
			c.Eventually(15*time.Second, func() error {
				if c.Leader() == nil {
					return errors.New("no leader")
				}
				return nil
			})
		}
		down[0].Restart()
		c.WaitReady(30 * time.Second)
		c.noneLost(c.Nodes[0], acked)
		c.WaitSettled(c.Nodes[0], 10, 20*time.Second)
		if got := c.Starts(); got != before {
			t.Errorf("tasks started: got %d, want %d as before", got, before)
		}
	})
}

// TestBlockingReadAcrossLeaderChange: a read that waits at the leader, at a follower and at an agent without state goes on when
// the leader dies, answers when there is news, and never with something older.
func TestBlockingReadAcrossLeaderChange(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[0], Job("web", 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		l := c.Leader()
		var wg sync.WaitGroup
		for _, n := range c.Others(l) {
			_, meta, err := n.API.Job(t.Context(), "web", api.QueryOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				job, after, err := n.API.Job(t.Context(), "web", api.QueryOptions{Index: meta.Index, Wait: time.Minute})
				switch {
				case err != nil:
					t.Errorf("blocking read through %s: %v", n.Name, err)
				case after.Index <= meta.Index || job.Version != 1:
					t.Errorf("blocking read through %s: version %d at index %d after %d", n.Name, job.Version, after.Index, meta.Index)
				}
			})
		}
		time.Sleep(time.Second)
		l.Die()
		time.Sleep(10 * time.Second)
		changed := Job("web", 0)
		changed.Priority = 60
		if err := c.Run(c.Others(l)[0], changed); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		wg.Wait()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("the reads answered %s after the change", took)
		}
	})
}

// TestRetryAfterLeaderChange: a write that is sent again with its request ID, to another leader, gives its first result and is not
// done twice.
func TestRetryAfterLeaderChange(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		l := c.Leader()
		via := c.Others(l)[0]
		register := func(count int, request string) *api.JobRegisterResponse {
			t.Helper()
			var resp *api.JobRegisterResponse
			c.Eventually(10*time.Second, func() (err error) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				resp, err = via.API.RegisterJob(ctx, &api.JobRegisterRequest{Job: Job("web", count)}, api.WriteOptions{RequestID: request})
				return err
			})
			return resp
		}
		first := register(2, "a")
		second := register(4, "b")
		l.Crash()
		again := register(2, "a")
		if again.Version != first.Version || again.JobModifyIndex != first.JobModifyIndex {
			t.Errorf("the retry answered version %d at %d, the first time %d at %d", again.Version, again.JobModifyIndex, first.Version, first.JobModifyIndex)
		}
		job, _, err := via.API.Job(t.Context(), "web", api.QueryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if job.Version != second.Version {
			t.Errorf("job is at version %d after the retry, want %d", job.Version, second.Version)
		}
		l.Restart()
		c.WaitReady(30 * time.Second)
		c.WaitRunning(via, "web", 4, 20*time.Second)
	})
}

// TestLeaderHangs: a leader whose process is stopped is replaced; when it goes on it does not think that the herd has died.
func TestLeaderHangs(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 3}, func(t *testing.T, c *Cluster) {
		l := c.Leader()
		via := c.Others(l)[0]
		if err := c.Run(via, Job("web", 12)); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(via, 12, 20*time.Second)
		before := c.Starts()
		for range 3 {
			l = c.Leader()
			via = c.Others(l)[0]
			c.Net.Freeze(l.Host)
			c.Eventually(10*time.Second, func() error { return c.Run(via, Job("late", 0)) })
			time.Sleep(5 * time.Second)
			c.Net.Thaw(l.Host)
			c.WaitReady(20 * time.Second)
			c.Always(5*time.Second, func() error {
				status, err := c.NodeStatus(via)
				for name, s := range status {
					if err == nil && s != state.NodeStatusReady {
						err = fmt.Errorf("node %s is %s", name, s)
					}
				}
				return err
			})
		}
		c.WaitSettled(via, 12, 10*time.Second)
		if got := c.Starts(); got != before {
			t.Errorf("tasks started: got %d, want %d as before", got, before)
		}
	})
}
