package agent

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
)

const (
	// probeTimeout bounds one knock at one node. A machine on a LAN answers within a millisecond; a loaded one within a tenth
	// of this.
	probeTimeout = 700 * time.Millisecond
	// maxProbes bounds the knocks at a time. A round over a herd of which much is silent must not take many time-outs.
	maxProbes = 1024
	// gossipPing is how long gossip waits for the answer to a packet.
	gossipPing = 500 * time.Millisecond
)

// knockLimit is how long knocking at n silent nodes takes at most.
func knockLimit(n int) time.Duration {
	return time.Duration((n+maxProbes-1)/maxProbes) * (probeTimeout + gossipPing)
}

// prober knocks at nodes from this agent.
type prober struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)
	ping func(ctx context.Context, addr string) (*api.PingResponse, error)
	// gossip asks the node by gossip's own packets: a second way to the machine, for when only TCP is cut.
	gossip func(nodeID string) bool
}

// knock says what came back from every target. All are tried at once.
func (p *prober) knock(ctx context.Context, targets []api.ProbeTarget, timeout time.Duration) []api.ProbeResult {
	if timeout <= 0 || timeout > 5*time.Second {
		timeout = probeTimeout
	}
	results := make([]api.ProbeResult, len(targets))
	var g errgroup.Group
	g.SetLimit(maxProbes)
	for i, t := range targets {
		g.Go(func() error {
			results[i] = p.one(ctx, t, timeout)
			return nil
		})
	}
	_ = g.Wait() // the functions return nil: what a probe found is its result
	return results
}

// one knocks at one node: first whether the machine takes a connection, then whether the agent answers on it.
func (p *prober) one(ctx context.Context, t api.ProbeTarget, timeout time.Duration) api.ProbeResult {
	r := api.ProbeResult{NodeID: t.NodeID}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := p.dial(ctx, t.PeerAddr)
	if err != nil {
		r.Outcome, r.Detail = p.unreachable(t.NodeID, err), err.Error()
		return r
	}
	closeQuietly(c)
	pong, err := p.ping(ctx, t.PeerAddr)
	switch {
	case err != nil: // the kernel of a hung agent still takes connections
		r.Outcome, r.Detail = api.ProbeAccepts, err.Error()
	case pong.NodeID != t.NodeID: // another agent has the address now: the one asked for is not there
		r.Outcome, r.Detail = api.ProbeRefused, "agent "+pong.NodeID+" answers at "+t.PeerAddr
	default:
		r.Outcome, r.Boot = api.ProbeAnswers, pong.Boot
	}
	return r
}

// unreachable tells a machine that lives from one that is gone, when no connection can be made.
func (p *prober) unreachable(nodeID string, err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return api.ProbeRefused
	}
	if p.gossip(nodeID) {
		return api.ProbeAccepts // only TCP is cut
	}
	return api.ProbeSilent
}
