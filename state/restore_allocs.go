package state

import (
	"cmp"
	"slices"
)

// loader gathers the allocations of a snapshot file and puts them into their trees at the end, each in its order: that takes a third
// of the time of putting them in one by one.
type loader struct {
	s      *Snapshot
	like   *Alloc               // the row that copies may follow; nil when none may
	nodes  []*AllocNode         // machines by number
	byNode map[AllocNode]uint64 // their numbers
	group  *AllocGroup          // of the row before
	ids    []idRun
	job    *owner[jobSide] // its job
}

func newLoader(s *Snapshot) *loader {
	return &loader{s: s, byNode: map[AllocNode]uint64{}}
}

// whole adds a row that was written whole. It reports false when the row is no allocation.
func (l *loader) whole(a *Alloc) bool {
	if !a.Whole() {
		return false
	}
	if l.group != nil && len(a.Resources.Cores)+len(a.Resources.Devices) == 0 && sameGroup(l.group, a.AllocGroup) {
		a.AllocGroup = l.group
	}
	if sh := a.TaskStates.shape; sh != nil {
		a.TaskStates.shape = l.s.shapes.known(sh)
	}
	number, known := l.byNode[*a.AllocNode]
	if !known {
		number = l.machine(*a.AllocNode)
	}
	a.AllocNode = l.nodes[number]
	l.like = nil
	if ordinary(a) {
		l.like = a
	}
	return l.put(a)
}

// machine numbers a machine that was not seen before.
func (l *loader) machine(n AllocNode) uint64 {
	number := uint64(len(l.nodes))
	l.nodes = append(l.nodes, &n)
	l.byNode[n] = number
	return number
}

// copies adds the rows that follow one that was written whole, and says what is wrong with them, "" when nothing is.
func (l *loader) copies(c *copies) string {
	if l.like == nil {
		return "they follow no row"
	}
	if wrong := c.wrong(l.like, len(l.nodes)); wrong != "" {
		return wrong
	}
	for _, n := range c.Nodes {
		if _, known := l.byNode[n]; known {
			return "a node that was named before"
		}
		l.machine(n)
	}
	for _, a := range c.rows(l.like, l.nodes) {
		if !l.put(a) {
			return "an ID"
		}
	}
	l.like = nil
	return ""
}

func (l *loader) put(a *Alloc) bool {
	id, isUUID := parseID(a.ID)
	if !isUUID {
		return false
	}
	t := &l.s.allocs
	t.last++
	h := a.hash()
	t.rows.Load(t.last, entry[Alloc]{row: a, hash: h})
	t.sum += h
	l.number(id, t.last)
	if l.job == nil || l.group != a.AllocGroup {
		l.job, l.group = t.byJob.edit(rowKey(a.Namespace, a.JobID)), a.AllocGroup
	}
	if !a.IsToRun() {
		l.job.side.over++
	}
	t.byJob.add(l.job, t.last)
	node := t.byNode.edit(a.NodeID)
	node.side.named = a.AllocNode
	node.side.held = node.side.held.moved(l.s.index, nil, a)
	t.byNode.add(node, t.last)
	return true
}

// number adds the ID of a row to the run of those before it, if it is the next one.
func (l *loader) number(id idKey, serial uint64) {
	if n := len(l.ids); n > 0 {
		if run := &l.ids[n-1]; run.precedes(id, serial) {
			run.count++
			return
		}
	}
	l.ids = append(l.ids, idRun{id, 1, serial})
}

// finish puts the IDs in their place. It reports false when one is there twice, or two begin alike.
func (l *loader) finish() bool {
	ids := l.s.allocs.ids
	slices.SortFunc(l.ids, func(a, b idRun) int { return cmp.Compare(a.first.lead(), b.first.lead()) })
	for i, run := range l.ids {
		if i > 0 && l.ids[i-1].first.lead()+uint32(l.ids[i-1].count)-1 >= run.first.lead() {
			return false
		}
		ids.byLead.Load(run.first.lead(), run)
	}
	return true
}

// known is a shape that says the same and is shared already, or this one, which is from now on.
func (s *shapes) known(sh *taskShape) *taskShape {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.byKey[sh.key]; was != nil {
		return was
	}
	if len(sh.key) <= maxSharedKey && len(s.byKey) < maxShapes {
		if s.byKey == nil {
			s.byKey = map[string]*taskShape{}
		}
		s.byKey[sh.key] = sh
	}
	return sh
}
