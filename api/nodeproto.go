package api

import (
	"time"

	"github.com/drover-io/drover/state"
)

// RegisterRequest is what an agent says of its machine when it starts and whenever that changes.
type RegisterRequest struct {
	ClusterID string // the cluster that the machine belonged to so far; "" for a machine that never joined one
	History   History
	Node      *state.Node
}

// History says which beginning of its cluster an agent follows: of the two, the one of the higher generation is the later.
type History struct {
	Epoch      string // state.Snapshot.Epoch as last seen; "" when it never saw one
	Generation uint64 // newest restore generation seen
}

// Stranger reports whether a state is of another beginning of the cluster, and not a later one: it knows nothing of what the agent
// was told. A restore and a recovery raise the generation; a cluster that lost its logs and begins anew counts from zero.
func (h History) Stranger(epoch string, generation uint64) bool {
	return h.Epoch != "" && h.Epoch != epoch && generation <= h.Generation
}

// RegisterResponse is the cluster's answer: where the machine is, from now on.
type RegisterResponse struct {
	ClusterID         string
	Level             int           // the cluster's level; an agent whose maximum is below must not go on
	Generation        uint64        // the node's, raised when it came back
	Boot              uint64        // the boot counter to report under: the agent's own, or a higher one when it lost its own
	RestoreGeneration uint64        // the state's, raised when a backup was restored
	Index             uint64        // Raft index at which the node is stored
	LeasePeriod       time.Duration // how often to poll at least
}

// PollRequest asks what a node's allocations are to do. Most polls ask only what has changed since the last answer; one with Since 0
// names everything that was found on the machine and is answered name by name. A Roster knows which is due.
type PollRequest struct {
	NodeID            string
	ClusterID         string
	Boot              uint64        // the agent's boot counter
	Generation        uint64        // the node's, as the last registration answered
	Index             uint64        // newest index that the node has seen; a server that is behind it does not answer
	RestoreGeneration uint64        // newest restore generation that the node has seen
	Epoch             string        // the cluster's epoch that the node has seen with it
	Wait              time.Duration // how long to wait for news; at most MaxPollWait. A poll with Since 0 is answered at once
	Since             uint64        // index up to which the node knows its orders; 0: it asks about everything in Held
	Told              int           `json:",omitempty"` // how many allocations it knows to run there
	Held              []HeldAlloc   `json:",omitempty"` // with Since 0, every allocation found on the machine

	Closing <-chan struct{} `json:"-"` // set by the server that was asked: closed when it stops, and waits no longer
}

// MaxPollWait bounds PollRequest.Wait.
const MaxPollWait = 30 * time.Second

// HeldAlloc is one allocation that an agent found on its machine.
type HeldAlloc struct {
	ID          string
	CreateIndex uint64 `json:",omitempty"` // of the row that the agent has; 0 when it knows the ID only
}

// PollResponse says what a node's allocations are to do: each that the poll held by its name, or what has changed since the index
// that it named. What is in no list is left alone.
type PollResponse struct {
	ClusterID         string
	Index             uint64 // state that the orders are made from; a node ignores one older than the newest it has seen
	RestoreGeneration uint64
	Epoch             string // the cluster's, see state.Snapshot.Epoch
	Level             int
	LeaderID          string        // "" while there is none
	LeaderAddr        string        // its peer address
	LeasePeriod       time.Duration // how often to poll at least
	Gather            time.Duration `json:",omitempty"` // how long news that allocations run may wait for more
	Later             bool          `json:",omitempty"` // there is something to be told, when it is the node's turn: nothing is said of it, Index is the one asked with
	Register          bool          // the cluster does not know the node, or knows it as down: register again
	NodeStatus        string        // a state.NodeStatus constant
	NodeName          string        // as registered
	ToRun             state.Digest  // of all allocations that are to run on the node: what it was told must come to that

	Run   []RunOrder   `json:",omitempty"` // to start, or to keep: with rows that the node does not have
	Jobs  []*state.Job `json:"-"`          // the jobs' versions that rows in Run refer to, each once
	Lines int          `json:",omitempty"` // that follow this one: the rows of Run, then Jobs
	Keep  []string     `json:",omitempty"` // of those that the poll held: to keep
	Stop  []string     `json:",omitempty"` // to stop: the cluster wants these allocations ended
	Gone  []string     `json:",omitempty"` // of those that the poll held: to stop and remove, the cluster knows nothing of them
	Over  []string     `json:",omitempty"` // have ended by the node's own word since: nothing is to be done
}

// RunOrder is one allocation to start, or several whose rows differ in nothing but ID, index and name.
type RunOrder struct {
	Alloc   *state.Alloc `json:"-"` // the row, less those, and less what the node says of it itself
	Plain   bool         `json:"-"` // the row has nothing that others of its group, placed by the same entry, do not have
	IDs     []string
	Indexes []int // as many as IDs
}

// Rows are the rows of the order, one for each ID.
func (o RunOrder) Rows() []*state.Alloc {
	rows := make([]*state.Alloc, len(o.IDs))
	for i, id := range o.IDs {
		a := *o.Alloc
		a.ID, a.Index = id, o.Indexes[i]
		a.Name = state.CopyName(a.JobID, a.TaskGroup, a.Index)
		rows[i] = &a
	}
	return rows
}

// ReportRequest is what a node says of its allocations. Report.NodeID must be the caller's.
type ReportRequest struct {
	ClusterID string
	Report    state.NodeReport
}

// ReportResponse acknowledges a report: it is in the log.
type ReportResponse struct {
	Seq   uint64 // of the report acknowledged
	Index uint64
}

// LeasesRequest carries the renewals that a server's polls brought, to the leader.
type LeasesRequest struct {
	ServerID string
	Leases   []LeaseRenewal
}

// LeaseRenewal is one node's sign of life.
type LeaseRenewal struct {
	NodeID string
	Boot   uint64
	Age    time.Duration // how long ago, when the request was sent
}

// LeasesResponse is the leader's answer to relayed leases.
type LeasesResponse struct {
	Term        uint64
	LeasePeriod time.Duration
}

// What a probe found.
const (
	ProbeAnswers = "answers" // the agent answered the ping
	ProbeAccepts = "accepts" // the connection was accepted, the ping not answered
	ProbeRefused = "refused" // the machine answered that nobody listens
	ProbeSilent  = "silent"  // nothing came back
)

// ProbeRequest asks a voter to knock at nodes.
type ProbeRequest struct {
	Targets []ProbeTarget
	Timeout time.Duration // per target; all are tried at once
}

// ProbeTarget is one node to knock at.
type ProbeTarget struct {
	NodeID   string
	PeerAddr string
}

// ProbeResponse is what came back, in the order of the targets.
type ProbeResponse struct {
	ServerID string
	Results  []ProbeResult
}

// ProbeResult is what came back from one node.
type ProbeResult struct {
	NodeID  string
	Outcome string // a Probe constant
	Boot    uint64 // of the agent that answered, 0 otherwise
	Detail  string `json:",omitempty"`
}

// PingResponse says that an agent is alive, and which.
type PingResponse struct {
	NodeID    string
	ClusterID string
	Boot      uint64
	Server    bool
}

// BootstrapRequest is one server asking another whether both may found a cluster.
type BootstrapRequest struct {
	NodeID   string
	PeerAddr string
	Expect   int  // bootstrap_expect of the asker
	HasLog   bool // the asker has a Raft log: it must not found anything
}

// BootstrapResponse is the other server's word.
type BootstrapResponse struct {
	NodeID    string
	PeerAddr  string
	Expect    int
	HasLog    bool
	ClusterID string // "" before there is one
}

// JoinRequest is a server asking to be taken in.
type JoinRequest struct {
	NodeID    string
	Name      string
	PeerAddr  string
	ClusterID string // "" for a server that never belonged to one
	Level     int    // the highest level it can apply
	Version   string
	Wiped     bool // it has this ID from before and lost its log: its old vote must go before it may vote again
}

// JoinResponse says how the server stands in the Raft configuration.
type JoinResponse struct {
	ClusterID string
	Level     int
	Voter     bool
}

// AnnounceRequest is the highest level that a server can apply.
type AnnounceRequest struct {
	NodeID       string
	Level        int
	Version      string
	AppliedIndex uint64
}

// AnnounceResponse is the cluster's level.
type AnnounceResponse struct {
	Level int
}

// ProgressResponse is how far a server is, for its promotion.
type ProgressResponse struct {
	NodeID       string
	ClusterID    string
	AppliedIndex uint64
	LastTerm     uint64
	Level        int // the highest level it can apply
	Version      string
	HasLog       bool          // it belongs to a cluster
	LastIndex    uint64        // newest entry in its log
	LastLogTerm  uint64        // that entry's term
	Readings     []HashReading `json:",omitempty"` // hashes of the state at some indexes, oldest first
}

// HashReading is the hash of every table after the entry at Index was applied.
type HashReading struct {
	Index  uint64
	Hashes state.Hashes
}
