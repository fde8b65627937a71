package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Server is a member to be: its ID and its address at this moment.
type Server struct {
	ID   string
	Addr string // host:port of its transport
}

// Peer is a member of the configuration as this server knows it.
type Peer struct {
	ID     string
	Addr   string // present address by Config.AddressOf, otherwise the configured one
	Voter  bool
	Leader bool
	// Known on the leader only.
	LastIndex   uint64        // newest entry in the peer's log at its last answer
	LastContact time.Duration // since its last answer; the time since Open when there was none
}

// Bootstrap makes servers, all of them voters, the first configuration of a new cluster. Every one of them may call it with the
// same list. A server with state answers ErrHasState.
func (c *Consensus) Bootstrap(servers []Server) error {
	var conf raft.Configuration
	for _, s := range servers {
		conf.Servers = append(conf.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Addr)})
	}
	ctx, cancel := c.bounded(context.Background())
	defer cancel()
	err := c.ask(ctx, func() error { return c.raft().BootstrapCluster(conf).Error() })
	switch {
	case errors.Is(err, raft.ErrCantBootstrap):
		return fmt.Errorf("bootstrap: %w", ErrHasState)
	case err != nil:
		return fmt.Errorf("bootstrap: %w", err)
	}
	select {
	case c.founded <- struct{}{}:
	default:
	}
	return nil
}

// AddNonvoter adds a server that receives the log and has no vote yet; see Promote. An existing voter stays a voter.
func (c *Consensus) AddNonvoter(ctx context.Context, id, addr string) error {
	return c.change(ctx, "add server "+id, func(limit time.Duration) raft.Future {
		return c.raft().AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, limit)
	})
}

// AddVoter adds a server with a vote, or gives one to a non-voter, without asking whether it is caught up. A server that is far
// behind can stop the cluster from committing: prefer AddNonvoter and Promote.
func (c *Consensus) AddVoter(ctx context.Context, id, addr string) error {
	return c.change(ctx, "add voter "+id, func(limit time.Duration) raft.Future {
		return c.raft().AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, limit)
	})
}

// CaughtUp reports whether a server answers within the heartbeat timeout and has stored everything that was committed one
// heartbeat ago. Only the leader knows.
func (c *Consensus) CaughtUp(id string) bool {
	p := c.trans.progressOf(id)
	return c.IsLeader() && p.caughtUp && time.Since(p.when) < c.cfg.HeartbeatTimeout
}

// Promote gives a non-voter its vote. It answers ErrBehind until the server is caught up, because a voter that is not counts for
// the majority without helping to reach it.
func (c *Consensus) Promote(ctx context.Context, id string) error {
	s, ok := c.member(id)
	switch {
	case !ok:
		return fmt.Errorf("promote %s: %w", id, ErrNoSuchServer)
	case s.Suffrage == raft.Voter:
		return nil
	case !c.IsLeader():
		return fmt.Errorf("promote %s: %w", id, ErrNotLeader)
	case !c.CaughtUp(id):
		return fmt.Errorf("promote %s: %w: has index %d of %d", id, ErrBehind, c.trans.progressOf(id).last, c.CommitIndex())
	}
	return c.AddVoter(ctx, id, string(s.Address))
}

// PromoteCaughtUp promotes every non-voter that is caught up and returns their IDs: one pass of a leader's loop.
func (c *Consensus) PromoteCaughtUp(ctx context.Context) ([]string, error) {
	var promoted []string
	for _, p := range c.Peers() {
		if p.Voter || !c.CaughtUp(p.ID) {
			continue
		}
		if err := c.Promote(ctx, p.ID); err != nil {
			return promoted, err
		}
		promoted = append(promoted, p.ID)
	}
	return promoted, nil
}

// UpdateAddress writes a server's new address into the configuration, for the day when gossip does not know it.
func (c *Consensus) UpdateAddress(ctx context.Context, id, addr string) error {
	s, ok := c.member(id)
	switch {
	case !ok:
		return fmt.Errorf("update address of %s: %w", id, ErrNoSuchServer)
	case string(s.Address) == addr:
		return nil
	case s.Suffrage == raft.Voter:
		return c.AddVoter(ctx, id, addr)
	default:
		return c.AddNonvoter(ctx, id, addr)
	}
}

// RefreshAddress writes the present address, by Config.AddressOf, of one server that current accepts into the configuration, if one
// differs there. It returns that server's ID.
func (c *Consensus) RefreshAddress(ctx context.Context, current func(id string) bool) (string, error) {
	var errs []error
	for _, s := range c.servers() {
		id := string(s.ID)
		addr := c.addressOf(id, "")
		if addr == "" || addr == string(s.Address) || id != c.cfg.NodeID && !current(id) {
			continue
		}
		if err := c.UpdateAddress(ctx, id, addr); err != nil {
			errs = append(errs, err) // another server had this address, and its own entry is not yet changed
			continue
		}
		return id, nil
	}
	return "", errors.Join(errs...)
}

// Remove takes a server out of the configuration. The last voter cannot be removed. A removed leader steps down.
func (c *Consensus) Remove(ctx context.Context, id string) error {
	if _, ok := c.member(id); !ok {
		return fmt.Errorf("remove server %s: %w", id, ErrNoSuchServer)
	}
	return c.change(ctx, "remove server "+id, func(limit time.Duration) raft.Future {
		return c.raft().RemoveServer(raft.ServerID(id), 0, limit)
	})
}

// Transfer hands leadership to the server with this ID, or to the most up to date one when id is empty, and waits until it is
// gone from here.
func (c *Consensus) Transfer(ctx context.Context, id string) error {
	if id == "" {
		return c.question(ctx, "transfer leadership", c.raft().LeadershipTransfer)
	}
	s, ok := c.member(id)
	if !ok {
		return fmt.Errorf("transfer leadership to %s: %w", id, ErrNoSuchServer)
	}
	if s.Suffrage != raft.Voter {
		return fmt.Errorf("transfer leadership to %s: it has no vote; promote it first", id)
	}
	return c.question(ctx, "transfer leadership to "+id, func() raft.Future {
		return c.raft().LeadershipTransferToServer(s.ID, s.Address)
	})
}

// Peers returns the members of the newest configuration that this server has, in its order.
func (c *Consensus) Peers() []Peer {
	_, leader := c.raft().LeaderWithID()
	leading := c.IsLeader()
	var peers []Peer
	for _, s := range c.servers() {
		id := string(s.ID)
		p := Peer{ID: id, Addr: c.addressOf(id, string(s.Address)), Voter: s.Suffrage == raft.Voter, Leader: s.ID == leader}
		switch {
		case id == c.cfg.NodeID:
			p.LastIndex = c.LastIndex()
		case leading:
			at := c.trans.progressOf(id)
			if at.when.IsZero() {
				at.when = c.opened
			}
			p.LastIndex, p.LastContact = at.last, time.Since(at.when)
		}
		peers = append(peers, p)
	}
	return peers
}

// change runs one membership change; raft allows one at a time.
func (c *Consensus) change(ctx context.Context, what string, f func(limit time.Duration) raft.Future) error {
	return c.question(ctx, what, func() raft.Future { return f(c.cfg.ProposeTimeout) })
}

func (c *Consensus) servers() []raft.Server {
	return c.raft().GetConfiguration().Configuration().Servers
}

func (c *Consensus) member(id string) (raft.Server, bool) {
	for _, s := range c.servers() {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

// addressOf is a server's present address, or the fallback.
func (c *Consensus) addressOf(id, fallback string) string {
	if id == c.cfg.NodeID {
		return c.trans.streams.Addr().String()
	}
	if c.cfg.AddressOf != nil {
		if addr, ok := c.cfg.AddressOf(id); ok && addr != "" {
			return addr
		}
	}
	return fallback
}
