package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"time"

	"github.com/drover-io/drover/internal/nearest"
)

// Tools is what an operator asks of one agent's process and machine.
type Tools interface {
	// Monitor writes the agent's log lines of a level and above, one Write each, until ctx ends: first the recent ones that it
	// still has, then those that come.
	Monitor(ctx context.Context, req MonitorRequest, w io.Writer) error
	// Join makes this agent gossip with others at these addresses (host or host:port), and returns how many answered.
	Join(ctx context.Context, addrs []string) (int, error)
	// ForceLeave forgets a member that is dead; local false asks the other servers to do the same.
	ForceLeave(ctx context.Context, id string, local bool) error
	// Leave takes this agent out of the cluster and ends it; force, although allocations run here. On an error it stays.
	Leave(ctx context.Context, force bool) (*LeaveResponse, error)
	// Snapshots lists the scheduled snapshots on this server's disk.
	Snapshots(ctx context.Context) (*SnapshotFiles, error)
	// HostStats measures the machine.
	HostStats(ctx context.Context) (*HostStats, error)
}

// MonitorRequest names the log lines to read.
type MonitorRequest struct {
	Level  string // trace, debug, info, warn or error
	JSON   bool   // one JSON object a line
	Follow bool   // also those that come
}

// HostStats is how a machine is used.
type HostStats struct {
	NodeID     string
	Timestamp  int64   // wall clock, nanoseconds since the Unix epoch
	Uptime     int64   // seconds
	CPUPercent float64 // of all cores together, 0..100, over the last moment
	Cores      int
	Load1      float64
	Load5      float64
	Load15     float64
	MemTotal   uint64 // bytes
	MemUsed    uint64 // bytes that cannot be had without swapping
	DiskPath   string // of the data directory
	DiskTotal  uint64 // bytes of its file system
	DiskUsed   uint64
	Goroutines int    // of the agent
	AgentRSS   uint64 // bytes
}

// JoinAgentsResponse says how a join went. The names are the field's.
type JoinAgentsResponse struct {
	NumJoined int    `json:"num_joined"`
	Error     string `json:"error"`
}

// logLevels are the levels of Monitor, the most talkative first.
func logLevels() []string { return []string{"info", "trace", "debug", "warn", "error"} }

// monitorAgent streams the log of this agent.
func monitorAgent(c *call) error {
	p := parser{values: c.query}
	req := MonitorRequest{Level: p.oneOf("log_level", logLevels()...), JSON: p.flag("log_json"), Follow: p.flagOr("follow", true)}
	if p.flag("log_include_location") || !p.flagOr("plain", true) {
		return NewError(CodeInvalid, "leave log_include_location and plain=false out", "the log is sent as plain lines without the places of the code")
	}
	if p.err != nil {
		return p.err
	}
	if c.s.b.Tools == nil {
		return errNoTools()
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	h := c.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	c.mark(h)
	w := flushing{c.w}
	if _, err := w.Write(nil); err != nil { // sends the head: the reader knows that it follows although nothing is said yet
		return err
	}
	err := c.s.b.Tools.Monitor(ctx, req, w)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func errNoTools() *Error {
	return NewError(CodeUnavailable, "ask another agent", "this agent cannot do that")
}

func joinAgents(c *call) (*JoinAgentsResponse, error) {
	addrs := c.query["address"]
	if len(addrs) == 0 || len(addrs) > 64 || slices.Contains(addrs, "") {
		return nil, NewError(CodeInvalid, "add ?address=HOST:PORT, once for each, at most 64 times", "no address is named")
	}
	if c.s.b.Tools == nil {
		return nil, errNoTools()
	}
	n, err := c.s.b.Tools.Join(c.ctx, addrs)
	if err != nil {
		return nil, NewError(CodeUnavailable, "is an agent running there, and is this its gossip address (port 4648)?", "%s", err)
	}
	return &JoinAgentsResponse{NumJoined: n}, nil
}

func forceLeave(c *call) (*WriteResponse, error) {
	p := parser{values: c.query}
	local := p.flag("local")
	if p.err != nil {
		return nil, p.err
	}
	word := c.query.Get("node")
	if word == "" {
		return nil, NewError(CodeInvalid, "add ?node=NAME or its ID", "no agent is named")
	}
	if c.s.b.Tools == nil {
		return nil, errNoTools()
	}
	m, err := c.s.memberNamed(word, false)
	if local && errors.Is(err, ErrNotFound) {
		return &WriteResponse{RequestID: c.requestID}, nil // forgotten already
	}
	if err != nil {
		return nil, err
	}
	if m.Status == MemberAlive || m.Status == MemberSuspect {
		return nil, NewError(CodeConflict, "stop its agent first, or wait until gossip has found it dead", "agent %s (%s) is %s", m.Name, m.ID, m.Status)
	}
	if err := c.s.b.Tools.ForceLeave(c.ctx, m.ID, local); err != nil {
		return nil, err
	}
	return &WriteResponse{RequestID: c.requestID}, nil
}

func hostStats(c *call) (*HostStats, error) {
	if c.s.b.Tools == nil {
		return nil, errNoTools()
	}
	return c.s.b.Tools.HostStats(c.ctx)
}

// maxProfile bounds how long a profile may take.
const maxProfile = 30 * time.Second

// profiles are what /v1/agent/pprof answers.
func profiles() []string {
	return []string{"profile", "trace", "goroutine", "heap", "allocs", "threadcreate", "block", "mutex"}
}

// readProfile writes a profile of the agent's process. Profiles of a time measure for ?seconds.
func readProfile(c *call) error {
	name := c.id()
	if !slices.Contains(profiles(), name) {
		return NewError(CodeNotFound, didYouMean(nearest.Name(name, profiles())), "there is no profile %q; there are %s", name, quoted(profiles()))
	}
	p := parser{values: c.query}
	seconds, debug := min(max(p.uint("seconds"), 1), uint64(maxProfile/time.Second)), int(min(p.uint("debug"), 2))
	if p.err != nil {
		return p.err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if debug > 0 {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	switch name {
	case "profile":
		return c.measure(time.Duration(seconds)*time.Second, pprof.StartCPUProfile, pprof.StopCPUProfile)
	case "trace":
		return c.measure(time.Duration(seconds)*time.Second, trace.Start, trace.Stop)
	}
	c.mark(h)
	return pprof.Lookup(name).WriteTo(c.w, debug)
}

// measure writes what is measured for a while. Only one can at a time.
func (c *call) measure(d time.Duration, start func(io.Writer) error, stop func()) error {
	c.mark(c.w.Header())
	if err := start(flushing{c.w}); err != nil {
		return NewError(CodeBusy, "try again in a while", "somebody measures already: %s", err)
	}
	pause(c.ctx, d)
	stop()
	if !c.w.began() {
		c.w.WriteHeader(http.StatusOK)
	}
	return nil
}
