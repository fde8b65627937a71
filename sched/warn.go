package sched

import (
	"fmt"
	"slices"

	"github.com/drover-io/drover/state"
)

// Warnings says what a job asks for that registering it now would not give: memory to grow into where the configuration does not
// grant it, and wishes about what no node has. Each is a sentence.
func Warnings(snap *state.Snapshot, job *state.Job) []string {
	var out []string
	oversubscribed := snap.MemoryOversubscription(state.PoolOf(job.NodePool))
	unknown := map[string]bool{}
	for i := range job.TaskGroups {
		g := &job.TaskGroups[i]
		for k := range g.Tasks {
			if r := &g.Tasks[k].Resources; r.MemoryMaxMB > 0 && !oversubscribed {
				out = append(out, fmt.Sprintf("group %q, task %q: memory_max is ignored: memory oversubscription is off; its limit is memory, %d MiB",
					g.Name, g.Tasks[k].Name, r.MemoryMB))
			}
		}
		a := newAsk(job, g)
		if a.likes != nil {
			for _, w := range a.likes.wishes {
				unknown[w.check.constraint.LTarget] = true
			}
		}
		for _, s := range a.spreads {
			unknown[s.attribute] = true
		}
	}
	return append(out, unknownTo(snap, unknown)...)
}

// unknownTo says which targets of wishes no node has anything for.
func unknownTo(snap *state.Snapshot, targets map[string]bool) []string {
	for n := range snap.Nodes() {
		for t := range targets {
			if _, has := interpolate(t, nodeLook(n)); has {
				delete(targets, t)
			}
		}
		if len(targets) == 0 {
			return nil
		}
	}
	var out []string
	for t := range targets {
		out = append(out, fmt.Sprintf("no node has %s: affinities and spreads over it have no effect", t))
	}
	slices.Sort(out)
	return out
}
