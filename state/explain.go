package state

// Explanation answers why copies of a group can or cannot be placed: what each filter excludes, the nearest miss, and what
// would help. It is computed on demand by package sched and never stored.
type Explanation struct {
	Namespace string
	JobID     string
	Groups    []GroupExplanation
}

// GroupExplanation explains one task group.
type GroupExplanation struct {
	TaskGroup      string
	Wanted         int // copies the job asks for
	Placed         int // live copies
	Unplaced       int // copies that cannot be placed now
	NodesEvaluated int
	NodesFeasible  int          // nodes that could take one more copy now
	Reasons        []Reason     // most nodes first
	NearestMiss    *Miss        `json:",omitempty"`
	Suggestions    []Suggestion `json:",omitempty"` // most nodes first
	Wishes         []Wish       `json:",omitempty"` // the group's affinities and spreads, and how far they are fulfilled
}

// Reason is one filter that said no.
type Reason struct {
	Filter string // "constraint", "driver", "datacenter", "node pool", "status", "eligibility", "memory", "cpu", "cores", "device", "disk", "port", "distinct_hosts", "distinct_property", "flapping"
	Detail string // a sentence: `constraint "${attr.kernel.name} = plan9" is false`
	Nodes  int    // nodes it excludes
}

// Miss is the node that failed the fewest filters.
type Miss struct {
	NodeID   string
	NodeName string
	Failed   []string // sentences: "memory: asks 4096 MiB, 1024 MiB free of 2048 MiB"
}

// Suggestion is a change that would make nodes fit.
type Suggestion struct {
	Change string // "lower memory of group web to 1024 MiB or less"
	Nodes  int    // nodes that would fit then
}

// PlanView is what a job's registration would do: the answer of a dry run, one row per task group.
type PlanView struct {
	JobModifyIndex uint64 // what to pass to --check-index
	Diff           []DiffLine
	Groups         []GroupPlan
	Placements     []PlannedCopy
	Stops          []PlannedCopy
	Explanation    *Explanation `json:",omitempty"` // set when something could not be placed
}

// GroupPlan counts what happens to one group.
type GroupPlan struct {
	TaskGroup string
	Place     int
	Stop      int
	Replace   int // destructive updates, now and by later steps of the roll-out
	Ignore    int
	Unplaced  int
}

// PlannedCopy is one copy that would be placed or stopped.
type PlannedCopy struct {
	Name     string
	AllocID  string `json:",omitempty"` // the copy stopped or replaced
	NodeID   string
	NodeName string
	Reason   string
}

// DiffLine is one changed field of a job.
type DiffLine struct {
	Path string // "group.web.task.server.resources.memory"
	Old  string // "" when added
	New  string // "" when removed
}

// Kinds of wishes.
const (
	WishAffinity = "affinity"
	WishSpread   = "spread"
)

// Wish is an affinity or a spread of a group and how far it is fulfilled.
type Wish struct {
	Kind   string        // a Wish constant
	Text   string        // "${meta.disk} = ssd", or the spread's attribute
	Weight int           // as the job has it
	Nodes  int           // of an affinity: nodes that fulfil it, of those that may run the group
	Copies int           // of an affinity: live copies on such nodes
	Values []SpreadValue `json:",omitempty"` // of a spread: those with the most copies wanted first
	More   int           `json:",omitempty"` // values that are not listed
}

// SpreadValue is how the copies of a group are spread on nodes with one value.
type SpreadValue struct {
	Value  string  // "" for nodes that do not have the attribute
	Nodes  int     // that may run the group
	Wanted float64 // copies that should be there
	Copies int     // live copies that are
}

// Score is what one of the placement's scorers says of a node.
type Score struct {
	Name   string  // "binpack" or "spread", "job-anti-affinity", "node-affinity", "allocation-spread", "devices", "node-reschedule-penalty"
	Score  float64 // from -1, as bad as can be, to 1; the penalty is -2
	Detail string  // a few words: "2 of 5 copies are there"
}

// NodeScore is how good a node is for one more copy of a group.
type NodeScore struct {
	NodeID   string
	NodeName string
	Rank     int      `json:",omitempty"` // 1 for the best of those that fit, 0 for one that does not
	Score    float64  // the mean of Scores
	Scores   []Score  `json:",omitempty"`
	Failed   []string `json:",omitempty"` // why it does not fit, in sentences
}

// AllocExplanation answers why a copy is on its node: how the nodes score for it now, as if it were to be placed.
type AllocExplanation struct {
	AllocID    string
	Namespace  string
	JobID      string
	JobVersion uint64
	TaskGroup  string
	Name       string

	PlacedAt    int64 // cluster time of the placement
	EvaluatedAt int64 // cluster time of this evaluation
	Algorithm   string
	Chosen      NodeScore
	RunnersUp   []NodeScore `json:",omitempty"` // the best others, best first
	Notes       []string    `json:",omitempty"` // what has changed since it was placed, in sentences

	NodesEvaluated int
	NodesFeasible  int
	Reasons        []Reason `json:",omitempty"` // why the others cannot have it, most nodes first
}

// NodeExplanation answers what could still fit on a node.
type NodeExplanation struct {
	NodeID                string
	NodeName              string
	Status                string
	SchedulingEligibility string
	Problems              []string `json:",omitempty"` // why it takes no new work at all, in sentences
	Total                 NodeRoom
	Free                  NodeRoom
	Blocked               []NodeFit `json:",omitempty"` // groups with copies that cannot be placed, most important first
	Groups                []NodeFit `json:",omitempty"` // all other groups
	LeftOut               int       `json:",omitempty"` // groups that were not looked at: the work of one answer is bounded
}

// NodeRoom is an amount of everything that placement counts.
type NodeRoom struct {
	CPU          int // MHz
	MemoryMB     int
	DiskMB       int
	Cores        int // whole cores that can be reserved
	DynamicPorts int
	Devices      []DeviceRoom `json:",omitempty"`
}

// DeviceRoom is a number of instances of one kind of device.
type DeviceRoom struct {
	ID        string // "vendor/type/name"
	Instances int    // healthy ones; of shared devices any number of copies may have one
	Shared    bool   `json:",omitempty"`
}

// NodeFit is how one group fits on a node.
type NodeFit struct {
	Namespace string
	JobID     string
	TaskGroup string
	Unplaced  int      `json:",omitempty"` // copies that cannot be placed anywhere
	Here      int      // live copies on the node
	More      int      // copies that would fit beside what is there, whatever the group's count
	LimitedBy string   `json:",omitempty"` // the filter that ends it: "memory"
	Failed    []string `json:",omitempty"` // why not one more fits, in sentences
}
