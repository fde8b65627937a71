package herd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/waitfor"
)

// Drivers of a herd.
const (
	DriverContainerd = "containerd"
	DriverExec       = "exec"
)

// Options say what herd to make.
type Options struct {
	Dir     string // disks of the machines and everything else the herd writes
	Drover  string // the binary
	Servers int    // machines 1 … Servers are servers that also run work
	Clients int    // further machines only run work
	Driver  string // DriverContainerd or DriverExec

	// HostContainerd is the socket of the host's daemon, shared by all machines: they then have their network only. "" gives
	// each machine a daemon of its own.
	HostContainerd string
	// Containerd is a containerd binary to start on each machine before its agent; "" leaves it to the agent to bring its own.
	Containerd string
	// ServersOnly makes servers that run no work.
	ServersOnly bool
	// Loopback makes no machines: the agents share this one's loopback interface, each with ports of its own. For where the
	// kernel gives no namespaces; a machine's death can then only be declared.
	Loopback bool
	// Config is further configuration for every agent, in HCL.
	Config string
	// Prepare, when set, is called for each machine after its first boot and before its agent is started.
	Prepare func(*Node) error
}

// firstPort is the API's port of the first, and outside Loopback of every, agent.
const firstPort = 4646

// Herd is a cluster of agents, each on its own machine.
type Herd struct {
	Options
	Wire  *Wire
	Nodes []*Node
}

// Node is a machine with an agent.
type Node struct {
	*Machine
	Server bool
	API    *api.Client

	herd       *Herd
	cluster    int // 0 is the first
	base       int // port of the API; peers and gossip have the next two
	agent      int // PID of the agent on the machine; 0 when none was started
	containerd int
}

// New boots the machines and starts their agents. It does not wait for a leader: see WaitReady.
func New(o Options) (*Herd, error) {
	h := &Herd{Options: o, Wire: &Wire{}}
	if !o.Loopback {
		w, err := OpenWire()
		if err != nil {
			return nil, err
		}
		h.Wire = w
	}
	for i := range o.Servers + o.Clients {
		if err := h.addNode(fmt.Sprintf("m%d", i+1), i < o.Servers); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	for _, n := range h.Nodes {
		var err error
		if o.Prepare != nil {
			err = o.Prepare(n)
		}
		if err := errors.Join(err, n.StartAgent()); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

func (h *Herd) addNode(name string, server bool) error {
	m, err := h.Wire.NewMachine(name, filepath.Join(h.Dir, name), h.HostContainerd != "")
	if err != nil {
		return err
	}
	n := &Node{Machine: m, Server: server, herd: h, base: firstPort}
	if h.Loopback {
		n.base += 10 * (len(h.Nodes) + 1)
		m.IP, m.local = net.IPv4(127, 0, 0, 1), newLocalMachine()
		h.Wire.machines = append(h.Wire.machines, m)
	}
	if n.API, err = api.New(api.Config{Addr: n.Addr()}); err != nil {
		return err
	}
	h.Nodes = append(h.Nodes, n)
	return n.Boot()
}

// Close powers every machine off and removes the bridge. The disks stay.
func (h *Herd) Close() error { return h.Wire.Close() }

// Keep lets the herd outlive this program.
func (h *Herd) Keep() error {
	var errs []error
	for _, n := range h.Nodes {
		if n.InitPID() != 0 {
			errs = append(errs, n.keep())
		}
	}
	return errors.Join(errs...)
}

// Addr is where the node's agent answers.
func (n *Node) Addr() string { return fmt.Sprintf("http://%s:%d", n.IP, n.base) }

// config is the agent's configuration file.
func (n *Node) config() string {
	var join []string
	expect := 0
	for _, o := range n.herd.Nodes {
		if o.Server && o.cluster == n.cluster {
			expect++
			join = append(join, fmt.Sprintf("\"%s:%d\"", o.IP, o.base+2))
		}
	}
	role := ""
	if n.Server {
		role = fmt.Sprintf("server {\n  enabled          = true\n  bootstrap_expect = %d\n}\n", expect)
	}
	ports := ""
	if n.herd.Loopback {
		low := 20000 + 1000*(n.base-firstPort)/10
		role += fmt.Sprintf("ports {\n  http = %d\n  rpc  = %d\n  serf = %d\n}\n", n.base, n.base+1, n.base+2)
		ports = fmt.Sprintf("  min_dynamic_port = %d\n  max_dynamic_port = %d\n", low, low+999)
	}
	driver := ""
	if n.herd.HostContainerd != "" {
		driver = fmt.Sprintf("drivers {\n  containerd {\n    address = %q\n  }\n}\n", n.herd.HostContainerd)
	}
	return fmt.Sprintf(`name      = %q
data_dir  = %q
bind_addr = %q
insecure  = true # the bridge is this machine's own
log_level = "debug"

%sclient {
  enabled = %v
%s  server_join {
    retry_join = [%s]
  }
}
%s%s
`, n.Name, filepath.Join(n.Dir, "data"), n.IP.String(), role, n.works(), ports, strings.Join(join, ", "), driver, n.herd.Config)
}

// works reports whether the machine runs work.
func (n *Node) works() bool { return !n.Server || !n.herd.ServersOnly }

// Move gives the machine another address. Its agent must be stopped, and told of the new one by starting it again.
func (n *Node) Move() error {
	if err := n.Readdress(); err != nil {
		return err
	}
	n.API.Close()
	var err error
	n.API, err = api.New(api.Config{Addr: n.Addr()})
	return err
}

// AddCluster boots the machines of another cluster on the same wire and starts their agents.
func (h *Herd) AddCluster(servers, clients int) ([]*Node, error) {
	first := len(h.Nodes)
	for i := range servers + clients {
		if err := h.addNode(fmt.Sprintf("m%d", first+i+1), i < servers); err != nil {
			return nil, err
		}
		h.Nodes[first+i].cluster = first
	}
	for _, n := range h.Nodes[first:] {
		if err := n.StartAgent(); err != nil {
			return nil, err
		}
	}
	return h.Nodes[first:], nil
}

// StartAgent starts the machine's agent, and its containerd before when it has one of its own.
func (n *Node) StartAgent() error {
	file := filepath.Join(n.Dir, "agent.hcl")
	if err := os.WriteFile(file, []byte(n.config()), 0o644); err != nil {
		return err
	}
	if n.herd.Containerd != "" {
		if alive, _, err := n.Status(n.containerd); err != nil || n.containerd == 0 || !alive {
			if err := n.StartContainerd(); err != nil {
				return err
			}
		}
	}
	pid, err := n.Start("agent.log", nil, n.herd.Drover, "agent", "--config", file)
	if err != nil {
		return err
	}
	n.agent = pid
	return nil
}

// ContainerdSocket is where the machine's own containerd of Options.Containerd listens, by the machine's paths.
const ContainerdSocket = "/run/containerd/containerd.sock"

// StartContainerd starts the machine's own containerd and waits until it takes connections.
func (n *Node) StartContainerd() error {
	root := filepath.Join(n.Dir, "containerd")
	pid, err := n.Start("containerd.log", nil, n.herd.Containerd, "--root", root, "--state", "/run/containerd", "--address", ContainerdSocket)
	if err != nil {
		return err
	}
	n.containerd = pid
	_, err = waitfor.True(context.Background(), 30*time.Second, 10*time.Millisecond, func(context.Context) error {
		c, err := net.Dial("unix", n.Path(ContainerdSocket))
		if err != nil {
			return err
		}
		return c.Close()
	})
	return err
}

// KillContainerd kills the machine's own containerd -9 and waits until its process is gone.
func (n *Node) KillContainerd(ctx context.Context) error {
	if err := n.Signal(n.containerd, syscall.SIGKILL); err != nil {
		return err
	}
	_, err := n.end(ctx, n.containerd, 5*time.Second)
	return err
}

// SignalAgent sends the agent a signal; a killed agent is started again with StartAgent.
func (n *Node) SignalAgent(sig syscall.Signal) error { return n.Signal(n.agent, sig) }

// AgentAlive reports whether the agent's process is there.
func (n *Node) AgentAlive() bool {
	alive, _, err := n.Status(n.agent)
	return err == nil && alive
}

// KillAgent kills the agent -9 and waits until its process is gone.
func (n *Node) KillAgent(ctx context.Context) error {
	if err := n.SignalAgent(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := n.AgentEnd(ctx, 5*time.Second)
	return err
}

// Drover runs the command line on the wire, asking this node's agent, and returns its output.
func (n *Node) Drover(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, n.herd.Drover, args...)
	cmd.Env = append(os.Environ(), "DROVER_ADDR="+n.Addr())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// AgentEnd waits until the agent's process has ended, and returns its exit code.
func (n *Node) AgentEnd(ctx context.Context, timeout time.Duration) (code int, err error) {
	return n.end(ctx, n.agent, timeout)
}

// end waits until a process that was started on the machine has ended.
func (n *Node) end(ctx context.Context, pid int, timeout time.Duration) (code int, err error) {
	_, err = waitfor.True(ctx, timeout, time.Millisecond, func(context.Context) error {
		alive, c, err := n.Status(pid)
		if code = c; err == nil && alive {
			err = fmt.Errorf("process %d of %s is still there", pid, n.Name)
		}
		return err
	})
	return code, err
}

// Up are the nodes whose machine is on.
func (h *Herd) Up() []*Node {
	var up []*Node
	for _, n := range h.Nodes {
		if n.InitPID() != 0 && n.AgentAlive() {
			up = append(up, n)
		}
	}
	return up
}

// WaitReady waits until there is a leader and every machine that is on is a ready node.
func (h *Herd) WaitReady(ctx context.Context, timeout time.Duration) (time.Duration, error) {
	return h.WaitReadyAt(ctx, timeout, h.Nodes)
}

// WaitReadyAt is WaitReady for the nodes of one cluster.
func (h *Herd) WaitReadyAt(ctx context.Context, timeout time.Duration, of []*Node) (time.Duration, error) {
	return waitfor.True(ctx, timeout, 20*time.Millisecond, func(ctx context.Context) error {
		up := slices.DeleteFunc(h.Up(), func(n *Node) bool { return !slices.Contains(of, n) })
		if len(up) == 0 {
			return errors.New("no agent is running")
		}
		nodes, _, err := up[0].API.Nodes(ctx, api.QueryOptions{})
		if err != nil {
			return err
		}
		ready := map[string]bool{}
		for _, x := range nodes {
			ready[x.Name] = x.Status == "ready"
		}
		for _, n := range up {
			if n.works() && !ready[n.Name] {
				return fmt.Errorf("node %s is not ready", n.Name)
			}
		}
		return nil
	})
}

// Leader is the node whose agent leads.
func (h *Herd) Leader(ctx context.Context) (*Node, error) {
	for _, n := range h.Up() {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		addr, err := n.API.StatusLeader(ctx)
		cancel()
		if err != nil || addr == "" {
			continue
		}
		for _, l := range h.Nodes {
			if addr == fmt.Sprintf("%s:%d", l.IP, l.base+1) && l.AgentAlive() {
				return l, nil
			}
		}
	}
	return nil, errors.New("no leader")
}
