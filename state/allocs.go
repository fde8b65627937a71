package state

import (
	"iter"
	"math"
	"strings"

	"github.com/tidwall/btree"
)

// allocTable is the table of allocations, the one table that may have a million rows. A row stands under a serial number that
// nobody outside sees, given in the order of creation, so that the copies of one plan stand together; the indexes hold serials and
// not rows, so that a row that changes touches one tree. Serials are in no file: rows are saved in their order.
type allocTable struct {
	rows *btree.Map[uint64, entry[Alloc]]
	sum  uint64 // of the hashes of the rows
	last uint64 // serial given last

	byID   *btree.BTreeG[idSerial]
	byJob  ownerIndex
	byNode ownerIndex
}

// ownerIndex is which allocations belong to a job, or to a node, in the order of their creation.
type ownerIndex struct {
	numbers *btree.Map[string, uint64] // the owner's key → its number here
	last    uint64                     // number given last
	serials *btree.BTreeG[ownedSerial]
}

// idKey is an ID that is a UUID, in two halves whose order is that of the text.
type idKey struct{ hi, lo uint64 }

type idSerial struct {
	id     idKey
	serial uint64
}

type ownedSerial struct{ owner, serial uint64 }

func lessID(a, b idSerial) bool {
	if a.id.hi != b.id.hi {
		return a.id.hi < b.id.hi
	}
	return a.id.lo < b.id.lo
}

func lessOwned(a, b ownedSerial) bool {
	if a.owner != b.owner {
		return a.owner < b.owner
	}
	return a.serial < b.serial
}

func newAllocTable() allocTable {
	return allocTable{
		rows: btree.NewMap[uint64, entry[Alloc]](treeDegree), byID: btree.NewBTreeGOptions(lessID, btree.Options{NoLocks: true, Degree: treeDegree}),
		byJob: newOwnerIndex(), byNode: newOwnerIndex(),
	}
}

func newOwnerIndex() ownerIndex {
	return ownerIndex{
		numbers: btree.NewMap[string, uint64](treeDegree), serials: btree.NewBTreeGOptions(lessOwned, btree.Options{NoLocks: true, Degree: treeDegree}),
	}
}

// clone returns a table that may be written while t is read.
func (t allocTable) clone() allocTable {
	t.rows, t.byID = t.rows.Copy(), t.byID.Copy()
	t.byJob, t.byNode = t.byJob.clone(), t.byNode.clone()
	return t
}

func (x ownerIndex) clone() ownerIndex {
	x.numbers, x.serials = x.numbers.Copy(), x.serials.Copy()
	return x
}

// find is the serial of an ID, 0 when there is none.
func (t *allocTable) find(id idKey) uint64 {
	found, _ := t.byID.Get(idSerial{id: id})
	return found.serial
}

func (t *allocTable) at(serial uint64) *Alloc {
	e, _ := t.rows.Get(serial)
	return e.row
}

func (t *allocTable) get(id string) *Alloc {
	key, ok := parseID(id)
	if !ok {
		return nil
	}
	if serial := t.find(key); serial != 0 {
		return t.at(serial)
	}
	return nil
}

// add puts a row whose ID, a UUID, the table does not have.
func (t *allocTable) add(id idKey, a *Alloc) {
	t.last++
	t.byID.Set(idSerial{id, t.last})
	t.byJob.add(rowKey(a.Namespace, a.JobID), t.last)
	t.byNode.add(a.NodeID, t.last)
	t.put(t.last, a)
}

// put puts a row in the place of another of the same ID, job and node.
func (t *allocTable) put(serial uint64, a *Alloc) {
	h := a.hash()
	old, _ := t.rows.Set(serial, entry[Alloc]{row: a, hash: h})
	t.sum += h - old.hash
}

func (t *allocTable) remove(a *Alloc) {
	id, _ := parseID(a.ID)
	found, ok := t.byID.Delete(idSerial{id: id})
	if !ok {
		return
	}
	t.byJob.remove(rowKey(a.Namespace, a.JobID), found.serial)
	t.byNode.remove(a.NodeID, found.serial)
	old, _ := t.rows.Delete(found.serial)
	t.sum -= old.hash
}

func (x *ownerIndex) add(owner string, serial uint64) {
	number, known := x.numbers.Get(owner)
	if !known {
		x.last++
		number = x.last
		x.numbers.Set(strings.Clone(owner), number)
	}
	x.serials.Set(ownedSerial{number, serial})
}

func (x *ownerIndex) remove(owner string, serial uint64) {
	number, _ := x.numbers.Get(owner)
	x.serials.Delete(ownedSerial{number, serial})
	for range x.of(owner) {
		return
	}
	x.numbers.Delete(owner)
}

// of yields the serials of an owner's allocations.
func (x *ownerIndex) of(owner string) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		number, known := x.numbers.Get(owner)
		if !known {
			return
		}
		x.serials.Ascend(ownedSerial{owner: number}, func(o ownedSerial) bool { return o.owner == number && yield(o.serial) })
	}
}

// newest yields an owner's allocations, the one created last first.
func (t *allocTable) newest(x *ownerIndex, owner string) iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		number, known := x.numbers.Get(owner)
		if !known {
			return
		}
		x.serials.Descend(ownedSerial{number, math.MaxUint64}, func(o ownedSerial) bool { return o.owner == number && yield(t.at(o.serial)) })
	}
}

// owned yields an owner's allocations.
func (t *allocTable) owned(x *ownerIndex, owner string) iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		for serial := range x.of(owner) {
			if !yield(t.at(serial)) {
				return
			}
		}
	}
}

// all yields every row in the order of the IDs.
func (t *allocTable) all() iter.Seq[*Alloc] { return t.prefixed("") }

// created yields every row in the order of creation.
func (t *allocTable) created() iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		t.rows.Scan(func(_ uint64, e entry[Alloc]) bool { return yield(e.row) })
	}
}

// lowestID is the UUID of which a prefix of one is completed to the lowest there is.
const lowestID = "00000000-0000-0000-0000-000000000000"

// prefixed yields the rows whose ID starts with prefix, in the order of the IDs.
func (t *allocTable) prefixed(prefix string) iter.Seq[*Alloc] { return t.prefixedFrom(prefix, "") }

// prefixedFrom is prefixed from an ID on; one that is none is left to the caller to compare.
func (t *allocTable) prefixedFrom(prefix, first string) iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		if len(prefix) > len(lowestID) {
			return
		}
		from, ok := parseID(prefix + lowestID[len(prefix):])
		if !ok {
			return
		}
		if id, ok := parseID(first); ok && lessID(idSerial{id: from}, idSerial{id: id}) {
			from = id
		}
		t.byID.Ascend(idSerial{id: from}, func(i idSerial) bool {
			a := t.at(i.serial)
			return strings.HasPrefix(a.ID, prefix) && yield(a)
		})
	}
}

// parseID reads a UUID as AllocID writes it: 36 characters in lower case.
func parseID(s string) (id idKey, ok bool) {
	if len(s) != len(lowestID) {
		return id, false
	}
	digits := 0
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return id, false
			}
			continue
		}
		var d uint64
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case c >= 'a' && c <= 'f':
			d = uint64(c-'a') + 10
		default:
			return id, false
		}
		if digits < 16 {
			id.hi = id.hi<<4 | d
		} else {
			id.lo = id.lo<<4 | d
		}
		digits++
	}
	return id, true
}
