package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

const (
	// refingerprintEvery is how often the machine is looked at again for what changed.
	refingerprintEvery = 30 * time.Second
	// retryMin and retryMax bound the back-off of a node that reaches no server.
	retryMin = 200 * time.Millisecond
	retryMax = 3 * time.Second
	// gatherLook is how often it is looked whether the servers still want reports to wait.
	gatherLook = time.Second
)

// client is the node's side of an agent: it tells the servers what the machine is, asks what its allocations are to do, obeys,
// and reports.
type client struct {
	a      *Agent
	log    hclog.Logger
	runner *runtime.Runner

	mu       sync.Mutex
	node     *state.Node // as last fingerprinted
	told     *state.Node // as the servers know it; nil before they do
	orders   session
	assigned map[string]runtime.Assigned // rows that the leader sent, for the orders that only name them
	hold     time.Time                   // until then nothing is ended: a backup was restored, and nobody has reported yet
	roster   api.Roster
	withheld bool // what was to end was not ended because of hold
	leader   leaderHint
	level    int             // the cluster's, as a server last said
	ordered  time.Time       // when orders were last taken
	look     chan struct{}   // has something in it when the machine is to be looked at again
	quiet    context.Context // ends when this machine is to poll no more; not a request's, so that it may stand here
	hush     context.CancelFunc
	healthy  error // why the node cannot work, nil when it can
}

// session is what the registration answered.
type session struct {
	generation uint64 // the node's
	period     time.Duration
	gather     time.Duration // how long news that allocations run may wait for more
	index      uint64        // newest index obeyed by this process
	restore    uint64        // restore generation of it
	epoch      string        // of the cluster, as seen with it
	level      int           // the cluster's when it took the registration
	first      bool          // the next poll is the first since the agent started: the leader itself must answer
}

// leaderHint is who led when a server last said so.
type leaderHint struct{ id, addr string }

func newClient(a *Agent, runner *runtime.Runner, node *state.Node) *client {
	c := &client{
		a: a, log: a.log.Named("client"), runner: runner, node: node, assigned: map[string]runtime.Assigned{},
		healthy: errors.New("not registered with a server yet"),
	}
	c.look = make(chan struct{}, 1)
	c.quiet, c.hush = context.WithCancel(context.Background())
	c.orders.first = true
	c.orders.index, c.orders.restore, c.orders.epoch = a.id.Index, a.id.Generation, a.id.Epoch
	return c
}

// run works for the node until ctx ends. Tasks run on.
func (c *client) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.runner.Run(ctx) })
	g.Go(func() error { return c.pollLoop(ctx) })
	g.Go(func() error { return c.reportLoop(ctx) })
	g.Go(func() error { return c.fingerprintLoop(ctx) })
	return g.Wait()
}

// pollLoop registers, then asks for orders for as long as it may.
func (c *client) pollLoop(ctx context.Context) error {
	all := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.quiet, cancel)()
	if err := c.pollWhile(ctx); all.Err() != nil || ctx.Err() == nil {
		return err
	}
	<-all.Done() // hushed: what runs is watched until the agent ends
	return all.Err()
}

// pollWhile is pollLoop until ctx ends.
func (c *client) pollWhile(ctx context.Context) error {
	wait, registered := retryMin, false
	for ctx.Err() == nil {
		var err error
		if !registered {
			err = c.register(ctx)
			registered = err == nil
		}
		if err == nil {
			registered, err = c.poll(ctx)
		}
		c.note(err)
		if err == nil {
			wait = retryMin
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if fatal := c.fatal(err); fatal != nil {
			return fatal
		}
		c.log.Debug("no orders", "error", err, "retry_in", wait)
		if pause(ctx, wait) != nil {
			break
		}
		wait = min(2*wait, retryMax)
	}
	return ctx.Err()
}

// fatal says which refusals cannot be waited out.
func (c *client) fatal(err error) error {
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.CodeForbidden {
		return fmt.Errorf("the servers refuse this agent: %w", err)
	}
	return nil
}

func (c *client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch was := c.healthy; {
	case errors.Is(err, api.ErrConflict) && (was == nil || was.Error() != err.Error()):
		// Another machine has this ID. It may be this one under its old address, which is given up after a while.
		c.log.Error("the servers do not take this machine", "error", err)
	case err != nil && was == nil:
		c.log.Warn("lost contact with the servers; what runs here runs on", "error", err)
	}
	c.healthy = err
}

// register tells the leader what this machine is.
func (c *client) register(ctx context.Context) error {
	if err := c.quiet.Err(); err != nil {
		return err // this machine has said that it goes
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	c.mu.Lock()
	node := *c.node
	history := api.History{Epoch: c.orders.epoch, Generation: c.orders.restore}
	c.mu.Unlock()
	node.Boot, node.BootID = c.a.boot(), c.a.id.BootID
	node.PeerAddr, node.HTTPAddr = c.a.addrs.peer, c.a.addrs.http
	var resp *api.RegisterResponse
	err := c.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		var err error
		resp, err = peer.NodeRegister(ctx, &api.RegisterRequest{ClusterID: c.a.clusterID(), History: history, Node: &node})
		return err
	})
	if err != nil {
		return fmt.Errorf("register node: %w", err)
	}
	if err := errors.Join(c.a.joinCluster(resp.ClusterID), c.a.adoptBoot(resp.Boot)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = &node
	c.roster.Recheck()
	c.orders.generation, c.orders.period, c.orders.level = resp.Generation, resp.LeasePeriod, resp.Level
	if resp.RestoreGeneration == c.orders.restore {
		c.orders.index = max(c.orders.index, resp.Index) // the state that knows this registration, or a newer one, gives the orders
	}
	c.log.Info("node registered", "node", node.Name, "id", node.ID, "generation", resp.Generation)
	return nil
}

// reportLoop hands what happens to the allocations to the leader. What was not confirmed is sent again.
func (c *client) reportLoop(ctx context.Context) error {
	wait := retryMin
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.runner.Reports():
		}
		if err := c.gather(ctx); err != nil {
			return err
		}
		for {
			err := c.report(ctx)
			if err == nil {
				wait = retryMin
				break
			}
			c.log.Debug("report not taken", "error", err, "retry_in", wait)
			if err := pause(ctx, wait/2+rand.N(wait)); err != nil {
				return err
			}
			wait = min(2*wait, retryMax)
		}
	}
}

// gather lets news wait for more for as long as the servers want it: while nothing is said but that allocations run, and a report has
// room.
func (c *client) gather(ctx context.Context) error {
	for began := time.Now(); ; {
		c.mu.Lock()
		left := c.orders.gather - time.Since(began)
		c.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if _, allocs := c.runner.TakeReport(); !mayWait(allocs) {
			return nil
		}
		again := time.NewTimer(min(left, gatherLook))
		select {
		case <-ctx.Done():
		case <-c.runner.Reports():
		case <-again.C: // the servers may want it no more
		}
		again.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// mayWait reports whether news has room for more, and nobody has to do anything about it.
func mayWait(news []state.AllocReport) bool {
	return len(news) < runtime.MaxReport && !slices.ContainsFunc(news, func(r state.AllocReport) bool { return !r.Calm() })
}

func (c *client) report(ctx context.Context) error {
	seq, allocs := c.runner.TakeReport()
	if seq == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req := &api.ReportRequest{ClusterID: c.a.clusterID(), Report: state.NodeReport{
		NodeID: c.a.id.NodeID, Boot: c.a.boot(), Seq: seq, Allocs: allocs,
	}.Packed()}
	var busy error
	err := c.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		_, err := peer.NodeReport(ctx, req)
		if busy = err; errors.Is(err, api.ErrBusy) {
			return nil // the leader is, whoever is asked
		}
		return err
	})
	if err = cmp.Or(err, busy); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	c.runner.AckReport(seq)
	c.ended(allocs)
	return nil
}

// fingerprintLoop looks at the machine now and then, and registers again when it has changed.
func (c *client) fingerprintLoop(ctx context.Context) error {
	for {
		again := time.NewTimer(refingerprintEvery)
		select {
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		case <-again.C:
		case <-c.look:
			again.Stop()
		}
		node := c.a.fingerprint(ctx)
		c.mu.Lock()
		changed := c.told == nil || !sameMachine(c.told, node)
		c.node = node
		c.mu.Unlock()
		if !changed {
			continue
		}
		if err := c.register(ctx); err != nil {
			c.log.Warn("cannot tell the servers that the machine has changed", "error", err)
		}
	}
}

// lookAgain has the machine fingerprinted soon: what it says of itself may have changed.
func (c *client) lookAgain() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// clusterLevel is the cluster's level, as a server last said.
func (c *client) clusterLevel() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.level
}

func (c *client) leaderSeen() leaderHint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// lastOrders is when orders were last taken.
func (c *client) lastOrders() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ordered
}

// offered is what this machine has to give.
func (c *client) offered() state.NodeResources {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node.Resources
}

// promised is what the allocations with running tasks hold of it.
func (c *client) promised() state.AllocResources {
	running := c.runner.Running()
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum state.AllocResources
	for _, id := range running {
		if as, ok := c.assigned[id]; ok {
			sum.CPU += as.Alloc.Resources.CPU
			sum.MemoryMB += as.Alloc.Resources.MemoryMB
		}
	}
	return sum
}

func (c *client) health() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.healthy
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
