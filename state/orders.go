package state

import (
	"strconv"

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
