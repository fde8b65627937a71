package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
)

// apart is a cluster whose servers run no work, so that what is done to them is done to them alone, and work for it: containers, or
// without root plain processes.
func apart(t *testing.T) (*herd.Herd, work) {
	t.Helper()
	w, driver := work{id: "web", copies: 4}, herd.DriverExec
	if herd.Inside() && herd.OuterUID() == 0 {
		w.image, driver = helloImage(t), herd.DriverContainerd
	}
	return form(t, herd.Options{Servers: 3, Clients: 2, Driver: driver, ServersOnly: true}), w
}

// started names every process of hello on the machines for ever: PID and start time.
func started(nodes []*herd.Node) map[string]bool {
	out := map[string]bool{}
	for _, n := range nodes {
		for _, p := range herd.Named(n.Processes(), filepath.Base(env.hello)) {
			out[fmt.Sprintf("%s/%d@%d", n.Name, p.PID, p.Start)] = true
		}
	}
	return out
}

// sameProcesses fails when a process that ran is gone or another one runs.
func sameProcesses(t *testing.T, nodes []*herd.Node, before map[string]bool) {
	t.Helper()
	after := started(nodes)
	for p := range before {
		if !after[p] {
			t.Errorf("process %s was ended", p)
		}
	}
	for p := range after {
		if !before[p] {
			t.Errorf("process %s was started", p)
		}
	}
}

// written waits until servers have written a file of their data directory.
func written(t *testing.T, name string, ok func(text string) bool, on ...*herd.Node) {
	t.Helper()
	eventually(t, 40*time.Second, name, func(context.Context) error {
		for _, n := range on {
			text, err := os.ReadFile(filepath.Join(n.Dir, "data", name))
			if err != nil {
				return err
			}
			if !ok(string(text)) {
				return fmt.Errorf("on %s: %s", n.Name, text)
			}
		}
		return nil
	})
}

func endAgent(t *testing.T, n *herd.Node, sig syscall.Signal) {
	t.Helper()
	if err := n.SignalAgent(sig); err != nil {
		t.Fatal(err)
	}
	if _, err := n.AgentEnd(t.Context(), 20*time.Second); err != nil {
		t.Fatal(err)
	}
}

// settled waits until the copies of a job run and answer, and nothing was started beside them.
func settled(t *testing.T, ask *herd.Node, job string, copies int) {
	t.Helper()
	eventually(t, 90*time.Second, "copies of "+job, answers(job, copies, ask, nil))
}

// TestEveryServerMoves: all servers stop, get other addresses and start again. The quorum forms by itself, the machines that ran on
// find it, and no container is touched.
func TestEveryServerMoves(t *testing.T) {
	h, web := apart(t)
	workers, servers := h.Nodes[3:], h.Nodes[:3]
	command(t, workers[0], 0, "job", "run", web.file(t))
	settled(t, workers[0], "web", 4)
	written(t, "members.json", func(text string) bool { return strings.Count(text, ":4648") == 5 }, servers...)
	before := started(workers)
	if len(before) != 4 {
		t.Fatalf("processes: %v, want 4", before)
	}
	for _, n := range servers {
		endAgent(t, n, syscall.SIGTERM)
	}
	for _, n := range servers {
		if err := n.Move(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range servers {
		if err := n.StartAgent(); err != nil {
			t.Fatal(err)
		}
	}
	took := eventually(t, time.Minute, "a leader", func(ctx context.Context) error { _, err := h.Leader(ctx); return err })
	t.Log("a leader after", took)
	took = eventually(t, 2*time.Minute, "every machine finds the servers", func(ctx context.Context) error {
		for _, w := range workers {
			health, err := w.API.AgentHealth(ctx)
			if err != nil {
				return err
			}
			if !health.Client.OK {
				return errors.New(w.Name + ": " + health.Client.Message)
			}
		}
		return nil
	})
	t.Log("every machine is in touch after", took)
	if _, err := h.WaitReady(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	settled(t, workers[0], "web", 4)
	sameProcesses(t, workers, before)
	command(t, workers[1], 0, "job", "run", work{id: "after", copies: 1, image: web.image}.file(t))
}

// TestRecoverFromOneServer: two of three servers lose their data. `operator recover` on the third brings the cluster back, and no
// container is touched.
func TestRecoverFromOneServer(t *testing.T) {
	h, web := apart(t)
	workers, survivor := h.Nodes[3:], h.Nodes[0]
	command(t, workers[0], 0, "job", "run", web.file(t))
	settled(t, workers[0], "web", 4)
	before := started(workers)
	if len(before) != 4 {
		t.Fatalf("processes: %v, want 4", before)
	}
	says(t, command(t, survivor, 1, "operator", "recover", "--yes"), "has a leader")
	written(t, "standing.json", func(text string) bool { return strings.Contains(text, "Commit") }, survivor)
	for _, n := range h.Nodes[1:3] {
		endAgent(t, n, syscall.SIGKILL)
		if err := os.RemoveAll(filepath.Join(n.Dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Nodes[1].StartAgent(); err != nil { // one of them comes back with nothing
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the survivor knows that it is alone", func(ctx context.Context) error {
		v, err := survivor.API.SurveyRecovery(ctx)
		if err == nil && v.Leader != "" {
			err = errors.New("there is a leader at " + v.Leader)
		}
		return err
	})
	says(t, command(t, survivor, 0, "operator", "recover", "--dry-run"), "known committed", "does not answer", "at risk", "kept:")
	says(t, command(t, survivor, 1, "operator", "recover"), "at risk", "--yes")
	says(t, command(t, survivor, 0, "operator", "recover", "--yes"), "at risk", "goes on with server m1 alone")
	eventually(t, 20*time.Second, "the survivor leads", func(ctx context.Context) error {
		l, err := h.Leader(ctx)
		if err == nil && l != survivor {
			err = errors.New(l.Name + " leads")
		}
		return err
	})
	if err := h.Nodes[2].StartAgent(); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, time.Minute, "three servers vote", func(ctx context.Context) error {
		conf, _, err := survivor.API.RaftConfiguration(ctx, api.QueryOptions{})
		if err != nil {
			return err
		}
		voters := 0
		for _, p := range conf.Servers {
			if p.Voter {
				voters++
			}
		}
		if voters != 3 || len(conf.Servers) != 3 {
			return fmt.Errorf("%d of %d servers vote", voters, len(conf.Servers))
		}
		return nil
	})
	t.Log("three servers vote after", took)
	if _, err := h.WaitReady(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	settled(t, workers[1], "web", 4)
	sameProcesses(t, workers, before)
	if err := survivor.KillAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the other two go on", func(ctx context.Context) error {
		_, err := workers[1].API.StopJob(ctx, "web", true, api.WriteOptions{})
		return err
	})
}

// TestRestoreIntoAnotherCluster: a snapshot of one cluster runs the same jobs in another, the first one notices nothing, files are
// the same byte for byte, and one that was cut or changed is refused.
func TestRestoreIntoAnotherCluster(t *testing.T) {
	h := form(t, herd.Options{Servers: 1, Clients: 1, Driver: herd.DriverExec})
	old := h.Nodes
	command(t, old[1], 0, "job", "run", work{id: "web", copies: 3}.file(t))
	command(t, old[1], 0, "job", "run", work{id: "side", copies: 1}.file(t))
	settled(t, old[0], "web", 3)
	settled(t, old[0], "side", 1)
	before := started(old)
	dir := t.TempDir()
	first, second, third := filepath.Join(dir, "1.snap"), filepath.Join(dir, "2.snap"), filepath.Join(dir, "3.snap")
	command(t, old[0], 0, "operator", "snapshot", "save", first)
	command(t, old[0], 0, "operator", "snapshot", "restore", first)
	settled(t, old[0], "web", 3)
	command(t, old[1], 0, "operator", "snapshot", "save", second)
	sameFile(t, first, second)
	sameProcesses(t, old, before)

	young, err := h.AddCluster(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WaitReadyAt(t.Context(), time.Minute, young); err != nil {
		t.Fatal(err)
	}
	says(t, command(t, young[1], 0, "operator", "snapshot", "restore", first), "restored", "stays", "own machines")
	settled(t, young[0], "web", 3)
	settled(t, young[1], "side", 1)
	if got := len(started(young)); got != 4 {
		t.Errorf("%d processes run in the new cluster, want 4", got)
	}
	sameProcesses(t, old, before)
	command(t, young[0], 0, "operator", "snapshot", "save", third)
	refuseDamaged(t, young[0], third)
	settled(t, young[0], "web", 3)
	settled(t, old[0], "web", 3)
	sameProcesses(t, old, before)
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("saved, restored and saved again:\n%s\n%s", x, y)
	}
}

// refuseDamaged sends a server 1,000 damaged files past the command line, which would not send them.
func refuseDamaged(t *testing.T, n *herd.Node, path string) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		at := rng.IntN(len(whole))
		data := whole[:at]
		if i%2 == 0 {
			data = bytes.Clone(whole)
			data[at] ^= 1 << rng.IntN(8)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := n.API.RestoreSnapshot(ctx, bytes.NewReader(data), int64(len(data)))
		cancel()
		var refusal *api.Error
		if !errors.As(err, &refusal) || refusal.Code != api.CodeInvalid {
			t.Fatalf("a file damaged at %d (%d bytes): %v, want it refused", at, len(data), err)
		}
	}
	again := filepath.Join(t.TempDir(), "again.snap")
	command(t, n, 0, "operator", "snapshot", "save", again)
	sameFile(t, path, again)
	if out := command(t, n, 0, "operator", "snapshot", "inspect", again); !strings.Contains(out, "Jobs") {
		t.Error(out)
	}
}
