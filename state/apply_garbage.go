package state

// apply removes jobs first, so that the allocations of a job that goes can go with it, and nodes last, because a node stays
// while an allocation names it.
func (c CollectGarbage) apply(t *tx) (any, error) {
	var result CollectGarbageResult
	for _, k := range c.Jobs {
		j := t.next.Job(k.Namespace, k.ID)
		if j == nil || !t.next.jobCollectable(j) {
			continue
		}
		t.removeJob(j)
		result.Jobs++
	}
	result.Allocs = t.collectAllocs(c.Allocs)
	for _, id := range c.Nodes {
		n := t.next.Node(id)
		if n == nil || n.Status != NodeStatusDown || t.nodeUsed(id) {
			continue
		}
		t.removeNode(n)
		result.Nodes++
	}
	return result, nil
}

// jobCollectable keeps a service although it has no copy: whoever runs one with a count of 0 wants to raise it again.
func (s *Snapshot) jobCollectable(j *Job) bool {
	if !j.Stop && j.Type != JobTypeBatch {
		return false
	}
	return !s.jobAlive(j) && s.JobStatus(j) == JobStatusDead
}

func (t *tx) nodeUsed(id string) bool {
	for range t.next.AllocsByNode(id) {
		return true
	}
	return false
}

func (t *tx) collectAllocs(ids []string) int {
	removed := 0
	last := map[JobKey]map[slot]*Alloc{}
	pruned := map[JobKey]bool{}
	var order []JobKey
	for _, id := range ids {
		a := t.next.Alloc(id)
		if a == nil {
			continue
		}
		k := JobKey{a.Namespace, a.JobID}
		if last[k] == nil {
			last[k] = t.next.lastWords(a.Namespace, a.JobID)
		}
		if t.allocNeeded(a, last[k]) {
			continue
		}
		t.removeAlloc(a)
		removed++
		if !pruned[k] {
			pruned[k] = true
			order = append(order, k)
		}
	}
	for _, k := range order {
		t.pruneVersions(k.Namespace, k.ID)
	}
	return removed
}

// allocNeeded reports whether the row must stay: the copy runs or may run again, or it is the last word on a slot that the job
// still wants. Without that word a batch copy that is complete would be run a second time.
func (t *tx) allocNeeded(a *Alloc, last map[slot]*Alloc) bool {
	if !a.TerminalClient() && (a.DesiredStatus == DesiredRun || t.next.nodeLives(a.NodeID)) {
		return true
	}
	if a.DesiredStatus != DesiredRun || last[slot{a.TaskGroup, a.Index}] != a {
		return false
	}
	j := t.next.Job(a.Namespace, a.JobID)
	if j == nil || j.Stop {
		return false
	}
	g := j.Group(a.TaskGroup)
	return g != nil && a.Index < g.Count
}
