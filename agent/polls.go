package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// poll renews the lease and obeys. registered is false when the node must register again.
func (c *client) poll(ctx context.Context) (registered bool, err error) {
	req, first := c.question()
	ctx, cancel := context.WithTimeout(ctx, req.Wait+10*time.Second)
	defer cancel()
	var resp *api.PollResponse
	limit, servers := req.Wait+minLeasePeriod, c.a.pollAddrs()
	if first {
		limit, servers = tryFor, c.a.serverAddrs() // the leader itself must answer, when there is one
	}
	err = c.a.peers.eachOf(ctx, servers, limit, func(ctx context.Context, peer *api.Client) error {
		var err error
		resp, err = peer.NodePoll(ctx, req, !first)
		return err
	})
	if err != nil {
		// When every server is behind what this node has seen, the servers may have begun anew and not know the node.
		return !errors.Is(err, api.ErrBehind), fmt.Errorf("ask for orders: %w", err)
	}
	return c.obey(req, resp)
}

// question asks what has changed for what is on the machine, or, when that is due, names everything found there.
func (c *client) question() (req *api.PollRequest, first bool) {
	found := c.runner.Found()
	c.mu.Lock()
	defer c.mu.Unlock()
	req = &api.PollRequest{
		NodeID: c.a.id.NodeID, ClusterID: c.a.clusterID(), Boot: c.a.boot(), Generation: c.orders.generation,
		Index: c.orders.index, RestoreGeneration: c.orders.restore, Epoch: c.orders.epoch,
		Wait: api.RenewIn(c.a.id.NodeID, c.orders.period, time.Now()),
	}
	if c.orders.first {
		req.Wait = 0
	}
	if c.withheld && time.Now().After(c.hold) {
		c.withheld = false
		c.roster.Recheck()
	}
	if c.roster.Ask(req, slices.Values(found), time.Now()); req.Since == 0 {
		maps.DeleteFunc(c.assigned, func(id string, _ runtime.Assigned) bool { // forgotten by the runner: nobody will name it again
			_, held := slices.BinarySearch(found, id)
			return !held
		})
	}
	return req, c.orders.first
}

// obey does what the answer says, unless it is older than the newest seen or of another cluster: only the newest word of our
// own cluster may end something.
func (c *client) obey(req *api.PollRequest, resp *api.PollResponse) (registered bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if registered, err := c.believe(resp); err != nil {
		return registered, err
	}
	if resp.RestoreGeneration > c.orders.restore {
		// The state is from a backup: it may know nothing of what was placed since. Nothing is ended until it was told.
		c.hold = time.Now().Add(overduePeriods * max(resp.LeasePeriod, minLeasePeriod))
		c.runner.ReportAll()
		c.roster.Reset()
		c.log.Warn("the cluster was restored from a backup; nothing is stopped here for now", "until", c.hold)
	}
	c.leader, c.level = leaderHint{id: resp.LeaderID, addr: resp.LeaderAddr}, resp.Level
	c.orders.index, c.orders.restore, c.orders.first = resp.Index, resp.RestoreGeneration, false
	if resp.Epoch != "" {
		c.orders.epoch = resp.Epoch
	}
	if resp.LeasePeriod > 0 {
		c.orders.period = resp.LeasePeriod
	}
	c.orders.gather = min(resp.Gather, gatherInFlood)
	if resp.Later {
		c.ordered = time.Now()
		return !c.knowsMore(resp.Level), nil
	}
	if err := c.roster.Hear(req, resp, time.Now()); errors.Is(err, api.ErrRoster) {
		c.log.Warn("asking about every allocation by name", "reason", err)
	} else if err != nil {
		return true, err
	}
	orders, err := c.translate(resp)
	if err != nil {
		c.roster.Reset()
		return true, err
	}
	if time.Now().Before(c.hold) && len(orders.Stop)+len(orders.Gone) > 0 {
		orders.Stop, orders.Gone, c.withheld = nil, nil, true
	}
	if len(orders.Run)+len(orders.Stop)+len(orders.Gone) > 0 {
		c.runner.Obey(orders)
	}
	c.ordered = time.Now()
	for _, id := range orders.Gone {
		delete(c.assigned, id)
	}
	return !resp.Register && !c.knowsMore(resp.Level), c.a.remember(resp.Index, resp.RestoreGeneration, c.orders.epoch)
}

// believe refuses the answers of other clusters, of other beginnings of this one, and of states older than the newest seen.
func (c *client) believe(resp *api.PollResponse) (registered bool, err error) {
	if id := c.a.clusterID(); id != "" && resp.ClusterID != id {
		return false, fmt.Errorf("a server of cluster %s answered; this machine belongs to %s", resp.ClusterID, id)
	}
	if resp.RestoreGeneration < c.orders.restore || (resp.RestoreGeneration == c.orders.restore && resp.Index < c.orders.index) {
		return true, fmt.Errorf("a server answered from index %d, older than %d seen before", resp.Index, c.orders.index)
	}
	if stranger := (api.History{Epoch: c.orders.epoch, Generation: c.orders.restore}).Stranger(resp.Epoch, resp.RestoreGeneration); stranger {
		return false, fmt.Errorf("a server of another beginning of cluster %s answered; nothing is stopped here", resp.ClusterID)
	}
	return true, nil
}

// knowsMore reports whether a cluster whose level was raised can store what it could not when this machine registered.
func (c *client) knowsMore(level int) bool {
	return c.told != nil && level > c.orders.level && c.told.AtLevel(c.orders.level) != c.told
}

// translate puts the rows that came together with their jobs, and fills in those that this node has.
func (c *client) translate(resp *api.PollResponse) (runtime.Orders, error) {
	o := runtime.Orders{Stop: resp.Stop, Gone: resp.Gone}
	for _, id := range resp.Keep {
		as, ok := c.assigned[id]
		if !ok {
			return o, fmt.Errorf("a server named allocation %s without its row", id)
		}
		o.Run = append(o.Run, as)
	}
	for _, r := range resp.Run {
		i := slices.IndexFunc(resp.Jobs, func(j *state.Job) bool {
			return j.ID == r.Alloc.JobID && j.Version == r.Alloc.JobVersion && j.Namespace == r.Alloc.Namespace
		})
		if i < 0 {
			return o, fmt.Errorf("a server named allocations of job %s without version %d of it", r.Alloc.JobID, r.Alloc.JobVersion)
		}
		for _, a := range r.Rows() {
			as := runtime.Assigned{Alloc: a, Job: resp.Jobs[i]}
			c.assigned[a.ID] = as
			o.Run = append(o.Run, as)
		}
	}
	return o, nil
}

// ended notes which allocations have ended by reports that are in the log.
func (c *client) ended(reported []state.AllocReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range reported {
		if r.Status == state.ClientComplete || r.Status == state.ClientFailed {
			c.roster.Ended(r.ID)
		}
	}
}
