package state

import (
	"cmp"
	"maps"
	"slices"
)

// loader gathers the allocations of a snapshot file and puts them into their trees at the end, each in its order: that takes a third
// of the time of putting them in one by one.
type loader struct {
	s      *Snapshot
	like   *Alloc               // the row that copies may follow; nil when none may
	nodes  []*AllocNode         // machines by number
	byNode map[AllocNode]uint64 // their numbers
	groups *AllocGroup          // of the row before
	ids    []idSerial
	jobs   []ownedSerial
	where  []ownedSerial
	job    string // the job of the row before, and its number
	jobNo  uint64
	held   map[string]*Held
}

func newLoader(s *Snapshot) *loader {
	return &loader{s: s, byNode: map[AllocNode]uint64{}, held: map[string]*Held{}}
}

// whole adds a row that was written whole. It reports false when the row is no allocation.
func (l *loader) whole(a *Alloc) bool {
	if !a.Whole() {
		return false
	}
	if l.groups != nil && len(a.Resources.Cores)+len(a.Resources.Devices) == 0 && sameGroup(l.groups, a.AllocGroup) {
		a.AllocGroup = l.groups
	}
	l.groups = a.AllocGroup
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
	l.ids = append(l.ids, idSerial{id, t.last})
	if key := rowKey(a.Namespace, a.JobID); key != l.job {
		l.job, l.jobNo = key, t.byJob.number(key)
	}
	l.jobs = append(l.jobs, ownedSerial{l.jobNo, t.last})
	h2 := l.held[a.NodeID]
	if h2 == nil {
		h2 = &Held{}
		l.held[a.NodeID] = h2
	}
	if !a.TerminalClient() {
		*h2 = h2.with(a, 1)
	}
	h2.Orders = h2.Orders.order(l.s.index, nil, a)
	l.where = append(l.where, ownedSerial{t.byNode.number(a.NodeID), t.last})
	return true
}

// number is an owner's number.
func (x *ownerIndex) number(owner string) uint64 {
	number, known := x.numbers.Get(owner)
	if !known {
		x.last++
		number = x.last
		x.numbers.Set(owner, number)
	}
	return number
}

// finish puts everything in its place. It reports false when an ID is there twice.
func (l *loader) finish() bool {
	t := &l.s.allocs
	slices.SortFunc(l.ids, func(a, b idSerial) int {
		if c := cmp.Compare(a.id.hi, b.id.hi); c != 0 {
			return c
		}
		return cmp.Compare(a.id.lo, b.id.lo)
	})
	for i, id := range l.ids {
		if i > 0 && id.id == l.ids[i-1].id {
			return false
		}
		t.byID.Load(id)
	}
	for _, one := range []struct {
		owned []ownedSerial
		index *ownerIndex
	}{{l.jobs, &t.byJob}, {l.where, &t.byNode}} {
		slices.SortStableFunc(one.owned, func(a, b ownedSerial) int { return cmp.Compare(a.owner, b.owner) })
		for _, o := range one.owned {
			one.index.serials.Load(o)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.held)) {
		l.s.held.Load(id, *l.held[id])
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
