package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

// Options are what an agent gets from its program rather than from its configuration.
type Options struct {
	Version string
	Logger  hclog.Logger
	Network Network        // nil means the machine's own
	Exit    func(code int) // ends the process when going on would do harm; nil means os.Exit
	// Drivers replaces the machine's drivers, for simulations. nil means containerd and exec, as the machine has them.
	Drivers map[string]runtime.Driver
	// BootID replaces the kernel's boot ID, for simulations.
	BootID string
	// Ready is called once the API serves; nil for nobody.
	Ready func()
}

// Agent is one node.
type Agent struct {
	cfg     Config                 // its live keys are in current, see Reload
	opened  Config                 // as it was given to Open
	current atomic.Pointer[Config] // what counts now
	opts    Options
	log     hclog.Logger
	network Network
	dir     *DataDir
	metrics *metrics
	tail    *tail
	addrs   addrs

	mu sync.Mutex
	id Identity // ClusterID, Index and Generation change: guarded by mu; the rest is fixed when Open returns

	peer    *peerPort
	http    net.Listener
	members *members
	peers   *peers
	prober  *prober
	api     *api.Server
	server  *server // nil without the server role
	client  *client // nil without the client role
	images  *images // nil without a driver that keeps images
	drivers map[string]runtime.Driver
	cpusets *runtime.Cpusets // nil where tasks cannot have cores for themselves

	leaving sync.Mutex    // held by whoever takes this agent out of the cluster, for ever once it is out
	left    chan struct{} // closed then

	remembered time.Time // when the newest index was last written to the disk
	closers    []func() error
}

// addrs are the addresses that this agent tells others.
type addrs struct {
	peer, http, gossip string
	hostIP             string // where the ports of its tasks are
}

// Open opens the data directory, listens on every port and wires the organs. Nothing is decided, started or stopped yet: see
// Run. On an error everything is closed again.
func Open(ctx context.Context, cfg Config, opts Options) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.Exit == nil {
		opts.Exit = os.Exit
	}
	if opts.Network == nil {
		opts.Network = hostNetwork{}
	}
	a := &Agent{cfg: cfg, opened: cfg, opts: opts, log: opts.Logger, network: opts.Network, metrics: newMetrics(opts.Version), left: make(chan struct{})}
	a.current.Store(&cfg)
	var deaf func() error
	a.tail, deaf = openTail(opts.Logger)
	a.closers = append(a.closers, deaf)
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Agent) open(ctx context.Context) error {
	raiseFileLimit(a.log)
	if err := a.openIdentity(ctx); err != nil {
		return err
	}
	if err := a.listen(ctx); err != nil {
		return err
	}
	peers, err := newPeers(a.network, a.id.NodeID, a.serverAddrs)
	if err != nil {
		return err
	}
	a.peers = peers
	a.closers = append(a.closers, func() error {
		peers.base.Close()
		return nil
	})
	if err := a.openGossip(); err != nil {
		return err
	}
	a.metrics.watchMembers(a.members.all)
	a.prober = &prober{dial: a.network.Dial, gossip: a.members.ping, ping: func(ctx context.Context, addr string) (*api.PingResponse, error) {
		return a.peers.to(addr).Ping(ctx)
	}}
	if a.cfg.Server.Enabled {
		if a.server, err = openServer(a); err != nil {
			return err
		}
		a.closers = append(a.closers, a.server.close)
		a.metrics.watchServer(a.server)
	}
	if a.cfg.Client.Enabled {
		if a.client, err = openClient(ctx, a); err != nil {
			return err
		}
		a.metrics.watchClient(a.client)
	}
	if a.api, err = api.NewServer(a.backend()); err != nil {
		return err
	}
	a.closers = append(a.closers, func() error {
		a.api.Close()
		return nil
	})
	return nil
}

// openIdentity opens the data directory and learns who this agent is.
func (a *Agent) openIdentity(ctx context.Context) error {
	dir, err := OpenDataDir(a.cfg.DataDir)
	if err != nil {
		return err
	}
	a.dir = dir
	a.closers = append(a.closers, dir.Close)
	// Tasks carry the directory's real name; it must be told apart by it when the machine is asked who it was.
	if a.cfg.DataDir, err = filepath.EvalSymlinks(filepath.Clean(a.cfg.DataDir)); err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	a.id = dir.Identity()
	if a.opts.BootID != "" {
		a.id.BootID = a.opts.BootID
	}
	if a.id.RecoveredFrom != "" {
		a.log.Warn("the node file was damaged; it was moved aside and made anew", "kept", a.id.RecoveredFrom)
	}
	if a.id.IDUnknown && a.cfg.Client.Enabled {
		return a.reclaim(ctx)
	}
	return nil
}

// listen opens the user's and the peers' listeners.
func (a *Agent) listen(ctx context.Context) error {
	peer, err := openPeerPort(ctx, a.network, a.cfg.BindAddrs().RPC, a.log.Named("peer"))
	if err != nil {
		return err
	}
	a.peer = peer
	a.closers = append(a.closers, peer.Close)
	http, err := a.network.Listen(ctx, a.cfg.BindAddrs().HTTP)
	if err != nil {
		return err
	}
	a.http = http
	a.closers = append(a.closers, func() error { return ignoreClosed(http.Close()) })
	adv, err := a.cfg.AdvertiseAddrs()
	if err != nil {
		return err
	}
	adv.RPC, adv.HTTP = withPort(adv.RPC, peer.listener.Addr()), withPort(adv.HTTP, http.Addr())
	host, _, err := net.SplitHostPort(adv.RPC)
	if err != nil {
		return fmt.Errorf("advertise address %q: %w", adv.RPC, err)
	}
	a.addrs = addrs{peer: adv.RPC, http: adv.HTTP, gossip: adv.Serf, hostIP: host}
	return nil
}

// withPort is an address whose port 0, "a free one", became the one that the listener got.
func withPort(addr string, listening net.Addr) string {
	host, port, err := net.SplitHostPort(addr)
	_, got, bad := net.SplitHostPort(listening.String())
	if err != nil || bad != nil || port != "0" {
		return addr
	}
	return net.JoinHostPort(host, got)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run works until ctx ends, until the agent has left the cluster, or until something happens that this agent must not survive. Tasks run on.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.api.ServePeer(ctx, a.peer.httpListener()) })
	g.Go(func() error { return a.api.ServeUser(ctx, a.http) })
	g.Go(func() error { return a.members.run(ctx) })
	g.Go(func() error { return a.members.rejoin(ctx) })
	g.Go(func() error { return a.awaitLeaving(ctx) })
	g.Go(func() error { return a.announce(ctx) })
	if a.server != nil {
		g.Go(func() error { return a.server.run(ctx) })
	}
	if a.client != nil {
		g.Go(func() error { return a.client.run(ctx) })
		if a.images != nil {
			g.Go(func() error { return a.images.run(ctx) })
		}
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, errLeft) {
		return nil
	}
	return err
}

// Close releases everything. Tasks run on; servers hand over leadership.
func (a *Agent) Close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// NodeID is this agent's ID.
func (a *Agent) NodeID() string { return a.id.NodeID }

// Addrs are the addresses that users, peers and gossip reach this agent at.
func (a *Agent) Addrs() (http, peer, gossip string) {
	return a.addrs.http, a.addrs.peer, a.addrs.gossip
}

// boot is the boot counter that this agent speaks under.
func (a *Agent) boot() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.id.Boot
}

// adoptBoot takes the boot counter that the cluster wants this agent to speak under, when it is higher than its own: the machine's
// earlier reports, of which this agent has lost the count, must not look newer than what it says now.
func (a *Agent) adoptBoot(boot uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if boot <= a.id.Boot {
		return nil
	}
	a.id.Boot = boot
	return a.dir.Remember(func(i *Identity) { i.Boot = boot })
}

// clusterID is the cluster that this agent belongs to; "" before it joined one.
func (a *Agent) clusterID() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.id.ClusterID
}

// joinCluster remembers the cluster for ever. An agent that belongs to another one must not go on.
func (a *Agent) joinCluster(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.id.ClusterID {
	case id:
		return nil
	case "":
		// On disk first: an agent that forgot its cluster would believe another one's word that its work is gone.
		if err := a.dir.Remember(func(i *Identity) { i.ClusterID = id }); err != nil {
			return err
		}
		if err := a.members.setCluster(id); err != nil {
			return err
		}
		a.id.ClusterID = id
		return nil
	}
	return fmt.Errorf("data directory %s belongs to cluster %s, not to %s: give this agent another data directory, or point retry_join at its own cluster",
		a.cfg.DataDir, a.id.ClusterID, id)
}

// rememberEvery is how often the newest index is written to disk: it only guards against a server that is behind by more than
// that when the agent is started again, and its first word then is the leader's.
const rememberEvery = 10 * time.Second

// remember notes the newest state that this node obeyed.
func (a *Agent) remember(index, generation uint64, epoch string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	// Compared with what is on the disk: after the last of many changes nothing comes that would write them down.
	disk := a.dir.Identity()
	if disk.Generation == generation && disk.Epoch == epoch && (disk.Index == index || time.Since(a.remembered) < rememberEvery) {
		return nil
	}
	a.id.Index, a.id.Generation, a.id.Epoch, a.remembered = index, generation, epoch, time.Now()
	return a.dir.Remember(func(i *Identity) { i.Index, i.Generation, i.Epoch = index, generation, epoch })
}

// serverAddrs are the peer addresses of the servers, the best to ask first: this agent's own, the leader's, the others'.
func (a *Agent) serverAddrs() []string {
	var out []string
	seen := map[string]bool{"": true}
	add := func(addr string) {
		if !seen[addr] {
			seen[addr] = true
			out = append(out, addr)
		}
	}
	if a.server != nil {
		add(a.addrs.peer)
	}
	if a.client != nil {
		add(a.client.leaderSeen().addr)
	}
	for _, m := range a.members.aliveServers() {
		add(m.Tags.PeerAddr)
	}
	for _, addr := range a.cfg.Client.Servers {
		add(addr)
	}
	// Last those that gossip has given up: it may be gossip alone that is cut.
	for _, m := range a.members.all() {
		if m.Tags.Server {
			add(m.Tags.PeerAddr)
		}
	}
	return out
}
