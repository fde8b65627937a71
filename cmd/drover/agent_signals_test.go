package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
)

// agentProcess is `drover agent` with a service manager that listens, and whose signals the test sends.
type agentProcess struct {
	*typing
	signals chan<- os.Signal
	told    lockedBuffer // what the service manager heard, a line for each message
}

func (h *herd) agentProcess(args ...string) *agentProcess {
	h.t.Helper()
	p := &agentProcess{typing: &typing{h: h}}
	socket := filepath.Join(h.t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = l.Close() })
	var manager sync.WaitGroup
	manager.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			fmt.Fprintln(&p.told, strings.ReplaceAll(string(b[:n]), "\n", " "))
		}
	})
	a := h.app(strings.NewReader(""), &p.out, &p.out)
	getenv := a.getenv
	a.getenv = func(name string) string {
		if name == "NOTIFY_SOCKET" {
			return socket
		}
		return getenv(name)
	}
	took := make(chan chan<- os.Signal, 1)
	a.notify = func(c chan<- os.Signal, _ ...os.Signal) { took <- c }
	ctx, cancel := context.WithCancel(h.t.Context())
	p.cancel = cancel
	p.wg.Go(func() { p.code = a.run(ctx, args) })
	h.t.Cleanup(func() { p.end() })
	select {
	case p.signals = <-took:
	case <-time.After(time.Minute):
		h.t.Fatal("the agent does not listen to signals:\n" + p.out.String())
	}
	return p
}

// ends sends a signal that ends the agent, as the system does: the command's context ends with it.
func (p *agentProcess) ends(s os.Signal) int {
	p.signals <- s
	return p.end()
}

// TestAgentReloads: the service manager hears that the agent serves and each reload; what can change at once does, what cannot is
// named, and a bad file changes nothing.
func TestAgentReloads(t *testing.T) {
	t.Parallel()
	h := &herd{t: t, tmp: t.TempDir()}
	file := func(more string) string { return h.file("agent.hcl", "log_level = \"info\"\nname = \"n1\"\n"+more) }
	p := freePorts(t)
	x := h.agentProcess("agent", "--dev", "--config", file(""), "--http-port", fmt.Sprint(p.HTTP), "--rpc-port", fmt.Sprint(p.RPC), "--serf-port", fmt.Sprint(p.Serf),
		"--data-dir", filepath.Join(h.tmp, "data"))
	h.waitFor(&x.told, "READY=1 STATUS=serving\n")
	c, err := api.New(api.Config{Addr: fmt.Sprintf("http://127.0.0.1:%d", p.HTTP)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h.api = c
	if _, err := c.AgentSelf(t.Context()); err != nil {
		t.Errorf("ready, and does not serve: %v", err)
	}
	h.ready()

	x.signals <- syscall.SIGHUP
	x.shows("configuration read anew, nothing has changed")
	h.waitFor(&x.told, "RELOADING=1 MONOTONIC_USEC=")
	if strings.Contains(x.out.String(), "[DEBUG]") {
		t.Errorf("debug lines at level info:\n%s", x.out.String())
	}

	file("log_level = \"debug\"\nports { http = 4999 }\n") // log_level twice
	x.signals <- syscall.SIGHUP
	x.shows("configuration not taken, the old one stays")
	file("acl { enabled = true }\nclient { meta = { rack = \"r9\" } }\n")
	x.signals <- syscall.SIGHUP
	x.shows("there are no access rules yet")

	h.file("agent.hcl", "log_level = \"debug\"\nname = \"n2\"\nclient {\n meta = { rack = \"r1\" }\n node_class = \"big\"\n}\n")
	x.signals <- syscall.SIGHUP
	x.shows("configuration changed: keys=\"log_level, client.meta\"")
	x.shows("these changes of the configuration need a restart of the agent; what it runs runs on: keys=\"name, client.node_class\"")
	x.shows("log level changed: from=info to=debug")
	h.wait("the machine's new meta", func(ctx context.Context) error {
		found, err := h.api.FindNode(ctx, "n1", api.QueryOptions{})
		if err != nil {
			return err
		}
		if n, _, err := h.api.Node(ctx, found.ID, api.QueryOptions{}); err != nil || n.Meta["rack"] != "r1" {
			return fmt.Errorf("%+v, %v", n, err)
		}
		return nil
	})
	x.signals <- syscall.SIGHUP
	h.wait("four reloads", func(context.Context) error {
		if n := strings.Count(x.told.String(), "READY=1"); n != 6 {
			return fmt.Errorf("the manager heard of %d:\n%s", n, x.told.String())
		}
		return nil
	})
	if strings.Count(x.out.String(), "configuration changed") != 1 || strings.Count(x.out.String(), "need a restart") != 2 {
		t.Errorf("what has taken effect is no change the second time, what has not still needs a restart:\n%s", x.out.String())
	}
	view, err := c.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range view.Counters {
		if want := map[string]float64{"applied": 3, "refused": 2}[m.Labels["result"]]; m.Name == "drover_config_reloads_total" && m.Value != want {
			t.Errorf("%v: %v, want %v", m.Labels, m.Value, want)
		}
	}
	if code := x.ends(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
	h.waitFor(&x.told, "STOPPING=1")
	if strings.Contains(x.out.String(), "left the cluster") {
		t.Error("left the cluster unasked")
	}
}

// TestLeaveOnTerminate: an agent that is told to leaves before it ends, and one that must not says why and only ends.
func TestLeaveOnTerminate(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	self, err := h.api.AgentSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := freePorts(t)
	x := h.agentProcess("agent", "--client", "--bind", "127.0.0.1", "--retry-join", self.GossipAddr, "--node", "n2", "--data-dir", filepath.Join(h.tmp, "n2"),
		"--http-port", fmt.Sprint(p.HTTP), "--rpc-port", fmt.Sprint(p.RPC), "--serf-port", fmt.Sprint(p.Serf),
		"--config", h.file("leave.hcl", "leave_on_terminate = true"))
	status := func(want string) {
		t.Helper()
		h.wait("node n2 "+want, func(ctx context.Context) error {
			n, err := h.api.FindNode(ctx, "n2", api.QueryOptions{})
			if err == nil && n.Status != want {
				err = fmt.Errorf("it is %s", n.Status)
			}
			return err
		})
	}
	status("ready")
	if code := x.ends(syscall.SIGTERM); code != 0 || !strings.Contains(x.out.String(), "left the cluster") {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
	status("down")
	if members, err := h.api.AgentMembers(t.Context()); err != nil || len(members.Members) != 2 || members.Members[1].Status != "left" {
		t.Errorf("%+v, %v", members, err)
	}

	args := agentArgs(t, "--data-dir", filepath.Join(h.tmp, "alone"), "--config", filepath.Join(h.tmp, "leave.hcl"))
	alone := h.agentProcess(args...)
	c, err := api.New(api.Config{Addr: "http://127.0.0.1:" + args[5]})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h.wait("a leader", func(ctx context.Context) error {
		me, err := c.AgentSelf(ctx)
		if err == nil && !me.Leader {
			err = fmt.Errorf("it does not lead yet")
		}
		return err
	})
	if code := alone.ends(syscall.SIGTERM); code != 0 || !strings.Contains(alone.out.String(), "this agent ends without leaving") {
		t.Errorf("exit %d:\n%s", code, alone.out.String())
	}
}

// TestDrainAndLeave: what runs on a machine is placed elsewhere before its agent leaves; one that cannot be emptied in time stays.
func TestDrainAndLeave(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	self, err := h.api.AgentSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := freePorts(t)
	x := h.agentProcess("agent", "--client", "--bind", "127.0.0.1", "--retry-join", self.GossipAddr, "--node", "n2", "--data-dir", filepath.Join(h.tmp, "n2"),
		"--http-port", fmt.Sprint(p.HTTP), "--rpc-port", fmt.Sprint(p.RPC), "--serf-port", fmt.Sprint(p.Serf))
	h.wait("node n2", func(ctx context.Context) error {
		n, err := h.api.FindNode(ctx, "n2", api.QueryOptions{})
		if err == nil && n.Status != "ready" {
			err = fmt.Errorf("it is %s", n.Status)
		}
		return err
	})
	h.must("node", "eligibility", "--disable", "n1")
	h.must("job", "run", "--detach", h.file("web.hcl", job("web", "service", 3, `stdout = "x"`)))
	h.waitCopies("web", 3, "running")
	if y := h.run("agent", "leave", "--node", "n2"); y.code != 1 || !strings.Contains(y.err, "allocations run on n2: 3") {
		t.Errorf("left with work: exit %d\n%s", y.code, y.all())
	}
	h.must("node", "eligibility", "--enable", "n1")
	y := h.run("agent", "leave", "--node", "n2", "--drain")
	if y.code != 0 || !strings.Contains(y.err, "3 allocations still there.") || !strings.Contains(y.out, "Its machine is down; nothing ran there.") {
		t.Errorf("exit %d\n%s", y.code, y.all())
	}
	if code := x.done(); code != 0 {
		t.Errorf("the agent: exit %d\n%s", code, x.out.String())
	}
	h.waitCopies("web", 3, "running")
	allocs, _, err := h.api.JobAllocations(t.Context(), "web", api.QueryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range allocs {
		if a.DesiredStatus == "run" && a.NodeName != "n1" {
			t.Errorf("%s is on %s", a.Name, a.NodeName)
		}
	}
	// Nobody else could take it: the agent stays.
	h.must("job", "run", "--detach", h.file("stubborn.hcl", job("stubborn", "service", 1, `ignore_term = true`)))
	h.waitCopies("stubborn", 1, "running")
	y = h.run("agent", "leave", "--drain", "--deadline", "1s")
	if y.code != 1 || !strings.Contains(y.err, "the drain takes longer than 1s; still there: stubborn.g[0]") {
		t.Errorf("exit %d\n%s", y.code, y.all())
	}
}
