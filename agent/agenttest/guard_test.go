package agenttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// herd is 10 machines, of which cut many fall silent at once.
type herd struct {
	*Cluster
	via    *Node
	victim []*Node
	starts int
}

func inHerd(t *testing.T, cut int, config func(int, *agent.Config), f func(t *testing.T, h herd)) {
	t.Helper()
	inBubble(t, Options{Servers: 3, Clients: 7, Config: config}, func(t *testing.T, c *Cluster) {
		h := herd{Cluster: c, via: c.Nodes[0], victim: c.Nodes[10-cut:]}
		job := Job("web", 24)
		if err := c.Run(h.via, job); err != nil {
			t.Fatal(err)
		}
		c.WaitSettled(h.via, 24, 20*time.Second)
		h.starts = c.Starts()
		c.Split(h.victim, c.Others(h.victim...))
		f(t, h)
	})
}

// down counts the machines that are down by the cluster's word.
func (h herd) down() (int, error) {
	status, err := h.NodeStatus(h.via)
	n := 0
	for _, s := range status {
		if s == state.NodeStatusDown {
			n++
		}
	}
	return n, err
}

// held says what contradicts a hold: the guard does not show it, a machine is down, or something was started.
func (h herd) held() error {
	guard, err := h.Guard(h.via)
	if err != nil {
		return err
	}
	down, err := h.down()
	switch {
	case err != nil:
		return err
	case !guard.Holding:
		return fmt.Errorf("the guard does not hold: %+v", guard)
	case guard.Silent != len(h.victim) || guard.Nodes != 10 || guard.Reason == "":
		return fmt.Errorf("the guard shows %d of %d silent, %q; want %d of 10", guard.Silent, guard.Nodes, guard.Reason, len(h.victim))
	case down > 0:
		return fmt.Errorf("%d machines are down during the hold", down)
	}
	if got := h.Starts(); got != h.starts {
		return fmt.Errorf("%d tasks were started during the hold", got-h.starts)
	}
	return nil
}

// slowly waits until every silent machine is down, checking that they go one per 10 s and not the first at once.
func (h herd) slowly(t *testing.T) {
	t.Helper()
	begin := time.Now()
	h.Always(time.Duration(len(h.victim)*10+6)*time.Second, func() error {
		n, err := h.down()
		if limit := int((time.Since(begin) + time.Second) / (10 * time.Second)); err == nil && n > limit {
			err = fmt.Errorf("%d machines are down, at most %d should be", n, limit)
		}
		return err
	})
	if n, err := h.down(); err != nil || n != len(h.victim) {
		t.Errorf("machines down in the end: got %d, %v; want %d", n, err, len(h.victim))
	}
	h.Eventually(20*time.Second, func() error {
		allocs, err := h.Allocs(h.via, "web")
		n := 0
		for _, a := range allocs {
			if a.DesiredStatus == state.DesiredRun && a.ClientStatus == state.ClientRunning {
				n++
			}
		}
		if err == nil && n != 24 {
			err = fmt.Errorf("%d of 24 copies run", n)
		}
		return err
	})
}

// heal brings everybody back: no copy runs twice.
func (h herd) heal() {
	h.t.Helper()
	h.Net.Heal()
	h.WaitReady(2 * time.Minute)
	h.WaitSettled(h.via, 24, time.Minute)
}

// TestMassLossHeals: four of ten machines fall silent at once: that is the network. Nothing moves, not under the next
// leader either, and when they are back nothing has happened.
func TestMassLossHeals(t *testing.T) {
	inHerd(t, 4, nil, func(t *testing.T, h herd) {
		h.Eventually(20*time.Second, h.held)
		h.Always(20*time.Second, h.held)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := h.via.API.TransferLeadership(ctx, "", api.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		h.Always(20*time.Second, func() error {
			if n, err := h.down(); err != nil || n > 0 || h.Starts() != h.starts {
				return errors.Join(fmt.Errorf("%d machines are down, %d tasks were started", n, h.Starts()-h.starts), err)
			}
			return nil
		})
		h.Eventually(time.Second, h.held)
		h.heal()
		if got := h.Starts(); got != h.starts {
			t.Errorf("tasks started: got %d, want %d as before", got, h.starts)
		}
	})
}

// TestMassLossAllowed: the operator says that they are gone. They go one by one.
func TestMassLossAllowed(t *testing.T) {
	inHerd(t, 4, nil, func(t *testing.T, h herd) {
		h.Eventually(20*time.Second, h.held)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := h.via.API.AllowEvictions(ctx, api.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		h.slowly(t)
		h.heal()
	})
}

// TestMassLossHoldEnds: nobody says anything. After eviction_hold they go one by one.
func TestMassLossHoldEnds(t *testing.T) {
	short := func(_ int, c *agent.Config) { c.Server.EvictionHold = 40 * time.Second }
	inHerd(t, 4, short, func(t *testing.T, h herd) {
		took := h.Eventually(20*time.Second, h.held)
		h.Always(30*time.Second-took, h.held)
		h.Eventually(20*time.Second, func() error {
			if g, err := h.Guard(h.via); err != nil || g.Holding {
				return errors.Join(errors.New("the guard holds"), err)
			}
			return nil
		})
		h.slowly(t)
	})
}

// TestFewLost: two of ten are no network: the first goes at once, the second 10 s later.
func TestFewLost(t *testing.T) {
	inHerd(t, 2, nil, func(t *testing.T, h herd) {
		at := func(want int) func() error {
			return func() error {
				n, err := h.down()
				if err == nil && n < want {
					err = fmt.Errorf("%d machines are down", n)
				}
				return err
			}
		}
		first := h.Eventually(10*time.Second, at(1))
		second := h.Eventually(15*time.Second, at(2))
		t.Logf("the first machine is down after %s, the second %s later", first, second)
		if second < 9*time.Second {
			t.Errorf("the second machine went %s after the first, want 10 s", second)
		}
		h.heal()
	})
}
