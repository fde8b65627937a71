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
}

// Reason is one filter that said no.
type Reason struct {
	Filter string // "constraint", "driver", "datacenter", "node pool", "status", "eligibility", "memory", "cpu", "disk", "port", "distinct_hosts", "distinct_property", "flapping"
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
