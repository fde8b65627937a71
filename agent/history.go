package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/gossip"
	"github.com/drover-io/drover/state"
)

// lookBackEvery is how often a server compares its history with that of the others.
const lookBackEvery = 5 * time.Second

// sameHistory refuses an agent that follows another beginning of this cluster: these servers have lost their state and were founded
// anew under the old name. They know nothing of what the agent runs, and would have it ended.
func (s *server) sameHistory(theirs api.History, who string) error {
	snap := s.store.Snapshot()
	if !theirs.Stranger(snap.Epoch(), snap.Generation()) {
		return nil
	}
	t := s.term.Load()
	if t == nil {
		return api.NewError(api.CodeBehind, "ask the leader", "this server holds another history than %s has seen", who)
	}
	err := api.NewError(api.CodeConflict,
		"restore a backup (`drover operator snapshot restore FILE`) and it comes back by itself; to give up what runs there, "+
			"stop its agent, remove node.json from its data directory and start it",
		"%s belongs to an earlier beginning of cluster %s: the servers have lost their state since and know nothing of what runs there, which goes on running",
		who, snap.ClusterID())
	t.remark(who, "a machine waits for its cluster's state", "machine", who, "reason", err)
	return err
}

// remark logs something once in a term.
func (t *term) remark(about, message string, args ...any) {
	if _, said := t.said.LoadOrStore(about, true); !said {
		t.log.Warn(message, args...)
	}
}

// nameEpoch gives this beginning of the cluster its name, as soon as the cluster's level allows.
func (t *term) nameEpoch(ctx context.Context) error {
	snap := t.s.store.Snapshot()
	if snap.Level() < 2 || snap.Epoch() != "" {
		return nil
	}
	epoch, err := newEpoch()
	if err != nil {
		return err
	}
	_, _, err = t.s.commit(ctx, state.InitCluster{ClusterID: snap.ClusterID(), Epoch: epoch, Time: t.clock.Now()})
	return err
}

func newEpoch() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("mint the cluster's epoch: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// watchHistory tells the others which history this server's state is of, and steps aside when theirs is the later one.
func (s *server) watchHistory(ctx context.Context) error {
	for {
		w := s.store.Watch(state.KeyMeta())
		snap := s.store.Snapshot()
		if err := s.a.members.setHistory(snap.Epoch(), snap.Generation()); err != nil {
			s.log.Warn("cannot tell the others which history this server holds", "error", err)
		}
		if m, overtaken := s.overtaken(snap); overtaken && s.down.Load() == nil {
			s.standDown(m)
		}
		select {
		case <-ctx.Done():
		case <-w.C():
		case <-time.After(lookBackEvery):
		}
		w.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// overtaken is a server whose history began after this one's: the cluster was recovered without this server.
func (s *server) overtaken(snap *state.Snapshot) (gossip.Member, bool) {
	for _, m := range s.a.members.aliveServers() {
		t := m.Tags
		if t.ID != s.a.id.NodeID && t.Bootstrapped && t.ClusterID == snap.ClusterID() && t.Epoch != "" && snap.Epoch() != "" &&
			t.Epoch != snap.Epoch() && t.Generation > snap.Generation() {
			return m, true
		}
	}
	return gossip.Member{}, false
}

// standDown takes this server out of raft until it is started again with an empty log: with an old one it could elect itself, or be
// elected, by servers that were left behind with it, beside the cluster that was recovered.
func (s *server) standDown(because gossip.Member) {
	why := fmt.Sprintf("the cluster was recovered by server %s without this one, whose log is of before: stop this agent, move %s away "+
		"and start it again; it joins as a new server", because.Tags.Name, s.a.dir.Path("raft"))
	s.down.Store(&why)
	s.log.Error("this server takes no part in the cluster any more; what runs here runs on", "reason", why)
	if err := s.raft.Close(); err != nil {
		s.log.Warn("leave raft", "error", err)
	}
}

// unlessDown keeps the agent alive when raft has ended because this server stood down: its machine still runs work.
func (s *server) unlessDown(ctx context.Context, err error) error {
	if errors.Is(err, consensus.ErrClosed) && s.down.Load() != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}
