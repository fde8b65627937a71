package agent

import (
	"sync"
	"time"

	"github.com/drover-io/drover/state"
)

// clusterClock is cluster time on the leader: the largest stamp in the snapshot that the term began with, plus the monotonic
// time since. It never goes back, and a wall clock that is an hour off cannot move it. The very first leader of a cluster, whose
// state has no stamp yet, starts it at its wall clock.
type clusterClock struct {
	mu     sync.Mutex
	base   int64
	origin time.Time // carries a monotonic reading
	last   int64
}

func newClusterClock(snap *state.Snapshot) *clusterClock {
	now := time.Now()
	base := snap.LatestTime()
	if base == 0 {
		base = now.UnixNano()
	}
	return &clusterClock{base: base, origin: now}
}

// advance has the clock show no less than at from now on.
func (c *clusterClock) advance(at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.base + int64(time.Since(c.origin)); at > now {
		c.base += at - now
	}
}

// Now is cluster time in nanoseconds since the Unix epoch; each call returns a later one.
func (c *clusterClock) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.base + int64(time.Since(c.origin))
	if now <= c.last {
		now = c.last + 1
	}
	c.last = now
	return now
}
