package state

// nodeLives reports whether what is assigned to the node may still be running there.
func (s *Snapshot) nodeLives(id string) bool {
	n := s.nodes.get(id)
	return n != nil && n.Status != NodeStatusDown
}

// ClientStatus is the allocation's status as shown: its node's word, or ClientLost and ClientUnknown when the node cannot say.
func (s *Snapshot) ClientStatus(a *Alloc) string {
	if a.TerminalClient() {
		return a.ClientStatus
	}
	return a.shownOn(s.nodes.get(a.NodeID))
}

// shownOn is Snapshot.ClientStatus of an allocation whose node is n, nil for one that is gone.
func (a *Alloc) shownOn(n *Node) string {
	switch {
	case a.TerminalClient():
		return a.ClientStatus
	case n == nil || n.Status == NodeStatusDown:
		return ClientLost
	case n.Status == NodeStatusDisconnected:
		return ClientUnknown
	}
	return a.ClientStatus
}

// CountByStatus counts the allocations by their status as shown. It reads every row, but each node's only once.
func (s *Snapshot) CountByStatus() map[string]int {
	counts := map[string]int{}
	nodes := map[*AllocNode]*Node{} // allocations of one node share what names it
	for a := range s.allocs.created() {
		n, seen := nodes[a.AllocNode]
		if !seen {
			n = s.nodes.get(a.NodeID)
			nodes[a.AllocNode] = n
		}
		counts[a.shownOn(n)]++
	}
	return counts
}

// Holds reports whether the allocation still holds its resources and ports: until its node says that it has ended, or is down,
// also when stop is desired.
func (s *Snapshot) Holds(a *Alloc) bool { return !a.TerminalClient() && s.nodeLives(a.NodeID) }

// Live reports whether the allocation counts as a copy of its slot (job, group, index).
func (s *Snapshot) Live(a *Alloc) bool { return a.DesiredStatus == DesiredRun && s.Holds(a) }

// jobAlive reports whether an allocation of the job may still run, or would run again if its node came back.
func (s *Snapshot) jobAlive(j *Job) bool {
	for a := range s.AllocsByJob(j.Namespace, j.ID) {
		if !a.TerminalClient() && (a.DesiredStatus == DesiredRun || s.nodeLives(a.NodeID)) {
			return true
		}
	}
	return false
}

// slot names one copy of a job.
type slot struct {
	group string
	index int
}

// lastWords returns the newest allocation of every slot of a job.
func (s *Snapshot) lastWords(namespace, id string) map[slot]*Alloc {
	last := map[slot]*Alloc{}
	for a := range s.AllocsByJob(namespace, id) {
		k := slot{a.TaskGroup, a.Index}
		if b := last[k]; b == nil || a.CreateIndex >= b.CreateIndex {
			last[k] = a
		}
	}
	return last
}

// JobStatus is the job's status as shown: running while a copy is live; dead when it is stopped, wants no copies, or every copy
// has ended for good; pending otherwise.
func (s *Snapshot) JobStatus(j *Job) string {
	for a := range s.AllocsByJob(j.Namespace, j.ID) {
		if s.Live(a) {
			return JobStatusRunning
		}
	}
	if j.Stop || s.jobEnded(j) {
		return JobStatusDead
	}
	return JobStatusPending
}

func (s *Snapshot) jobEnded(j *Job) bool {
	last := s.lastWords(j.Namespace, j.ID)
	for i := range j.TaskGroups {
		g := &j.TaskGroups[i]
		same := map[uint64]bool{j.Version: true} // versions whose copies stand for the current one
		for index := range g.Count {
			a := last[slot{g.Name, index}]
			if a == nil || !endedForGood(j, g, a) {
				return false
			}
			if _, known := same[a.JobVersion]; !known {
				then := s.JobVersion(j.Namespace, j.ID, a.JobVersion)
				same[a.JobVersion] = then != nil && SameWork(then, j, g.Name)
			}
			if !same[a.JobVersion] {
				return false
			}
		}
	}
	return true
}

// endedForGood reports whether the last copy of a slot will not be followed by another one while the job stays as it is.
func endedForGood(j *Job, g *TaskGroup, a *Alloc) bool {
	switch {
	case a.DesiredStatus != DesiredRun || !a.TerminalClient():
		return false
	case a.ClientStatus == ClientComplete && j.Type == JobTypeBatch:
		return true
	}
	return g.ReschedulePolicy.Exhausted(a)
}
