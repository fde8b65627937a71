package agent

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// pollAddrs are the peer addresses of the servers in the order in which this node's polls go to them: every server answers polls, and
// the leader has other work. This agent's own server comes first, then the live ones in an order that is this node's and stays, so
// that the nodes are spread over them.
func (a *Agent) pollAddrs() []string {
	addrs, own := a.serverAddrs(), 0
	if a.server != nil {
		own = 1
	}
	live := map[string]bool{}
	for _, m := range a.members.aliveServers() {
		live[m.Tags.PeerAddr] = true
	}
	spread(addrs[own:], a.id.NodeID, live)
	return addrs
}

// spread orders addresses for a node: live ones first, by a hash of both; the others stay as they are.
func spread(addrs []string, nodeID string, live map[string]bool) {
	slices.SortStableFunc(addrs, func(x, y string) int {
		switch {
		case live[x] != live[y]:
			if live[x] {
				return -1
			}
			return 1
		case !live[x]:
			return 0
		}
		return cmp.Compare(xxhash.Sum64String(nodeID+x), xxhash.Sum64String(nodeID+y))
	})
}
