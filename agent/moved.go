package agent

import (
	"context"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

// whoTimeout bounds one question to the address that a machine had before.
const whoTimeout = time.Second

// moved reports whether a machine that the cluster knows at one address, and that now registers from another, has left the first.
// Two live machines with one ID are refused by name (a data directory was copied); a machine whose address changed must not wait
// until its old address is given up, which the eviction guard may put off when all of them have moved.
func (s *server) moved(ctx context.Context, t *term, n *state.Node) bool {
	snap := s.store.Snapshot()
	old := snap.Node(n.ID)
	if old == nil || old.Status == state.NodeStatusDown || old.PeerAddr == n.PeerAddr || snap.Level() < 2 {
		return false
	}
	ask, cancel := context.WithTimeout(ctx, whoTimeout)
	who, err := s.a.peers.to(old.PeerAddr).Ping(ask)
	cancel()
	found := sched.EvidenceNone
	if err != nil {
		found = t.watch.ask(ctx, []api.ProbeTarget{{NodeID: n.ID, PeerAddr: old.PeerAddr}})[n.ID]
	}
	if !hasMoved(old, n, who, found) {
		return false
	}
	t.log.Warn("machine has another address now", "node", n.Name, "id", n.ID, "was", old.PeerAddr, "is", n.PeerAddr)
	return true
}

// hasMoved judges what was found at the old address: who answered, or, when nobody did, what the servers found there.
func hasMoved(old, n *state.Node, who *api.PingResponse, found sched.Evidence) bool {
	switch {
	case who != nil:
		return who.NodeID != n.ID // another agent has the address now
	case found == sched.EvidenceSilent:
		return true // nothing is there, says a majority of the servers
	case found == sched.EvidenceRefused:
		// A machine is there and its agent is not: it may be the one that runs this node's work, and the one that registers a copy of
		// its data directory. The kernel's boot ID tells: it is the same machine under another address.
		return old.BootID != "" && old.BootID == n.BootID && n.Boot > old.Boot
	}
	return false
}

// refreshAddresses writes the present addresses of live servers into the configuration, one in a pass: a server that is started
// alone, with nobody to gossip with, finds the others by them.
func (t *term) refreshAddresses(ctx context.Context) {
	id, err := t.s.raft.RefreshAddress(ctx, t.s.a.members.alive)
	if err != nil {
		t.log.Debug("the configuration keeps an old address", "server", id, "error", err)
	}
}
