package api

import (
	"time"

	"github.com/drover-io/drover/state"
)

// Caller is who sent a request.
type Caller struct {
	NodeID       string // the agent that speaks; "" for a user
	Via          string // the agent that forwarded the request; "" when it came directly
	Capabilities map[Capability]bool
}

// Can reports whether the caller has the capability.
func (c Caller) Can(want Capability) bool { return c.Capabilities[want] }

// WriteResponse is what a write answers that has nothing else to say.
type WriteResponse struct {
	Index     uint64 // Raft index at which it is stored
	RequestID string
}

// JobRegisterRequest stores a job. On the wire Job is anything that the Jobs of the server accept.
type JobRegisterRequest struct {
	Job            *state.Job
	EnforceIndex   bool   // refuse unless the stored job's JobModifyIndex is the one below; 0 means "does not exist"
	JobModifyIndex uint64 `json:",omitempty"`
	PreserveCounts bool   `json:",omitempty"` // groups that exist keep their number of copies
	Pin            string `json:",omitempty"` // a Pin constant: how tags of images are treated; "" means PinAuto
}

// JobRegisterResponse is the answer to a registration.
type JobRegisterResponse struct {
	Namespace      string
	ID             string
	Version        uint64
	JobModifyIndex uint64
	Changed        bool // false when the same specification was registered again
	Warnings       []string
	Pins           []ImagePin `json:",omitempty"` // tags that became digests
	Index          uint64
	RequestID      string
}

// JobPlanRequest asks what a registration would do.
type JobPlanRequest struct {
	Job  *state.Job
	Diff bool   `json:",omitempty"` // accepted for compatibility: the difference is always answered
	Pin  string `json:",omitempty"` // as of a JobRegisterRequest
}

// JobPlanResponse is what a registration would do.
type JobPlanResponse struct {
	state.PlanView
	Warnings []string
	Pins     []ImagePin `json:",omitempty"` // tags that would become digests
}

// JobVersionsResponse lists the stored versions of a job, newest first.
type JobVersionsResponse struct {
	Versions []*state.Job
	Diffs    [][]state.DiffLine // entry i is what changed from Versions[i+1] to Versions[i]
}

// EligibilityRequest lets a node take new work or not.
type EligibilityRequest struct {
	NodeID      string `json:",omitempty"` // when set it must be the one of the path
	Eligibility string // state.NodeEligible or state.NodeIneligible
}

// RestartRequest restarts one task of an allocation, all of them when Task is "".
type RestartRequest struct {
	TaskName string `json:",omitempty"`
}

// LogsRequest names the output to read.
type LogsRequest struct {
	AllocID string
	Task    string // "" means the only one
	Type    string // LogStdout or LogStderr
	Follow  bool
	Origin  string // LogFromStart or LogFromEnd: where Offset counts from
	Offset  int64  // bytes
	Tail    int    // the last so many lines; 0 means all from Offset

	Since    time.Time     // only what was written since, and maybe a moment before; the zero value means all
	Ago      time.Duration // the same by the clock of the allocation's machine; 0 means all
	Previous bool          // what the run before the latest has written
}

// Where and what of a LogsRequest.
const (
	LogStdout    = "stdout"
	LogStderr    = "stderr"
	LogFromStart = "start"
	LogFromEnd   = "end"
)

// AgentSelf describes one agent.
type AgentSelf struct {
	NodeID     string
	Name       string
	Region     string
	Datacenter string
	NodePool   string
	ClusterID  string // "" before it joined one
	Version    string
	Server     bool
	Client     bool
	Leader     bool
	HTTPAddr   string
	PeerAddr   string
	GossipAddr string
	DataDir    string
	Boot       uint64
	Stats      map[string]map[string]string `json:",omitempty"` // per organ, for people
}

// AgentHealth is an agent's judgement of its roles.
type AgentHealth struct {
	Server *RoleHealth `json:"server,omitempty"`
	Client *RoleHealth `json:"client,omitempty"`
}

// RoleHealth is how one role stands.
type RoleHealth struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// Statuses of a Member.
const (
	MemberAlive   = "alive"
	MemberSuspect = "suspect"
	MemberFailed  = "failed"
	MemberLeft    = "left"
)

// Member is one agent that gossip knows.
type Member struct {
	ID         string // node ID
	Name       string
	Addr       string // gossip address
	Port       int
	Status     string // a Member constant
	Server     bool
	Leader     bool
	Datacenter string
	Region     string
	ClusterID  string
	Version    string
	PeerAddr   string
	HTTPAddr   string
	Level      int
}

// MembersResponse lists the agents that gossip knows.
type MembersResponse struct {
	ServerName   string // the agent that answered
	ServerRegion string
	ServerDC     string
	Members      []Member
}

// RaftPeer is one server of the Raft configuration.
type RaftPeer struct {
	ID      string
	Node    string // its name
	Address string // peer address
	Leader  bool
	Voter   bool
}

// RaftConfiguration is the Raft configuration.
type RaftConfiguration struct {
	Servers []RaftPeer
	Index   uint64 // of the snapshot that it was read beside
}

// TransferRequest gives leadership away. Query parameters id and address do the same.
type TransferRequest struct {
	ID string `json:",omitempty"` // "" means the fittest server
}

// EvictionsView is how the eviction guard stands.
type EvictionsView struct {
	Pools     []PoolGuard
	AllowedAt int64 // cluster time of the operator's last word, nanoseconds since the Unix epoch; 0 when there was none
}

// PoolGuard is how the guard stands in one node pool.
type PoolGuard struct {
	NodePool string
	Nodes    int    // of the pool
	Silent   int    // that a majority of the voters hears nothing of
	Declared int    // declared down in the current window
	Holding  bool   // none is declared down now
	Until    int64  // cluster time at which holding ends by itself; 0 when not holding
	Reason   string `json:",omitempty"` // one sentence
}
