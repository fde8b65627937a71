package state

import (
	"iter"

	"github.com/tidwall/btree"
)

// maxGone bounds how many removed jobs, and removed nodes, a dirty index remembers.
const maxGone = 1024

// dirtyIndex remembers the Raft index at which each key last changed, ordered by it, so that "what changed since" costs only
// what changed. It is bookkeeping beside the tables: neither hashed nor saved, and nothing that apply decides depends on it.
type dirtyIndex struct {
	byKey   *btree.Map[string, uint64]
	byIndex *btree.BTreeG[mark]
	gone    *btree.BTreeG[mark] // keys that exist no more, at most maxGone
	floor   uint64              // marks of gone keys up to here may have been forgotten
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
	opts := btree.Options{NoLocks: true, Degree: treeDegree}
	return dirtyIndex{
		byKey:   btree.NewMap[string, uint64](treeDegree),
		byIndex: btree.NewBTreeGOptions(lessMark, opts),
		gone:    btree.NewBTreeGOptions(lessMark, opts),
	}
}

func (d dirtyIndex) clone() dirtyIndex {
	return dirtyIndex{byKey: d.byKey.Copy(), byIndex: d.byIndex.Copy(), gone: d.gone.Copy(), floor: d.floor}
}

func (d *dirtyIndex) mark(key string, index uint64) {
	old, known := d.byKey.Set(key, index)
	if known && old == index {
		return
	}
	if known {
		d.byIndex.Delete(mark{old, key})
	}
	d.byIndex.Set(mark{index, key})
}

// retire moves key to the bounded list of what exists no more.
func (d *dirtyIndex) retire(key string, index uint64) {
	if old, known := d.byKey.Delete(key); known {
		d.byIndex.Delete(mark{old, key})
	}
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
		more := true
		visit := func(m mark) bool {
			more = yield(m.key)
			return more
		}
		from := mark{index: index + 1}
		if from.index == 0 { // index is the largest there is: nothing can be later
			return
		}
		d.byIndex.Ascend(from, visit)
		if more {
			d.gone.Ascend(from, visit)
		}
	}
}
