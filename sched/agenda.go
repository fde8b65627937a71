package sched

import (
	"cmp"
	"math"
	"strings"

	"github.com/tidwall/btree"

	"github.com/drover-io/drover/state"
)

// mark is why a job is looked at again.
type mark struct {
	of       importance
	pending  bool      // the last plan changed it, or was too small for it, or a copy of it waits for another to end
	rolling  bool      // copies wait until others run
	due      int64     // a failed copy may be replaced then; 0 for never
	unplaced []waiting // groups with copies that found no node
}

// waiting is a group with copies that found no node.
type waiting struct {
	ask   *ask
	homes []string // nodes on which a successor may fit in the place of its predecessor, though not beside it
}

// agenda is the jobs to look at again although nothing of theirs changes, with what finds those whose time has come: however many
// jobs fit nowhere, a pass costs what those cost that may fit somewhere now. It is a value: a clone shares what is not changed.
type agenda struct {
	marks   *btree.BTreeG[marked]
	pending *btree.BTreeG[importance]
	rolling *btree.BTreeG[state.JobKey]
	due     *btree.BTreeG[dueJob]
	wants   *btree.BTreeG[want]
	homes   *btree.BTreeG[home]
}

type marked struct {
	key state.JobKey
	mark
}

type dueJob struct {
	at  int64
	key state.JobKey
}

// want is what a group of a job waits for. Wants of one kind of node stand together, the one that asks for the least cpu first, and
// of those the one that asks for the least memory, then disk.
type want struct {
	terms string
	res   room // none where it depends on the node
	key   state.JobKey
	ask   *ask
}

type home struct {
	node string
	key  state.JobKey
}

func newAgenda() agenda {
	opts := btree.Options{NoLocks: true}
	return agenda{
		marks:   btree.NewBTreeGOptions(func(a, b marked) bool { return compareKeys(a.key, b.key) < 0 }, opts),
		pending: btree.NewBTreeGOptions(func(a, b importance) bool { return a.compare(b) < 0 }, opts),
		rolling: btree.NewBTreeGOptions(func(a, b state.JobKey) bool { return compareKeys(a, b) < 0 }, opts),
		due: btree.NewBTreeGOptions(func(a, b dueJob) bool {
			return cmp.Or(cmp.Compare(a.at, b.at), compareKeys(a.key, b.key)) < 0
		}, opts),
		wants: btree.NewBTreeGOptions(func(a, b want) bool {
			return cmp.Or(strings.Compare(a.terms, b.terms), cmp.Compare(a.res.CPU, b.res.CPU), cmp.Compare(a.res.MemoryMB, b.res.MemoryMB),
				cmp.Compare(a.res.DiskMB, b.res.DiskMB), compareKeys(a.key, b.key), strings.Compare(a.group(), b.group())) < 0
		}, opts),
		homes: btree.NewBTreeGOptions(func(a, b home) bool {
			return cmp.Or(strings.Compare(a.node, b.node), compareKeys(a.key, b.key)) < 0
		}, opts),
	}
}

func compareKeys(a, b state.JobKey) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.ID, b.ID))
}

// group is "" for a place to begin to look from.
func (w want) group() string {
	if w.ask == nil {
		return ""
	}
	return w.ask.group.Name
}

func wantOf(key state.JobKey, a *ask) want {
	w := want{terms: a.terms, res: a.res, key: key, ask: a}
	if a.byNode {
		w.res = room{}
	}
	return w
}

// beyond is where to go on looking when no node has what this want asks for, past all that ask for as much: however many jobs ask for
// too much of the same, one of them is looked at.
func (w want) beyond(most room) (next want, some bool) {
	next = want{terms: w.terms, res: w.res}
	switch {
	case w.res.CPU > most.CPU:
		next.res.CPU = math.MaxInt
	case w.res.MemoryMB > most.MemoryMB:
		next.res.MemoryMB = math.MaxInt
	case w.res.DiskMB > most.DiskMB:
		next.res.DiskMB = math.MaxInt
	default:
		return want{}, false
	}
	return next, true
}

// clone returns an agenda that may be changed while a is kept.
func (a agenda) clone() agenda {
	return agenda{
		marks: a.marks.Copy(), pending: a.pending.Copy(), rolling: a.rolling.Copy(), due: a.due.Copy(), wants: a.wants.Copy(),
		homes: a.homes.Copy(),
	}
}

func (a agenda) get(key state.JobKey) mark {
	m, _ := a.marks.Get(marked{key: key})
	return m.mark
}

// set notes why a job is looked at again. An empty mark is no reason to.
func (a agenda) set(key state.JobKey, m mark) {
	old, had := a.marks.Get(marked{key: key})
	if had {
		a.index(key, old.mark, false)
	}
	if !m.pending && !m.rolling && m.due == 0 && len(m.unplaced) == 0 {
		if had {
			a.marks.Delete(marked{key: key})
		}
		return
	}
	a.marks.Set(marked{key, m})
	a.index(key, m, true)
}

// setPending has a job be looked at in the next pass in any case.
func (a agenda) setPending(job *state.Job) {
	of := importanceOf(job)
	if m := a.get(of.key); !m.pending || m.of != of {
		m.of, m.pending = of, true
		a.set(of.key, m)
	}
}

// index enters a mark where it is found by what it waits for, or takes it out there.
func (a agenda) index(key state.JobKey, m mark, enter bool) {
	if m.pending {
		edit(a.pending, m.of, enter)
	}
	if m.rolling {
		edit(a.rolling, key, enter)
	}
	if m.due != 0 {
		edit(a.due, dueJob{m.due, key}, enter)
	}
	for _, w := range m.unplaced {
		edit(a.wants, wantOf(key, w.ask), enter)
		for _, id := range w.homes {
			edit(a.homes, home{id, key}, enter)
		}
	}
}

func edit[T any](t *btree.BTreeG[T], item T, enter bool) {
	if enter {
		t.Set(item)
	} else {
		t.Delete(item)
	}
}

// wake is when to look again although nothing changes, given when the next node's hold ends; 0 for never.
func (a agenda) wake(released int64) int64 {
	at := int64(0)
	if first, some := a.due.Min(); some {
		at = first.at
	}
	if a.wants.Len() > 0 {
		at = earlier(at, released)
	}
	return at
}

// ready calls yield with the jobs to look at now beside those that are pending: those that are due, and those of which a copy may have
// room on one of some nodes that can take more than before, or may stay there. A job may be named twice.
func (a agenda) ready(gained []opening, now int64, yield func(state.JobKey)) {
	a.due.Scan(func(d dueJob) bool {
		if d.at > now {
			return false
		}
		yield(d.key)
		return true
	})
	var open []opening
	for _, n := range gained {
		a.homes.Ascend(home{node: n.node.ID}, func(h home) bool {
			if h.node != n.node.ID {
				return false
			}
			yield(h.key)
			return true
		})
		if n.takesWork(now) {
			open = append(open, n)
		}
	}
	if len(open) > 0 {
		a.eachWant(open, yield)
	}
}

// eachWant calls yield with the jobs that wait for a node, of those that suit one of some nodes and fit there.
func (a agenda) eachWant(nodes []opening, yield func(state.JobKey)) {
	terms, begun := "", false
	var suiting []opening // nodes that suit the terms
	var most room         // that any of them has of each
	for from, more := (want{}), true; more; {
		more = false
		a.wants.Ascend(from, func(w want) bool {
			if !begun || w.terms != terms {
				terms, begun, suiting = w.terms, true, suitingNodes(w.ask, nodes)
				most = mostOf(suiting)
			}
			if from, more = w.beyond(most); more {
				return false
			}
			for _, n := range suiting {
				if n.fits(w.ask) && passAll(w.ask.uniques, n.node) {
					yield(w.key)
					break
				}
			}
			return true
		})
	}
}

// mostOf is the most of each that one of some nodes has free, less than nothing when there is none.
func mostOf(nodes []opening) room {
	most := room{CPU: math.MinInt, MemoryMB: math.MinInt, DiskMB: math.MinInt}
	for _, n := range nodes {
		most.CPU, most.MemoryMB, most.DiskMB = max(most.CPU, n.free.CPU), max(most.MemoryMB, n.free.MemoryMB), max(most.DiskMB, n.free.DiskMB)
	}
	return most
}

// suitingNodes asks each class once.
func suitingNodes(a *ask, nodes []opening) []opening {
	var out []opening
	asked := map[*class]bool{}
	for _, n := range nodes {
		suits, known := asked[n.class]
		if !known {
			suits = a.suits(n.node)
			asked[n.class] = suits
		}
		if suits {
			out = append(out, n)
		}
	}
	return out
}
