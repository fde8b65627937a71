package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
)

// bootstrapEvery is how often a server without a log looks whether the cluster can begin.
const bootstrapEvery = 250 * time.Millisecond

// bootstrap founds the cluster once: when exactly bootstrap_expect servers know each other by gossip and each confirms that it
// has no log and expects as many, the one with the lowest ID writes the first configuration, and the others hear of it by raft.
// A server whose gossip knows of a cluster already founds nothing; its leader takes it in.
func (s *server) bootstrap(ctx context.Context) error {
	expect := s.a.cfg.Server.BootstrapExpect
	for said := ""; ; {
		wiped, err := s.wiped()
		if err != nil {
			return err
		}
		if !wiped {
			return nil
		}
		founders, why := s.founders(ctx, expect)
		if founders != nil {
			s.log.Info("founding the cluster", "servers", len(founders))
			if err := s.raft.Bootstrap(founders); err != nil && !errors.Is(err, consensus.ErrHasState) {
				return fmt.Errorf("found the cluster: %w", err)
			}
			return nil
		}
		if why != said {
			s.log.Info("waiting for the cluster to begin", "reason", why)
			said = why
		}
		if err := pause(ctx, bootstrapEvery); err != nil {
			return err
		}
	}
}

// founders is the first configuration when this server is the one to write it, or why not now.
func (s *server) founders(ctx context.Context, expect int) ([]consensus.Server, string) {
	if expect < 1 {
		return nil, "bootstrap_expect is not set: waiting for a cluster to take this server in"
	}
	self := consensus.Server{ID: s.a.id.NodeID, Addr: s.a.addrs.peer}
	all := []consensus.Server{self}
	for _, m := range s.a.members.aliveServers() {
		if m.Tags.ID == self.ID {
			continue
		}
		if m.Tags.Bootstrapped {
			return nil, "server " + m.Tags.Name + " has a log already: waiting for its cluster to take this server in"
		}
		all = append(all, consensus.Server{ID: m.Tags.ID, Addr: m.Tags.PeerAddr})
	}
	if len(all) != expect {
		return nil, fmt.Sprintf("%d of %d servers found by gossip", len(all), expect)
	}
	slices.SortFunc(all, func(a, b consensus.Server) int { return strings.Compare(a.ID, b.ID) })
	if all[0].ID != self.ID {
		return nil, "server " + all[0].ID + " founds the cluster"
	}
	for _, other := range all[1:] {
		if why := s.confirm(ctx, other, expect); why != "" {
			return nil, why
		}
	}
	return all, ""
}

// confirm asks another server whether both may found a cluster; "" is yes.
func (s *server) confirm(ctx context.Context, other consensus.Server, expect int) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	resp, err := s.a.peers.to(other.Addr).ConfirmBootstrap(ctx, &api.BootstrapRequest{
		NodeID: s.a.id.NodeID, PeerAddr: s.a.addrs.peer, Expect: expect,
	})
	switch {
	case err != nil:
		return fmt.Sprintf("server %s does not confirm: %s", other.ID, err)
	case resp.NodeID != other.ID:
		return fmt.Sprintf("server %s answers at the address of %s", resp.NodeID, other.ID)
	case resp.HasLog:
		return fmt.Sprintf("server %s has a log already: its cluster must take this one in", other.ID)
	case resp.Expect != expect:
		return fmt.Sprintf("server %s expects %d servers, this one %d: set bootstrap_expect alike", other.ID, resp.Expect, expect)
	}
	return ""
}
