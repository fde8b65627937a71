package state

// Command is one change of the cluster's state, the content of a Raft entry or a part of it. It carries its own times and IDs, or the seed
// that they derive from, so that apply needs neither clock nor randomness. The set is closed: every command is in this file.
type Command interface {
	// kind is the command's name in the log.
	kind() string
	// at is the command's cluster time, nanoseconds since the Unix epoch.
	at() int64
	// apply changes tx or returns an error that says why nothing was changed. It is total and deterministic.
	apply(tx *tx) (any, error)
}

// InitCluster names the cluster. The first leader proposes it; later ones change nothing. The epoch follows in a second one, once
// the cluster's level allows.
type InitCluster struct {
	ClusterID string
	Epoch     string `json:",omitempty"` // see Snapshot.Epoch
	Time      int64  // cluster time, nanoseconds since the Unix epoch; in every command
}

// Lead is the first entry of a leader's term. The term stored is the entry's own, see Snapshot.LeadTerm.
type Lead struct {
	NodeID string
	Time   int64
}

// RaiseLevel raises the cluster's level once every member of the Raft configuration can apply it.
type RaiseLevel struct {
	Term  uint64
	Level int
	Time  int64
}

// RegisterJob stores a new version of a job, or restarts a stopped one. The result is a RegisterJobResult.
type RegisterJob struct {
	RequestID      string
	Job            *Job
	EnforceIndex   bool // when set the job's JobModifyIndex must equal the field below, 0 for "does not exist"
	JobModifyIndex uint64
	Time           int64
}

// StopJob stops all copies of a job; with Purge the row goes too once nothing of it is alive.
type StopJob struct {
	RequestID string
	Namespace string
	JobID     string
	Purge     bool
	Time      int64
}

// StopAlloc asks for one copy to be stopped and placed again.
type StopAlloc struct {
	RequestID string
	AllocID   string
	Time      int64
}

// RegisterNode stores what an agent says of its machine. Status, Generation, Eligibility and Returns are the cluster's and
// are not taken from it. The result is a RegisterNodeResult.
type RegisterNode struct {
	Node  *Node
	Moved bool `json:",omitempty"` // the leader found nobody of this ID at the address known so far: the machine has another one now
	Time  int64
}

// SetNodeStatus is the leader's judgement of some nodes.
type SetNodeStatus struct {
	Term    uint64
	Changes []NodeStatusChange
	Time    int64
}

// NodeStatusChange is one row of SetNodeStatus.
type NodeStatusChange struct {
	NodeID      string
	Boot        uint64 // the boot counter that the judgement was made of; another one drops the row
	Status      string
	Description string
}

// DeclareNodeLost is an operator's word that a machine is gone.
type DeclareNodeLost struct {
	RequestID string
	NodeID    string
	Time      int64
}

// SetEligibility lets a node take new work or not.
type SetEligibility struct {
	RequestID   string
	NodeID      string
	Eligibility string
	Time        int64
}

// AllowEvictions is an operator's word that the eviction guard may let go, see Snapshot.EvictionsAllowedAt.
type AllowEvictions struct {
	RequestID string
	Time      int64
}

// ApplyPlan is what one scheduling pass changes. The referee judges each copy (each whole record when Atomic) from stored
// facts; what it refuses is dropped with its reason and makes the job dirty. The result is a PlanResult.
type ApplyPlan struct {
	Term    uint64
	Seed    [16]byte     // alloc IDs derive from it, see AllocID
	Nodes   []NodeRef    // the nodes that the records name by position
	Columns *NodeColumns `json:",omitempty"` // instead of Nodes, in the log only
	Records []PlanRecord
	Blocked []BlockedChange
	Time    int64
}

// NodeRef names a node as the plan saw it.
type NodeRef struct {
	ID         string
	Generation uint64
}

// PlanRecord is a run of changes of one task group, in columns: entry i of every non-empty column belongs to copy i.
type PlanRecord struct {
	Namespace      string
	JobID          string
	JobModifyIndex uint64
	TaskGroup      string
	Atomic         bool              // applied whole or dropped whole
	Index          []int             // the slot of the copy placed; -1 where a copy is only stopped
	Node           []int             // position in ApplyPlan.Nodes; -1 where a copy is only stopped
	Ports          []int             `json:",omitempty"` // dynamic host ports: (copies placed) × (dynamic ports of the group), in order
	Cores          []int             `json:",omitempty"` // reserved cores: (copies placed) × (cores of the group), in order
	Devices        []string          `json:",omitempty"` // device instances: (copies placed) × (those of the group's DeviceRequests), in order
	Stop           []StopRef         `json:",omitempty"` // what goes together with the copy; the zero value stops nothing
	Reschedule     []RescheduleEvent `json:",omitempty"` // for copies that replace a failed one; the zero value is none
}

// StopRef names an allocation to stop as the plan saw it.
type StopRef struct {
	AllocID     string
	ModifyIndex uint64
	Desired     string // DesiredStop or DesiredEvict
	Description string
}

// BlockedChange sets or, with nil, clears Job.Blocked.
type BlockedChange struct {
	Namespace      string
	JobID          string
	JobModifyIndex uint64
	Blocked        *Blocked
}

// PlanResult is the answer to ApplyPlan.
type PlanResult struct {
	Placed  int
	Stopped int
	Dropped []PlanDrop
}

// PlanDrop is one copy that the referee refused.
type PlanDrop struct {
	Record int // position in ApplyPlan.Records
	Copy   int // position in its columns; -1 for an Atomic record
	Reason string
}

// Report is what nodes say of their allocations, several nodes in one entry. See PackReports.
type Report struct {
	Nodes []NodeReport
	Runs  []ReportRun `json:",omitempty"` // from level 2 on
	Time  int64
}

// NodeReport is one node's part of a Report. Reports with an older (Boot, Seq) than the allocation has, about unknown
// allocations or other nodes' allocations, and anything after a terminal state are ignored.
type NodeReport struct {
	NodeID string
	Boot   uint64
	Seq    uint64
	Allocs []AllocReport `json:",omitempty"`
	Runs   []ReportRun   `json:",omitempty"` // allocations that stand alike, see Packed
}

// AllocReport is what a node says of one allocation.
type AllocReport struct {
	ID          string
	Status      string               // ClientPending, ClientRunning, ClientComplete or ClientFailed
	Description string               `json:",omitempty"`
	Tasks       map[string]TaskState `json:",omitempty"`
}

// Calm reports whether nothing is said but that the allocation starts or runs: nobody has to do anything about it.
func (r *AllocReport) Calm() bool {
	if r.Status != ClientPending && r.Status != ClientRunning {
		return false
	}
	for _, t := range r.Tasks {
		if t.Failed || t.State != TaskPending && t.State != TaskRunning {
			return false
		}
	}
	return true
}

// CollectGarbage removes rows that nothing refers to any more. Rows that are alive again are kept.
type CollectGarbage struct {
	Term   uint64
	Allocs []string
	Jobs   []JobKey
	Nodes  []string
	Time   int64
}

// SetSchedulerConfig sets how the cluster places.
type SetSchedulerConfig struct {
	RequestID    string
	Config       SchedulerConfig // its indexes are the cluster's and are not taken from it
	EnforceIndex bool            // when set the stored configuration's ModifyIndex must equal the field below, 0 for "never set"
	ModifyIndex  uint64
	Time         int64
}

// UpsertNodePool creates a node pool, or replaces one. The built-in ones cannot be changed.
type UpsertNodePool struct {
	RequestID string
	Pool      *NodePool // its indexes are the cluster's and are not taken from it
	Time      int64
}

// DeleteNodePool removes a node pool that no node is in and no job uses.
type DeleteNodePool struct {
	RequestID string
	Name      string
	Time      int64
}

// JobKey names a job.
type JobKey struct {
	Namespace string
	ID        string
}

// RegisterJobResult is the answer to RegisterJob.
type RegisterJobResult struct {
	Namespace      string
	JobID          string
	Version        uint64
	JobModifyIndex uint64
	Changed        bool // false when the same specification was registered again
}

// RegisterNodeResult is the answer to RegisterNode.
type RegisterNodeResult struct {
	Generation uint64
	// Boot is the boot counter that the cluster knows the agent by. It is higher than the agent's own after its data directory
	// was wiped: the agent then takes it over, or its reports would look older than those it made before.
	Boot uint64
}

// SetNodeStatusResult is the answer to SetNodeStatus.
type SetNodeStatusResult struct {
	Changed int
	Dropped int // unknown nodes, and nodes that have started anew since they were judged
}

// ReportResult is the answer to Report.
type ReportResult struct {
	Applied int // allocations whose row changed
	Ignored int // older, unknown, another node's, ended already, or nothing new
}

// CollectGarbageResult is the answer to CollectGarbage: what was removed.
type CollectGarbageResult struct {
	Allocs int
	Jobs   int
	Nodes  int
}
