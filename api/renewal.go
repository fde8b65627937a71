package api

import (
	"time"

	"github.com/cespare/xxhash/v2"
)

// RenewIn is how long a node's next poll waits for news: until the node's own moment of the lease period, which is elsewhere in it for each
// node, and at least for half a period. Who renews at its own moment already waits for a period, who was told something in between for
// half a period up to one and a half, which is as many polls.
//
// Without that, agents that once asked at the same time, because their server had died or because all of them had orders, would renew at
// the same time from then on: of 5,000 agents 1,700, which every five seconds took both processors of three servers from everybody else
// for a third of a second.
func RenewIn(nodeID string, period time.Duration, now time.Time) time.Duration {
	if period <= 0 {
		return 0
	}
	length := uint64(period)
	own, earliest := xxhash.Sum64String(nodeID)%length, uint64(now.Add(period/2).UnixNano())%length
	return period/2 + time.Duration((own+length-earliest)%length)
}
