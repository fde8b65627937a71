package agent

import (
	"sync"
	"time"
)

const (
	// minLeasePeriod is how often a node renews its lease in a small cluster.
	minLeasePeriod = time.Second
	// maxRenewalsPerSecond bounds what the leader of a large cluster sees: the period is stretched to keep it.
	maxRenewalsPerSecond = 1000
	// overduePeriods is how many lease periods may pass before a node is looked after, and how long a new leader watches
	// before it judges anyone.
	overduePeriods = 3
)

// leasePeriod is how often each of n nodes renews its lease.
func leasePeriod(n int) time.Duration {
	return max(minLeasePeriod, time.Duration(n)*time.Second/maxRenewalsPerSecond)
}

// leases is the leader's memory of when each node was last heard of through its poll. It is never logged: a new leader begins
// with an empty one and counts everybody as heard of when its term began.
type leases struct {
	mu    sync.Mutex
	began time.Time
	heard map[string]renewal
}

// renewal is one sign of life of an agent.
type renewal struct {
	at   time.Time
	boot uint64
}

func newLeases(now time.Time) *leases {
	return &leases{began: now, heard: map[string]renewal{}}
}

// Renew notes a sign of life of the agent with that boot counter; one of an earlier boot is ignored, and one that was relayed and
// came late.
func (l *leases) Renew(nodeID string, boot uint64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.heard[nodeID]; ok && (old.boot > boot || old.boot == boot && old.at.After(now)) {
		return
	}
	l.heard[nodeID] = renewal{at: now, boot: boot}
}

// Age is how long a node has not been heard of.
func (l *leases) Age(nodeID string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.heard[nodeID]; ok && r.at.After(l.began) {
		return now.Sub(r.at)
	}
	return now.Sub(l.began)
}

// Len is of how many nodes something is known.
func (l *leases) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.heard)
}

// Forget drops what is known of a node that is gone from the state.
func (l *leases) Forget(known func(nodeID string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.heard {
		if !known(id) {
			delete(l.heard, id)
		}
	}
}
