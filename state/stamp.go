package state

// This file says of every command what run needs to know before it applies it.

func (InitCluster) kind() string        { return "InitCluster" }
func (Lead) kind() string               { return "Lead" }
func (RaiseLevel) kind() string         { return "RaiseLevel" }
func (RegisterJob) kind() string        { return "RegisterJob" }
func (StopJob) kind() string            { return "StopJob" }
func (StopAlloc) kind() string          { return "StopAlloc" }
func (RegisterNode) kind() string       { return "RegisterNode" }
func (SetNodeStatus) kind() string      { return "SetNodeStatus" }
func (DeclareNodeLost) kind() string    { return "DeclareNodeLost" }
func (SetEligibility) kind() string     { return "SetEligibility" }
func (AllowEvictions) kind() string     { return "AllowEvictions" }
func (ApplyPlan) kind() string          { return "ApplyPlan" }
func (Report) kind() string             { return "Report" }
func (CollectGarbage) kind() string     { return "CollectGarbage" }
func (SetSchedulerConfig) kind() string { return "SetSchedulerConfig" }
func (UpsertNodePool) kind() string     { return "UpsertNodePool" }
func (DeleteNodePool) kind() string     { return "DeleteNodePool" }

func (c InitCluster) at() int64        { return c.Time }
func (c Lead) at() int64               { return c.Time }
func (c RaiseLevel) at() int64         { return c.Time }
func (c RegisterJob) at() int64        { return c.Time }
func (c StopJob) at() int64            { return c.Time }
func (c StopAlloc) at() int64          { return c.Time }
func (c RegisterNode) at() int64       { return c.Time }
func (c SetNodeStatus) at() int64      { return c.Time }
func (c DeclareNodeLost) at() int64    { return c.Time }
func (c SetEligibility) at() int64     { return c.Time }
func (c AllowEvictions) at() int64     { return c.Time }
func (c ApplyPlan) at() int64          { return c.Time }
func (c Report) at() int64             { return c.Time }
func (c CollectGarbage) at() int64     { return c.Time }
func (c SetSchedulerConfig) at() int64 { return c.Time }
func (c UpsertNodePool) at() int64     { return c.Time }
func (c DeleteNodePool) at() int64     { return c.Time }

func (c RaiseLevel) leaderTerm() uint64     { return c.Term }
func (c SetNodeStatus) leaderTerm() uint64  { return c.Term }
func (c ApplyPlan) leaderTerm() uint64      { return c.Term }
func (c CollectGarbage) leaderTerm() uint64 { return c.Term }

func (c RegisterJob) request() (id, object string) {
	if c.Job == nil {
		return c.RequestID, ""
	}
	return c.RequestID, "job " + c.Job.Namespace + "/" + c.Job.ID
}

func (c StopJob) request() (id, object string) {
	return c.RequestID, "job " + c.Namespace + "/" + c.JobID
}

func (c UpsertNodePool) request() (id, object string) {
	if c.Pool == nil {
		return c.RequestID, ""
	}
	return c.RequestID, "node pool " + c.Pool.Name
}

func (c DeleteNodePool) request() (id, object string) { return c.RequestID, "node pool " + c.Name }

func (c SetSchedulerConfig) request() (id, object string) {
	return c.RequestID, "scheduler configuration"
}

func (c StopAlloc) request() (id, object string)       { return c.RequestID, "alloc " + c.AllocID }
func (c DeclareNodeLost) request() (id, object string) { return c.RequestID, "node " + c.NodeID }
func (c SetEligibility) request() (id, object string)  { return c.RequestID, "node " + c.NodeID }
func (c AllowEvictions) request() (id, object string)  { return c.RequestID, "evictions" }
