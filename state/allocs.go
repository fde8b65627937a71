package state

import (
	"iter"
	"slices"
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

	ids    idRuns
	byJob  owners[jobSide]  // by rowKey
	byNode owners[nodeSide] // a node stays, also without allocations
}

// jobSide is what is kept beside the rows of a job's allocations.
type jobSide struct {
	over int // allocations that ended or are to end: all that may be garbage
}

// nodeSide is what is kept beside the rows of a node's allocations.
type nodeSide struct {
	held  Held
	named *AllocNode // that its allocations share
	row   *Node      // as the referee saw it last, when Snapshot.nodesIndex was seen
	seen  uint64
}

// idKey is an ID that is a UUID, in two halves whose order is that of the text.
type idKey struct{ hi, lo uint64 }

func newAllocTable() allocTable {
	return allocTable{
		rows: btree.NewMap[uint64, entry[Alloc]](treeDegree), ids: newIDRuns(),
		byJob: newOwners[jobSide](), byNode: newOwners[nodeSide](),
	}
}

// clone returns a table that may be written while t is read.
func (t *allocTable) clone() allocTable {
	c := *t
	c.rows, c.ids = t.rows.Copy(), t.ids.clone()
	c.byJob, c.byNode = t.byJob.clone(), t.byNode.clone()
	return c
}

// find is the serial and the row of an ID; nil when there is none.
func (t *allocTable) find(id idKey) (serial uint64, row *Alloc) {
	if serial = t.ids.serial(id); serial == 0 {
		return 0, nil
	}
	return serial, t.at(serial)
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
	_, row := t.find(key)
	return row
}

// add puts a row whose ID is free. job and node are its owners.
func (t *allocTable) add(id idKey, a *Alloc, job *owner[jobSide], node *owner[nodeSide]) (serial uint64) {
	t.last++
	t.ids.add(id, t.last)
	t.byJob.add(job, t.last)
	t.byNode.add(node, t.last)
	t.put(t.last, a)
	return t.last
}

// put puts a row in the place of another of the same ID, job and node.
func (t *allocTable) put(serial uint64, a *Alloc) {
	h := a.hash()
	old, _ := t.rows.Set(serial, entry[Alloc]{row: a, hash: h})
	t.sum += h - old.hash
}

func (t *allocTable) remove(a *Alloc) {
	id, _ := parseID(a.ID)
	serial := t.ids.remove(id)
	if serial == 0 {
		return
	}
	old, _ := t.rows.Delete(serial)
	t.sum -= old.hash
	t.byNode.remove(a.NodeID, serial)
	if key := rowKey(a.Namespace, a.JobID); len(t.byJob.remove(key, serial).serials.list) == 0 {
		t.byJob.byKey.Delete(key)
	}
}

// these yields the rows of serials.
func (t *allocTable) these(serials []uint64) iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		for _, serial := range serials {
			if !yield(t.at(serial)) {
				return
			}
		}
	}
}

// newest yields the rows of serials, the last first.
func (t *allocTable) newest(serials []uint64) iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		for _, serial := range slices.Backward(serials) {
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
		from := prefix + lowestID[len(prefix):]
		if _, ok := parseID(first); ok {
			from = max(from, first)
		}
		id, ok := parseID(from)
		if !ok {
			return
		}
		for a := range t.leading(id.lead()) {
			if a.ID >= from && (!strings.HasPrefix(a.ID, prefix) || !yield(a)) {
				return
			}
		}
	}
}

// leading yields the rows whose IDs begin with these eight digits or greater ones, in the order of the IDs.
func (t *allocTable) leading(lead uint32) iter.Seq[*Alloc] {
	return func(yield func(*Alloc) bool) {
		begin := lead
		if run := t.ids.last(lead); run.count > 0 {
			begin = run.first.lead()
		}
		t.ids.byLead.Ascend(begin, func(at uint32, run idRun) (more bool) {
			more = true
			t.rows.Ascend(run.serial+uint64(max(lead, at)-at), func(serial uint64, e entry[Alloc]) bool {
				if serial >= run.serial+uint64(run.count) {
					return false
				}
				more = yield(e.row)
				return more
			})
			return more
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
