package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/state"
)

const testTerm = 3

// herd is a few agents over one log that a test holds in its hand.
type herd struct {
	t      *testing.T
	net    *memNet
	agents map[string]*agent
	order  []string

	mu      sync.Mutex
	index   uint64
	leader  string // "" while there is none
	ready   bool   // its Lead entry is applied
	cluster string // what gossip says the cluster is called; "" before it began
	loseAck bool   // the next write is applied, and the leader dies before it says so
	lagging map[string]bool
	gone    bool // gossip remembers a dead member of that name
	log     []entry
}

type entry struct {
	index uint64
	cmd   state.Command
}

// agent is one agent: a fake of everything but the state.
type agent struct {
	h      *herd
	id     string
	server *Server
	store  *state.Store // nil without the server role
	user   *memListener
	peer   *memListener
	stop   context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	applied  uint64
	restarts []string
	logs     func(ctx context.Context, req LogsRequest, w io.Writer) error
	hold     chan struct{} // when set, Propose waits for it
	verify   error
	polls    int
	restored []byte

	loseTransfer bool

	inside *insideFake
	wg     sync.WaitGroup // of what the fake inside leaves running
}

// runHerd runs a test with three servers (s1 leads) and a client agent c1, in a bubble.
func runHerd(t *testing.T, f func(t *testing.T, h *herd)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &herd{t: t, net: newMemNet(), agents: map[string]*agent{}, leader: "s1", ready: true, cluster: "herd", lagging: map[string]bool{}}
		for _, id := range []string{"s1", "s2", "s3", "c1"} {
			h.start(id, id[0] == 's', nil)
		}
		h.apply(state.InitCluster{ClusterID: "herd", Time: 1})
		h.apply(state.Lead{NodeID: "s1", Time: 2})
		defer h.close()
		f(t, h)
	})
}

func (h *herd) start(id string, server bool, change func(*Backend)) *agent {
	h.t.Helper()
	a := &agent{h: h, id: id, done: make(chan struct{})}
	a.inside = &insideFake{a: a}
	b := Backend{
		Cluster: a, Owner: a, Inside: a.inside, Tools: toolsFake{a}, Jobs: JobsFunc(parseTestJob), Dial: h.net.Dial, Logger: hclog.NewNullLogger(),
		Ping: func() PingResponse { return PingResponse{NodeID: id, Boot: 1, Server: server} },
		Now:  func() int64 { return time.Now().UnixNano() },
	}
	b.Images, b.ResolveImages = imagesFake{a}, imagesFake{a}.resolve
	if server {
		b.ImageNodes = imagesFake{a}
		a.store = state.NewStore()
		b.State, b.Writer, b.Operator, b.Nodes, b.Servers = a.store, a, a, protocolFake{a}, protocolFake{a}
		b.Recovery = recoveryFake{a}
		b.Decider = Decider{
			Plan: fakePlan, Explain: fakeExplain, ExplainAlloc: fakeExplainAlloc, ExplainNode: fakeExplainNode, Garbage: fakeGarbage,
			Warnings: func(*state.Snapshot, *state.Job) []string { return nil },
			Guard: func() EvictionsView {
				return EvictionsView{Pools: []PoolGuard{{NodePool: "default", Nodes: 4, Silent: 2, Holding: true}}}
			},
		}
	}
	if change != nil {
		change(&b)
	}
	var err error
	if a.server, err = NewServer(b); err != nil {
		h.t.Fatal(err)
	}
	a.user, a.peer = h.net.Listen(id+":4646"), h.net.Listen(id+":4647")
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	var wg sync.WaitGroup
	wg.Go(func() { h.check(a.server.ServeUser(ctx, a.user)) })
	wg.Go(func() { h.check(a.server.ServePeer(ctx, a.peer)) })
	wg.Go(func() {
		<-ctx.Done()
		close(a.done)
	})
	a.stop = func() {
		stop()
		wg.Wait()
		a.wg.Wait()
	}
	h.agents[id] = a
	h.order = append(h.order, id)
	return a
}

// pass lets virtual time pass, and everything come to rest.
func (h *herd) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (h *herd) check(err error) {
	if err != nil {
		h.t.Errorf("serve: %v", err)
	}
}

func (h *herd) close() {
	for _, id := range h.order {
		h.agents[id].stop()
	}
}

// apply puts a command through every server's store.
func (h *herd) apply(cmd state.Command) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	result, _ := h.applyLocked(cmd)
	return result
}

func (h *herd) applyLocked(cmd state.Command) (result any, index uint64) {
	h.index++
	h.log = append(h.log, entry{h.index, cmd})
	for _, id := range h.order {
		a := h.agents[id]
		if a.store == nil || h.lagging[id] {
			continue
		}
		r := a.catchUp(h.log)
		if id == h.leader || result == nil {
			result = r
		}
	}
	return result, h.index
}

// catchUp applies what this server has not.
func (a *agent) catchUp(log []entry) (last any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range log {
		if e.index > a.applied {
			last = a.store.ApplyCommand(e.index, testTerm, e.cmd)
			a.applied = e.index
		}
	}
	return last
}

// lag keeps a server from applying, or lets it catch up.
func (h *herd) lag(id string, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lagging[id] = on
	if !on {
		h.agents[id].catchUp(h.log)
	}
}

func (h *herd) lead(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leader, h.ready = id, true
}

// must applies a command that must succeed.
func (h *herd) must(cmd state.Command) any {
	h.t.Helper()
	result := h.apply(cmd)
	if err, bad := result.(error); bad {
		h.t.Fatalf("apply %T: %v", cmd, err)
	}
	return result
}

// client asks an agent's user port.
func (h *herd) client(id string) *Client { return h.clientAt(id+":4646", Config{}) }

// peerClient asks an agent's peer port in the name of a node.
func (h *herd) peerClient(at, as string) *Client { return h.clientAt(at+":4647", Config{NodeID: as}) }

func (h *herd) clientAt(addr string, cfg Config) *Client {
	h.t.Helper()
	cfg.Addr = "http://" + addr
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) { return h.net.Dial(ctx, addr) }
	}
	c, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// place registers a node and a job and puts one copy of the job on the node.
func (h *herd) place(jobID, nodeID string) *state.Alloc {
	h.t.Helper()
	h.must(state.RegisterNode{Node: testNode(nodeID)})
	h.must(state.RegisterJob{Job: testJob(jobID, 1)})
	snap := h.agents["s1"].store.Snapshot()
	cmd := state.ApplyPlan{
		Term: testTerm, Seed: [16]byte{byte(snap.Index()), byte(snap.Index() >> 8)},
		Nodes: []state.NodeRef{{ID: nodeID, Generation: snap.Node(nodeID).Generation}},
		Records: []state.PlanRecord{{
			Namespace: "default", JobID: jobID, JobModifyIndex: snap.Job("default", jobID).JobModifyIndex, TaskGroup: "web",
			Index: []int{0}, Node: []int{0},
		}},
	}
	if res := h.must(cmd).(state.PlanResult); res.Placed != 1 {
		h.t.Fatalf("place %s: %+v", jobID, res)
	}
	return h.agents["s1"].store.Snapshot().Alloc(state.AllocID(cmd.Seed, 0))
}

func (a *agent) isServer() bool { return a.store != nil }

// Propose is the fake log's.
func (a *agent) Propose(ctx context.Context, cmd state.Command) (any, uint64, error) {
	a.mu.Lock()
	hold := a.hold
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if a.h.leader != a.id {
		return nil, 0, fmt.Errorf("propose %T: %w", cmd, ErrNotLeader)
	}
	result, index := a.h.applyLocked(cmd)
	if a.h.loseAck {
		a.h.loseAck, a.h.leader = false, ""
		return nil, 0, fmt.Errorf("propose %T: %w", cmd, ErrUnknownOutcome)
	}
	if err, bad := result.(error); bad {
		return nil, 0, err
	}
	return result, index, nil
}

func (a *agent) Self() AgentSelf {
	return AgentSelf{
		NodeID: a.id, Name: "name-" + a.id, Region: "global", Datacenter: "dc1", Server: a.isServer(), Client: true,
		PeerAddr: a.id + ":4647", HTTPAddr: a.id + ":4646", Leader: a.IsLeader(),
	}
}

func (a *agent) Health() AgentHealth {
	_, _, known := a.Leader()
	h := AgentHealth{Client: &RoleHealth{OK: true, Message: "ok"}}
	if a.isServer() {
		h.Server = &RoleHealth{OK: known, Message: "leader known: " + fmt.Sprint(known)}
	}
	return h
}

func (a *agent) Members() []Member {
	var out []Member
	for _, id := range a.h.order {
		status := MemberAlive
		select {
		case <-a.h.agents[id].done:
			status = MemberFailed
		default:
		}
		out = append(out, Member{ID: id, Name: "name-" + id, Status: status, Server: a.h.agents[id].isServer(), PeerAddr: id + ":4647", ClusterID: a.h.cluster})
	}
	if a.h.gone {
		out = append(out, Member{ID: "gone", Name: "name-gone", Status: MemberFailed, PeerAddr: "gone:4647", ClusterID: a.h.cluster})
	}
	return out
}

func (a *agent) Leader() (string, string, bool) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if !a.isServer() || a.h.leader == "" { // a client agent that has not been told
		return "", "", false
	}
	return a.h.leader, a.h.leader + ":4647", true
}

func (a *agent) IsLeader() bool {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	return a.h.leader == a.id && a.h.ready
}

func (a *agent) LastContact() time.Duration {
	if a.IsLeader() {
		return 0
	}
	return 42 * time.Millisecond
}

func (a *agent) VerifyLeader(context.Context) error {
	if !a.IsLeader() {
		return ErrNotLeader
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.verify
}

func (a *agent) RaftPeers() []RaftPeer {
	if !a.isServer() {
		return nil
	}
	var out []RaftPeer
	for _, id := range a.h.order {
		if a.h.agents[id].isServer() {
			out = append(out, RaftPeer{ID: id, Node: "name-" + id, Address: id + ":4647", Voter: true, Leader: id == a.h.leader})
		}
	}
	return out
}

func (a *agent) RemovePeer(_ context.Context, id string) error { return nil }

func (a *agent) TransferLeadership(_ context.Context, id string) error {
	a.h.lead(firstOf(id, "s2"))
	a.mu.Lock()
	lost := a.loseTransfer
	a.loseTransfer = false
	a.mu.Unlock()
	if lost {
		return a.peer.cut()
	}
	return nil
}

// loseNextTransfer cuts the agent's peer connections while it answers the next transfer of leadership.
func (h *herd) loseNextTransfer(id string) (lost func() bool) {
	a := h.agents[id]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loseTransfer = true
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return !a.loseTransfer
	}
}

func (a *agent) RestoreSnapshot(_ context.Context, r io.Reader, size int64) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(data)) != size {
		return fmt.Errorf("restore: %d bytes of %d", len(data), size)
	}
	if err := state.NewStore().Restore(bytes.NewReader(data)); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.restored = data
	return nil
}

func (a *agent) Owns(allocID string) bool {
	al := a.h.agents["s1"].store.Snapshot().Alloc(allocID)
	return al != nil && al.NodeID == a.id
}

func (a *agent) Restart(_ context.Context, allocID, task string) error {
	if task == "panic" {
		panic("a fault of ours")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.restarts = append(a.restarts, allocID+"/"+task)
	return nil
}

func (a *agent) Logs(ctx context.Context, req LogsRequest, w io.Writer) error {
	a.mu.Lock()
	logs := a.logs
	a.mu.Unlock()
	if logs != nil {
		return logs(ctx, req, w)
	}
	_, err := fmt.Fprintf(w, "hello from %s\n", a.id)
	return err
}

// protocolFake answers the protocol between agents with who answered.
type protocolFake struct{ a *agent }

func (p protocolFake) Register(ctx context.Context, _ Caller, req *RegisterRequest) (*RegisterResponse, error) {
	v, index, err := p.a.Propose(ctx, state.RegisterNode{Node: req.Node, Time: time.Now().UnixNano()})
	if err != nil {
		return nil, err
	}
	return &RegisterResponse{ClusterID: "herd", Generation: v.(state.RegisterNodeResult).Generation, Index: index}, nil
}

func (p protocolFake) Poll(_ context.Context, caller Caller, req *PollRequest) (*PollResponse, error) {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	p.a.polls++
	res := &PollResponse{ClusterID: "herd", LeaderID: p.a.id, Index: p.a.applied}
	for _, held := range req.Held {
		res.Gone = append(res.Gone, held.ID)
	}
	return res, nil
}

func (p protocolFake) Report(_ context.Context, caller Caller, req *ReportRequest) (*ReportResponse, error) {
	return &ReportResponse{Seq: req.Report.Seq, Index: 7}, nil
}

func (p protocolFake) Renew(context.Context, *LeasesRequest) (*LeasesResponse, error) {
	return &LeasesResponse{Term: testTerm, LeasePeriod: time.Second}, nil
}

func (p protocolFake) Probe(_ context.Context, req *ProbeRequest) (*ProbeResponse, error) {
	res := &ProbeResponse{ServerID: p.a.id}
	for _, t := range req.Targets {
		res.Results = append(res.Results, ProbeResult{NodeID: t.NodeID, Outcome: ProbeSilent})
	}
	return res, nil
}

func (p protocolFake) Bootstrap(_ context.Context, req *BootstrapRequest) (*BootstrapResponse, error) {
	return &BootstrapResponse{NodeID: p.a.id, Expect: req.Expect}, nil
}

func (p protocolFake) Join(context.Context, *JoinRequest) (*JoinResponse, error) {
	return &JoinResponse{ClusterID: "herd", Level: 1}, nil
}

func (p protocolFake) Announce(_ context.Context, req *AnnounceRequest) (*AnnounceResponse, error) {
	return &AnnounceResponse{Level: req.Level}, nil
}

func (p protocolFake) Progress(context.Context) (*ProgressResponse, error) {
	return &ProgressResponse{NodeID: p.a.id, AppliedIndex: p.a.store.Snapshot().Index()}, nil
}

// parseTestJob is a door that takes a state.Job as it stands, when it is valid.
func parseTestJob(data []byte) (*state.Job, []string, error) {
	j := new(state.Job)
	if err := decodeStrict(data, j); err != nil {
		return nil, nil, err
	}
	if err := j.Validate(); err != nil {
		return nil, nil, err
	}
	if j.Name == "warn" {
		return j, []string{"the name is warn"}, nil
	}
	return j, nil, nil
}

func fakePlan(snap *state.Snapshot, j *state.Job, _ int64) *state.PlanView {
	v := &state.PlanView{Groups: []state.GroupPlan{{TaskGroup: "web", Place: j.TaskGroups[0].Count}}}
	if old := snap.Job(j.Namespace, j.ID); old != nil {
		v.JobModifyIndex = old.JobModifyIndex
	}
	return v
}

func fakeExplain(_ *state.Snapshot, ns, id string, _ int64) *state.Explanation {
	return &state.Explanation{Namespace: ns, JobID: id, Groups: []state.GroupExplanation{{TaskGroup: "web", Wanted: 1}}}
}

func testNode(id string) *state.Node {
	return &state.Node{
		ID: id, Name: "name-" + id, Datacenter: "dc1", NodePool: "default", Region: "global",
		PeerAddr: id + ":4647", HTTPAddr: id + ":4646", HostIP: "10.0.0.1", Attributes: map[string]string{"kernel.name": "linux"},
		Drivers:   map[string]state.DriverInfo{"exec": {Detected: true, Healthy: true}},
		Resources: state.NodeResources{CPU: 4000, MemoryMB: 4096, DiskMB: 10_000, MinDynamicPort: 20000, MaxDynamicPort: 20099},
		Level:     state.MaxLevel, Boot: 1, BootID: "kernel-1",
	}
}

func testJob(id string, count int) *state.Job {
	restart := state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail}
	return &state.Job{
		Namespace: "default", ID: id, Name: id, Type: state.JobTypeService, Region: "global", Datacenters: []string{"*"},
		NodePool: "default", Priority: 50,
		TaskGroups: []state.TaskGroup{{
			Name: "web", Count: count, RestartPolicy: restart,
			ReschedulePolicy: state.ReschedulePolicy{
				Delay: 30 * time.Second, DelayFunction: state.DelayExponential, MaxDelay: time.Hour, Unlimited: true,
			},
			Update: state.UpdateStrategy{MaxParallel: 1}, EphemeralDisk: state.EphemeralDisk{SizeMB: 300},
			Tasks: []state.Task{{
				Name: "server", Driver: "exec", Config: map[string]any{"command": "/bin/true"},
				Resources: state.Resources{CPU: 500, MemoryMB: 256}, RestartPolicy: restart,
				LogConfig: state.LogConfig{MaxFiles: 10, MaxFileSizeMB: 10}, KillTimeout: 5 * time.Second,
			}},
		}},
	}
}

// raw sends a request as it stands and returns the answer with its body read.
func (h *herd) raw(at, method, path string, header http.Header, body []byte) (*http.Response, []byte) {
	h.t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.net.Dial(ctx, addr) }}
	defer tr.CloseIdleConnections()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+at+path, r)
	if err != nil {
		h.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	return res, data
}

// upgrade asks for a websocket and returns the connection as it stands. The caller closes it.
func (h *herd) upgrade(at, path string, header http.Header) (*http.Response, io.ReadWriteCloser) {
	h.t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.net.Dial(ctx, addr) }}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header = header
	res, err := tr.RoundTrip(req)
	if err != nil {
		h.t.Fatal(err)
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		h.t.Fatalf("no upgrade: %s", res.Status)
	}
	return res, conn
}

func wantCode(t *testing.T, err error, code string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got error %v, want code %s", err, code)
	}
	return e
}
