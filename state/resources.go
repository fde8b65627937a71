package state

// Resources is what a task asks for. Its CPU is said in one of three ways: CPU, MilliCores or Cores; the others are 0.
type Resources struct {
	CPU         int               // MHz
	MilliCores  int               `json:",omitempty"` // thousandths of a core; what that is in MHz depends on the node
	Cores       int               `json:",omitempty"` // whole cores that the task has for itself
	MemoryMB    int               // MiB; a hard limit, unless MemoryMaxMB is set
	MemoryMaxMB int               `json:",omitempty"` // MiB that the task may grow to where the scheduler's configuration allows it
	Devices     []RequestedDevice `json:",omitempty"`
}

// AllocResources is what an allocation holds on its node: the sum over its tasks.
type AllocResources struct {
	CPU         int           // MHz
	MemoryMB    int           // MiB
	MemoryMaxMB int           `json:",omitempty"` // MiB that its tasks may grow to; 0 where they may not
	DiskMB      int           // MiB
	Cores       []int         `json:",omitempty"` // reserved cores: first those of the first task
	Devices     []AllocDevice `json:",omitempty"` // one for each of the group's DeviceRequests
}

// Same reports whether both name nothing and are alike.
func (r *AllocResources) Same(o *AllocResources) bool {
	return r.CPU == o.CPU && r.MemoryMB == o.MemoryMB && r.MemoryMaxMB == o.MemoryMaxMB && r.DiskMB == o.DiskMB &&
		len(r.Cores)+len(r.Devices)+len(o.Cores)+len(o.Devices) == 0
}

// NodeResources is what a node has to give, reserved parts already taken off.
type NodeResources struct {
	CPU            int          // MHz over all cores
	MHzPerCore     int          `json:",omitempty"` // 0 where the node does not say: jobs that count in cores do not fit there
	Cores          []int        `json:",omitempty"` // IDs of the cores that may be reserved, ascending
	MemoryMB       int          // MiB
	DiskMB         int          // MiB
	MinDynamicPort int          // first port of the dynamic range, inclusive
	MaxDynamicPort int          // last port of the dynamic range, inclusive
	ReservedPorts  []int        `json:",omitempty"` // host ports that jobs may not have
	Devices        []NodeDevice `json:",omitempty"`
}

// CPUOn is what the task's CPU comes to on a node, in MHz. It is the one place where cores become MHz: the planner, the referee
// and the node itself agree by it.
func (r *Resources) CPUOn(n *NodeResources) int {
	switch {
	case r.Cores > 0:
		return r.Cores * n.MHzPerCore
	case r.MilliCores > 0:
		return (r.MilliCores*n.MHzPerCore + 999) / 1000
	}
	return r.CPU
}

// CountsCores reports whether what a copy of the group holds depends on how fast its node's cores are.
func (g *TaskGroup) CountsCores() bool {
	for i := range g.Tasks {
		if g.Tasks[i].Resources.Cores > 0 || g.Tasks[i].Resources.MilliCores > 0 {
			return true
		}
	}
	return false
}

// CoreCount is how many reserved cores one copy of the group asks for.
func (g *TaskGroup) CoreCount() int {
	n := 0
	for i := range g.Tasks {
		n += g.Tasks[i].Resources.Cores
	}
	return n
}

// ResourcesOn is what one copy of the group holds on a node, but for the cores and devices, which the plan chooses. MemoryMaxMB is
// set as the job asks for it; whether it is granted is the scheduler configuration's.
func (g *TaskGroup) ResourcesOn(n *NodeResources) AllocResources {
	r := AllocResources{DiskMB: g.EphemeralDisk.SizeMB}
	for i := range g.Tasks {
		t := &g.Tasks[i].Resources
		r.CPU += t.CPUOn(n)
		r.MemoryMB += t.MemoryMB
		r.MemoryMaxMB += max(t.MemoryMB, t.MemoryMaxMB)
	}
	if r.MemoryMaxMB == r.MemoryMB {
		r.MemoryMaxMB = 0
	}
	return r
}

// Resources is what one copy of the group holds on any node, or would hold on one with cores of no speed where it counts in cores.
func (g *TaskGroup) Resources() AllocResources { return g.ResourcesOn(&NodeResources{}) }

// TaskCores are the cores of an allocation that belong to one of its tasks.
func (g *TaskGroup) TaskCores(a *AllocResources, task string) []int {
	from := 0
	for i := range g.Tasks {
		n := g.Tasks[i].Resources.Cores
		if from+n > len(a.Cores) {
			return nil
		}
		if g.Tasks[i].Name == task && n > 0 {
			return a.Cores[from : from+n : from+n]
		}
		from += n
	}
	return nil
}

// TaskDevices are the devices of an allocation that belong to one of its tasks.
func (g *TaskGroup) TaskDevices(a *AllocResources, task string) []AllocDevice {
	from := 0
	for i := range g.Tasks {
		n := len(g.Tasks[i].Resources.Devices)
		if from+n > len(a.Devices) {
			return nil
		}
		if g.Tasks[i].Name == task && n > 0 {
			return a.Devices[from : from+n : from+n]
		}
		from += n
	}
	return nil
}
