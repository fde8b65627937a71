package state

import (
	"math"

	"github.com/tidwall/btree"
)

// idRun is IDs that count in their first eight digits, of rows whose serials count along: mostly those of a plan.
type idRun struct {
	first  idKey
	count  int
	serial uint64
}

// idRuns knows the IDs of all rows. No two have the same first eight digits, so these name an allocation.
type idRuns struct {
	byLead *btree.Map[uint32, idRun] // by the first eight digits of the first ID
}

func newIDRuns() idRuns { return idRuns{btree.NewMap[uint32, idRun](treeDegree)} }

func (x idRuns) clone() idRuns { return idRuns{x.byLead.Copy()} }

// lead is the first eight digits.
func (id idKey) lead() uint32 { return uint32(id.hi >> 32) }

// plus is the ID that is n further on in a run.
func (id idKey) plus(n int) idKey { return idKey{id.hi + uint64(n)<<32, id.lo} }

// last is the run with the greatest lead up to this one; one of no IDs when there is none.
func (x idRuns) last(lead uint32) (run idRun) {
	x.byLead.Descend(lead, func(_ uint32, r idRun) bool {
		run = r
		return false
	})
	return run
}

// of is the run that has an ID, and where. ok is false when none has it.
func (x idRuns) of(id idKey) (run idRun, at int, ok bool) {
	run = x.last(id.lead())
	at = int(id.lead() - run.first.lead())
	return run, at, at < run.count && run.first.plus(at) == id
}

// serial is that of an ID, 0 when it is in no run.
func (x idRuns) serial(id idKey) uint64 {
	if run, at, ok := x.of(id); ok {
		return run.serial + uint64(at)
	}
	return 0
}

// free reports whether no ID begins with the same eight digits as one of these, which count from the first.
func (x idRuns) free(first idKey, count int) bool {
	if count > math.MaxUint32-int(first.lead()) {
		return false
	}
	run := x.last(first.lead() + uint32(count) - 1)
	return int(run.first.lead())+run.count <= int(first.lead())
}

// add adds an ID, which must be free.
func (x idRuns) add(id idKey, serial uint64) {
	run := x.last(id.lead())
	if run.count == 0 || !run.precedes(id, serial) {
		run = idRun{first: id, serial: serial}
	}
	run.count++
	x.byLead.Set(run.first.lead(), run)
}

// precedes reports whether an ID is the next one of the run.
func (r idRun) precedes(id idKey, serial uint64) bool {
	return r.first.plus(r.count) == id && r.first.lead() < id.lead() && r.serial+uint64(r.count) == serial
}

// remove forgets an ID and returns its serial, 0 when it is not there.
func (x idRuns) remove(id idKey) (serial uint64) {
	run, at, ok := x.of(id)
	if !ok {
		return 0
	}
	serial = run.serial + uint64(at)
	before, after := run, idRun{first: run.first.plus(at + 1), count: run.count - at - 1, serial: serial + 1}
	if before.count = at; at == 0 {
		x.byLead.Delete(run.first.lead())
	} else {
		x.byLead.Set(before.first.lead(), before)
	}
	if after.count > 0 {
		x.byLead.Set(after.first.lead(), after)
	}
	return serial
}
