package main

import (
	"context"
	"fmt"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
)

func deathDrills() []drill {
	base := drill{
		driver: herd.DriverContainerd, servers: 3, clients: 2, lane: 1,
		counts: []string{countOrphans, countDoubled}, prepare: spread,
	}
	any, lead := base, base
	any.name, any.bound, any.each = "machine-death", 10*time.Second, 10*time.Second
	any.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		leader, err := r.herd.Leader(ctx)
		if err != nil {
			return 0, err
		}
		victim := r.herd.Nodes[i%len(r.herd.Nodes)]
		if victim == leader {
			victim = r.herd.Nodes[len(r.herd.Nodes)-1-i%r.drill.clients]
		}
		return die(ctx, r, victim)
	}
	lead.name, lead.bound, lead.each = "leader-machine-death", 20*time.Second, 10*time.Second
	lead.run = func(ctx context.Context, r *rig, i int) (time.Duration, error) {
		leader, err := r.leadWith(ctx, r.herd.Nodes[i%r.drill.servers])
		if err != nil {
			return 0, err
		}
		return die(ctx, r, leader)
	}
	return []drill{any, lead}
}

// spread runs two copies for each machine.
func spread(ctx context.Context, r *rig) error {
	return r.start(ctx, work{copies: 2 * len(r.herd.Nodes)})
}

// leadWith hands leadership to a server, so that not the same machine dies all the time.
func (r *rig) leadWith(ctx context.Context, n *herd.Node) (*herd.Node, error) {
	leader, err := r.herd.Leader(ctx)
	if err != nil || leader == n {
		return leader, err
	}
	self, err := n.API.AgentSelf(ctx)
	if err != nil {
		return nil, err
	}
	// It may have to be asked for twice: a connection to the leader from before its machine rebooted is found broken by the first.
	if _, err := waitfor.True(ctx, 10*time.Second, 200*time.Millisecond, func(ctx context.Context) error {
		_, err := n.API.TransferLeadership(ctx, self.NodeID, api.WriteOptions{})
		return err
	}); err != nil {
		return nil, fmt.Errorf("transfer leadership to %s: %w", n.Name, err)
	}
	_, err = waitfor.True(ctx, 10*time.Second, 20*time.Millisecond, func(ctx context.Context) (err error) {
		if leader, err = r.herd.Leader(ctx); err == nil && leader != n {
			err = fmt.Errorf("%s leads, not %s", leader.Name, n.Name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	_, err = r.herd.WaitReady(ctx, 10*time.Second)
	return leader, err
}

// die pulls the plug of a machine that runs copies, measures until as many run elsewhere, boots it again and waits until each copy
// runs once.
func die(ctx context.Context, r *rig, victim *herd.Node) (time.Duration, error) {
	if err := r.occupied(ctx, victim); err != nil {
		return 0, err
	}
	var others []*herd.Node
	for _, n := range r.herd.Nodes {
		if n != victim {
			others = append(others, n)
		}
	}
	dead := len(hellos(victim))
	start := time.Now()
	if err := victim.Die(); err != nil {
		return 0, err
	}
	if _, err := waitfor.True(ctx, 3*r.drill.bound, 50*time.Millisecond, r.whole(others...)); err != nil {
		return 0, fmt.Errorf("%d copies of %s run nowhere else: %w", dead, victim.Name, err)
	}
	took := time.Since(start)
	if err := victim.Boot(); err != nil {
		return 0, err
	}
	if err := victim.StartAgent(); err != nil {
		return 0, err
	}
	if _, err := r.herd.WaitReady(ctx, time.Minute); err != nil {
		return 0, fmt.Errorf("%s rebooted: %w", victim.Name, err)
	}
	return took, r.settled(ctx, 2*time.Second)
}

// occupied sees to it that a machine runs copies: one that was booded again is empty, and stays so until something moves there.
func (r *rig) occupied(ctx context.Context, n *herd.Node) error {
	if len(hellos(n)) > 0 {
		return nil
	}
	// Stop copies elsewhere until one comes here: the emptiest machine is the best place for it.
	for range 2 * len(r.herd.Nodes) {
		p, err := r.look(ctx, r.herd.Nodes...)
		if err != nil {
			return err
		}
		for id := range p.live {
			if _, err := r.herd.Nodes[0].API.StopAllocation(ctx, id, api.WriteOptions{}); err != nil {
				return err
			}
			break
		}
		if _, err := waitfor.True(ctx, 30*time.Second, 50*time.Millisecond, r.whole(r.herd.Nodes...)); err != nil {
			return fmt.Errorf("move a copy to %s: %w", n.Name, err)
		}
		if len(hellos(n)) > 0 {
			return nil
		}
	}
	return fmt.Errorf("no copy comes to %s", n.Name)
}

// settled waits until every slot has one copy and nothing else runs, and still does a while later. What is wrong then is counted.
func (r *rig) settled(ctx context.Context, while time.Duration) error {
	_, err := waitfor.True(ctx, time.Minute, 100*time.Millisecond, r.whole(r.herd.Nodes...))
	if err == nil {
		pause(ctx, while)
		// One look may fall between an end and its report.
		_, err = waitfor.True(ctx, 2*time.Second, 100*time.Millisecond, r.whole(r.herd.Nodes...))
	}
	if err == nil {
		return nil
	}
	p, lookErr := r.look(ctx, r.herd.Nodes...)
	if lookErr != nil {
		return lookErr
	}
	r.tally.extra[countOrphans] += p.orphans
	r.tally.extra[countDoubled] += p.doubled
	return fmt.Errorf("settle: %w", err)
}
