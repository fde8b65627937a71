package state

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tidwall/btree"
)

// maxGone bounds how many removed jobs, and removed nodes, a dirty index remembers.
const maxGone = 1024

// dirtyIndex remembers the Raft index at which each key last changed, and in which order they did, so that "what changed since" costs
// only what changed. It is bookkeeping beside the tables: neither hashed nor saved, and nothing that apply decides depends on it.
type dirtyIndex struct {
	line  *line
	byKey *btree.Map[string, uint64]
	log   tail[mark]          // ascending; a mark counts when its key has not changed since
	gone  *btree.BTreeG[mark] // keys that exist no more, at most maxGone
	floor uint64              // marks of gone keys up to here may have been forgotten
}

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

func newDirtyIndex() dirtyIndex {
	return dirtyIndex{
		line:  new(line),
		byKey: btree.NewMap[string, uint64](treeDegree),
		gone:  btree.NewBTreeGOptions(lessMark, btree.Options{NoLocks: true, Degree: treeDegree}),
	}
}

func (d dirtyIndex) clone() dirtyIndex {
	d.byKey, d.gone = d.byKey.Copy(), d.gone.Copy()
	return d
}

func (d *dirtyIndex) mark(key string, index uint64) {
	if old, known := d.byKey.Set(key, index); known && old == index {
		return
	}
	if len(d.log.list) > 2*d.byKey.Len()+maxGone {
		d.log = tail[mark]{d.line, slices.DeleteFunc(slices.Clone(d.log.list), func(m mark) bool { return !d.counts(m) })}
	}
	d.log = d.log.with(d.line, mark{index, key})
}

// counts reports whether a mark of the log is its key's last.
func (d *dirtyIndex) counts(m mark) bool {
	last, known := d.byKey.Get(m.key)
	return known && last == m.index
}

// retire moves key to the bounded list of what exists no more.
func (d *dirtyIndex) retire(key string, index uint64) {
	d.byKey.Delete(key)
	d.gone.Set(mark{index, key})
	for d.gone.Len() > maxGone {
		oldest, _ := d.gone.PopMin()
		d.floor = max(d.floor, oldest.index)
	}
}

// since yields the keys changed after index, oldest change first, then those that exist no more. A key that went and came
// back may be yielded twice.
func (d *dirtyIndex) since(index uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		from := mark{index: index + 1}
		if from.index == 0 { // index is the largest there is: nothing can be later
			return
		}
		at, _ := slices.BinarySearchFunc(d.log.list, from.index, func(m mark, index uint64) int { return cmp.Compare(m.index, index) })
		for _, m := range d.log.list[at:] {
			if d.counts(m) && !yield(m.key) {
				return
			}
		}
		d.gone.Ascend(from, func(m mark) bool { return yield(m.key) })
	}
}
