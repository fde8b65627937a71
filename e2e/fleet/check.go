package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// Verdict is the correctness twin of a rate: what the cluster's own API says of its allocations.
type Verdict struct {
	Live          int // copies that run, by the cluster's word
	Lost          int // copies that are wanted and are not there
	Doubled       int // copies that are there more than once, the surplus
	NotRunning    int // copies that are there and do not run
	Overcommitted int // nodes whose allocations hold more than the node has
	NotReady      int // nodes that are not ready
	HashesEqual   bool
	Differs       []string // tables that the servers disagree about
	Index         uint64   // at which they were compared
}

// slot is one copy of a job.
type slot struct {
	job   string
	index int
}

// Check reads every allocation and every node through the API, and compares what the servers hold. wanted are the jobs with
// their counts. The servers must be quiet.
func Check(ctx context.Context, servers Servers, views []*api.StateView, wanted map[string]int) (v Verdict, err error) {
	leader, err := servers.Leader(ctx)
	if err != nil {
		return v, err
	}
	live, held := map[slot]int{}, map[string]state.AllocResources{}
	err = Pages(func(q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return leader.API.Allocations(ctx, q)
	}, func(a api.AllocListItem) {
		v.see(a, live, held)
	})
	if err != nil {
		return v, fmt.Errorf("list the allocations: %w", err)
	}
	v.count(live, wanted)
	err = Pages(func(q api.QueryOptions) ([]api.NodeListItem, api.QueryMeta, error) { return leader.API.Nodes(ctx, q) }, func(n api.NodeListItem) {
		if h, r := held[n.ID], n.Resources; h.CPU > r.CPU || h.MemoryMB > r.MemoryMB || h.DiskMB > r.DiskMB {
			v.Overcommitted++
		}
		if n.Status != state.NodeStatusReady {
			v.NotReady++
		}
	})
	if err != nil {
		return v, fmt.Errorf("list the nodes: %w", err)
	}
	v.compare(views)
	return v, nil
}

// see adds one allocation to the live copies and to what its node's allocations hold.
func (v *Verdict) see(a api.AllocListItem, live map[slot]int, held map[string]state.AllocResources) {
	if a.ClientStatus == state.ClientComplete || a.ClientStatus == state.ClientFailed {
		return // it holds nothing any more
	}
	h := held[a.NodeID]
	held[a.NodeID] = state.AllocResources{CPU: h.CPU + a.Resources.CPU, MemoryMB: h.MemoryMB + a.Resources.MemoryMB, DiskMB: h.DiskMB + a.Resources.DiskMB}
	if a.DesiredStatus != state.DesiredRun {
		return
	}
	live[slot{a.JobID, a.Index}]++
	if a.ClientStatus == state.ClientRunning {
		v.Live++
	} else {
		v.NotRunning++
	}
}

// count compares the live copies with those that are wanted.
func (v *Verdict) count(live map[slot]int, wanted map[string]int) {
	for job, count := range wanted {
		for i := range count {
			if live[slot{job, i}] == 0 {
				v.Lost++
			}
		}
	}
	for at, n := range live {
		if at.index >= wanted[at.job] {
			v.Doubled += n // nobody asked for it
		} else {
			v.Doubled += n - 1
		}
	}
}

// compare says whether the servers hold the same.
func (v *Verdict) compare(views []*api.StateView) {
	v.Differs = Differences(views)
	v.HashesEqual = len(views) > 0 && len(v.Differs) == 0
	if len(views) > 0 {
		v.Index = views[0].Index
	}
}

// Differences names the tables in which servers differ from the first of them, and those servers that are at another index.
func Differences(views []*api.StateView) (differs []string) {
	for _, other := range views {
		first := views[0]
		if other.Index != first.Index || len(other.Tables) != len(first.Tables) {
			differs = append(differs, fmt.Sprintf("%s is at index %d", other.NodeID, other.Index))
			continue
		}
		for i, t := range other.Tables {
			if t != first.Tables[i] && !slices.Contains(differs, t.Name) {
				differs = append(differs, t.Name)
			}
		}
	}
	return differs
}

// Pages reads a whole list, page by page.
func Pages[T any](read func(api.QueryOptions) ([]T, api.QueryMeta, error), each func(T)) error {
	q := api.QueryOptions{PerPage: api.MaxPage}
	for {
		items, meta, err := read(q)
		if err != nil {
			return err
		}
		for _, item := range items {
			each(item)
		}
		if meta.NextToken == "" {
			return nil
		}
		q.NextToken = meta.NextToken
	}
}
