package agenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

// Options say what cluster to make.
type Options struct {
	Servers int // agents that are servers and run work
	Clients int // agents that only run work
	Seed    uint64
	Config  func(i int, c *agent.Config) // changes an agent's configuration; nil changes nothing
	Idle    bool                         // nobody is started; the test does, in its own order
	Net     *simnet.Net                  // nil makes one; two clusters may share one
	Subnet  string                       // first three numbers of the machines' addresses; default "10.0.0"
}

// Cluster is a set of agents on one in-memory network.
type Cluster struct {
	Net   *simnet.Net
	Nodes []*Node

	t     testing.TB
	dir   string
	opts  Options
	logs  *lockedBuffer
	admin *simnet.Host
}

// Node is one machine with its agent.
type Node struct {
	Name    string
	Host    *simnet.Host
	Machine *fake.Machine
	Dir     string // data directory
	API     *api.Client

	c      *Cluster
	index  int
	server bool
	bootID string
	agent  *agent.Agent
	driver *fake.Driver
	cancel context.CancelFunc
	done   chan error
	exited chan int
	wg     sync.WaitGroup
}

// New makes the machines and starts every agent. It must be called inside a synctest bubble.
func New(t testing.TB, dir string, o Options) *Cluster {
	t.Helper()
	if o.Subnet == "" {
		o.Subnet = "10.0.0"
	}
	c := &Cluster{t: t, dir: dir, opts: o, logs: &lockedBuffer{}, Net: o.Net}
	if c.Net == nil {
		c.Net = simnet.New(simnet.Options{Seed: o.Seed})
	}
	c.admin = c.Net.Host("10.0.9.9")
	for i := range o.Servers + o.Clients {
		c.Add(i < o.Servers)
	}
	for _, n := range c.Nodes {
		if !o.Idle {
			n.Start()
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.dumpLogs()
		}
	})
	return c
}

// Add brings another machine, whose agent is a server or only runs work. It is not started.
func (c *Cluster) Add(server bool) *Node {
	i := len(c.Nodes)
	n := &Node{
		Name: fmt.Sprintf("n%d", i+1), Host: c.Net.Host(fmt.Sprintf("%s.%d", c.opts.Subnet, i+1)), Machine: fake.NewMachine(),
		Dir: filepath.Join(c.dir, fmt.Sprintf("%s-n%d", c.opts.Subnet, i+1)), c: c, index: i, server: server, bootID: uuid.NewString(),
	}
	n.API = c.client(fmt.Sprintf("%s:4646", n.Host.IP()))
	c.Nodes = append(c.Nodes, n)
	return n
}

// client asks an agent's user listener, from outside the cluster.
func (c *Cluster) client(addr string) *api.Client {
	cl, err := api.New(api.Config{Addr: "http://" + addr, Dial: func(ctx context.Context, _, a string) (net.Conn, error) {
		return c.admin.Dial(ctx, a)
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// dumpLogs writes the agents' logs where the one who looks for the fault finds them.
func (c *Cluster) dumpLogs() {
	path := filepath.Join(os.TempDir(), "agenttest-"+strings.ReplaceAll(c.t.Name(), "/", "-")+".log")
	if err := os.WriteFile(path, c.logs.Bytes(), 0o600); err != nil {
		c.t.Log("cannot write the agents' logs:", err)
		return
	}
	c.t.Log("the agents' logs:", path)
}

// Close stops every agent and the network, and leaves virtual time for memberlist's probes to drain.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.Stop()
		n.API.Close()
	}
	c.Net.Close()
	time.Sleep(2 * time.Minute)
}

func (n *Node) config() agent.Config {
	cfg := agent.DefaultConfig()
	cfg.Name, cfg.DataDir, cfg.BindAddr, cfg.Insecure = n.Name, n.Dir, n.Host.IP(), true
	cfg.Client.Enabled = true
	if n.server {
		cfg.Server.Enabled, cfg.Server.BootstrapExpect = true, n.c.opts.Servers
	}
	for _, o := range n.c.Nodes[:n.c.opts.Servers] { // the first ones; later servers are found through them
		cfg.Server.RetryJoin = append(cfg.Server.RetryJoin, o.Host.IP())
	}
	if f := n.c.opts.Config; f != nil {
		f(n.index, &cfg)
	}
	return cfg
}

// Start starts the agent on its machine's disk and what runs there.
func (n *Node) Start() {
	n.c.t.Helper()
	if err := n.TryStart(); err != nil {
		n.c.t.Fatalf("start agent %s: %v", n.Name, err)
	}
}

// TryStart is Start for agents that may refuse.
func (n *Node) TryStart() error {
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: n.Name, Level: hclog.Debug, Output: n.c.logs})
	n.driver = fake.New(n.Machine)
	n.exited = make(chan int, 1)
	exited := n.exited
	ctx, cancel := context.WithCancel(context.Background())
	a, err := agent.Open(ctx, n.config(), agent.Options{
		Version: "test", Logger: log, Network: n.Host, BootID: n.bootID,
		Drivers: map[string]runtime.Driver{"fake": n.driver},
		Exit: func(code int) {
			select {
			case exited <- code:
			default:
			}
		},
	})
	if err != nil {
		cancel()
		n.driver.Close()
		return err
	}
	n.agent, n.cancel, n.done = a, cancel, make(chan error, 1)
	done := n.done
	n.wg.Go(func() { done <- a.Run(ctx) })
	return nil
}

// Stop ends the agent in order; what runs on its machine runs on.
func (n *Node) Stop() {
	n.c.t.Helper()
	if n.agent == nil {
		return
	}
	n.cancel()
	n.wg.Wait()
	if err := n.agent.Close(); err != nil {
		n.c.t.Logf("close agent %s: %v", n.Name, err)
	}
	n.driver.Close()
	n.agent = nil
}

// Crash kills the agent: its network goes first, so that nothing it does on its way out reaches anybody. The machine refuses
// connections; what runs on it runs on.
func (n *Node) Crash() {
	n.c.Net.Kill(n.Host, simnet.Refuse)
	n.Stop()
}

// Restart starts a crashed agent again.
func (n *Node) Restart() {
	n.c.t.Helper()
	n.c.Net.Restart(n.Host)
	n.Start()
}

// Move gives a crashed agent's machine another address.
func (n *Node) Move(ip string) {
	n.c.t.Helper()
	n.API.Close()
	n.Host = n.c.Net.Host(ip)
	n.API = n.c.client(ip + ":4646")
}

// Die pulls the machine's plug: nobody answers at its address and what ran on it is gone.
func (n *Node) Die() {
	n.c.Net.Kill(n.Host, simnet.Silent)
	n.Stop()
	n.Machine.Reboot()
	n.bootID = uuid.NewString()
}

// Wipe removes the data directory of a stopped agent.
func (n *Node) Wipe() {
	n.c.t.Helper()
	if err := os.RemoveAll(n.Dir); err != nil {
		n.c.t.Fatal(err)
	}
}

// ID is the node's ID.
func (n *Node) ID() string { return n.agent.NodeID() }

// Running reports whether the agent was started and has not been stopped.
func (n *Node) Running() bool { return n.agent != nil }

// Ended returns why the agent ended by itself, if it did.
func (n *Node) Ended() (error, bool) {
	select {
	case err := <-n.done:
		return err, true
	default:
		return nil, false
	}
}

// Eventually waits in virtual time until check returns nil, and returns how long that took.
func (c *Cluster) Eventually(limit time.Duration, check func() error) time.Duration {
	c.t.Helper()
	start := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			c.t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(max(50*time.Millisecond, time.Since(start)/40)) // what takes long is not looked at so often
	}
}

// Always checks for a while that something stays true.
func (c *Cluster) Always(d time.Duration, check func() error) {
	c.t.Helper()
	for start := time.Now(); time.Since(start) < d; time.Sleep(500 * time.Millisecond) {
		if err := check(); err != nil {
			c.t.Fatalf("after %s: %v", time.Since(start), err)
		}
	}
}

// Leader is the running agent that leads, nil while there is none.
func (c *Cluster) Leader() *Node {
	for _, n := range c.Nodes {
		if n.agent != nil && n.agent.IsLeader() {
			return n
		}
	}
	return nil
}

// WaitReady waits for a leader and for every running agent's machine to be a ready node.
func (c *Cluster) WaitReady(limit time.Duration) time.Duration {
	c.t.Helper()
	return c.Eventually(limit, func() error {
		l := c.Leader()
		if l == nil {
			return errors.New("no leader")
		}
		nodes, err := c.nodesOf(l)
		if err != nil {
			return err
		}
		for _, n := range c.Nodes {
			if n.agent != nil && n.agent.Self().Client && nodes[n.ID()].Status != state.NodeStatusReady {
				return fmt.Errorf("node %s is %q", n.Name, nodes[n.ID()].Status)
			}
		}
		return nil
	})
}

// nodesOf asks an agent for every node, by ID.
func (c *Cluster) nodesOf(via *Node) (map[string]api.NodeListItem, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes, _, err := via.API.Nodes(ctx, api.QueryOptions{})
	out := map[string]api.NodeListItem{}
	for _, n := range nodes {
		out[n.ID] = n
	}
	return out, err
}

// NodeStatus asks an agent for the status of every node, by name.
func (c *Cluster) NodeStatus(via *Node) (map[string]string, error) {
	nodes, err := c.nodesOf(via)
	out := map[string]string{}
	for _, n := range nodes {
		out[n.Name] = n.Status
	}
	return out, err
}

// lockedBuffer collects the agents' logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the buffer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Bytes is what was written.
func (l *lockedBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}
