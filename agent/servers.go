package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

const (
	// manageEvery is how often the leader looks at the set of servers.
	manageEvery = time.Second
	// deadAfter is how long gossip must call a server dead before the leader may remove it.
	deadAfter = 30 * time.Second
)

// levels are the highest levels that the servers announced to the leader of this term.
type levels struct {
	mu   sync.Mutex
	said map[string]int
}

func newLevels() *levels { return &levels{said: map[string]int{}} }

func (l *levels) note(id string, level int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said[id] = level
}

// common is the highest level that every server can apply; known is false while one has not said.
func (l *levels) common(servers []consensus.Peer) (level int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range servers {
		said, ok := l.said[s.ID]
		if !ok {
			return 0, false
		}
		if i == 0 || said < level {
			level = said
		}
	}
	return level, len(servers) > 0
}

// manageServers takes new servers in as non-voters, gives them their vote once they are caught up, removes dead ones that have
// been replaced, and raises the cluster's level once every server can apply it.
func (t *term) manageServers(ctx context.Context) error {
	deadSince := map[string]time.Time{}
	for {
		if err := t.takeIn(ctx); err != nil {
			t.log.Warn("cannot take in a server", "error", err)
		}
		if promoted, err := t.s.raft.PromoteCaughtUp(ctx); err != nil && !errors.Is(err, consensus.ErrBehind) {
			t.log.Warn("cannot promote a server", "error", err)
		} else if len(promoted) > 0 {
			t.log.Info("servers have a vote now", "servers", promoted)
		}
		if err := t.removeDead(ctx, deadSince); err != nil {
			t.log.Warn("cannot remove a dead server", "error", err)
		}
		if err := t.raiseLevel(ctx); err != nil {
			return err
		}
		if err := t.nameEpoch(ctx); err != nil {
			return err
		}
		t.refreshAddresses(ctx)
		if err := t.settleScheduler(ctx); err != nil {
			return err
		}
		if err := pause(ctx, manageEvery); err != nil {
			return err
		}
	}
}

// removeAt removes the server that the new one has taken the address of: it lost its data directory and with it its ID. Raft
// takes no two servers at one address, and what is sent to the old one would reach the new one.
func (t *term) removeAt(ctx context.Context, req *api.JoinRequest) error {
	for _, p := range t.s.raft.Peers() {
		if p.ID == req.NodeID || p.Addr != req.PeerAddr {
			continue
		}
		who, err := t.s.a.peers.to(req.PeerAddr).Ping(ctx)
		if err != nil {
			return fmt.Errorf("ask who is at %s: %w", req.PeerAddr, err)
		}
		if who.NodeID != req.NodeID {
			return fmt.Errorf("server %s is at %s, not %s", who.NodeID, req.PeerAddr, req.NodeID)
		}
		if err := t.s.raft.Remove(ctx, p.ID); err != nil {
			return err
		}
		t.log.Warn("server removed, another one has its address", "id", p.ID, "address", p.Addr, "other_id", req.NodeID)
	}
	return nil
}

// takeIn adds every live server of gossip that has a log of this cluster and is not in the configuration. Those without a log
// ask by themselves, see admit.
func (t *term) takeIn(ctx context.Context) error {
	have := map[string]bool{}
	for _, p := range t.s.raft.Peers() {
		have[p.ID] = true
	}
	snap := t.s.store.Snapshot()
	cluster := snap.ClusterID()
	for _, m := range t.s.a.members.aliveServers() {
		t.levels.note(m.Tags.ID, m.Tags.Level)
		if have[m.Tags.ID] || t.s.departed.recently(m.Tags.ID) || !m.Tags.Bootstrapped || m.Tags.ClusterID != cluster {
			continue
		}
		if m.Tags.Level < t.s.store.Snapshot().Level() {
			t.log.Warn("refuse a server that is too old for the cluster", "server", m.Tags.Name, "its_level", m.Tags.Level)
			continue
		}
		if epoch := m.Tags.Epoch; epoch != "" && snap.Epoch() != "" && epoch != snap.Epoch() {
			t.remark("server "+m.Tags.ID, "refuse a server whose log is of another beginning of the cluster; stop its agent, move raft/ out of "+
				"its data directory and start it: it joins as a new one", "server", m.Tags.Name, "id", m.Tags.ID)
			continue
		}
		if err := t.s.raft.AddNonvoter(ctx, m.Tags.ID, m.Tags.PeerAddr); err != nil {
			return fmt.Errorf("take in server %s: %w", m.Tags.Name, err)
		}
		t.log.Info("server taken in, without a vote until it is caught up", "server", m.Tags.Name, "id", m.Tags.ID)
	}
	return nil
}

// removeDead removes a voter that gossip has called dead for a while, once as many live voters as the cluster expects remain
// without it: its replacement votes already. A removed server that comes back is taken in again like a new one.
func (t *term) removeDead(ctx context.Context, since map[string]time.Time) error {
	alive, dead := 0, []string(nil)
	for _, p := range t.s.raft.Peers() {
		if t.s.a.members.alive(p.ID) || p.ID == t.s.a.id.NodeID {
			delete(since, p.ID)
			if p.Voter {
				alive++
			}
			continue
		}
		if _, ok := since[p.ID]; !ok {
			since[p.ID] = time.Now()
		}
		if time.Since(since[p.ID]) >= deadAfter {
			dead = append(dead, p.ID)
		}
	}
	for _, id := range dead {
		if alive < max(t.s.a.cfg.Server.BootstrapExpect, 3) {
			return nil // nobody has replaced it: it is expected back
		}
		if err := t.s.raft.Remove(ctx, id); err != nil {
			return err
		}
		t.log.Info("dead server removed, it has been replaced", "id", id)
	}
	return nil
}

// raiseLevel logs a higher level once every server of the configuration can apply it.
func (t *term) raiseLevel(ctx context.Context) error {
	t.levels.note(t.s.a.id.NodeID, state.MaxLevel)
	level, known := t.levels.common(t.s.raft.Peers())
	if !known || level <= t.s.store.Snapshot().Level() {
		return nil
	}
	_, _, err := t.s.commit(ctx, state.RaiseLevel{Term: t.number, Level: level, Time: t.clock.Now()})
	if err == nil {
		t.log.Info("cluster level raised", "level", level)
	}
	return err
}

// settleScheduler gives a new cluster, or one whose level was raised, the scheduler configuration of its first leader's files. From
// then on the cluster's own counts, on every server alike.
func (t *term) settleScheduler(ctx context.Context) error {
	snap, cfg := t.s.store.Snapshot(), t.s.a.cfg.Server
	if snap.Level() < 2 || snap.SchedulerConfig() != nil {
		return nil
	}
	_, _, err := t.s.commit(ctx, state.SetSchedulerConfig{
		Config: state.SchedulerConfig{
			SchedulerAlgorithm: cmp.Or(cfg.Algorithm, state.AlgorithmBinPack), MemoryOversubscriptionEnabled: cfg.Oversubscribe, RejectJobRegistration: cfg.RejectJobs,
		},
		EnforceIndex: true, // an operator's word may be on its way
		Time:         t.clock.Now(),
	})
	if errors.Is(err, state.ErrIndexMismatch) {
		return nil
	}
	return err
}
