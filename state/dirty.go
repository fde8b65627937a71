package state

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tidwall/btree"
)

// maxGone bounds how many removed jobs, and removed nodes, a dirty index remembers.
const maxGone = 1024

// changeLog is the order in which keys changed, so that "what changed since" costs only what changed. It is bookkeeping beside the tables:
// neither hashed nor saved, and nothing that apply decides depends on it.
type changeLog struct {
	line  *line
	marks tail[mark]          // ascending; one counts when its key has not changed since
	gone  *btree.BTreeG[mark] // keys that exist no more, at most maxGone
	floor uint64              // marks of gone keys up to here may have been forgotten
}

// mark is a key and the Raft index at which it changed.
type mark struct {
	index uint64
	key   string
}

func lessMark(a, b mark) bool {
	if a.index != b.index {
		return a.index < b.index
	}
	return a.key < b.key
}

func newChangeLog() changeLog {
	return changeLog{line: new(line), gone: btree.NewBTreeGOptions(lessMark, btree.Options{NoLocks: true, Degree: treeDegree})}
}

func (l changeLog) clone() changeLog {
	l.gone = l.gone.Copy()
	return l
}

// note adds a mark, of one of so many keys. counts tells the marks that are their key's last.
func (l *changeLog) note(m mark, keys int, counts func(mark) bool) {
	if len(l.marks.list) > 2*keys+maxGone {
		l.marks = tail[mark]{l.line, slices.DeleteFunc(slices.Clone(l.marks.list), func(m mark) bool { return !counts(m) })}
	}
	l.marks = l.marks.with(l.line, m)
}

// retire moves key to the bounded list of what exists no more. Its marks must not count any longer.
func (l *changeLog) retire(key string, index uint64) {
	l.gone.Set(mark{index, key})
	for l.gone.Len() > maxGone {
		oldest, _ := l.gone.PopMin()
		l.floor = max(l.floor, oldest.index)
	}
}

// since yields the keys changed after index, oldest change first, then those that exist no more. A key that went and came
// back may be yielded twice.
func (l *changeLog) since(index uint64, counts func(mark) bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		from := mark{index: index + 1}
		if from.index == 0 { // index is the largest there is: nothing can be later
			return
		}
		at, _ := slices.BinarySearchFunc(l.marks.list, from.index, func(m mark, index uint64) int { return cmp.Compare(m.index, index) })
		for _, m := range l.marks.list[at:] {
			if counts(m) && !yield(m.key) {
				return
			}
		}
		l.gone.Ascend(from, func(m mark) bool { return yield(m.key) })
	}
}

// dirtyIndex remembers the Raft index at which each key last changed, and in which order they did.
type dirtyIndex struct {
	changeLog
	byKey *btree.Map[string, uint64]
}

func newDirtyIndex() dirtyIndex {
	return dirtyIndex{changeLog: newChangeLog(), byKey: btree.NewMap[string, uint64](treeDegree)}
}

func (d dirtyIndex) clone() dirtyIndex {
	return dirtyIndex{changeLog: d.changeLog.clone(), byKey: d.byKey.Copy()}
}

func (d *dirtyIndex) mark(key string, index uint64) {
	if old, known := d.byKey.Set(key, index); !known || old != index {
		d.note(mark{index, key}, d.byKey.Len(), d.counts)
	}
}

// counts reports whether a mark is its key's last.
func (d *dirtyIndex) counts(m mark) bool {
	last, known := d.byKey.Get(m.key)
	return known && last == m.index
}

func (d *dirtyIndex) retire(key string, index uint64) {
	d.byKey.Delete(key)
	d.changeLog.retire(key, index)
}

func (d *dirtyIndex) since(index uint64) iter.Seq[string] { return d.changeLog.since(index, d.counts) }

// markNode notes at what index something of a node changed. o is what is kept of it.
func (s *Snapshot) markNode(o *owner[nodeSide], id string, index uint64) {
	if o.side.changed == index {
		return
	}
	o.side.changed = index
	s.nodesDirty.note(mark{index, id}, s.allocs.byNode.byKey.Len(), s.nodeCounts)
}

// nodeCounts reports whether a mark is its node's last.
func (s *Snapshot) nodeCounts(m mark) bool {
	o := s.allocs.byNode.of(m.key)
	return o != nil && o.side.changed == m.index
}
