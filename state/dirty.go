package state

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/tidwall/btree"
)

// maxGone bounds how many removed jobs, and removed nodes, a dirty index remembers.
const maxGone = 1024

// changeLog remembers which keys changed, in the order in which they did, so that "what changed since" costs only what changed. It is
// bookkeeping beside the tables: neither hashed nor saved, and nothing that apply decides depends on it.
type changeLog struct {
	line  *line
	marks tail[mark]          // ascending
	gone  *btree.BTreeG[mark] // keys that exist no more, at most maxGone
	floor uint64              // marks of gone keys up to here may have been forgotten
}

// mark is a key and the Raft index at which it changed.
type mark struct {
	index uint64
	key   string
}

func compareMarks(a, b mark) int {
	return cmp.Or(cmp.Compare(a.index, b.index), strings.Compare(a.key, b.key))
}

func newChangeLog() changeLog {
	less := func(a, b mark) bool { return compareMarks(a, b) < 0 }
	return changeLog{line: new(line), gone: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: treeDegree})}
}

func (l changeLog) clone() changeLog {
	l.gone = l.gone.Copy()
	return l
}

// note adds a mark, not below those before.
func (l *changeLog) note(m mark) { l.marks = l.marks.with(l.line, m) }

// retire moves key to the bounded list of what exists no more.
func (l *changeLog) retire(key string, index uint64) {
	l.gone.Set(mark{index, key})
	for l.gone.Len() > maxGone {
		oldest, _ := l.gone.PopMin()
		l.floor = max(l.floor, oldest.index)
	}
}

// after are the marks of what changed after index.
func (l *changeLog) after(index uint64) []mark {
	at, _ := slices.BinarySearchFunc(l.marks.list, index, func(m mark, index uint64) int {
		if m.index > index {
			return 1
		}
		return -1
	})
	return l.marks.list[at:]
}

// goneSince yields the keys that went after index.
func (l *changeLog) goneSince(index uint64, yield func(string) bool) {
	if index < math.MaxUint64 {
		l.gone.Ascend(mark{index: index + 1}, func(m mark) bool { return yield(m.key) })
	}
}

// dirtyIndex knows of each key the index at which it last changed.
type dirtyIndex struct {
	changeLog        // a mark counts when its key has not changed since
	from      uint64 // marks up to here may have been dropped
	byKey     *btree.Map[string, uint64]
}

func newDirtyIndex() dirtyIndex {
	return dirtyIndex{changeLog: newChangeLog(), byKey: btree.NewMap[string, uint64](treeDegree)}
}

func (d dirtyIndex) clone() dirtyIndex {
	return dirtyIndex{changeLog: d.changeLog.clone(), from: d.from, byKey: d.byKey.Copy()}
}

func (d *dirtyIndex) mark(key string, index uint64) {
	if old, known := d.byKey.Set(key, index); known && old == index {
		return
	}
	if marks := d.marks.list; len(marks) > 2*d.byKey.Len()+maxGone {
		half := len(marks) / 2
		d.from = marks[half-1].index
		d.marks = tail[mark]{d.line, slices.Clone(marks[half:])}
	}
	d.note(mark{index, key})
}

func (d *dirtyIndex) retire(key string, index uint64) {
	d.byKey.Delete(key)
	d.changeLog.retire(key, index)
}

// since yields the keys changed after index, oldest change first, then those that exist no more. A key that went and came
// back may be yielded twice.
func (d *dirtyIndex) since(index uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range d.marksSince(index) {
			if last, known := d.byKey.Get(m.key); known && last == m.index && !yield(m.key) {
				return
			}
		}
		d.goneSince(index, yield)
	}
}

// marksSince has every key that changed after index, with its last mark.
func (d *dirtyIndex) marksSince(index uint64) (marks []mark) {
	if index >= d.from {
		return d.after(index)
	}
	for key, last := range d.byKey.Scan {
		if last > index {
			marks = append(marks, mark{last, key})
		}
	}
	slices.SortFunc(marks, compareMarks)
	return marks
}

// changed reports whether a key is one that since would yield.
func (d *dirtyIndex) changed(key string, index uint64) (yes bool) {
	if last, known := d.byKey.Get(key); known {
		return last > index
	}
	d.goneSince(index, func(gone string) bool {
		yes = gone == key
		return !yes
	})
	return yes
}

// nodeLog is a changeLog of keys that are few and change all the time: nodes. A mark costs next to nothing.
type nodeLog struct{ changeLog }

func (l nodeLog) clone() nodeLog { return nodeLog{l.changeLog.clone()} }

// mark notes a change of one of so many keys. There tells which exist.
func (l *nodeLog) mark(key string, index uint64, keys int, there func(string) bool) {
	if len(l.marks.list) > 4*(keys+maxGone) {
		l.shrink(keys, there)
	}
	l.note(mark{index, key})
}

// shrink leaves the last mark of each key.
func (l *nodeLog) shrink(keys int, there func(string) bool) {
	seen, last := make(map[string]struct{}, keys), make([]mark, 0, 2*(keys+maxGone))
	for _, m := range slices.Backward(l.marks.list) {
		if _, known := seen[m.key]; !known {
			seen[m.key] = struct{}{}
			if there(m.key) {
				last = append(last, m)
			}
		}
	}
	slices.Reverse(last)
	l.marks = tail[mark]{l.line, last}
}

// since yields the keys changed after index, then those that exist no more. One that is gone may be yielded twice.
func (l *nodeLog) since(index uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := map[string]struct{}{}
		for _, m := range l.after(index) {
			if _, known := seen[m.key]; known {
				continue
			}
			if seen[m.key] = struct{}{}; !yield(m.key) {
				return
			}
		}
		l.goneSince(index, yield)
	}
}

// changed reports whether a key is one that since would yield.
func (l *nodeLog) changed(key string, index uint64) (yes bool) {
	same := func(other string) bool {
		yes = other == key
		return !yes
	}
	for _, m := range slices.Backward(l.after(index)) {
		if !same(m.key) {
			return true
		}
	}
	l.goneSince(index, same)
	return yes
}

// markNode notes that something of a node changed.
func (t *tx) markNode(id string) {
	s := t.next
	s.nodesDirty.mark(id, t.index, s.nodes.rows.Len(), func(id string) bool { return s.nodes.get(id) != nil || s.allocs.byNode.of(id) != nil })
}
