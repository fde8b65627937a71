package state

import "slices"

// SameWork reports whether a node would do the same for a group of either version of a job: whether a copy placed with the one
// can stand for the other. What only the leader reads does not count (counts, priorities, constraints, reschedule and update
// policies); everything that a node acts upon or that a task can see does.
func SameWork(a, b *Job, group string) bool {
	if a == b {
		return true
	}
	ga, gb := a.Group(group), b.Group(group)
	return ga != nil && gb != nil && sameJSON(workOf(a, ga), workOf(b, gb))
}

// work is what a node is told to do.
type work struct {
	Name, Type, Region string
	Meta               map[string]string `json:",omitempty"`
	Group              TaskGroup
}

func workOf(j *Job, g *TaskGroup) work {
	w := work{j.Name, j.Type, j.Region, j.Meta, *g}
	w.Group.Count, w.Group.Constraints, w.Group.Affinities, w.Group.Spreads = 0, nil, nil, nil
	w.Group.ReschedulePolicy, w.Group.Update = ReschedulePolicy{}, UpdateStrategy{}
	w.Group.Tasks = make([]Task, len(g.Tasks))
	for i, t := range g.Tasks {
		t.Constraints, t.Affinities = nil, nil
		t.Resources.Devices = slices.Clone(t.Resources.Devices)
		for k := range t.Resources.Devices { // its constraints stay: another device may be meant
			t.Resources.Devices[k].Affinities = nil
		}
		w.Group.Tasks[i] = t
	}
	return w
}

// Exhausted reports whether an allocation that has failed is not to be replaced any more: it has used up the attempts of the
// interval before its end. An allocation remembers a few events only; a policy with more attempts is held to those.
func (p ReschedulePolicy) Exhausted(a *Alloc) bool {
	if p.Unlimited {
		return false
	}
	recent := 0
	for _, e := range a.RescheduleEvents {
		if a.ClientModifyTime-e.Time < int64(p.Interval) {
			recent++
		}
	}
	return recent >= min(p.Attempts, maxRescheduleEvents)
}
