package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

func TestClientAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"": "http://127.0.0.1:4646", "10.0.0.1:4646": "http://10.0.0.1:4646", "http://[::1]:80": "http://[::1]:80",
		"https://x": "https://x", "http://x/path?q": "http://x",
	} {
		c, err := New(Config{Addr: addr})
		if err != nil || c.base.String() != want {
			t.Errorf("%q: %v, %v; want %s", addr, c, err, want)
		}
	}
	for _, addr := range []string{"unix://", "ftp://x", "http://", "://"} {
		if _, err := New(Config{Addr: addr}); err == nil {
			t.Errorf("%q was taken", addr)
		}
	}
}

func TestClientOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	h := &herd{t: t, net: newMemNet(), agents: map[string]*agent{}, leader: "s1", ready: true, lagging: map[string]bool{}}
	a := h.start("s1", true, nil)
	defer h.close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.check(a.server.ServeUser(ctx, l)) })
	c, err := New(Config{Addr: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	if self, err := c.AgentSelf(t.Context()); err != nil || self.NodeID != "s1" {
		t.Errorf("%+v, %v", self, err)
	}
	if _, err := c.At("unix:///other"); err == nil {
		t.Error("a client changed its socket")
	}
	c.Close()
	cancel()
	wg.Wait()
}

func TestClientSaysWhatToDoWithoutAnAgent(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.clientAt("nobody:4646", Config{})
		_, _, err := c.Jobs(t.Context(), QueryOptions{})
		e := wantCode(t, err, CodeUnreachable)
		if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(e.Next, "--address") {
			t.Errorf("got %v with next %q", err, e.Next)
		}
		h.net.setSilent("nobody:4646", true)
		start := time.Now()
		if _, _, err = c.Jobs(t.Context(), QueryOptions{}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a silent machine: %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("a silent machine took %s, want 5s", took)
		}
	})
}

// brittle breaks the first connections after the request was written.
type brittle struct {
	next  http.RoundTripper
	left  atomic.Int32
	tried atomic.Int32
}

func (b *brittle) RoundTrip(r *http.Request) (*http.Response, error) {
	b.tried.Add(1)
	res, err := b.next.RoundTrip(r)
	if err == nil && b.left.Add(-1) >= 0 {
		_ = res.Body.Close()
		return nil, errors.New("connection reset")
	}
	return res, err
}

func TestClientRetriesWhatIsSafe(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.net.Dial(ctx, addr) }}
		defer tr.CloseIdleConnections()
		b := &brittle{next: tr}
		c := h.clientAt("s2:4646", Config{HTTPClient: &http.Client{Transport: b}})
		try := func(breaks int32, f func() error) (int32, error) {
			b.left.Store(breaks)
			b.tried.Store(0)
			err := f()
			return b.tried.Load(), err
		}
		read := func() error { _, _, err := c.Jobs(t.Context(), QueryOptions{}); return err }
		if n, err := try(2, read); err != nil || n != 3 {
			t.Errorf("a read that broke twice: %d tries, %v", n, err)
		}
		if n, err := try(9, read); !errors.Is(err, ErrUnreachable) || n != 3 {
			t.Errorf("a read that breaks for ever: %d tries, %v", n, err)
		}
		write := func() error {
			_, err := c.RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 5)}, WriteOptions{})
			return err
		}
		if n, err := try(2, write); err != nil || n != 3 {
			t.Errorf("a write that broke twice: %d tries, %v", n, err)
		}
		if n := len(h.agents["s1"].store.Snapshot().JobVersions("default", "web")); n != 2 {
			t.Errorf("%d versions stored, want 2: the retries bore the same request ID", n)
		}
		restart := func() error { _, err := c.RestartAllocation(t.Context(), a.ID, "", WriteOptions{}); return err }
		if n, err := try(1, restart); !errors.Is(err, ErrUnknownOutcome) || n != 1 {
			t.Errorf("a restart must not be sent twice: %d tries, %v", n, err)
		}
	})
}

func TestClientFinds(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "n1")
		h.must(state.RegisterJob{Job: testJob("web-2", 1)})
		h.must(state.RegisterJob{Job: testJob("web-3", 1)})
		h.must(state.RegisterNode{Node: testNode("n12")})
		c := h.client("c1")
		ctx := t.Context()
		if j, err := c.FindJob(ctx, "web", QueryOptions{}); err != nil || j.ID != "web" {
			t.Errorf("a whole ID that others begin with: %v, %v", j.ID, err)
		}
		if j, err := c.FindJob(ctx, "web-2", QueryOptions{}); err != nil || j.ID != "web-2" {
			t.Errorf("%v, %v", j.ID, err)
		}
		_, err := c.FindJob(ctx, "web-", QueryOptions{})
		if e := wantCode(t, err, CodeConflict); !strings.Contains(e.Message, "web-2, web-3") {
			t.Errorf("%q does not name the candidates", e.Message)
		}
		_, err = c.FindJob(ctx, "x", QueryOptions{})
		wantCode(t, err, CodeNotFound)
		if n, err := c.FindNode(ctx, "name-n12", QueryOptions{}); err != nil || n.ID != "n12" {
			t.Errorf("a node by name: %v, %v", n.ID, err)
		}
		if n, err := c.FindNode(ctx, "n1", QueryOptions{}); err != nil || n.ID != "n1" {
			t.Errorf("a node by ID: %v, %v", n.ID, err)
		}
		if got, err := c.FindAllocation(ctx, a.ID[:8], QueryOptions{}); err != nil || got.ID != a.ID {
			t.Errorf("an allocation: %v, %v", got.ID, err)
		}
	})
}

func TestOddIDsTravelWhole(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for _, id := range []string{"a/b", "a b", "ü", "%2F", "a?b", "#", "a+b"} {
			_, _, err := h.client("s2").Job(t.Context(), id, QueryOptions{})
			if e := wantCode(t, err, CodeNotFound); !strings.Contains(e.Message, "no job "+id+" in") {
				t.Errorf("%q arrived as: %s", id, e.Message)
			}
		}
	})
}

func TestClientOfSomethingElse(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		l := h.net.Listen("other:80")
		hs := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
		var wg sync.WaitGroup
		wg.Go(func() { _ = hs.Serve(l) })
		_, _, err := h.clientAt("other:80", Config{}).Jobs(t.Context(), QueryOptions{})
		if e := wantCode(t, err, CodeInternal); !strings.Contains(e.Message, "404") || !strings.Contains(e.Next, "drover") {
			t.Errorf("got %+v", e)
		}
		_ = hs.Close()
		wg.Wait()
	})
}

func TestAgentsTalk(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		ctx := t.Context()
		node := h.peerClient("s2", "n7")
		reg, err := node.NodeRegister(ctx, &RegisterRequest{Node: testNode("n7")})
		if err != nil || reg.Generation == 0 {
			t.Fatalf("register: %+v, %v", reg, err)
		}
		poll, err := node.NodePoll(ctx, &PollRequest{NodeID: "n7", Held: []HeldAlloc{{ID: "x"}}}, true)
		if err != nil || poll.LeaderID != "s2" || !cmp.Equal(poll.Gone, []string{"x"}) {
			t.Errorf("a stale poll: %+v, %v; want it answered by the server asked", poll, err)
		}
		if poll, err = node.NodePoll(ctx, &PollRequest{NodeID: "n7"}, false); err != nil || poll.LeaderID != "s1" {
			t.Errorf("a poll: %+v, %v; want it answered by the leader", poll, err)
		}
		rep, err := node.NodeReport(ctx, &ReportRequest{Report: state.NodeReport{NodeID: "n7", Seq: 4}})
		if err != nil || rep.Seq != 4 {
			t.Errorf("report: %+v, %v", rep, err)
		}
		server := h.peerClient("s3", "s2")
		if p, err := server.Ping(ctx); err != nil || p.NodeID != "s3" {
			t.Errorf("ping: %+v, %v", p, err)
		}
		probe, err := server.Probe(ctx, &ProbeRequest{Targets: []ProbeTarget{{NodeID: "n7", PeerAddr: "n7:4647"}}})
		if err != nil || len(probe.Results) != 1 || probe.ServerID != "s3" {
			t.Errorf("probe: %+v, %v", probe, err)
		}
		if l, err := server.RelayLeases(ctx, &LeasesRequest{ServerID: "s2"}); err != nil || l.Term != testTerm {
			t.Errorf("leases: %+v, %v", l, err)
		}
		if b, err := server.ConfirmBootstrap(ctx, &BootstrapRequest{NodeID: "s2", Expect: 3}); err != nil || b.NodeID != "s3" || b.Expect != 3 {
			t.Errorf("bootstrap: %+v, %v", b, err)
		}
		if j, err := server.JoinRaft(ctx, &JoinRequest{NodeID: "s2"}); err != nil || j.ClusterID != "herd" {
			t.Errorf("join: %+v, %v", j, err)
		}
		if l, err := server.AnnounceLevel(ctx, &AnnounceRequest{NodeID: "s2", Level: 1}); err != nil || l.Level != 1 {
			t.Errorf("level: %+v, %v", l, err)
		}
		if p, err := server.Progress(ctx); err != nil || p.NodeID != "s3" || p.AppliedIndex == 0 {
			t.Errorf("progress: %+v, %v", p, err)
		}
		other, err := server.At("http://c1:4647")
		if err != nil {
			t.Fatal(err)
		}
		if p, err := other.Ping(ctx); err != nil || p.NodeID != "c1" || p.Server {
			t.Errorf("ping of a client agent: %+v, %v", p, err)
		}
		_, err = other.Probe(ctx, &ProbeRequest{})
		wantCode(t, err, CodeUnavailable)
	})
}
