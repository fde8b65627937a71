package sched

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What is remembered at most. Beyond it everything of the kind is forgotten, or what was used least lately.
const (
	maxTerms       = 1024    // kinds of questions whose answers are kept
	maxWishes      = 256     // kinds of wishes whose names are kept
	maxLooks       = 64      // looks at the fleet
	maxLookBuckets = 1 << 14 // buckets of all looks
	maxCensuses    = 8       // counts of copies that nobody uses
	maxBuffers     = 64      // buffers that nobody uses
)

// memory is what the planner has found out of a fleet and need not find out again: what classes of nodes answer, what wishes say of
// them, and the best nodes for the asks that it placed lately. It is a cache beside a Cursor: it goes from one pass to the next, and a
// pass that finds that another one has used it meanwhile begins with an empty one. What a plan says never depends on it.
type memory struct {
	pass     uint64 // that it was handed to last
	verdicts map[string][]verdict
	wishes   map[string]*wishTable
	looks    map[string]*look
	uses     uint64
	changes  changes
	changed  int    // rows that the last pass changed: likely as many as the next one will
	begun    uint64 // when the changes of the pass began
	seen     marks
	scans    int // looks at every node
	censuses []*census
	buffers  [][]candidate // to fill buckets in
	drawers  []int32       // to sort them with
}

func newMemory() *memory {
	return &memory{verdicts: map[string][]verdict{}, wishes: map[string]*wishTable{}, looks: map[string]*look{}}
}

// marks is a set of nodes that is emptied at no cost.
type marks struct {
	at    []uint32
	round uint32
}

// clear empties the set, of so many nodes.
func (m *marks) clear(nodes int) {
	m.round++
	if len(m.at) != nodes || m.round == 0 {
		m.at, m.round = make([]uint32, nodes), 1
	}
}

// add reports whether a node was not in the set.
func (m *marks) add(pos int) bool {
	if m.at[pos] == m.round {
		return false
	}
	m.at[pos] = m.round
	return true
}

// begin notes what has changed since the last pass: also what that took itself, unless its plan was applied whole.
func (m *memory) begin(changed []int, met bool, nodes int) {
	m.changes.fit(nodes)
	if !met {
		for _, pos := range slices.Collect(m.changes.since(m.begun)) {
			m.changes.note(pos)
		}
	}
	for _, pos := range changed {
		m.changes.note(pos)
	}
	m.begun = m.changes.now
}

// reshape forgets what holds of places: nodes are others, or stand elsewhere. What classes answer still holds.
func (m *memory) reshape() {
	clear(m.looks)
	m.changes, m.begun = changes{}, 0
	maps.DeleteFunc(m.wishes, func(_ string, t *wishTable) bool { return t.unique })
}

// keep remembers a look, and forgets those that were used least lately.
func (m *memory) keep(key string, l *look) {
	if len(l.queue.buckets) > maxLookBuckets/4 {
		return
	}
	m.looks[key] = l
	for {
		buckets, oldest := 0, key
		for k, other := range m.looks {
			buckets += len(other.queue.buckets)
			if other.used < m.looks[oldest].used {
				oldest = k
			}
		}
		if len(m.looks) <= maxLooks && buckets <= maxLookBuckets || oldest == key {
			return
		}
		delete(m.looks, oldest)
	}
}

// buffer is an empty one, to fill a bucket in.
func (m *memory) buffer() []candidate {
	last := len(m.buffers) - 1
	if last < 0 {
		return nil
	}
	b := m.buffers[last]
	m.buffers = m.buffers[:last]
	return b
}

// keepBuffer takes a buffer that is of no use any more.
func (m *memory) keepBuffer(b []candidate) {
	if len(m.buffers) < maxBuffers {
		m.buffers = append(m.buffers, b)
	}
}

// verdictsOn are the answers of so many classes to what an ask wants of them, as far as they are known.
func (m *memory) verdictsOn(a *ask, classes int) []verdict {
	known := m.verdicts[a.terms]
	if len(known) < classes {
		if known == nil && len(m.verdicts) >= maxTerms {
			clear(m.verdicts)
		}
		known = append(known, make([]verdict, classes-len(known))...)
		m.verdicts[a.terms] = known
	}
	return known
}

// wishTable is what the wishes of some kind of ask say of nodes: of each class, or of each node where they name something unique.
type wishTable struct {
	unique bool
	of     []*wishAnswer
	byName map[string]*wishAnswer
	most   float64 // the largest affinity of any
}

// wishAnswer is what wishes say of some nodes, which they cannot tell apart.
type wishAnswer struct {
	id       int // of those of its table, from 0
	affinity float64
	values   []string // one for each spread
	tuple    string   // names the values
}

// wishesOf is the table of an ask's wishes.
func (m *memory) wishesOf(a *ask, classes, nodes int) *wishTable {
	key := a.nameWishes()
	t := m.wishes[key]
	if t == nil {
		if len(m.wishes) >= maxWishes {
			clear(m.wishes)
		}
		t = &wishTable{unique: a.wishesUnique(), byName: map[string]*wishAnswer{}}
		m.wishes[key] = t
	}
	size := classes
	if t.unique {
		size = nodes
	}
	if len(t.of) < size {
		t.of = append(t.of, make([]*wishAnswer, size-len(t.of))...)
	}
	return t
}

// ask asks the node at a place, for its class unless the wishes name something unique.
func (t *wishTable) ask(a *ask, l *ledger, pos int) *wishAnswer {
	i := pos
	if !t.unique {
		i = int(l.rows[pos].classID())
	}
	if t.of[i] != nil {
		return t.of[i]
	}
	affinity, values := a.wishesOn(l.fleet.nodes[pos].node)
	tuple := strings.Join(values, "\x00,")
	name := fmt.Sprintf("%v\x00%s", affinity, tuple)
	w := t.byName[name]
	if w == nil {
		w = &wishAnswer{id: len(t.byName), affinity: affinity, values: values, tuple: tuple}
		t.byName[name], t.most = w, max(t.most, affinity)
	}
	t.of[i] = w
	return w
}
