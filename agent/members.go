package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/gossip"
	"github.com/drover-io/drover/state"
)

const (
	// eagerEvery is how often an agent that is alone tries retry_join at first: its servers are most likely starting too.
	eagerEvery = time.Second
	// tellEvery is how often the log repeats that two machines have one ID.
	tellEvery = time.Minute
	// takenFor is how long the others may find this node's ID taken before the agent believes them.
	takenFor = 30 * time.Second
	// eagerTries is how long it is eager; then retry_interval counts.
	eagerTries = 60
)

// members is gossip as the rest of the agent needs it: an address book and a hint about who died.
type members struct {
	a      *Agent
	log    hclog.Logger
	gossip *gossip.Gossip

	told    map[string]time.Time // node IDs that two machines claim: when that was logged; touched by run alone
	refused time.Time            // when the others first said that this node's ID is taken; touched by run alone
}

// openGossip starts gossiping with this agent's tags.
func (a *Agent) openGossip() error {
	cfg := gossip.DefaultConfig()
	cfg.Name, cfg.Logger = a.id.NodeID, a.log
	cfg.EncryptKey = a.cfg.EncryptKey()
	var err error
	bind := a.cfg.BindAddrs().Serf
	if cfg.BindAddr, cfg.BindPort, err = hostAndPort(bind); err != nil {
		return err
	}
	if cfg.AdvertiseAddr, cfg.AdvertisePort, err = hostAndPort(a.addrs.gossip); err != nil {
		return err
	}
	if cfg.Transport, err = a.network.GossipTransport(bind); err != nil {
		return err
	}
	cfg.Tags = gossip.Tags{
		Name: a.cfg.Name, Datacenter: a.cfg.Datacenter, Region: a.cfg.Region, ClusterID: a.id.ClusterID,
		Server: a.cfg.Server.Enabled, Client: a.cfg.Client.Enabled, Version: a.opts.Version,
		PeerAddr: a.addrs.peer, HTTPAddr: a.addrs.http, Level: state.MaxLevel, Expect: a.cfg.Server.BootstrapExpect,
		Bootstrapped: a.cfg.Server.Enabled && a.dir.hasLog(), // to be safe; corrected when the log has been opened
	}
	g, err := gossip.Open(cfg)
	if err != nil {
		return fmt.Errorf("open gossip: %w", err)
	}
	a.members = &members{a: a, log: a.log.Named("members"), gossip: g, told: map[string]time.Time{}}
	a.closers = append(a.closers, g.Close)
	a.addrs.gossip = g.Addr() // its port may have been 0
	return nil
}

func hostAndPort(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("parse address %q: %w", addr, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return "", 0, fmt.Errorf("parse address %q: port: %w", addr, err)
	}
	return host, n, nil
}

// splitAddr is hostAndPort for display.
func splitAddr(addr string) (string, int) {
	host, port, err := hostAndPort(addr)
	if err != nil {
		return addr, 0
	}
	return host, port
}

// run joins the others and tells the leader's watchkeeper when gossip changes, until ctx ends.
func (m *members) run(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for tries := 1; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.gossip.Changed():
			m.hint()
		case <-retry.C:
			joined, err := m.join(ctx)
			if err != nil {
				return err
			}
			if limit := m.a.cfg.Server.RetryMax; !joined && limit > 0 && tries >= limit {
				return fmt.Errorf("nobody of retry_join (%v) answered in %d attempts", m.a.Config().Server.RetryJoin, tries)
			}
			wait := eagerEvery
			if tries++; joined {
				tries = 1
			} else if tries > eagerTries {
				wait = max(wait, m.a.Config().Server.RetryInterval)
			}
			retry.Reset(wait)
		}
	}
}

// hint wakes the leader's look at the nodes: somebody may have died.
func (m *members) hint() {
	for _, c := range m.gossip.Conflicts() {
		if time.Since(m.told[c.Name]) < tellEvery {
			continue
		}
		m.told[c.Name] = time.Now()
		m.log.Error("two machines have the same node ID: one that moved, whose old address is not given up yet, or two that live; give one of those a data directory of its own",
			"node_id", c.Name, "address", c.Addr, "other_address", c.New)
	}
	if s := m.a.server; s != nil {
		if t := s.term.Load(); t != nil {
			t.watch.hint()
		}
	}
}

// join tries retry_join while this agent is alone; joined is true when it is not. Being refused by name ends the agent: waiting
// would not help.
func (m *members) join(ctx context.Context) (joined bool, err error) {
	others := 0
	for _, x := range m.gossip.Members() {
		if x.Status == gossip.Alive && x.Tags.ID != m.a.id.NodeID {
			others++
		}
	}
	if others > 0 || len(m.a.Config().Server.RetryJoin) == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = m.gossip.Join(ctx, m.joinAddrs())
	switch {
	case errors.Is(err, gossip.ErrOtherCluster), errors.Is(err, gossip.ErrNameTaken) && m.stillTaken():
		return false, fmt.Errorf("the agents of retry_join refuse this one: %w", err)
	case errors.Is(err, gossip.ErrNameTaken):
		m.log.Warn("another machine has this node's ID, or this one under its old address: trying again", "error", err)
	case err != nil:
		m.log.Debug("nobody of retry_join answers yet", "error", err)
	}
	return false, nil
}

// stillTaken reports whether this agent has been refused for longer than it takes the others to find that its old address is dead:
// an agent that is started again at another address is at two places until then.
func (m *members) stillTaken() bool {
	if m.refused.IsZero() {
		m.refused = time.Now()
	}
	return time.Since(m.refused) > takenFor
}

// joinAddrs completes retry_join with the default port.
func (m *members) joinAddrs() []string {
	_, port := splitAddr(m.a.addrs.gossip)
	var out []string
	for _, addr := range m.a.Config().Server.RetryJoin {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(addr, strconv.Itoa(port))
		}
		out = append(out, addr)
	}
	return out
}

func (m *members) all() []gossip.Member { return m.gossip.Members() }

// aliveServers are the live servers, this one included when it is one.
func (m *members) aliveServers() []gossip.Member {
	var out []gossip.Member
	for _, x := range m.gossip.Members() {
		if x.Status == gossip.Alive && x.Tags.Server {
			out = append(out, x)
		}
	}
	return out
}

func (m *members) alive(id string) bool {
	x, ok := m.gossip.Member(id)
	return ok && x.Status == gossip.Alive
}

// dead are the node IDs that gossip calls dead.
func (m *members) dead() map[string]bool {
	out := map[string]bool{}
	for _, x := range m.gossip.Members() {
		if x.Status == gossip.Dead {
			out[x.Tags.ID] = true
		}
	}
	return out
}

// addressOf is a server's present peer address, for raft.
func (m *members) addressOf(id string) (string, bool) { return m.gossip.PeerAddr(id) }

// peerAddr is a member's present peer address, or the fallback.
func (m *members) peerAddr(id, fallback string) string {
	if addr, ok := m.gossip.PeerAddr(id); ok {
		return addr
	}
	return fallback
}

func (m *members) nameOf(id string) string {
	x, _ := m.gossip.Member(id)
	return x.Tags.Name
}

// ping asks a node by gossip's packets.
func (m *members) ping(id string) bool { return m.gossip.Ping(id) }

// setBootstrapped tells the others whether this server has a log.
func (m *members) setBootstrapped(has bool) error {
	t := m.gossip.Tags()
	if t.Bootstrapped == has {
		return nil
	}
	t.Bootstrapped = has
	return m.gossip.UpdateTags(t)
}

// setHistory tells the others which history of the cluster this server's state is of.
func (m *members) setHistory(epoch string, generation uint64) error {
	t := m.gossip.Tags()
	if t.Epoch == epoch && t.Generation == generation {
		return nil
	}
	t.Epoch, t.Generation = epoch, generation
	return m.gossip.UpdateTags(t)
}

// setCluster tells the others which cluster this agent belongs to.
func (m *members) setCluster(id string) error {
	t := m.gossip.Tags()
	t.ClusterID = id
	return m.gossip.UpdateTags(t)
}
