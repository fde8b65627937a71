package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// reclaimAfter is how long a member must be dead before a machine at another address may take its ID.
const reclaimAfter = 5 * time.Second

// retransmit times ceil(log10(members+1)) is how often each member passes on what it hears. With memberlist's 4, 8 of 1,500 herds of
// five had a member that had not heard of another after 3 s, and 2 had one that missed new tags, until the next full exchange (30 s);
// a farewell missed is taken for a death. With 6: none of 1,500.
const retransmit = 6

// ErrClosed: Close was called.
var ErrClosed = errors.New("gossip closed")

// Gossip is this machine among the members.
type Gossip struct {
	cfg    Config
	log    hclog.Logger
	table  *table
	list   *memberlist.Memberlist
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup

	// Turns, not mutexes: whoever has one may wait for the network, and in a synctest bubble waiting for a mutex stops time.
	updating turn // one update or leave at a time
	joining  turn // one join at a time

	mu     sync.Mutex // guards what follows
	closed bool
	left   bool
}

// turn is held by one at a time.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn until ctx ends.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// Open starts gossiping, alone until Join. cfg.Transport, if any, is closed by Close.
func Open(cfg Config) (*Gossip, error) {
	cfg.Tags.ID = cfg.Name
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Gossip{cfg: cfg, log: cfg.Logger.Named("gossip"), table: newTable(cfg), updating: newTurn(), joining: newTurn()}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	mc, err := g.memberlistConfig()
	if err != nil {
		g.cancel()
		return nil, err
	}
	g.list, err = memberlist.Create(mc)
	if err != nil {
		g.cancel()
		return nil, errors.Join(fmt.Errorf("start gossip: %w", err), mc.Transport.Shutdown())
	}
	g.wg.Go(g.rejoin)
	return g, nil
}

func (g *Gossip) memberlistConfig() (*memberlist.Config, error) {
	mc := memberlist.DefaultLANConfig()
	mc.Name = g.cfg.Name
	mc.BindAddr, mc.BindPort = g.cfg.BindAddr, g.cfg.BindPort
	mc.AdvertiseAddr, mc.AdvertisePort = g.cfg.AdvertiseAddr, g.cfg.AdvertisePort
	mc.SecretKey = g.cfg.EncryptKey
	mc.Delegate, mc.Events, mc.Alive, mc.Merge, mc.Conflict = g.table, g.table, g.table, g.table, g.table
	mc.DeadNodeReclaimTime = reclaimAfter
	mc.RetransmitMult = retransmit
	mc.Logger = g.log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	if mc.Transport = g.cfg.Transport; mc.Transport == nil {
		nt, err := openNet(g.ctx, g.cfg, mc.Logger)
		if err != nil {
			return nil, err
		}
		mc.Transport = nt
		mc.BindPort = nt.GetAutoBindPort()
	}
	if mc.AdvertisePort == 0 {
		mc.AdvertisePort = mc.BindPort
	}
	return mc, nil
}

// Close stops gossiping without a word: the others find this member dead. See Leave.
func (g *Gossip) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	err := g.list.Shutdown()
	g.wg.Wait()
	return err
}

// Join contacts members at these addresses (host:port) and learns of all others from them. It returns how many answered, and an
// error only when none did; ErrOtherCluster and ErrNameTaken say that somebody did and refused.
func (g *Gossip) Join(ctx context.Context, addrs []string) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	err := g.spawn(func() {
		var r result
		r.n, r.err = g.join(ctx, addrs)
		done <- r
	})
	if err != nil {
		return 0, fmt.Errorf("join: %w", err)
	}
	select {
	case r := <-done:
		return r.n, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("join: %w", context.Cause(ctx))
	}
}

func (g *Gossip) join(ctx context.Context, addrs []string) (int, error) {
	if err := g.joining.take(ctx); err != nil {
		return 0, fmt.Errorf("join: %w", err)
	}
	defer g.joining.give()
	n := 0
	var errs []error
	for _, addr := range addrs {
		if ctx.Err() != nil || g.ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("join %s: %w", addr, cmp.Or(context.Cause(ctx), ErrClosed)))
			break
		}
		g.table.takeRefusal()
		k, err := g.list.Join([]string{addr})
		n += k
		if err == nil {
			continue
		}
		if refusal := g.table.takeRefusal(); refusal != nil {
			err = fmt.Errorf("join %s: %w", addr, refusal)
		} else if inner := errors.Unwrap(err); inner != nil {
			err = inner // one error, without the list around it
		}
		errs = append(errs, err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, errors.Join(errs...)
}

// Leave tells the others that this member goes on purpose and waits until some have heard, at most timeout. Close follows.
func (g *Gossip) Leave(timeout time.Duration) error {
	if err := g.updating.take(g.ctx); err != nil {
		return fmt.Errorf("leave: %w", ErrClosed)
	}
	defer g.updating.give()
	if err := g.open(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	g.mu.Lock()
	g.left = true
	g.mu.Unlock()
	// memberlist's own farewell looks like a death to its callbacks, so the tags say it first.
	g.table.setTags(func(t *Tags) { t.Left = true })
	start := time.Now()
	if err := g.list.UpdateNode(timeout / 2); err != nil {
		g.log.Warn("leave: the others may take this for a death", "error", err)
	}
	if err := g.list.Leave(max(timeout-time.Since(start), time.Millisecond)); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// UpdateTags changes what this member tells about itself; the others hear of it within a second or two.
func (g *Gossip) UpdateTags(t Tags) error {
	t.ID = g.cfg.Name
	if _, err := t.encode(); err != nil {
		return fmt.Errorf("update tags: %w", err)
	}
	if err := g.updating.take(g.ctx); err != nil {
		return fmt.Errorf("update tags: %w", ErrClosed)
	}
	defer g.updating.give()
	if err := g.open(); err != nil {
		return fmt.Errorf("update tags: %w", err)
	}
	g.table.setTags(func(old *Tags) { *old = t })
	// The broadcast goes out by itself; its error would say no more than that nobody waited for it.
	_ = g.list.UpdateNode(time.Nanosecond)
	return nil
}

// Tags returns what this member tells about itself.
func (g *Gossip) Tags() Tags {
	g.table.mu.Lock()
	defer g.table.mu.Unlock()
	return g.table.tags
}

// Addr returns the host:port at which the others gossip with this member.
func (g *Gossip) Addr() string {
	m, _ := g.Member(g.cfg.Name)
	return m.Addr
}

// Members returns everybody heard of, in order of ID, this member included; the dead and the left for Config.RememberDead.
func (g *Gossip) Members() []Member { return g.table.list() }

// Member returns one member by its ID.
func (g *Gossip) Member(id string) (Member, bool) {
	g.table.mu.Lock()
	defer g.table.mu.Unlock()
	m, ok := g.table.members[id]
	return m, ok
}

// Forget drops a member that is dead or has left; a live one stays, and one that comes back is known again. It reports whether the
// member is gone from the list.
func (g *Gossip) Forget(id string) bool { return g.table.forget(id) }

// PeerAddr returns the peer address that a member last told, alive or not: raft's address book.
func (g *Gossip) PeerAddr(id string) (string, bool) {
	m, ok := g.Member(id)
	return m.PeerAddr, ok && m.PeerAddr != ""
}

// Conflicts returns the node IDs that two live machines claim, as long as they do.
func (g *Gossip) Conflicts() []Conflict { return g.table.conflictList() }

// Changed has something in it after members, tags or conflicts may have changed: look again. Changes while nobody looks are one.
func (g *Gossip) Changed() <-chan struct{} { return g.table.changed }

// open says whether the member still takes part.
func (g *Gossip) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return ErrClosed
	case g.left:
		return errors.New("this member has left")
	}
	return nil
}

// spawn runs f, which Close waits for.
func (g *Gossip) spawn(f func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.wg.Go(f)
	return nil
}

// rejoin looks for one of the dead now and then.
func (g *Gossip) rejoin() {
	tick := time.NewTicker(g.cfg.RejoinInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			return
		}
		var dead []Member
		for _, m := range g.Members() {
			if m.Status == Dead && m.ID != g.cfg.Name {
				dead = append(dead, m)
			}
		}
		if len(dead) == 0 || g.open() != nil {
			continue
		}
		m := dead[rand.IntN(len(dead))]
		if _, err := g.join(g.ctx, []string{m.Addr}); err != nil {
			g.log.Debug("look for dead member", "id", m.ID, "addr", m.Addr, "error", err)
		}
	}
}

// netTransport is memberlist's own transport, whose dials end with the member.
type netTransport struct {
	*memberlist.NetTransport
	ctx context.Context
}

// portTries is how often a free port is tried: it must be free for UDP and for TCP.
const portTries = 10

func openNet(ctx context.Context, cfg Config, logger *log.Logger) (*netTransport, error) {
	tries := 1
	if cfg.BindPort == 0 {
		tries = portTries
	}
	var err error
	for range tries {
		var nt *memberlist.NetTransport
		nt, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort, Logger: logger})
		if err == nil {
			return &netTransport{nt, ctx}, nil
		}
	}
	return nil, fmt.Errorf("listen for gossip on %s port %d: %w; another agent may run here", cfg.BindAddr, cfg.BindPort, err)
}

// DialTimeout connects to a member.
func (t *netTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	return d.DialContext(t.ctx, "tcp", addr)
}

// DialAddressTimeout connects to a member.
func (t *netTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}
