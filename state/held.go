package state

// Held is what allocations hold on a node until the node says that they have ended, also those that are to stop. It follows from
// the rows and is kept beside them, so that neither the planner nor the referee adds them up.
type Held struct {
	Allocs   int      // that hold anything
	CPU      int      // MHz
	MemoryMB int      // MiB
	DiskMB   int      // MiB
	Ports    *PortSet // by the host's numbers
	Named    int      // allocations that hold cores or devices; which ones, their rows say
	Orders   Orders   // what the node is to be told
}

// HeldOn is what allocations hold on a node, provided that it is not down: nothing is held on a node that is.
func (s *Snapshot) HeldOn(nodeID string) Held {
	if o := s.allocs.byNode.of(nodeID); o != nil {
		return o.side.held
	}
	return Held{}
}

// account notes that a row of an allocation takes the place of another; nil is none. What an allocation holds does not change while
// it lives, nor does its node. What was kept stays as long as the node: what it was told is remembered when nothing is left.
func (s *Snapshot) account(old, row *Alloc) {
	if old != nil && row != nil && old.TerminalClient() == row.TerminalClient() && old.IsToRun() == row.IsToRun() {
		return
	}
	one := row
	if row == nil {
		one = old
	}
	h := &s.allocs.byNode.edit(one.NodeID).side.held
	*h = h.moved(s.index, old, row)
	was, is := old != nil && !old.IsToRun(), row != nil && !row.IsToRun()
	if was == is {
		return
	}
	job := &s.allocs.byJob.edit(rowKey(one.Namespace, one.JobID)).side
	if is {
		job.over++
	} else {
		job.over--
	}
}

// moved is Held once a row of an allocation has taken the place of another.
func (h Held) moved(index uint64, old, row *Alloc) Held {
	switch held, holds := old != nil && !old.TerminalClient(), row != nil && !row.TerminalClient(); {
	case holds && !held:
		h = h.with(row, 1)
	case held && !holds:
		h = h.with(old, -1)
	}
	h.Orders = h.Orders.order(index, old, row)
	return h
}

// with is Held with one allocation more (1) or less (-1).
func (h Held) with(a *Alloc, by int) Held {
	h.Allocs += by
	h.CPU += by * a.Resources.CPU
	h.MemoryMB += by * a.Resources.MemoryMB
	h.DiskMB += by * a.Resources.DiskMB
	if len(a.Resources.Cores)+len(a.Resources.Devices) > 0 {
		h.Named += by
	}
	if len(a.Ports) == 0 {
		return h
	}
	ports := make([]int, 0, len(a.Ports))
	for _, p := range a.Ports {
		ports = append(ports, p.HostPort)
	}
	if by > 0 {
		h.Ports = h.Ports.With(ports...)
	} else {
		h.Ports = h.Ports.Without(ports...)
	}
	return h
}
