package agent

import (
	"context"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
)

// relayEvery is how often a server that does not lead hands on the leases that its polls renewed.
const relayEvery = 200 * time.Millisecond

// relay gathers the renewals that arrive at a server that does not lead.
type relay struct {
	mu    sync.Mutex
	heard map[string]renewal
}

func newRelay() *relay { return &relay{heard: map[string]renewal{}} }

// Note remembers a renewal for the next hand-over. The map is bounded by the number of nodes.
func (r *relay) Note(nodeID string, boot uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[nodeID] = renewal{at: now, boot: boot}
}

// take empties the relay.
func (r *relay) take(now time.Time) []api.LeaseRenewal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []api.LeaseRenewal
	for id, n := range r.heard {
		out = append(out, api.LeaseRenewal{NodeID: id, Boot: n.boot, Age: now.Sub(n.at)})
	}
	clear(r.heard)
	return out
}

// run hands renewals on until ctx ends. A renewal that cannot be handed on is dropped: the node polls again within its period.
func (r *relay) run(ctx context.Context, send func(context.Context, []api.LeaseRenewal) error) {
	t := time.NewTicker(relayEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if batch := r.take(time.Now()); len(batch) > 0 {
			sendCtx, cancel := context.WithTimeout(ctx, time.Second)
			_ = send(sendCtx, batch) // dropped, as said above
			cancel()
		}
	}
}
