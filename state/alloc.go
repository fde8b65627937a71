package state

// Desired statuses of an allocation: the leader's word.
const (
	DesiredRun   = "run"
	DesiredStop  = "stop"
	DesiredEvict = "evict" // stopped for a job of higher priority
)

// Client statuses of an allocation. Pending to failed are the owning node's word; lost and unknown are never stored, they are
// derived from the node's status by Snapshot.ClientStatus.
const (
	ClientPending  = "pending"
	ClientRunning  = "running"
	ClientComplete = "complete"
	ClientFailed   = "failed"
	ClientLost     = "lost"    // derived: a live allocation on a node that is down
	ClientUnknown  = "unknown" // derived: a live allocation on a node that is disconnected
)

// Alloc is one promise: copy Index of a task group on one node. There may be a million: what many have in common they share, and
// neither part may be changed through one of them. Every row has both parts.
type Alloc struct {
	ID string // UUIDv8 derived from the plan's seed and the copy's ordinal, see AllocID
	*AllocGroup
	*AllocNode
	Index int    // 0 ≤ Index < Count
	Name  string // "job.group[index]"

	Ports []AllocPort `json:",omitempty"`

	DesiredStatus      string
	DesiredDescription string `json:",omitempty"`
	Migrate            bool   `json:",omitempty"` // a user asked for this copy to be stopped and placed again

	ClientStatus      string
	ClientDescription string     `json:",omitempty"`
	TaskStates        TaskStates `json:",omitzero"`
	ReportBoot        uint64     `json:",omitempty"` // boot counter and sequence of the last report applied
	ReportSeq         uint64     `json:",omitempty"`
	ClientModifyTime  int64      `json:",omitempty"` // cluster time of the last applied report, nanoseconds

	PreviousAllocation string            `json:",omitempty"`
	NextAllocation     string            `json:",omitempty"`
	RescheduleEvents   []RescheduleEvent `json:",omitempty"` // oldest first, at most 8

	CreateTime  int64 // cluster time, nanoseconds since the Unix epoch
	CreateIndex uint64
	ModifyIndex uint64
}

// AllocGroup is what an allocation is a copy of, and what it holds on its node: the same for the copies of one group that were
// placed together, unless they hold something by name.
type AllocGroup struct {
	Namespace  string
	JobID      string
	JobVersion uint64 // the job's specification is JobVersions[Namespace, JobID, JobVersion]
	JobType    string
	TaskGroup  string
	Priority   int
	Resources  AllocResources
}

// AllocNode is where an allocation is.
type AllocNode struct {
	NodeID   string
	NodeName string
}

// Whole reports whether a row has all its parts: one that was read from outside may not.
func (a *Alloc) Whole() bool { return a != nil && a.AllocGroup != nil && a.AllocNode != nil }

// AllocPort is one port given to an allocation.
type AllocPort struct {
	Label    string
	HostIP   string
	HostPort int
	AllocIP  string `json:",omitempty"`
	To       int    // the port to bind inside the allocation; equals HostPort in host mode unless the job says otherwise
}

// RescheduleEvent remembers one replacement of a failed copy.
type RescheduleEvent struct {
	Time        int64 // cluster time, nanoseconds since the Unix epoch
	PrevAllocID string
	PrevNodeID  string
	Delay       int64 // nanoseconds waited before it
}

// Task states.
const (
	TaskPending = "pending"
	TaskRunning = "running"
	TaskDead    = "dead"
)

// TaskState is how one task of an allocation stands, by its node's word.
type TaskState struct {
	State      string // TaskPending, TaskRunning or TaskDead
	Failed     bool
	Restarts   int
	StartedAt  int64       `json:",omitempty"` // the node's wall clock, nanoseconds; shown, never compared
	FinishedAt int64       `json:",omitempty"` // the node's wall clock, nanoseconds; shown, never compared
	Events     []TaskEvent `json:",omitempty"` // oldest first, at most MaxTaskEvents
	Crash      *CrashTail  `json:",omitempty"` // of its last run that failed, from level 2 on; of the tasks that failed last only
}

// MaxTaskEvents bounds TaskState.Events.
const MaxTaskEvents = 10

// TaskEvent is one thing that happened to a task.
type TaskEvent struct {
	Type     string // Received, Task Setup, Downloading Image, Started, Terminated, Restarting, Not Restarting, Killing, Killed, Driver Failure, Setup Failure, Re-attached, Rebooted, Leader Task Dead …
	Time     int64  // the node's wall clock, nanoseconds
	Message  string
	ExitCode int  `json:",omitempty"` // of a Terminated event
	Signal   int  `json:",omitempty"`
	OOM      bool `json:",omitempty"`
	Unknown  bool `json:",omitempty"` // the exit code was lost
}

// TerminalClient reports whether the owning node says that the allocation has ended. It absorbs.
func (a *Alloc) TerminalClient() bool {
	return a.ClientStatus == ClientComplete || a.ClientStatus == ClientFailed
}

// TerminalDesired reports whether the leader wants the allocation ended.
func (a *Alloc) TerminalDesired() bool { return a.DesiredStatus != DesiredRun }
