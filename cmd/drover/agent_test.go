package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
)

// agentArgs are the flags of an agent on ports that nobody uses.
func agentArgs(t *testing.T, more ...string) []string {
	t.Helper()
	p := freePorts(t)
	return append([]string{"agent", "--dev", "-node", "n1", "-http-port", fmt.Sprint(p.HTTP), "-rpc-port", fmt.Sprint(p.RPC),
		"-serf-port", fmt.Sprint(p.Serf), "--log-level", "warn"}, more...)
}

func TestAgentCommand(t *testing.T) {
	t.Parallel()
	h := &herd{t: t, tmp: t.TempDir()}
	args := agentArgs(t, "--data-dir", filepath.Join(h.tmp, "data"))
	x := h.begin(args...)
	x.shows("drover job status hello\n")
	addr := "http://127.0.0.1:" + args[5]
	c, err := api.New(api.Config{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h.api = c
	h.ready()
	if node, _, err := c.Nodes(t.Context(), api.QueryOptions{}); err != nil || len(node) != 1 || len(node[0].Drivers) != 1 {
		t.Errorf("nodes %+v, %v", node, err)
	}
	screen := x.out.String()
	for _, want := range []string{"Drover dev\n", "Node  n1  (", "Mode  server and client (development)\n", "API  " + addr + "\n", "Data  " + h.tmp,
		"export DROVER_ADDR=" + addr + "\n"} {
		if !strings.Contains(screen, want) {
			t.Errorf("%q is missing on the screen", want)
		}
	}
	if n := strings.Count(screen, "\n"); n > 24 || t.Failed() {
		t.Errorf("the screen has %d lines:\n%s", n, screen)
	}

	second := h.run(agentArgs(t, "--data-dir", filepath.Join(h.tmp, "data"))...)
	if second.code != 1 || !strings.Contains(second.err, fmt.Sprintf("it is in use by the agent with PID %d", os.Getpid())) {
		t.Errorf("a second agent on one data directory: exit %d\n%s", second.code, second.all())
	}
	busy := append(agentArgs(t, "--data-dir", filepath.Join(h.tmp, "other")), "-http-port", args[5])
	if second := h.run(busy...); second.code != 1 || !strings.Contains(second.err, "address already in use") || strings.Count(second.err, "listen") != 1 {
		t.Errorf("a busy port: exit %d\n%s", second.code, second.all())
	}
	if code := x.end(); code != 0 || !strings.Contains(x.out.String(), "Agent stopped. What it ran runs on") {
		t.Errorf("exit %d:\n%s", code, x.out.String())
	}
	again := h.begin(args...)
	again.shows("drover job status hello\n")
	if code := again.end(); code != 0 {
		t.Errorf("started again: exit %d:\n%s", code, again.out.String())
	}
}

// TestFailedStartLeavesNothing checks that a temporary data directory goes with the agent that did not start.
func TestFailedStartLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	h := newHerd(t)
	_, port, _ := strings.Cut(h.addr, ":")
	if x := h.run(append(agentArgs(t), "-http-port", port)...); x.code != 1 {
		t.Errorf("exit %d\n%s", x.code, x.all())
	}
	if left, err := filepath.Glob(tmp + "/drover-dev-*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	h.must("job", "run", "--detach", h.file("web.hcl", job("web", "service", 1, `stdout = "x"`)))
	h.waitCopies("web", 1, "running")
	id := h.idOf("web.g[0]")
	h.must("context", "set", "prod", "--address", "x:1")
	for _, c := range []struct{ line, want string }{
		{"job status ", "web\trunning\n"},
		{"stop w", "web\trunning\n"},
		{"alloc status ", id + "\tweb.g[0] running\n"},
		{"logs " + id + " ", "t\n"},
		{"node status ", "n1\tready\n"},
		{"node lost " + h.idOf("n1")[:4], h.idOf("n1") + "\tn1 ready\n"},
		{"job stop web ", ""},
		{"server members ", ""},
		{"completion ", "install\tPut the completion where new shells of the user find it\nbash\nzsh\nfish\n"},
		{"job status --namespace ", "default\t1 job\n"},
		{"job status --output ", "table\nwide\njson\nyaml\nname\n"},
		{"job wait --for comp", "running\ncomplete\nhealthy\ndead\nstopped\n"},
		{"monitor --node n", "n1\tserver alive\n"},
		{"server force-leave ", "n1\tserver alive\n"},
		{"explain job.all", "job.all_at_once\tplace all copies of a group or none\n"},
		{"--context ", "prod\n"},
		{"context use ", "prod\n"},
		{"jo", "job\tRun and look at jobs\n"},
	} {
		words := strings.Split(c.line, " ")
		x := h.run(append([]string{"__complete"}, words...)...)
		got := x.out[:strings.LastIndex(x.out, ":")]
		if x.code != 0 || got != c.want || !strings.HasPrefix(x.err, "Completion ended") {
			t.Errorf("%q: exit %d, %q, want %q; errors %q", c.line, x.code, got, c.want, x.err)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if x := h.run("completion", shell); x.code != 0 || !strings.Contains(x.out, "__complete") {
			t.Errorf("%s: exit %d", shell, x.code)
		}
	}
	h.stop()
	if x := h.run("__complete", "job", "status", ""); x.code != 0 || x.out != ":4\n" || strings.Contains(x.err, "cannot reach") {
		t.Errorf("without an agent: exit %d, %q, %q", x.code, x.out, x.err)
	}
}

func TestSingleDashes(t *testing.T) {
	root := newRoot(newApp(nil, nil, nil))
	for _, c := range []struct{ in, want string }{
		{"job run -detach x", "job run --detach x"},
		{"job run -var copies=3 x", "job run --var copies=3 x"},
		{"job run -var -detach x", "job run --var -detach x"},
		{"job run -var=-detach x", "job run --var=-detach x"},
		{"-address http://x job run -check-index 3 x", "--address http://x job run --check-index 3 x"},
		{"-address=http://x job status -json", "--address=http://x job status --json"},
		{"logs -f -n 20 x", "logs -f -n 20 x"},
		{"logs -fn20 x", "logs -fn20 x"},
		{"logs -n -3 x", "logs -n -3 x"},
		{"logs -tail 3 -- -tail", "logs --tail 3 -- -tail"},
		{"job status -t {{.ID}}", "job status -t {{.ID}}"},
		{"job status -t -json", "job status -t -json"},
		{"job run -", "job run -"},
		{"job run -nothing x", "job run --nothing x"},
		{"job -help", "job --help"},
		{"-version", "--version"},
		{"agent -dev -meta a=b", "agent --dev --meta a=b"},
		{"__complete job run -det", "__complete job run -det"},
	} {
		if got := strings.Join(doubleDashes(root, strings.Fields(c.in)), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	vars := map[string]string{"NOMAD_NAMESPACE": "old", "NOMAD_ADDR": "http://old", "DROVER_ADDR": "http://new"}
	a := newApp(nil, nil, nil)
	a.getenv = func(name string) string { return vars[name] }
	if a.agentAddr() != "http://new" || a.inNamespace() != "old" {
		t.Errorf("%s, %s", a.agentAddr(), a.inNamespace())
	}
	a.address, a.namespace = "http://flag", "flag"
	if a.agentAddr() != "http://flag" || a.inNamespace() != "flag" {
		t.Errorf("%s, %s", a.agentAddr(), a.inNamespace())
	}
	a.getenv, a.address = func(string) string { return "" }, ""
	if a.agentAddr() != api.DefaultAddr {
		t.Error(a.agentAddr())
	}
}

// TestEveryAgentFlagIsInTheTable guards the bridge between flags and configuration.
func TestEveryAgentFlagIsInTheTable(t *testing.T) {
	cmd := newAgentCommand(newApp(nil, nil, nil))
	for _, k := range agent.ConfigKeys() {
		if k.Flag != "" && cmd.Flags().Lookup(k.Flag) == nil {
			t.Errorf("--%s is no flag of the agent", k.Flag)
		}
	}
	if err := cmd.ParseFlags([]string{"--retry-join", "a", "--retry-join", "b", "--server", "--node", "n"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(givenKeys(cmd.Flags())); got != "[{node n} {server true} {retry-join a} {retry-join b}]" {
		t.Error(got)
	}
}

// TestInterruptedBeforeAnything checks the exit code of a command that was interrupted before it had something to detach from.
func TestInterruptedBeforeAnything(t *testing.T) {
	t.Parallel()
	h := newHerd(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if x := h.runIn(ctx, "", "job", "status"); x.code != exitInterrupted || x.err != "Interrupted.\n" {
		t.Errorf("exit %d: %s", x.code, x.all())
	}
}
