package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd"
	"github.com/drover-io/drover/state"
)

// reclaim finds out who this machine was when its data directory is new: what runs on it carries the node's ID. Taking the ID back
// keeps what runs; under a new one the cluster would end it and start it again elsewhere. What runs for several IDs (a directory
// restored in the wrong place) proves nothing, and a new ID is kept.
func (a *Agent) reclaim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fingerprintTimeout)
	defer cancel()
	ids, err := a.witnesses(ctx)
	if err != nil {
		a.log.Warn("cannot ask what runs on this machine who it was", "error", err)
		return nil
	}
	delete(ids, "")
	if len(ids) != 1 {
		if len(ids) > 1 {
			a.log.Warn("what runs on this machine carries several node IDs; keeping a new one", "ids", fmt.Sprint(ids))
		}
		return nil
	}
	for id := range ids {
		if _, err := uuid.Parse(id); err != nil {
			return nil
		}
		if err := a.dir.Remember(func(i *Identity) { i.NodeID = id }); err != nil {
			return err
		}
		a.id.NodeID, a.reclaimed = id, true
		a.log.Warn("the data directory is new; the node ID was taken back from what runs on this machine", "node_id", id)
	}
	return nil
}

// witnesses are the node IDs on the labels of what this data directory's drivers run, with how often each was seen.
func (a *Agent) witnesses(ctx context.Context) (map[string]int, error) {
	ids := map[string]int{}
	drivers := a.opts.Drivers
	if drivers == nil {
		plain, err := a.openExec()
		if err != nil {
			return nil, err
		}
		drivers = map[string]runtime.Driver{plain.Name(): plain}
		if os.Geteuid() == 0 {
			found, err := containerd.NodeIDs(ctx, containerd.Config{Address: a.cfg.Drivers.ContainerdAddress, DataDir: a.cfg.DataDir, Logger: a.log})
			if err != nil {
				return nil, err
			}
			for _, id := range found {
				ids[id]++
			}
		}
	}
	for _, d := range drivers {
		found, err := d.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			ids[f.Labels[runtime.LabelNode]]++
		}
	}
	return ids, nil
}

// admitEvery is how often a server that lost its log asks to be taken in.
const admitEvery = 250 * time.Millisecond

// admit keeps a server that lost its log, but not its ID, out of raft until the leader has taken away its old vote: it may have
// voted and acknowledged entries that it no longer knows of. Where no cluster is left it may found one with the others.
func (s *server) admit(ctx context.Context) error {
	for {
		select {
		case <-s.admitted:
			return nil
		default:
		}
		exists := false
		for _, m := range s.a.members.aliveServers() {
			exists = exists || m.Tags.ClusterID != ""
		}
		switch {
		case exists:
			err := s.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
				if peer.Addr() == "http://"+s.a.addrs.peer {
					return api.ErrNotLeader // itself
				}
				_, err := peer.JoinRaft(ctx, &api.JoinRequest{
					NodeID: s.a.id.NodeID, Name: s.a.cfg.Name, PeerAddr: s.a.addrs.peer, Level: state.MaxLevel,
					Version: s.a.opts.Version, Wiped: true,
				})
				return err
			})
			if err == nil {
				s.log.Info("taken in anew after the log was lost")
				close(s.admitted)
				return nil
			}
			s.log.Debug("not taken in yet", "error", err)
		case len(s.a.members.aliveServers()) >= s.a.cfg.Server.BootstrapExpect && s.a.cfg.Server.BootstrapExpect > 0:
			close(s.admitted) // every server lost its log: a new cluster begins
			return nil
		}
		if err := pause(ctx, admitEvery); err != nil {
			return err
		}
	}
}
