package state

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Digest tells two sets of allocations apart without naming them: how many they are, and the sum of a hash of each ID. It does not
// depend on the order in which they came, so that both sides keep theirs as the sets change. It serves to find differences, not to
// resist an attacker. The zero value is the digest of nothing.
type Digest struct {
	Count int
	Sum   uint64
}

// With is the digest of the set with one allocation more.
func (d Digest) With(allocID string) Digest {
	return Digest{Count: d.Count + 1, Sum: d.Sum + xxhash.Sum64String(allocID)}
}

// Without is the digest of the set with one allocation less.
func (d Digest) Without(allocID string) Digest {
	return Digest{Count: d.Count - 1, Sum: d.Sum - xxhash.Sum64String(allocID)}
}

// Orders is what a node is to be told, in short. Like Held it follows from the rows and is kept beside them; the indexes are those
// that this server has seen, neither saved nor compared.
type Orders struct {
	Run     Digest // the allocations that are to run there, see Alloc.IsToRun
	At      uint64 // Raft index at which the node was last to be told something: one more is to run, or one no longer
	Stopped uint64 // Raft index at which one was last to run no longer
	Ended   uint64 // Raft index at which one of Run last ended by the node's own word, which it need not be told at once
}

// IsToRun reports whether the leader wants the allocation to run and its node has not said that it has ended.
func (a *Alloc) IsToRun() bool { return a.DesiredStatus == DesiredRun && !a.TerminalClient() }

// OrdersOf is what a node is to be told, in short, also while it is down.
func (s *Snapshot) OrdersOf(nodeID string) Orders { return s.HeldOn(nodeID).Orders }

// order notes that a row of an allocation takes the place of another; nil is none.
func (o Orders) order(index uint64, old, row *Alloc) Orders {
	ran, runs := old != nil && old.IsToRun(), row != nil && row.IsToRun()
	switch {
	case runs && !ran:
		o.Run, o.At = o.Run.With(row.ID), index
	case ran && !runs:
		o.Run = o.Run.Without(old.ID)
		if row != nil && row.DesiredStatus == DesiredRun {
			o.Ended = index
		} else {
			o.At, o.Stopped = index, index
		}
	}
	return o
}

// CopyName is the name of copy index of a job's group.
func CopyName(jobID, group string, index int) string {
	return jobID + "." + group + "[" + strconv.Itoa(index) + "]"
}

// maxTexts bounds the texts that stand in one piece of memory, which lives as long as one of its copies.
const maxTexts = 4096

// texts makes the IDs and names of copies, those of many in one piece of memory.
type texts struct {
	b      strings.Builder
	copies int // to come
}

func (t *texts) of(id idKey, jobID, group string, index int) (text, name string) {
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], int64(index), 10)
	size := len(lowestID) + len(jobID) + len(group) + len(number) + len(".[]")
	if t.b.Cap()-t.b.Len() < size {
		t.b.Reset()
		t.b.Grow(max(size, min(maxTexts, size*t.copies)))
	}
	t.copies--
	from, idText := t.b.Len(), id.text()
	t.b.Write(idText[:])
	t.b.WriteString(jobID)
	t.b.WriteByte('.')
	t.b.WriteString(group)
	t.b.WriteByte('[')
	t.b.Write(number)
	t.b.WriteByte(']')
	both := t.b.String()[from:]
	return both[:len(lowestID)], both[len(lowestID):]
}
