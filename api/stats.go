package api

// AllocStats is what an allocation uses.
type AllocStats struct {
	ResourceUsage ResourceUsage // the sum over its tasks
	Tasks         map[string]TaskStats
	Timestamp     int64 // the node's wall clock, nanoseconds
}

// TaskStats is what a task uses.
type TaskStats struct {
	ResourceUsage ResourceUsage
	Timestamp     int64 // the node's wall clock, nanoseconds
}

// ResourceUsage is a reading of usage.
type ResourceUsage struct {
	CpuStats    CPUStats
	MemoryStats MemoryStats
	Processes   uint64 // and threads
}

// CPUStats is the use of processors since the reading before.
type CPUStats struct {
	Percent          float64 // of one core: 150 is one and a half
	TotalTicks       float64 // MHz
	TotalNanos       uint64  // CPU time since the start
	ThrottledPeriods uint64  // since the start: periods in which a hard limit held it back
	ThrottledTime    uint64  // since the start, nanoseconds
}

// MemoryStats is the use of memory, in bytes.
type MemoryStats struct {
	Usage uint64 // without the part of the page cache that can be dropped
	RSS   uint64 `json:",omitempty"`
	Cache uint64 `json:",omitempty"`
	Limit uint64 // 0 means none
}

// Add sums up.
func (u *ResourceUsage) Add(v ResourceUsage) {
	u.CpuStats.Percent += v.CpuStats.Percent
	u.CpuStats.TotalTicks += v.CpuStats.TotalTicks
	u.CpuStats.TotalNanos += v.CpuStats.TotalNanos
	u.CpuStats.ThrottledPeriods += v.CpuStats.ThrottledPeriods
	u.CpuStats.ThrottledTime += v.CpuStats.ThrottledTime
	u.MemoryStats.Usage += v.MemoryStats.Usage
	u.MemoryStats.RSS += v.MemoryStats.RSS
	u.MemoryStats.Cache += v.MemoryStats.Cache
	u.MemoryStats.Limit += v.MemoryStats.Limit
	u.Processes += v.Processes
}

// MachineStats is what the allocations of one machine use.
type MachineStats struct {
	NodeID    string
	Allocs    map[string]AllocStats
	Timestamp int64 // the node's wall clock, nanoseconds
}

// SignalRequest sends a signal to a task.
type SignalRequest struct {
	Signal string // "SIGHUP", "HUP" or "1"
	Task   string `json:",omitempty"` // "" means all that run
}

func allocStats(c *call) (*AllocStats, error) {
	return c.s.b.Inside.Stats(c.ctx, c.id())
}

func machineStats(c *call) (*MachineStats, error) {
	if c.s.b.Inside == nil {
		return nil, NewError(CodeUnavailable, "name a node that does with node_id=", "this agent runs no work")
	}
	return c.s.b.Inside.MachineStats(c.ctx)
}

func signalAlloc(c *call, req *SignalRequest) (*WriteResponse, error) {
	if req.Signal == "" {
		return nil, NewError(CodeInvalid, "set Signal, for example to SIGHUP", "no signal is named")
	}
	if err := c.s.b.Inside.Signal(c.ctx, c.id(), req.Task, req.Signal); err != nil {
		return nil, err
	}
	return &WriteResponse{RequestID: c.requestID}, nil
}
