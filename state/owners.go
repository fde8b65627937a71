package state

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"
)

// line names snapshots of which each followed from the one before. Of such snapshots a later one may write behind the end of a list that
// an earlier one sees. A dry run begins a line of its own.
type line struct{ _ byte }

// draft names the one snapshot that may change what was made for it in place. A snapshot that is copied is no draft any more.
type draft struct{ _ byte }

// tail is a list that grows at its end. Snapshots of one line share its array.
type tail[E any] struct {
	line *line
	list []E
}

// with is the list with one element more, for a snapshot of a line.
func (t tail[E]) with(l *line, e E) tail[E] {
	if t.line != l {
		t = tail[E]{l, slices.Clone(t.list)}
	}
	t.list = append(t.list, e)
	return t
}

// owner is what is kept beside the rows of one job or of one node: its allocations and a side of its own.
type owner[S any] struct {
	draft   *draft
	serials tail[uint64] // of its allocations, ascending
	cut     bool         // the draft has the list for itself
	side    S
}

// owners are the jobs, or the nodes, that have allocations.
type owners[S any] struct {
	line  *line
	draft *draft
	byKey *btree.Map[string, *owner[S]]
}

func newOwners[S any]() owners[S] {
	return owners[S]{line: new(line), draft: new(draft), byKey: btree.NewMap[string, *owner[S]](treeDegree)}
}

// clone returns owners that may be written while x is read.
func (x *owners[S]) clone() owners[S] {
	x.draft = new(draft)
	return owners[S]{line: x.line, draft: new(draft), byKey: x.byKey.Copy()}
}

// of is an owner, to be read; nil for one that has nothing.
func (x *owners[S]) of(key string) *owner[S] {
	o, _ := x.byKey.Get(key)
	return o
}

// edit is an owner, to be changed until the snapshot is copied.
func (x *owners[S]) edit(key string) *owner[S] { return x.own(key, x.of(key)) }

// own is edit for those who know what of returns.
func (x *owners[S]) own(key string, old *owner[S]) *owner[S] {
	if old != nil && old.draft == x.draft {
		return old
	}
	o := &owner[S]{draft: x.draft}
	if old == nil {
		key = strings.Clone(key)
	} else {
		*o = *old
		o.draft, o.cut = x.draft, false
	}
	x.byKey.Set(key, o)
	return o
}

func (x *owners[S]) add(o *owner[S], serial uint64) { o.serials = o.serials.with(x.line, serial) }

// remove takes an allocation from an owner and returns it.
func (x *owners[S]) remove(key string, serial uint64) *owner[S] {
	o := x.edit(key)
	if !o.cut {
		o.serials, o.cut = tail[uint64]{x.line, slices.Clone(o.serials.list)}, true
	}
	if i, found := slices.BinarySearch(o.serials.list, serial); found {
		o.serials.list = slices.Delete(o.serials.list, i, i+1)
	}
	return o
}

// listed are the serials of an owner's allocations.
func (x *owners[S]) listed(key string) []uint64 {
	if o := x.of(key); o != nil {
		return o.serials.list
	}
	return nil
}
