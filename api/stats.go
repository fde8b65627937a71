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

// NodeStats is what a machine uses.
type NodeStats struct {
	NodeID           string
	NodeName         string
	CPU              HostCPU
	CPUTicksConsumed float64 // MHz
	Memory           HostMemory
	DiskStats        []HostDisk
	Load             [3]float64 // averages over 1, 5 and 15 minutes
	Uptime           uint64     // seconds
	Timestamp        int64      // the node's wall clock, nanoseconds
	Allocs           map[string]AllocStats
}

// HostCPU is the use of a machine's processors since the reading before.
type HostCPU struct {
	Cores   int
	Percent float64 // of all cores together
	User    float64
	System  float64
	Idle    float64
}

// HostMemory is a machine's memory in bytes.
type HostMemory struct {
	Total     uint64
	Available uint64
	Used      uint64
	Free      uint64
}

// HostDisk is a file system of a machine, in bytes.
type HostDisk struct {
	Mountpoint  string // or what lies on it
	Size        uint64
	Used        uint64
	Available   uint64
	UsedPercent float64
}

// SignalRequest sends a signal to a task.
type SignalRequest struct {
	Signal string // "SIGHUP", "HUP" or "1"
	Task   string `json:",omitempty"` // "" means all that run
}

func allocStats(c *call) (*AllocStats, error) {
	return c.s.b.Inside.Stats(c.ctx, c.id())
}

func nodeStats(c *call) (*NodeStats, error) {
	if c.s.b.Inside == nil {
		return nil, NewError(CodeUnavailable, "name a node that does with node_id=", "this agent runs no work")
	}
	return c.s.b.Inside.NodeStats(c.ctx)
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
