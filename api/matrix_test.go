package api

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

var rewrite = flag.Bool("rewrite", false, "accept what the tests print as what they want")

// fixture is how the matrix calls one route: with it every case of matrix_cases_test.go is run. The zero value is a GET without
// anything. A route without a fixture fails the matrix by name, and so does a path with {id} whose fixture says neither what an
// unknown ID answers nor why that is no error.
type fixture struct {
	id      func(m *matrix) string // for {id}
	unknown string                 // code answered for an ID that does not exist
	anyID   string                 // why an ID that does not exist is no error
	query   string
	body    func(m *matrix) any
	upgrade bool   // sends what opens a websocket
	as      string // node ID of the caller, on the peer port

	// success replaces what a good request is sent and judged by, for routes that do not speak plain HTTP (an upgrade to a
	// websocket): it asks the agent at addr.
	success func(t *testing.T, m *matrix, r *Route, addr string)
}

// matrix holds what the fixtures refer to.
type matrix struct {
	h     *herd
	alloc string // on c1, of job "web"
	snap  []byte
}

// planOfNew is why a plan takes an ID that does not exist.
const planOfNew = "a plan of a job that does not exist says what registering it would do"

func jobID(*matrix) string     { return "web" }
func nodeID(*matrix) string    { return "n1" }
func poolName(*matrix) string  { return "gpu" }
func allocID(m *matrix) string { return m.alloc }

func fixtures() map[string]fixture {
	return map[string]fixture{
		routeJobs:           {},
		routeJobRegister:    {body: func(*matrix) any { return JobRegisterRequest{Job: testJob("other", 2)} }},
		routeJob:            {id: jobID, unknown: CodeNotFound},
		routeJobStop:        {id: jobID, unknown: CodeNotFound},
		routeJobPlan:        {id: jobID, anyID: planOfNew, body: func(*matrix) any { return JobPlanRequest{Job: testJob("web", 3)} }},
		routeJobAllocs:      {id: jobID, unknown: CodeNotFound},
		routeJobVersions:    {id: jobID, unknown: CodeNotFound},
		routeJobWhy:         {id: jobID, unknown: CodeNotFound},
		routeNodes:          {},
		routeNode:           {id: nodeID, unknown: CodeNotFound},
		routeNodeAllocs:     {id: nodeID, unknown: CodeNotFound},
		routeNodeEligible:   {id: nodeID, unknown: CodeNotFound, body: func(*matrix) any { return EligibilityRequest{Eligibility: "ineligible"} }},
		routeNodeLost:       {id: nodeID, unknown: CodeNotFound},
		routeNodeWhy:        {id: nodeID, unknown: CodeNotFound},
		routeAllocWhy:       {id: allocID, unknown: CodeNotFound},
		routeAllocs:         {},
		routeAlloc:          {id: allocID, unknown: CodeNotFound},
		routeAllocStop:      {id: allocID, unknown: CodeNotFound},
		routeAllocRestart:   {id: allocID, unknown: CodeNotFound, body: func(*matrix) any { return RestartRequest{TaskName: "server"} }},
		routeAllocLogs:      {id: allocID, unknown: CodeNotFound, query: "task=server&type=stderr&tail=5"},
		routeAllocExec:      {id: allocID, unknown: CodeNotFound, query: "command=%5B%22whoami%22%5D", upgrade: true, success: matrixExec},
		routeAllocForward:   {id: allocID, unknown: CodeNotFound, query: "port=http", upgrade: true, success: matrixForward},
		routeAllocSignal:    {id: allocID, unknown: CodeNotFound, body: func(*matrix) any { return SignalRequest{Signal: "SIGHUP"} }},
		routeAllocStats:     {id: allocID, unknown: CodeNotFound},
		routeMachineStats:   {},
		routeFilesList:      {id: allocID, unknown: CodeNotFound, query: "path=/"},
		routeFilesStat:      {id: allocID, unknown: CodeNotFound, query: "path=hello.txt"},
		routeFilesCat:       {id: allocID, unknown: CodeNotFound, query: "path=hello.txt"},
		routeFilesReadAt:    {id: allocID, unknown: CodeNotFound, query: "path=hello.txt&offset=1&limit=2"},
		routeFilesStream:    {id: allocID, unknown: CodeNotFound, query: "path=hello.txt&follow=false"},
		routeFilesPack:      {id: allocID, unknown: CodeNotFound, query: "path=/"},
		routeFilesUnpack:    {id: allocID, unknown: CodeNotFound, query: "path=/", body: func(*matrix) any { return []byte("an archive") }},
		routeAgentSelf:      {},
		routeAgentMembers:   {},
		routeAgentHealth:    {},
		routeMetrics:        {},
		routeStatusLeader:   {},
		routeStatusPeers:    {},
		routeRaftConfig:     {},
		routeRaftRemove:     {query: "id=s3"},
		routeRaftTransfer:   {body: func(*matrix) any { return TransferRequest{ID: "s1"} }},
		routeSnapshotSave:   {},
		routeSnapshotLoad:   {body: func(m *matrix) any { return m.snap }},
		routeRecoverySurvey: {},
		routeRecover:        {success: recoverAt},
		routeEvictions:      {},
		routeState:          {},
		routeEvictionsAllow: {},
		routeJobScale:       {id: jobID, unknown: CodeNotFound, body: func(*matrix) any { return map[string]any{"Count": 2} }},
		routeJobStart:       {id: jobID, unknown: CodeNotFound},
		routeJobRevert:      {id: jobID, unknown: CodeNotFound, body: func(m *matrix) any { m.newVersion("web"); return RevertRequest{} }},
		routeSystemGC:       {},
		routeMonitor:        {query: "follow=false"},
		routeProfile:        {id: func(*matrix) string { return "goroutine" }, unknown: CodeNotFound},
		routeAgentJoin:      {query: "address=10.0.0.9"},
		routeForceLeave:     {query: "node=gone"},
		routeSnapshotFiles:  {},
		routeAgentLeave:     {body: func(*matrix) any { return LeaveRequest{Force: true} }},
		routeHostStats:      {},
		routeOpenAPI:        {},
		routeSearch:         {body: func(*matrix) any { return SearchRequest{Prefix: "w"} }},
		routeFuzzy:          {body: func(*matrix) any { return FuzzySearchRequest{Text: "eb"} }},
		routeJobStatuses:    {},
		routeJobSummary:     {id: jobID, unknown: CodeNotFound},
		routeRegions:        {},

		routeSchedulerConfig:    {},
		routeSchedulerConfigSet: {body: func(*matrix) any { return SchedulerConfigRequest{SchedulerAlgorithm: "spread"} }},
		routeNodePools:          {},
		routeNodePoolPut:        {body: func(*matrix) any { return state.NodePool{Name: "edge"} }},
		routeNodePool:           {id: poolName, unknown: CodeNotFound},
		routeNodePoolDelete:     {id: poolName, unknown: CodeNotFound},
		routeNodePoolNodes:      {id: poolName, unknown: CodeNotFound},
		routeNodePoolJobs:       {id: poolName, unknown: CodeNotFound},

		routeEvents:         {query: "topic=Job:web&index=1&follow=false"},
		routeImages:         {},
		routeImageImport:    {query: "name=app:1&copies=2", body: func(*matrix) any { return []byte("an archive") }},
		routeImage:          {id: imageName, unknown: CodeNotFound},
		routeImageRemove:    {id: imageName, unknown: CodeNotFound},
		routeImageResolve:   {body: func(*matrix) any { return ImageResolveRequest{Images: []ImageQuestion{{Image: "app:1"}}} }},
		routeImageBlob:      {as: "s1", id: imageDigest, unknown: CodeInvalid},
		routeProtoImages:    {as: "n1", body: func(*matrix) any { return ImagePollRequest{NodeID: "n1"} }},
		routeProtoHold:      {as: "n1", body: func(*matrix) any { return ImageHoldRequest{NodeID: "n1"} }},
		routeProtoImage:     {as: "n1", body: func(*matrix) any { return ImageAnnounceRequest{NodeID: "n1", Image: testImage()} }},
		routeProtoRegister:  {as: "n9", body: func(*matrix) any { return RegisterRequest{Node: testNode("n9")} }},
		routeProtoPoll:      {as: "n1", body: func(*matrix) any { return PollRequest{NodeID: "n1"} }},
		routeProtoReport:    {as: "n1", body: func(*matrix) any { return map[string]any{"Report": map[string]any{"NodeID": "n1"}} }},
		routeProtoLeases:    {as: "s2", body: func(*matrix) any { return LeasesRequest{ServerID: "s2"} }},
		routeProtoProbe:     {as: "s1", body: func(*matrix) any { return ProbeRequest{Targets: []ProbeTarget{{NodeID: "n1"}}} }},
		routeProtoPing:      {as: "s1"},
		routeProtoBootstrap: {as: "s2", body: func(*matrix) any { return BootstrapRequest{NodeID: "s2", Expect: 3} }},
		routeProtoJoin:      {as: "s4", body: func(*matrix) any { return JoinRequest{NodeID: "s4"} }},
		routeProtoAnnounce:  {as: "s2", body: func(*matrix) any { return AnnounceRequest{NodeID: "s2", Level: 1} }},
		routeProtoProgress:  {as: "s1"},
		routeLine:           {as: "s1", upgrade: true, success: matrixLine},
	}
}

// request is a fixture made whole.
func (m *matrix) request(r *Route, f fixture) (path string, body []byte, header http.Header) {
	path = r.Path
	if f.id != nil {
		path = strings.Replace(path, "{id}", url.PathEscape(f.id(m)), 1)
	}
	if f.query != "" {
		path += "?" + f.query
	}
	header = http.Header{}
	if f.upgrade {
		header = handshake()
	}
	if f.as != "" {
		header.Set(headerNodeID, f.as)
	}
	if f.body != nil {
		switch b := f.body(m).(type) {
		case []byte:
			body = b
		default:
			body, _ = json.Marshal(b)
		}
	}
	return path, body, header
}

// port is where a route is asked on an agent.
func port(r *Route, agent string) string {
	if r.Capability == CapNode || r.Capability == CapServer {
		return agent + ":4647"
	}
	return agent + ":4646"
}

// serverOnly are the routes that an agent without the server role does not answer, and nobody for it.
func serverOnly(r *Route) bool {
	return r.Where == Here && r.Capability == CapServer
}

// answering is the agent that must answer a route asked at another one.
func answering(r *Route, at string) string {
	switch r.Where {
	case Here, AtAgent:
		return at
	case AtNode:
		return at // every one of them keeps images
	case AtOwner:
		return "c1"
	case AnyServer:
		if at == "c1" {
			return "s1"
		}
		return at
	}
	return "s1"
}

func TestMatrixSpeaksForItselfOnly(t *testing.T) {
	runMatrix(t, func(t *testing.T, m *matrix, r *Route, fx fixture) {
		switch r.Name {
		case routeProtoRegister, routeProtoPoll, routeProtoReport, routeProtoLeases, routeProtoBootstrap, routeProtoJoin, routeProtoAnnounce:
		default:
			return
		}
		fx.as = "n666"
		for _, at := range []string{"s1:4647", "s2:4647"} {
			path, body, header := m.request(r, fx)
			res, data := m.h.raw(at, r.Method, path, header, body)
			expectError(t, res, data, CodeForbidden)
		}
	})
}

// TestTable checks the table itself.
func TestTable(t *testing.T) {
	names, paths := map[string]bool{}, map[string]bool{}
	user, peer := userCapabilities(), peerCapabilities()
	for _, r := range Routes() {
		if r.Capability == "" || !peer[r.Capability] {
			t.Errorf("%s: capability %q is none", r.Name, r.Capability)
		}
		agents := strings.HasPrefix(r.Path, "/v1/node-protocol/")
		if agents == user[r.Capability] {
			t.Errorf("%s: path %s and capability %s do not fit", r.Name, r.Path, r.Capability)
		}
		if len(r.Media) == 0 && !r.Upgrade {
			t.Errorf("%s: a stream that does not say its content type: set Media", r.Name)
		}
		if r.Doc == "" || strings.HasSuffix(r.Doc, ".") {
			t.Errorf("%s: doc %q: want one line without a full stop", r.Name, r.Doc)
		}
		if names[r.Name] || paths[r.Method+r.Path] {
			t.Errorf("%s: name or path stands twice", r.Name)
		}
		names[r.Name], paths[r.Method+r.Path] = true, true
		if r.Write == (r.Method == http.MethodGet) && r.Write {
			t.Errorf("%s: a GET that writes", r.Name)
		}
		if r.Concurrency <= 0 || r.Timeout <= 0 && !r.Stream || r.MaxBody > DefaultMaxBody && !r.Stream {
			t.Errorf("%s: without a limit: %+v", r.Name, r)
		}
		if (r.handler.run == nil) == (r.handler.stream == nil) {
			t.Errorf("%s: needs one handler", r.Name)
		}
	}
	for name := range fixtures() {
		if !names[name] {
			t.Errorf("fixture %s has no route", name)
		}
	}
}

// TestRoutesFile keeps the whole API in one file that a reviewer sees change. -rewrite accepts.
func TestRoutesFile(t *testing.T) {
	var b strings.Builder
	for _, r := range Routes() {
		var kind []string
		for name, on := range map[string]bool{"write": r.Write, "stale": r.Stale, "blocking": r.Blocking, "list": r.List, "stream": r.Stream, "once": !r.Retry} {
			if on {
				kind = append(kind, name)
			}
		}
		slices.Sort(kind)
		fmt.Fprintf(&b, "%-6s %-40s %-16s %-7s %s\n", r.Method, r.Path, r.Capability, r.Where, r.Doc)
		if more := strings.Join(append(kind, r.Query...), " "); more != "" {
			fmt.Fprintf(&b, "       %s\n", more)
		}
	}
	const file = "testdata/routes.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("the API is not what %s says; run the test with -rewrite when that is meant:\n%s", file, diff)
	}
}

func errorIn(t *testing.T, res *http.Response, data []byte) *Error {
	t.Helper()
	e := new(Error)
	if err := decodeStrict(data, e); err != nil {
		t.Fatalf("%s: the error cannot be read: %v: %s", res.Status, err, data)
	}
	if e.Status() != res.StatusCode || e.Message == "" || res.Header.Get(headerError) != e.Code {
		t.Errorf("%s with %s: %+v", res.Status, data, e)
	}
	return e
}

func expectError(t *testing.T, res *http.Response, data []byte, code string) *Error {
	t.Helper()
	if res.StatusCode < 300 {
		t.Fatalf("got %s, want the error %s: %.200s", res.Status, code, data)
	}
	e := errorIn(t, res, data)
	if e.Code != code {
		t.Errorf("got code %s (%s), want %s", e.Code, e.Message, code)
	}
	return e
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
