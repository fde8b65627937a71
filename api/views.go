package api

import (
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// GroupSummary counts the copies of one task group by client status, as far as their rows are kept.
type GroupSummary struct {
	Queued   int // wanted and not placed yet
	Starting int // pending
	Running  int
	Complete int
	Failed   int
	Lost     int
	Unknown  int
}

// JobSummary counts the copies of a job, per task group.
type JobSummary struct {
	Namespace string
	JobID     string
	Summary   map[string]GroupSummary
}

// JobListItem is one job of a list.
type JobListItem struct {
	ID                string
	Name              string
	Namespace         string
	Type              string
	Priority          int
	Datacenters       []string
	NodePool          string
	Stop              bool
	Status            string // derived: a state.JobStatus constant
	StatusDescription string `json:",omitempty"`
	JobSummary        JobSummary
	Version           uint64
	SubmitTime        int64 // cluster time, nanoseconds since the Unix epoch
	CreateIndex       uint64
	ModifyIndex       uint64
	JobModifyIndex    uint64
}

// JobView is a job with what is computed beside it.
type JobView struct {
	*state.Job
	Status            string
	StatusDescription string `json:",omitempty"`
	JobSummary        JobSummary
}

// AllocListItem is one allocation of a list.
type AllocListItem struct {
	ID                 string
	Name               string
	Namespace          string
	JobID              string
	JobType            string
	JobVersion         uint64
	TaskGroup          string
	Index              int
	NodeID             string
	NodeName           string
	Resources          state.AllocResources
	Ports              []state.AllocPort `json:",omitempty"`
	DesiredStatus      string
	DesiredDescription string                     `json:",omitempty"`
	ClientStatus       string                     // lost and unknown derived
	ClientDescription  string                     `json:",omitempty"`
	TaskStates         map[string]state.TaskState `json:",omitempty"` // without Crash, which would make lists large
	PreviousAllocation string                     `json:",omitempty"`
	NextAllocation     string                     `json:",omitempty"`
	CreateTime         int64                      // cluster time, nanoseconds since the Unix epoch
	ModifyTime         int64                      // the same: of the node's last report, or of the creation
	CreateIndex        uint64
	ModifyIndex        uint64
}

// AllocView is an allocation with its version of the job.
type AllocView struct {
	*state.Alloc
	ClientStatus string                     // lost and unknown derived
	TaskStates   map[string]state.TaskState `json:",omitempty"` // the row's, unpacked
	ModifyTime   int64
	Job          *state.Job `json:",omitempty"`
}

// NodeListItem is one node of a list.
type NodeListItem struct {
	ID                    string
	Name                  string
	Datacenter            string
	NodePool              string
	NodeClass             string
	Region                string
	Address               string // the address that host-mode ports are bound to
	HTTPAddr              string
	Version               string `json:",omitempty"`
	OS                    string `json:",omitempty"` // its operating system and version
	Status                string
	StatusDescription     string
	StatusUpdatedAt       int64 // cluster time, nanoseconds since the Unix epoch
	SchedulingEligibility string
	Drain                 bool // always false for now
	Drivers               map[string]state.DriverInfo
	Resources             state.NodeResources
	Allocated             state.AllocResources // held by its allocations
	Allocs                int                  // that hold resources
	CreateIndex           uint64
	ModifyIndex           uint64
}

// NodeView is a node with what is computed beside it.
type NodeView struct {
	*state.Node
	Drain     bool                 // always false for now
	Allocated state.AllocResources // held by its allocations
	Allocs    int                  // that hold resources
}

// summarize counts the copies of a job.
func summarize(snap *state.Snapshot, j *state.Job) JobSummary {
	names, counts := make([]string, len(j.TaskGroups)), make([]GroupSummary, len(j.TaskGroups))
	for i := range j.TaskGroups {
		names[i] = j.TaskGroups[i].Name
		if j.Blocked != nil && !j.Stop {
			counts[i].Queued = j.Blocked.Groups[names[i]]
		}
	}
	for a := range snap.AllocsByJob(j.Namespace, j.ID) {
		i := slices.Index(names, a.TaskGroup)
		if i < 0 { // a group that the job no longer has is counted too while copies of it are kept
			i, names, counts = len(names), append(names, a.TaskGroup), append(counts, GroupSummary{})
		}
		counts[i].add(snap.ClientStatus(a))
	}
	s := JobSummary{Namespace: j.Namespace, JobID: j.ID, Summary: make(map[string]GroupSummary, len(names))}
	for i, name := range names {
		s.Summary[name] = counts[i]
	}
	return s
}

// add counts one copy.
func (g *GroupSummary) add(status string) {
	switch status {
	case state.ClientPending:
		g.Starting++
	case state.ClientRunning:
		g.Running++
	case state.ClientComplete:
		g.Complete++
	case state.ClientFailed:
		g.Failed++
	case state.ClientLost:
		g.Lost++
	case state.ClientUnknown:
		g.Unknown++
	}
}

// statusDescription says why a job stands as it does, where there is something to say.
func statusDescription(j *state.Job) string {
	switch {
	case j.Stop:
		return "stopped by a user"
	case j.Blocked != nil:
		return j.Blocked.Reason
	}
	return ""
}

func jobListItem(snap *state.Snapshot, j *state.Job) JobListItem {
	return JobListItem{
		ID: j.ID, Name: j.Name, Namespace: j.Namespace, Type: j.Type, Priority: j.Priority, Datacenters: j.Datacenters,
		NodePool: j.NodePool, Stop: j.Stop, Status: snap.JobStatus(j), StatusDescription: statusDescription(j),
		JobSummary: summarize(snap, j), Version: j.Version, SubmitTime: j.SubmitTime,
		CreateIndex: j.CreateIndex, ModifyIndex: j.ModifyIndex, JobModifyIndex: j.JobModifyIndex,
	}
}

func jobView(snap *state.Snapshot, j *state.Job) *JobView {
	return &JobView{Job: j, Status: snap.JobStatus(j), StatusDescription: statusDescription(j), JobSummary: summarize(snap, j)}
}

func allocListItem(snap *state.Snapshot, a *state.Alloc) AllocListItem {
	return AllocListItem{
		ID: a.ID, Name: a.Name, Namespace: a.Namespace, JobID: a.JobID, JobType: a.JobType, JobVersion: a.JobVersion,
		TaskGroup: a.TaskGroup, Index: a.Index, NodeID: a.NodeID, NodeName: a.NodeName, Resources: a.Resources, Ports: a.Ports,
		DesiredStatus: a.DesiredStatus, DesiredDescription: a.DesiredDescription,
		ClientStatus: snap.ClientStatus(a), ClientDescription: a.ClientDescription, TaskStates: state.WithoutCrashTails(a.TaskStates.Map()),
		PreviousAllocation: a.PreviousAllocation, NextAllocation: a.NextAllocation,
		CreateTime: a.CreateTime, ModifyTime: max(a.CreateTime, a.ClientModifyTime),
		CreateIndex: a.CreateIndex, ModifyIndex: a.ModifyIndex,
	}
}

func allocView(snap *state.Snapshot, a *state.Alloc) *AllocView {
	return &AllocView{
		Alloc: a, ClientStatus: snap.ClientStatus(a), TaskStates: a.TaskStates.Map(), ModifyTime: max(a.CreateTime, a.ClientModifyTime),
		Job: snap.JobVersion(a.Namespace, a.JobID, a.JobVersion),
	}
}

// held sums what a node's allocations hold.
func held(snap *state.Snapshot, nodeID string) (sum state.AllocResources, n int) {
	for a := range snap.AllocsByNode(nodeID) {
		if !snap.Holds(a) {
			continue
		}
		n++
		sum.CPU += a.Resources.CPU
		sum.MemoryMB += a.Resources.MemoryMB
		sum.DiskMB += a.Resources.DiskMB
		sum.MemoryMaxMB += a.Resources.MemoryMaxMB
		sum.Cores = append(sum.Cores, a.Resources.Cores...)
		sum.Devices = addDevices(sum.Devices, a.Resources.Devices)
	}
	slices.Sort(sum.Cores)
	return sum, n
}

// addDevices adds what an allocation holds to what others do, by kind.
func addDevices(sum, more []state.AllocDevice) []state.AllocDevice {
	for _, d := range more {
		i := slices.IndexFunc(sum, func(o state.AllocDevice) bool { return o.ID() == d.ID() })
		if i < 0 {
			sum = append(sum, state.AllocDevice{Vendor: d.Vendor, Type: d.Type, Name: d.Name})
			i = len(sum) - 1
		}
		sum[i].IDs = append(sum[i].IDs, d.IDs...)
	}
	return sum
}

func nodeListItem(snap *state.Snapshot, n *state.Node) NodeListItem {
	sum, count := held(snap, n.ID)
	return NodeListItem{
		ID: n.ID, Name: n.Name, Datacenter: n.Datacenter, NodePool: n.NodePool, NodeClass: n.NodeClass, Region: n.Region,
		Address: n.HostIP, HTTPAddr: n.HTTPAddr, Version: n.Attributes["drover.version"],
		OS:     strings.TrimSpace(n.Attributes["os.name"] + " " + n.Attributes["os.version"]),
		Status: n.Status, StatusDescription: n.StatusDescription, StatusUpdatedAt: n.StatusUpdatedAt,
		SchedulingEligibility: n.Eligibility, Drivers: n.Drivers, Resources: n.Resources, Allocated: sum, Allocs: count,
		CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex,
	}
}

func nodeView(snap *state.Snapshot, n *state.Node) *NodeView {
	sum, count := held(snap, n.ID)
	return &NodeView{Node: n, Allocated: sum, Allocs: count}
}
