package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/state"
)

// copies of the job that most of the story is about.
const copies = 6

// story is one herd of three machines with containers, and what befalls it.
type story struct {
	h        *herd.Herd
	image    string
	before   map[*herd.Node]map[string]bool // what was on the machines before there was work
	embedded bool
}

func TestHerdOnEmbeddedContainerd(t *testing.T) {
	tell(t, herd.Options{Servers: 3, Driver: herd.DriverContainerd}, true)
}

func TestHerdOnDebiansContainerd(t *testing.T) {
	path, err := exec.LookPath("containerd")
	if err != nil {
		t.Skip("needs Debian's package containerd:", err)
	}
	tell(t, herd.Options{Servers: 3, Driver: herd.DriverContainerd, Containerd: path}, false)
}

// TestHerdOnTheHostsContainerd lets all machines share one daemon, as the demo does where the host has one.
func TestHerdOnTheHostsContainerd(t *testing.T) {
	path, err := exec.LookPath("containerd")
	if err != nil {
		t.Skip("needs Debian's package containerd:", err)
	}
	socket := startContainerd(t, path)
	h := form(t, herd.Options{Servers: 3, Driver: herd.DriverContainerd, HostContainerd: socket})
	s := &story{h: h, image: filepath.Join(h.Dir, "hello.tar")} // where Destroy looks for images to remove
	if err := os.Rename(helloImage(t), s.image); err != nil {
		t.Fatal(err)
	}
	t.Run("containers run and answer", s.run)
	t.Run("an agent killed finds its containers", s.killAgent)
	t.Run("the work of a dead machine runs elsewhere", s.death)
	if err := h.Destroy(); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // of a test's own daemon
	if left, err := c.NamespaceService().List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("namespaces left in the host's containerd: %v, %v", left, err)
	}
}

// startContainerd stands for the host's daemon: one of the test's own, beside that of the host.
func startContainerd(t *testing.T, path string) (socket string) {
	t.Helper()
	if !herd.Inside() || herd.OuterUID() != 0 {
		t.Skip("containers need root")
	}
	dir, err := os.MkdirTemp("", "drover-e2e-ctrd-")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "c.sock")
	cmd := exec.Command(path, "--root", filepath.Join(dir, "root"), "--state", filepath.Join(dir, "state"), "--address", socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed
		if err := errors.Join(herd.RemoveTraces(dir), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 20*time.Second, "containerd listens", func(context.Context) error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return socket
}

func tell(t *testing.T, o herd.Options, embedded bool) {
	s := &story{h: form(t, o), embedded: embedded, before: map[*herd.Node]map[string]bool{}}
	s.image = helloImage(t)
	for _, n := range s.h.Nodes {
		s.before[n] = traces(n)
	}
	for _, part := range []struct {
		name string
		tell func(*testing.T)
	}{
		{"containers run and answer", s.run},
		{"a missing image and a missing command are said", s.refusals},
		{"an agent killed finds its containers", s.killAgent},
		{"an exit without containerd is no success", s.exitUnseen},
		{"a rebooted machine starts the same copies again", s.reboot},
		{"a stopped job leaves nothing", s.stop},
		{"the work of a dead machine runs elsewhere", s.death},
	} {
		if !t.Run(part.name, part.tell) {
			t.FailNow() // the rest builds on it
		}
	}
}

func (s *story) run(t *testing.T) {
	n := s.h.Nodes[0]
	file := work{id: "hello", copies: copies, image: s.image, env: map[string]string{"HELLO_TICK": "20ms"}}.file(t)
	says(t, command(t, n, 0, "job", "run", file), "all 6 copies run")
	for _, n := range s.h.Nodes {
		eventually(t, 10*time.Second, "every copy answers", answers("hello", copies, n, nil))
		if len(hellos(n)) == 0 {
			t.Errorf("no copy runs on %s: they are not spread", n.Name)
		}
	}
}

// refusals are failures that no retry mends: the command ends at once and says why.
func (s *story) refusals(t *testing.T) {
	n := s.h.Nodes[0]
	missing := filepath.Join(s.h.Dir, "nowhere.tar")
	out := command(t, n, 1, "job", "run", work{id: "noimage", copies: 1, image: missing, group: never}.file(t))
	says(t, out, "nowhere.tar", "not on this node")
	out = command(t, n, 1, "job", "run", work{id: "nocommand", copies: 1, image: s.image, group: never, config: `entrypoint = ["/bin/nowhere"]`}.file(t))
	says(t, out, "/bin/nowhere")
	// The program says at once what is wrong and ends: the shim copies its output when it is gone already.
	out = command(t, n, 1, "job", "run", work{id: "nosense", copies: 1, image: s.image, group: never, env: map[string]string{"HELLO_TICK": "often"}}.file(t))
	says(t, out, `Terminated: exit code 1`, `the last that task "t" of nosense.g[0] wrote:`, "stdout  hello version 1", `parse HELLO_TICK "often"`)
	for _, id := range []string{"noimage", "nocommand", "nosense"} {
		command(t, n, 0, "job", "stop", "--purge", id)
	}
}

func (s *story) killAgent(t *testing.T) {
	victim, other := s.h.Nodes[1], s.h.Nodes[0]
	before := hellos(victim)
	for _, alloc := range before {
		eventually(t, 5*time.Second, "numbered lines", func(ctx context.Context) error {
			last, err := lastLine(ctx, other, alloc)
			if err == nil && last == 0 {
				err = errors.New("there are none yet")
			}
			return err
		})
	}
	if err := victim.KillAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, time.Second) // lines gather meanwhile
	if now := hellos(victim); !maps.Equal(before, now) {
		t.Fatalf("with the agent dead: %v, before %v", now, before)
	}
	if err := victim.StartAgent(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the agent returns", well(victim))
	if now := hellos(victim); !maps.Equal(before, now) {
		t.Fatalf("with the agent back: %v, before %v", now, before)
	}
	for _, alloc := range before {
		last, err := lastLine(t.Context(), other, alloc)
		if err != nil {
			t.Error(err)
		}
		if last < 50 {
			t.Errorf("only %d lines in a second", last)
		}
	}
	eventually(t, 10*time.Second, "every copy answers", answers("hello", copies, other, nil))
	live, err := running(t.Context(), other, "hello")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range live {
		if x.TaskStates["t"].Restarts != 0 {
			t.Errorf("copy %s was restarted:\n%s", x.ID, events(x))
		}
	}
}

// exitUnseen kills a task, and another one's shim, while neither agent nor containerd is there. How the first ended may be known or
// not; how the second ended nobody can know. Neither is a success.
func (s *story) exitUnseen(t *testing.T) {
	victim, other := s.h.Nodes[2], s.h.Nodes[0]
	jobs := []string{"task-killed", "shim-killed"}
	processes := map[string]herd.Process{}
	for _, id := range jobs {
		file := work{id: id, kind: "batch", copies: 1, image: s.image, node: victim.Name, group: never}.file(t)
		command(t, other, 0, "job", "run", "--detach", file)
		x := becomes(t, other, id, state.ClientRunning)
		processes[id] = helloOf(t, victim, x.ID)
	}
	if err := victim.KillAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.embedded {
		s.killDaemon(t, victim)
	} else if err := victim.KillContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	shim := parentOf(t, processes["shim-killed"].PID)
	for _, pid := range []int{processes["task-killed"].PID, shim, processes["shim-killed"].PID} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // a shim takes its task along
			t.Fatal(err)
		}
	}
	if err := victim.StartAgent(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the agent returns", well(victim))
	for _, id := range jobs {
		x := becomes(t, other, id, state.ClientFailed)
		known := false
		for _, e := range x.TaskStates["t"].Events {
			if e.Type != "Terminated" {
				continue
			}
			known = true
			if !e.Unknown && e.ExitCode != 137 && e.Signal != 9 {
				t.Errorf("%s: exit code %d, signal %d, want 137, 9 or unknown", id, e.ExitCode, e.Signal)
			}
			if id == "shim-killed" && !e.Unknown {
				t.Errorf("%s: exit code %d, want unknown", id, e.ExitCode)
			}
		}
		if !known {
			t.Errorf("%s: no event says how it ended:\n%s", id, events(x))
		}
		says(t, command(t, other, 0, "alloc", "status", x.ID), `Last failure of task "t"`, "  stdout  hello version 1")
		command(t, other, 0, "job", "stop", "--purge", id)
	}
	eventually(t, 10*time.Second, "every copy answers", answers("hello", copies, other, nil))
}

func (s *story) killDaemon(t *testing.T, n *herd.Node) {
	t.Helper()
	for _, p := range n.Processes() {
		if len(p.Args) > 1 && p.Args[1] == "containerd" {
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no containerd runs")
}

// rebooted checks one copy, as it was before and as it is after the reboot of a machine.
func rebooted(before, after api.AllocListItem, there bool) error {
	want := 0
	if there {
		want = 1
	}
	switch {
	case after.ID == "":
		return fmt.Errorf("copy %s on %s does not run", before.ID, before.NodeName)
	case count(after, "Rebooted") != want:
		return fmt.Errorf("copy %s on %s has %d events Rebooted, want %d:\n%s", before.ID, before.NodeName, count(after, "Rebooted"), want, events(after))
	case after.TaskStates["t"].Failed || strings.Contains(events(after), "Terminated"):
		return fmt.Errorf("for copy %s on %s the reboot was a failure:\n%s", before.ID, before.NodeName, events(after))
	}
	return nil
}

// reboot ends everything on a machine at once and starts it again before anybody has given it up.
func (s *story) reboot(t *testing.T) {
	victim, other := s.h.Nodes[1], s.h.Nodes[0]
	before, err := running(t.Context(), other, "hello")
	if err != nil {
		t.Fatal(err)
	}
	old := hellos(victim)
	for _, step := range []func() error{victim.PowerOff, victim.Boot, victim.StartAgent} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 30*time.Second, "the agent returns", well(victim))
	eventually(t, 20*time.Second, "every copy answers", answers("hello", copies, other, nil))
	// A copy answers before its agent's report of the reboot is in the log.
	eventually(t, 20*time.Second, "the reboot is one event of the copies on it, and no failure", func(ctx context.Context) error {
		after, err := running(ctx, other, "hello")
		if err != nil {
			return err
		}
		for id, x := range before {
			if err := rebooted(x, after[id], x.NodeName == victim.Name); err != nil {
				return err
			}
		}
		return nil
	})
	for p := range hellos(victim) {
		if old[p] != "" {
			t.Errorf("process %s is of before the reboot", p)
		}
	}
}

func (s *story) stop(t *testing.T) {
	n := s.h.Nodes[0]
	says(t, command(t, n, 0, "job", "stop", "--purge", "hello"), "have ended")
	eventually(t, 30*time.Second, "nothing is left", nothingLeft(s.before))
}

func (s *story) death(t *testing.T) {
	leader, err := s.h.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	victim, watcher := s.h.Nodes[2], s.h.Nodes[0]
	if leader == victim {
		victim, watcher = s.h.Nodes[0], s.h.Nodes[2]
	}
	command(t, watcher, 0, "job", "run", work{id: "again", copies: copies, image: s.image}.file(t))
	if len(hellos(victim)) == 0 {
		t.Fatalf("no copy runs on %s", victim.Name)
	}
	if err := victim.Die(); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, 30*time.Second, "its work runs elsewhere", answers("again", copies, watcher, victim))
	t.Logf("running elsewhere after %.1f s", took.Seconds())
	out := command(t, watcher, 0, "node", "status")
	says(t, out, victim.Name, "down")
	command(t, watcher, 0, "job", "stop", "--purge", "again")
}

// well is a condition: the agent says that it is well in all its roles.
func well(n *herd.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		h, err := n.API.AgentHealth(ctx)
		if err == nil && (h.Client == nil || !h.Client.OK) {
			err = fmt.Errorf("the agent of %s is not well yet", n.Name)
		}
		return err
	}
}

// wait lets a while pass in the real world, where a fault must last.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
