package api

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/drover-io/drover/state"
)

// Backend is what the server needs of its agent. Parts that a role does not have are nil: an agent without the server role has
// no State, Writer, Operator and Servers, and its Decider is empty; an agent without the client role has no Owner. What a part
// would have answered is then forwarded to an agent that has it.
type Backend struct {
	State    State          // servers only
	Writer   Writer         // servers only
	Cluster  Cluster        // every agent
	Operator Operator       // servers only
	Recovery Recovery       // servers only
	Nodes    NodeProtocol   // servers only: what nodes ask of the cluster
	Servers  ServerProtocol // servers only: what servers ask of each other
	Owner    Owner          // agents that run work
	Inside   Inside         // agents that run work
	Jobs     Jobs           // every agent
	Decider  Decider        // servers only
	Ping     PingFunc       // every agent; must not block
	Tools    Tools          // every agent; nil where its process is not to be looked into
	Images   Images         // agents that keep images

	ImageNodes    ImageProtocol                                                   // servers only: what agents that keep images ask of the cluster
	ResolveImages func(ctx context.Context, images []ImageQuestion) []ImageAnswer // every agent; nil means that it cannot

	Dial    func(ctx context.Context, addr string) (net.Conn, error) // the one dialer to peer listeners
	Now     func() int64                                             // cluster time, nanoseconds since the Unix epoch; asked on the leader
	Metrics *prometheus.Registry                                     // the agent's metrics; the server adds its own. nil means a fresh one
	Logger  hclog.Logger
	Limits  Limits

	NoPrometheus bool // metrics are served as JSON only
}

// validate refuses a backend that lacks what its role must have.
func (b *Backend) validate() error {
	if b.Cluster == nil || b.Jobs == nil || b.Ping == nil || b.Dial == nil || b.Now == nil {
		return errors.New("make an API server: the backend lacks its Cluster, Jobs, Ping, Dial or Now")
	}
	if (b.Owner == nil) != (b.Inside == nil) {
		return errors.New("make an API server: the backend has only one of Owner and Inside")
	}
	if b.State == nil {
		return nil
	}
	if slices.Contains([]any{b.Writer, b.Operator, b.Recovery, b.Nodes, b.Servers}, nil) {
		return errors.New("make an API server: the backend of a server lacks its Writer, Operator, Recovery, Nodes or Servers")
	}
	if !b.Decider.whole() {
		return errors.New("make an API server: the backend of a server lacks a part of its Decider")
	}
	return nil
}

// State is the replicated state as this server has applied it. *state.Store is one.
type State interface {
	// Snapshot is the current state. It costs nothing.
	Snapshot() *state.Snapshot
	// Watch fires at the first change of one of keys after the call.
	Watch(keys ...state.Key) *state.Watch
	// EventCursor begins to read events at an index, with 0 at what comes next.
	EventCursor(index uint64) state.EventCursor
	// Events are what there is from the cursor on, and what is missing before them.
	Events(c state.EventCursor) ([]state.EventBatch, state.EventCursor, *state.EventGap)
	// OldestEvent is the lowest index from which every event is kept.
	OldestEvent() uint64
}

// Writer commits commands. It is asked only on the agent whose Cluster.IsLeader is true.
type Writer interface {
	// Propose commits cmd and returns what applying it returned, and the entry's index. Errors: what apply returned
	// (state.Err…); ErrNotLeader (wrapped or not) when it was certainly not done because this server does not lead;
	// ErrUnknownOutcome, or ctx's error, when nobody can tell.
	Propose(ctx context.Context, cmd state.Command) (value any, index uint64, err error)
}

// Cluster is who this agent is, who else is there, and who leads.
type Cluster interface {
	// Self describes this agent. Its ID, region and addresses must not change while the server runs.
	Self() AgentSelf
	// Health is this agent's own judgement of its roles.
	Health() AgentHealth
	// Members are the agents that gossip knows, this one included, in the order of their names.
	Members() []Member
	// Leader is the leader's node ID and peer address. known is false while there is none. An agent without the server role
	// may remember it from its poll, or answer false: then the servers are asked.
	Leader() (id, peerAddr string, known bool)
	// IsLeader is true once this server leads and its term's Lead entry is applied: from then on its snapshot holds every
	// write that was ever acknowledged.
	IsLeader() bool
	// LastContact is how long ago this server heard of the leader; 0 on the leader.
	LastContact() time.Duration
	// VerifyLeader returns once a majority has confirmed that this server still leads and the snapshot holds everything
	// committed before the call. ErrNotLeader otherwise.
	VerifyLeader(ctx context.Context) error
	// RaftPeers is the Raft configuration as this server knows it; nil on an agent without the server role.
	RaftPeers() []RaftPeer
}

// Operator changes the servers themselves. It is asked on the leader only.
type Operator interface {
	// RemovePeer takes a server out of the Raft configuration.
	RemovePeer(ctx context.Context, id string) error
	// TransferLeadership gives leadership to a server, to the fittest one when id is "".
	TransferLeadership(ctx context.Context, id string) error
	// RestoreSnapshot replaces the cluster's state with a saved one of size bytes.
	RestoreSnapshot(ctx context.Context, r io.Reader, size int64) error
}

// Owner is the machine's side: what only the agent that runs an allocation can answer.
type Owner interface {
	// Owns reports whether the allocation is on this machine. It must not block.
	Owns(allocID string) bool
	// Restart restarts one task of an allocation, all of them when task is "".
	Restart(ctx context.Context, allocID, task string) error
	// Logs writes a task's output to w until its end, with Follow until the task has ended or ctx does. Each Write reaches the
	// reader at once; an empty one sends the head of the answer, so that a follower of a silent task knows that it follows. An
	// error before the first Write is answered as an error; a later one cuts the stream off.
	Logs(ctx context.Context, req LogsRequest, w io.Writer) error
}

// Jobs is the door by which a job enters: package jobspecs, handed in by the agent.
type Jobs interface {
	// ParseJSON decodes a job, resolves its defaults and validates it. The error says every place that is wrong.
	ParseJSON(data []byte) (job *state.Job, warnings []string, err error)
}

// JobsFunc makes a Jobs of a function.
type JobsFunc func(data []byte) (*state.Job, []string, error)

// ParseJSON calls f.
func (f JobsFunc) ParseJSON(data []byte) (*state.Job, []string, error) { return f(data) }

// Decider is the read-only side of package sched, handed in by the agent. The functions are pure; now is cluster time.
type Decider struct {
	// Plan is what registering job would do.
	Plan func(snap *state.Snapshot, job *state.Job, now int64) *state.PlanView
	// Explain says why copies of a stored job can or cannot be placed; nil when there is no such job.
	Explain func(snap *state.Snapshot, namespace, jobID string, now int64) *state.Explanation
	// ExplainAlloc says why a copy is on its node; nil when there is no such allocation.
	ExplainAlloc func(snap *state.Snapshot, allocID string, now int64) *state.AllocExplanation
	// ExplainNode says what could still fit on a node; nil when there is no such node.
	ExplainNode func(snap *state.Snapshot, nodeID string, now int64) *state.NodeExplanation
	// Warnings says what job asks for that registering it would not give.
	Warnings func(snap *state.Snapshot, job *state.Job) []string
	// Garbage removes what is over, however young: some commands of state.CollectGarbage, none when nothing is left.
	Garbage func(snap *state.Snapshot, now int64) []state.Command
	// Guard is how the eviction guard stands; asked on the leader.
	Guard func() EvictionsView
}

// whole reports whether nothing is missing.
func (d *Decider) whole() bool {
	return d.Plan != nil && d.Explain != nil && d.ExplainAlloc != nil && d.ExplainNode != nil && d.Warnings != nil && d.Garbage != nil && d.Guard != nil
}

// PingFunc answers a liveness probe from memory.
type PingFunc func() PingResponse

// NodeProtocol is what agents that run work ask of the servers.
type NodeProtocol interface {
	// Register stores what an agent says of its machine. Asked on the leader.
	Register(ctx context.Context, caller Caller, req *RegisterRequest) (*RegisterResponse, error)
	// Poll renews the node's lease and answers what its allocations are to do, at the latest after req.Wait. Asked on any
	// server when the node allows it, else on the leader.
	Poll(ctx context.Context, caller Caller, req *PollRequest) (*PollResponse, error)
	// Report stores what a node says of its allocations. Asked on the leader.
	Report(ctx context.Context, caller Caller, req *ReportRequest) (*ReportResponse, error)
}

// ServerProtocol is what servers ask of each other.
type ServerProtocol interface {
	// Renew hands the leader the leases that another server's polls renewed. Asked on the leader.
	Renew(ctx context.Context, req *LeasesRequest) (*LeasesResponse, error)
	// Probe knocks at some nodes from this server and says what came back. Asked on each voter.
	Probe(ctx context.Context, req *ProbeRequest) (*ProbeResponse, error)
	// Bootstrap confirms that this server has no log and expects the same number of servers. Asked on each server.
	Bootstrap(ctx context.Context, req *BootstrapRequest) (*BootstrapResponse, error)
	// Join takes a server into the Raft configuration as a non-voter. Asked on the leader.
	Join(ctx context.Context, req *JoinRequest) (*JoinResponse, error)
	// Announce notes the highest level that a server can apply. Asked on the leader.
	Announce(ctx context.Context, req *AnnounceRequest) (*AnnounceResponse, error)
	// Progress is how far this server's log is applied. Asked on each server.
	Progress(ctx context.Context) (*ProgressResponse, error)
}

// Limits bounds what the server accepts. The zero value of a field means its default.
type Limits struct {
	MaxWatchers  int           // blocking reads at a time; 10,000
	MaxConns     int           // connections at a time, over both listeners; 20,000
	MaxSnapshot  int64         // bytes of a snapshot to restore; 4 GiB
	LeaderWait   time.Duration // how long a request waits for a leader, and a write for its outcome; 5 s
	BodyTimeout  time.Duration // for a body to arrive, plus a second for each KiB; 30 s
	WriteTimeout time.Duration // for a reader to take what was written, plus a second for each KiB; 30 s
	DrainTimeout time.Duration // for requests to end when the server stops; 5 s
}

// DefaultLimits are the limits of a server.
func DefaultLimits() Limits {
	return Limits{
		MaxWatchers:  10_000,
		MaxConns:     20_000,
		MaxSnapshot:  4 << 30,
		LeaderWait:   5 * time.Second,
		BodyTimeout:  30 * time.Second,
		WriteTimeout: 30 * time.Second,
		DrainTimeout: 5 * time.Second,
	}
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.MaxWatchers == 0 {
		l.MaxWatchers = d.MaxWatchers
	}
	if l.MaxConns == 0 {
		l.MaxConns = d.MaxConns
	}
	if l.MaxSnapshot == 0 {
		l.MaxSnapshot = d.MaxSnapshot
	}
	if l.LeaderWait == 0 {
		l.LeaderWait = d.LeaderWait
	}
	if l.BodyTimeout == 0 {
		l.BodyTimeout = d.BodyTimeout
	}
	if l.WriteTimeout == 0 {
		l.WriteTimeout = d.WriteTimeout
	}
	if l.DrainTimeout == 0 {
		l.DrainTimeout = d.DrainTimeout
	}
	return l
}
