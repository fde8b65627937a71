package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
)

const (
	// cutFor is how long links stay cut: leases are overdue after 3 s, the probes of every voter agree within 3 s more, and a guard
	// that let one machine go every 10 s would have done so.
	cutFor = 20 * time.Second
	// calm is how long everything is watched after it has healed: a new leader judges nobody for three lease periods.
	calm = 6 * time.Second
)

func cutDrills() []drill {
	base := drill{each: 29 * time.Second, counts: []string{countMoved, countDoubled, countOrphans}, prepare: spread}
	three, five, clients := base, base, base
	// Servers are cut off: whoever is left has no majority.
	three.name, three.driver, three.servers, three.lane = "cut-2-of-3", herd.DriverContainerd, 3, 3
	three.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		return cut(ctx, r, i, r.herd.Nodes[i%3])
	}
	five.name, five.driver, five.servers, five.lane = "cut-4-of-5", herd.DriverExec, 5, 4
	five.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		return cut(ctx, r, i, r.herd.Nodes[i%5])
	}
	// The leader stays, and sees almost everybody gone: here only the eviction guard keeps the work where it is.
	clients.name, clients.driver, clients.servers, clients.clients, clients.lane = "cut-4-of-5-clients", herd.DriverExec, 1, 4, 5
	clients.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		return cut(ctx, r, i, r.herd.Nodes[0])
	}
	return []drill{three, five, clients}
}

// cut unplugs every machine but one at once, and plugs them in again. Measured is from then until the herd is whole.
func cut(ctx context.Context, r *rig, run int, stays *herd.Node) (time.Duration, error) {
	before, err := r.look(ctx, r.herd.Nodes...)
	if err != nil {
		return 0, err
	}
	for _, n := range r.herd.Nodes {
		if n == stays {
			continue
		}
		if err := n.CutLink(); err != nil {
			return 0, err
		}
	}
	pause(ctx, cutFor)
	if err := r.processesUndisturbed(before); err != nil {
		r.tally.restarted++
		return 0, fmt.Errorf("while the links were cut: %w", err)
	}
	if r.drill.servers == 1 {
		if err := r.guarded(ctx, stays); err != nil {
			return 0, err
		}
	}
	for _, n := range r.herd.Nodes {
		if n == stays {
			continue
		}
		if err := n.HealLink(); err != nil {
			return 0, err
		}
		n.API.Close() // connections through the cut wait for their packets to be sent again
	}
	healed := time.Now()
	if _, err := waitfor.True(ctx, time.Minute, 50*time.Millisecond, r.readyAndWhole); err != nil {
		return 0, fmt.Errorf("heal: %w", err)
	}
	took := time.Since(healed)
	if err := r.writeOne(ctx, fmt.Sprintf("healed-%d", run)); err != nil {
		return 0, fmt.Errorf("write after healing: %w", err)
	}
	pause(ctx, calm)
	return took, r.judge(ctx, before)
}

// writeOne registers a job of no copies.
func (r *rig) writeOne(ctx context.Context, id string) error {
	text, err := r.jobFile(id, work{})
	if err != nil {
		return err
	}
	if err := r.register(ctx, text); err != nil {
		return err
	}
	r.tally.acked++
	if _, _, err := r.herd.Nodes[len(r.herd.Nodes)-1].API.Job(ctx, id, api.QueryOptions{}); err != nil {
		r.tally.lost++
		return fmt.Errorf("read it back: %w", err)
	}
	return nil
}

// readyAndWhole is a condition: every machine is ready and every copy runs.
func (r *rig) readyAndWhole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := r.herd.WaitReady(ctx, callTimeout); err != nil {
		return err
	}
	return r.whole(r.herd.Nodes...)(ctx)
}

// guarded is a condition: the leader knows that the others are silent, and holds.
func (r *rig) guarded(ctx context.Context, leader *herd.Node) error {
	v, err := leader.API.Evictions(ctx)
	if err != nil {
		return err
	}
	for _, p := range v.Pools {
		if p.Holding && p.Silent == len(r.herd.Nodes)-1 {
			return nil
		}
	}
	return fmt.Errorf("the eviction guard does not hold: %+v", v.Pools)
}

// judge counts what is not as it was before.
func (r *rig) judge(ctx context.Context, before *picture) error {
	_, wholeErr := waitfor.True(ctx, 20*time.Second, 100*time.Millisecond, r.whole(r.herd.Nodes...))
	after, err := r.look(ctx, r.herd.Nodes...)
	if err != nil {
		return errors.Join(wholeErr, err)
	}
	r.undisturbed(before, after)
	r.tally.extra[countOrphans] += after.orphans
	r.tally.extra[countDoubled] += after.doubled
	return wholeErr
}

// statusOf is a node's status by the word of another.
func statusOf(ctx context.Context, by, n *herd.Node) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes, _, err := by.API.Nodes(ctx, api.QueryOptions{})
	if err != nil {
		return "", err
	}
	for _, x := range nodes {
		if x.Name == n.Name {
			return x.Status, nil
		}
	}
	return "", fmt.Errorf("%s does not know %s", by.Name, n.Name)
}
