package state

import "time"

// Job types. The type decides what happens when a task ends well: a service is restarted, a batch job is complete.
const (
	JobTypeService = "service"
	JobTypeBatch   = "batch"
)

// Job statuses, derived from the job and its allocations by Snapshot.JobStatus.
const (
	JobStatusPending = "pending"
	JobStatusRunning = "running"
	JobStatusDead    = "dead"
)

// Job is what the user wants, at one version. JSON names are those of Nomad's API. Everything that has a default is resolved
// by package jobspecs before a Job exists; apply fills in nothing but the indexes, Version and SubmitTime.
type Job struct {
	Namespace   string
	ID          string
	Name        string
	Type        string // JobTypeService or JobTypeBatch
	Region      string
	Datacenters []string // globs; ["*"] means any
	NodePool    string
	Priority    int               // 1..100, higher first
	AllAtOnce   bool              // place all copies of a group or none
	Constraints []Constraint      `json:",omitempty"`
	Affinities  []Affinity        `json:",omitempty"`
	Spreads     []Spread          `json:",omitempty"`
	Meta        map[string]string `json:",omitempty"`
	TaskGroups  []TaskGroup

	Stop           bool   // the user asked for it to stop; kept until garbage collected or purged
	Purge          bool   `json:",omitempty"` // the row goes as soon as nothing of it is alive
	Version        uint64 // 0 for the first registration; raised when the specification changes
	SubmitTime     int64  // cluster time of the registration, nanoseconds since the Unix epoch
	CreateIndex    uint64 // Raft index of the first registration
	ModifyIndex    uint64 // Raft index of the last change of this row
	JobModifyIndex uint64 // Raft index of the last change by a user; what --check-index compares

	Blocked *Blocked `json:",omitempty"` // set by the leader while copies cannot be placed
}

// Blocked says since when copies of a job cannot be placed and the first reason. It is written when it changes, not per pass.
type Blocked struct {
	Since  int64          // cluster time, nanoseconds since the Unix epoch
	Groups map[string]int // task group → copies that could not be placed
	Reason string         // the first reason in one sentence; the whole explanation is computed on demand
}

// TaskGroup is a set of tasks that live and die together on one node, Count times.
type TaskGroup struct {
	Name             string
	Count            int
	Constraints      []Constraint      `json:",omitempty"`
	Affinities       []Affinity        `json:",omitempty"`
	Spreads          []Spread          `json:",omitempty"` // stand before the job's
	Meta             map[string]string `json:",omitempty"`
	Networks         []Network         `json:",omitempty"` // at most one
	RestartPolicy    RestartPolicy
	ReschedulePolicy ReschedulePolicy
	Update           UpdateStrategy
	EphemeralDisk    EphemeralDisk
	Tasks            []Task
}

// Task is one container, or one process.
type Task struct {
	Name          string
	Driver        string            // as written in the job: docker, podman, containerd, exec, raw_exec, fake
	User          string            `json:",omitempty"`
	Config        map[string]any    `json:",omitempty"` // the driver's; JSON values only
	Env           map[string]string `json:",omitempty"`
	Meta          map[string]string `json:",omitempty"`
	Constraints   []Constraint      `json:",omitempty"`
	Affinities    []Affinity        `json:",omitempty"`
	Resources     Resources
	RestartPolicy RestartPolicy // inherited from the group where the task has none
	LogConfig     LogConfig
	Leader        bool          // its end stops its siblings
	KillTimeout   time.Duration // between the kill signal and SIGKILL
	KillSignal    string        // "" means the driver's default, SIGTERM
}

// Constraint restricts placement to nodes for which "LTarget Operand RTarget" holds. Targets may be interpolated:
// ${attr.kernel.name}, ${node.datacenter}, ${meta.rack}.
type Constraint struct {
	LTarget string
	RTarget string
	Operand string // one of the Operand constants
}

// Operands of a Constraint.
const (
	OperandEqual            = "="
	OperandNotEqual         = "!="
	OperandLess             = "<"
	OperandLessOrEqual      = "<="
	OperandGreater          = ">"
	OperandGreaterOrEqual   = ">="
	OperandRegexp           = "regexp"
	OperandVersion          = "version"
	OperandSemver           = "semver"
	OperandSetContains      = "set_contains" // also written set_contains_all
	OperandSetContainsAny   = "set_contains_any"
	OperandIsSet            = "is_set"
	OperandIsNotSet         = "is_not_set"
	OperandDistinctHosts    = "distinct_hosts"
	OperandDistinctProperty = "distinct_property" // RTarget is the number allowed per value, "" means 1
)

// Network is what a group asks of its node's network.
type Network struct {
	Mode          string // "host"
	ReservedPorts []Port `json:",omitempty"` // ports with a static number
	DynamicPorts  []Port `json:",omitempty"` // ports that the scheduler picks
}

// Port is one port of a Network.
type Port struct {
	Label string
	Value int `json:",omitempty"` // the static host port; 0 for a dynamic one
	To    int `json:",omitempty"` // the port inside the group's address; 0 or -1 means the host port
}

// Restart modes: what happens when the attempts of an interval are used up.
const (
	RestartModeFail  = "fail"  // the task has failed
	RestartModeDelay = "delay" // wait for the next interval
)

// RestartPolicy restarts a task on its own node.
type RestartPolicy struct {
	Attempts int           // restarts per Interval
	Interval time.Duration // ≥ 5s
	Delay    time.Duration // before each restart, with up to 25 % jitter
	Mode     string        // RestartModeFail or RestartModeDelay
}

// Delay functions of a ReschedulePolicy.
const (
	DelayConstant    = "constant"
	DelayExponential = "exponential"
	DelayFibonacci   = "fibonacci"
)

// ReschedulePolicy replaces a failed allocation on another node.
type ReschedulePolicy struct {
	Attempts      int           // per Interval, unless Unlimited
	Interval      time.Duration // ≥ 15s when Attempts > 0
	Delay         time.Duration // ≥ 5s
	DelayFunction string        // DelayConstant, DelayExponential or DelayFibonacci
	MaxDelay      time.Duration // cap of the growing delay functions
	Unlimited     bool
}

// UpdateStrategy says how a changed job replaces its copies.
type UpdateStrategy struct {
	MaxParallel int // copies replaced at a time; 0 means all at once
}

// EphemeralDisk is the disk an allocation's directory may fill.
type EphemeralDisk struct {
	SizeMB int // MiB
}

// LogConfig bounds what a task's log files keep.
type LogConfig struct {
	MaxFiles      int
	MaxFileSizeMB int // MiB per file
	Disabled      bool
}
