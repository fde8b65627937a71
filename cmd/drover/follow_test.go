package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// job is a job file with one task that obeys a script.
func job(id, kind string, count int, script string) string {
	return fmt.Sprintf(`job %q {
  type = %q
  group "g" {
    count = %d
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "t" {
      driver = "fake"
      config {
        %s
      }
    }
  }
}`, id, kind, count, script)
}

// typing is a command that runs while the test goes on.
type typing struct {
	h      *herd
	out    lockedBuffer
	cancel context.CancelFunc
	code   int
	wg     sync.WaitGroup
}

func (h *herd) begin(args ...string) *typing {
	x := &typing{h: h}
	ctx, cancel := context.WithCancel(h.t.Context())
	x.cancel = cancel
	x.wg.Go(func() { x.code = h.app(strings.NewReader(""), &x.out, &x.out).run(ctx, args) })
	h.t.Cleanup(func() { x.end() })
	return x
}

// end interrupts the command, if it still runs, and waits for it.
func (x *typing) end() int {
	x.cancel()
	return x.done()
}

func (x *typing) done() int {
	x.wg.Wait()
	return x.code
}

func (x *typing) shows(text string) {
	x.h.t.Helper()
	x.h.waitFor(&x.out, text)
}

func TestInterruptingDetaches(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	x := h.begin("job", "run", h.file("long.hcl", job("long", "batch", 1, `run_for = "1h"`)))
	x.shows("running on n1")
	if code := x.end(); code != 0 || !strings.Contains(x.out.String(), "Detached. The job goes on. Look with: drover job status long") {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
	h.waitCopies("long", 1, state.ClientRunning)

	x = h.begin("logs", "-f", "long")
	x.shows("Logs of")
	if code := x.end(); code != 0 {
		t.Errorf("following logs, interrupted: exit %d:\n%s", code, x.out.String())
	}

	h.must("job", "run", "--detach", h.file("stubborn.hcl", job("stubborn", "service", 1, `ignore_term = true`)))
	h.waitCopies("stubborn", 1, state.ClientRunning)
	x = h.begin("job", "stop", "stubborn")
	x.shows("asked to stop")
	x.shows("stopping on n1")
	if code := x.end(); code != 0 || !strings.Contains(x.out.String(), "Detached.") {
		t.Errorf("stopping, interrupted: exit %d:\n%s", code, x.out.String())
	}
}

func TestFollowingLogsEndsWithTheTask(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	h.must("job", "run", "--detach", h.file("short.hcl", job("short", "batch", 1, "run_for = \"700ms\"\nstdout = \"done soon\"")))
	h.waitCopies("short", 1, state.ClientRunning)
	x := h.begin("alloc", "logs", "-f", "short")
	if code := x.done(); code != 0 || !strings.Contains(x.out.String(), "done soon\n") {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
	h.waitCopies("short", 1, state.ClientComplete)
}

func TestTheTimeToWaitEnds(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	x := h.run("job", "run", "-timeout", "200ms", h.file("slow.hcl", job("slow", "service", 1, `start_block_for = "1h"`)))
	if x.code != 1 || !strings.Contains(x.out, "The time to wait is over after 0.2 s (") || !strings.Contains(x.out, "0 of 1 running, 1 starting") {
		t.Errorf("exit %d:\n%s", x.code, x.all())
	}
}

func TestARollOutStopsAtWhatFails(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	h.must("job", "run", h.file("a.hcl", job("web", "service", 3, `stdout = "one"`)))
	x := h.run("job", "run", h.file("b.hcl", job("web", "service", 3, "start_error = \"no such image\"\nnot_retryable = true")))
	for _, want := range []string{"is updated to version 1", "1 of 3 copies failed after", "no such image", "2 copies of an older version run on"} {
		if !strings.Contains(x.out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if x.code != 1 || t.Failed() {
		t.Errorf("exit %d:\n%s", x.code, x.all())
	}
}

func TestARestartIsTold(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	text := strings.Replace(job("flaky", "service", 1, "fail_runs = 1\nrun_for = \"1ms\""), "attempts = 0\n      mode     = \"fail\"",
		"attempts = 2\n      delay    = \"50ms\"\n      interval = \"10s\"\n      mode = \"fail\"", 1)
	x := h.run("job", "run", h.file("flaky.hcl", text))
	for _, want := range []string{`task "t": Terminated: exit code 1`, `task "t": Restarting: `, "The copy runs after"} {
		if !strings.Contains(x.out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if x.code != 0 || t.Failed() {
		t.Errorf("exit %d:\n%s", x.code, x.all())
	}
}

// TestEveryExitIsTold: a task that ends at once has ended before the word that it runs was written, and a copy that failed may be
// replaced before anybody looks again.
func TestEveryExitIsTold(t *testing.T) {
	var out lockedBuffer
	h := &herd{t: t}
	f := newFollower(h.app(strings.NewReader(""), &out, &out), nil, "default", "web")
	started := state.TaskEvent{Type: "Started", Time: 2000, Message: "it runs"}
	ended := state.TaskEvent{Type: "Terminated", Time: 1000, Message: "exit code 3", ExitCode: 3}
	look := func(desired, client string, events ...state.TaskEvent) string {
		was := len(out.String())
		f.printEvents(api.AllocListItem{ID: "a", Name: "web.g[0]", DesiredStatus: desired, ClientStatus: client,
			TaskStates: map[string]state.TaskState{"t": {Events: events}}}, false)
		return out.String()[was:]
	}
	if got := look(runs, state.ClientRunning, started); got != "" {
		t.Errorf("a start is told: %q", got)
	}
	if got := look(runs, state.ClientRunning, started, ended); strings.Count(got, "Terminated: exit code 3") != 1 {
		t.Errorf("an exit that is earlier than the start: %q", got)
	}
	if got := look(runs, state.ClientRunning, started, ended); got != "" {
		t.Errorf("told twice: %q", got)
	}
	again := state.TaskEvent{Type: "Terminated", Time: 3000, Message: "exit code 3", ExitCode: 3}
	if got := look(stops, state.ClientFailed, ended, started, again); strings.Count(got, "Terminated") != 1 {
		t.Errorf("the next exit, of a copy that was replaced meanwhile: %q", got)
	}
	late := state.TaskEvent{Type: "Terminated", Time: 9000, Message: "exit code 4", ExitCode: 4}
	if got := look(runs, state.ClientRunning, late); strings.Count(got, "exit code 4") != 1 {
		t.Errorf("what was seen is not among them any more: %q", got)
	}
	if got := look(stops, state.ClientComplete, late, ended); got != "" {
		t.Errorf("the exit of a copy that was to stop is told: %q", got)
	}
}

// TestACopyThatItsNodeSuitsNoMore changes a job so that its copies could stay but for a constraint: only the scheduler knows.
func TestACopyThatItsNodeSuitsNoMore(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	text := job("web", "service", 1, `stdout = "x"`)
	h.must("job", "run", h.file("a.hcl", text))
	text = strings.Replace(text, `group "g" {`, "group \"g\" {\nconstraint {\nattribute = \"${attr.kernel.name}\"\nvalue = \"plan9\"\n}", 1)
	x := h.run("job", "run", h.file("b.hcl", text))
	if x.code != 2 || !strings.Contains(x.out, `plan9" is false: it is "linux" here`) || !strings.Contains(x.out, "Meanwhile 1 copy of an older version may run on.") {
		t.Errorf("exit %d:\n%s", x.code, x.all())
	}
}

func TestSomebodyElseComesInBetween(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	slow := `start_block_for = "1h"`
	x := h.begin("job", "run", h.file("a.hcl", job("web", "service", 1, slow)))
	x.shows("placed on n1")
	h.must("job", "run", "--detach", h.file("b.hcl", job("web", "service", 2, slow)))
	if code := x.done(); code != 1 || !strings.Contains(x.out.String(), "the job was replaced by version 1") {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
	x = h.begin("job", "run", h.file("b.hcl", job("web", "service", 2, slow)))
	x.shows("unchanged")
	h.must("job", "stop", "--detach", "web")
	if code := x.done(); code != 1 || !strings.Contains(x.out.String(), "the job was stopped") {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
}

func TestManyCopiesGetNoLineEach(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	text := strings.Replace(job("many", "service", 30, `stdout = "hi"`), "config {", "resources {\n cpu = 1\n memory = 10\n}\nconfig {", 1)
	x := h.run("job", "run", h.file("many.hcl", text))
	if x.code != 0 || !strings.Contains(x.out, "All 30 copies run after") || strings.Contains(x.out, "placed on n1") {
		t.Errorf("exit %d:\n%s", x.code, x.all())
	}
}

// TestWithoutALeader asks a server that waits for others: what is read is marked as old, what is written is refused with a reason.
func TestWithoutALeader(t *testing.T) {
	t.Parallel()
	h := newHerd(t, func(c *agent.Config) { c.Server.BootstrapExpect = 3 })
	for _, args := range [][]string{{"job", "status", "--stale"}, {"node", "status"}, {"status", "--stale"}, {"operator", "raft", "list-peers", "--stale"}} {
		if x := h.run(args...); x.code != 0 || !strings.Contains(x.err, "Warning: no leader answers.") {
			t.Errorf("%v: exit %d\n%s", args, x.code, x.all())
		}
	}
	start := time.Now()
	x := h.run("job", "run", h.file("a.hcl", job("web", "service", 1, `stdout = "x"`)))
	if x.code != 1 || !strings.HasPrefix(x.err, "Error: no leader: ") {
		t.Errorf("a write: exit %d\n%s", x.code, x.all())
	}
	if took := time.Since(start); took > 7*time.Second {
		t.Errorf("a write was refused after %s", took)
	}
}

// TestOnATerminal follows a job on a pseudo-terminal: progress is one line that is written over, and is gone at the end.
func TestOnATerminal(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	tty, shown := openTerminal(t)
	a := h.app(strings.NewReader(""), tty, tty)
	code := a.run(t.Context(), []string{"job", "run", h.file("a.hcl", job("web", "service", 2, `stdout = "x"`))})
	if err := tty.Close(); err != nil {
		t.Error(err)
	}
	text := shown()
	if code != 0 || !strings.Contains(text, "[====================] 2 of 2 running") || !strings.Contains(text, "\r\033[KAll 2 copies run after") {
		t.Errorf("exit %d: %q", code, text)
	}
	for _, line := range strings.Split(text, "\r\n") {
		if last := line[strings.LastIndex(line, "\r")+1:]; strings.Contains(last, "[=") {
			t.Errorf("progress was left standing: %q", line)
		}
	}
	tty, shown = openTerminal(t)
	a = h.app(strings.NewReader(""), tty, tty)
	if code := a.run(t.Context(), []string{"job", "validate", "testdata/broken.hcl"}); code != 1 {
		t.Errorf("exit %d", code)
	}
	if err := tty.Close(); err != nil {
		t.Error(err)
	}
	if text := shown(); !strings.Contains(text, "\033[1;31merror:") {
		t.Errorf("no colour on a terminal: %q", text)
	}
}

// openTerminal opens a pseudo-terminal. The function it returns waits until the terminal is closed and says what it showed.
func openTerminal(t *testing.T) (tty *os.File, shown func() string) {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	t.Cleanup(func() { _ = ptmx.Close() })
	var unlock, number int32
	for _, ask := range []struct {
		what uintptr
		arg  *int32
	}{{unix.TIOCSPTLCK, &unlock}, {unix.TIOCGPTN, &number}} {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, ptmx.Fd(), ask.what, uintptr(unsafe.Pointer(ask.arg))); e != 0 {
			t.Skip("no pseudo-terminals here:", e)
		}
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	var all strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := ptmx.Read(buf)
			all.Write(buf[:n])
			if err != nil { // EIO: the other end is closed
				return
			}
		}
	})
	return tty, func() string {
		wg.Wait()
		return all.String()
	}
}

// TestLeadershipMoves runs three agents: leadership is handed over, and the leader ends while a command follows a job.
func TestLeadershipMoves(t *testing.T) {
	t.Parallel()
	ports := []agent.Ports{freePorts(t), freePorts(t), freePorts(t)}
	var herds []*herd
	for i := range ports {
		herds = append(herds, newHerd(t, func(c *agent.Config) {
			c.Name, c.Ports, c.Server.BootstrapExpect = fmt.Sprintf("n%d", i+1), ports[i], 3
			for _, p := range ports {
				c.Server.RetryJoin = append(c.Server.RetryJoin, fmt.Sprintf("127.0.0.1:%d", p.Serf))
			}
			c.Server.RetryInterval = time.Second
		}))
	}
	h := herds[0]
	h.wait("three voters and three nodes", func(ctx context.Context) error {
		conf, _, err := h.api.RaftConfiguration(ctx, api.QueryOptions{})
		if err != nil {
			return err
		}
		nodes, _, err := h.api.Nodes(ctx, api.QueryOptions{})
		voters := 0
		for _, p := range conf.Servers {
			if p.Voter {
				voters++
			}
		}
		if err == nil && (voters != 3 || len(nodes) != 3) {
			err = fmt.Errorf("%d voters, %d nodes", voters, len(nodes))
		}
		return err
	})
	leader := func() int {
		self := -1
		h.wait("a leader", func(ctx context.Context) error {
			for i, x := range herds {
				if me, err := x.api.AgentSelf(ctx); err == nil && me.Leader {
					self = i
					return nil
				}
			}
			return fmt.Errorf("none")
		})
		return self
	}
	from := leader()
	to, err := herds[(from+1)%3].api.AgentSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out := h.must("operator", "raft", "transfer-leadership", "--peer-id", to.NodeID); out != "Leadership handed over.\n" {
		t.Errorf("%q", out)
	}
	h.wait("the new leader", func(ctx context.Context) error {
		if me, err := herds[(from+1)%3].api.AgentSelf(ctx); err != nil || !me.Leader {
			return fmt.Errorf("%+v, %v", me, err)
		}
		return nil
	})

	number := (from + 2) % 3
	watcher := herds[number]
	here := fmt.Sprintf("constraint {\n attribute = \"${node.unique.name}\"\n value = \"n%d\"\n}\ntask \"t\" {", number+1)
	text := strings.Replace(job("sum", "batch", 2, `run_for = "2s"`), `task "t" {`, here, 1)
	x := watcher.begin("job", "run", h.file("sum.hcl", text))
	x.shows("running on")
	herds[(from+1)%3].stop()
	if code := x.done(); code != 0 || !strings.Contains(x.out.String(), "All 2 copies ended well") {
		t.Errorf("the leader ended meanwhile: exit %d:\n%s", code, x.out.String())
	}
	if out := watcher.must("operator", "raft", "remove-peer", to.NodeID); !strings.Contains(out, "no longer") {
		t.Errorf("%q", out)
	}
}
