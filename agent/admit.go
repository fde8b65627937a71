package agent

import (
	"context"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// admitEvery is how often a server without a log asks to be taken in.
const admitEvery = 250 * time.Millisecond

// admit keeps a server without a log out of raft until it is known not to be an old member: one that lost its log may have voted
// and acknowledged entries that it no longer knows of. Where there is a cluster its leader takes away the old vote, of this ID or
// of this address, and takes the server in anew. Where there is none it founds one with the others, see bootstrap.
func (s *server) admit(ctx context.Context) error {
	for {
		select {
		case <-s.admitted:
			return nil
		default:
		}
		servers, exists := s.a.members.aliveServers(), false
		for _, m := range servers {
			exists = exists || m.Tags.Bootstrapped
		}
		expect := s.a.cfg.Server.BootstrapExpect
		switch {
		case exists:
			if err := s.askIn(ctx); err == nil {
				s.log.Info("taken into the cluster, without a vote until this server is caught up")
				s.letIn()
				return nil
			} else if ctx.Err() == nil {
				s.log.Debug("not taken in yet", "error", err)
			}
		case expect > 0 && len(servers) >= expect:
			s.letIn() // no server has a log: a new cluster begins
			return nil
		}
		if err := pause(ctx, admitEvery); err != nil {
			return err
		}
	}
}

// askIn asks the leader, through any server, to take this one in.
func (s *server) askIn(ctx context.Context) error {
	return s.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		if peer.Addr() == "http://"+s.a.addrs.peer {
			return api.ErrNotLeader // itself
		}
		_, err := peer.JoinRaft(ctx, &api.JoinRequest{
			NodeID: s.a.id.NodeID, Name: s.a.cfg.Name, PeerAddr: s.a.addrs.peer, ClusterID: s.a.clusterID(), Level: state.MaxLevel,
			Version: s.a.opts.Version, Wiped: true,
		})
		return err
	})
}
