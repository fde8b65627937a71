package api

import "github.com/drover-io/drover/state"

// JobStatusItem is one job with its allocations in short, as dashboards ask for many jobs at once.
type JobStatusItem struct {
	Namespace     string
	ID            string
	Name          string
	Type          string
	NodePool      string
	Datacenters   []string
	Priority      int
	Version       uint64
	Stop          bool
	Status        string
	SubmitTime    int64 // cluster time, nanoseconds since the Unix epoch
	ModifyIndex   uint64
	GroupCountSum int // copies wanted
	Allocs        []JobStatusAlloc
}

// JobStatusAlloc is one allocation of a JobStatusItem.
type JobStatusAlloc struct {
	ID            string
	Group         string
	NodeID        string
	ClientStatus  string // lost and unknown derived
	DesiredStatus string
	JobVersion    uint64
}

func listStatuses(c *call, snap *state.Snapshot) ([]JobStatusItem, error) {
	return page(c, snap.JobsByPrefix(c.opts.namespace, c.opts.prefix), jobKeyOf, func(j *state.Job) JobStatusItem {
		item := JobStatusItem{
			Namespace: j.Namespace, ID: j.ID, Name: j.Name, Type: j.Type, NodePool: j.NodePool, Datacenters: j.Datacenters, Priority: j.Priority,
			Version: j.Version, Stop: j.Stop, Status: snap.JobStatus(j), SubmitTime: j.SubmitTime, ModifyIndex: j.ModifyIndex,
			Allocs: []JobStatusAlloc{},
		}
		for i := range j.TaskGroups {
			item.GroupCountSum += j.TaskGroups[i].Count
		}
		for a := range snap.AllocsByJob(j.Namespace, j.ID) {
			item.Allocs = append(item.Allocs, JobStatusAlloc{
				ID: a.ID, Group: a.TaskGroup, NodeID: a.NodeID, ClientStatus: snap.ClientStatus(a), DesiredStatus: a.DesiredStatus, JobVersion: a.JobVersion,
			})
		}
		return item
	})
}

func readSummary(c *call, snap *state.Snapshot) (*JobSummary, error) {
	j, err := c.job(snap)
	if err != nil {
		return nil, err
	}
	s := summarize(snap, j)
	return &s, nil
}

func listRegions(c *call) ([]string, error) { return []string{c.s.self().Region}, nil }
