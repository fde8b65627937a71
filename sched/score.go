package sched

import (
	"math"
	"slices"

	"github.com/drover-io/drover/state"
)

// The score of a node for one more copy of a group is the mean of what these say of it, each from -1 (as bad as can be) to 1:
//
//   - how well the copy fits there, by the algorithm. For a service it is divided by the group's count: the more copies, the
//     less packing matters beside where they are to each other.
//   - how many of the group's copies are there already, as a part of all. Together the two mean that two copies of a service
//     share a machine only where they must, whatever else is there: a machine's death should take one copy, not two.
//   - what the job's affinities say of the node,
//   - what its spreads say of it,
//   - what the affinities of its devices say of those that are free there,
//   - and, for a copy that failed before, a penalty where it did. It is larger than the others, so that no wish makes up for it.
//
// A score that a group has no use for does not count in the mean. All nodes have the same ones, so that the sum orders them too.
const (
	scoreAntiAffinity = "job-anti-affinity"
	scoreAffinity     = "node-affinity"
	scoreSpread       = "allocation-spread"
	scoreDevices      = "devices"
	scorePenalty      = "node-reschedule-penalty"

	besideBatch  = 0.5 // for a node that has all copies of a batch group: packing matters more
	avoidPenalty = 2.0 // for a node on which this copy failed before
)

// baseScore is the part of a node's score that no other node's copies change.
func (l *ledger) baseScore(a *ask, u *usage, pos int) float64 {
	score := l.fitScore(a, pos) + a.besideScore(float64(u.beside(a, pos)))
	if likedBy(a.devices) > 0 {
		score += l.deviceScore(a, pos)
	}
	return score
}

// fitScore says how well one more copy fits on a node, from 0 to 1 where it fits at all. For a service it is divided by the group's
// count.
func (l *ledger) fitScore(a *ask, pos int) float64 { return l.viewOf(a).of(pos).fit(l.rows[pos].heft) }

// besideScore is what so many copies of the group cost a node that has them.
func (a *ask) besideScore(copies float64) float64 {
	part := copies / float64(max(1, a.group.Count))
	if a.job.Type == state.JobTypeBatch {
		return -besideBatch * part
	}
	return -part
}

// deviceScore is what the job says of the devices that it would get on a node.
func (l *ledger) deviceScore(a *ask, pos int) float64 {
	_, liked, _ := findDevices(a.devices, &l.fleet.nodes[pos].node.Resources, l.stocks[pos])
	return liked
}

// heft is ten to the power of the shares of a node's cpu and memory that are free. The fitness of a node for a copy is
//
//	(20 - 10^cpu - 10^memory) / 18
//
// of the shares that would be free with it: 1 for a node that would be used up and 0 for an empty one. It is the best-fit scoring
// that Google published for its data centres (BestFit v3); a node with one resource left over scores worse than one on which both
// run out together. Since 10^(a-b) is 10^a times 10^-b, a node's part is worked out when what is free there changes, and a copy's
// once for each class: neither is for each pair of the two.
type heft struct{ cpu, memory float64 }

func heftOf(part room, of size) heft {
	return heft{tenTo(share(part.CPU, of.cpu)), tenTo(share(part.MemoryMB, of.memory))}
}

func tenTo(x float64) float64 { return math.Exp(math.Ln10 * x) }

// line is a score that is linear in a node's heft: most of what a look at a node costs.
type line struct{ base, cpu, memory float64 }

func (f line) fit(h heft) float64 { return f.base + f.cpu*h.cpu + f.memory*h.memory }

// lineOf is how well a copy that takes some share fits, by an algorithm, times weight.
func lineOf(algorithm Algorithm, takes heft, weight float64) line {
	weight /= 18
	if algorithm == Spread { // one less the fitness
		return line{-2 * weight, takes.cpu * weight, takes.memory * weight}
	}
	return line{20 * weight, -takes.cpu * weight, -takes.memory * weight}
}

// fitWeight is how much fitness matters to a group.
func (a *ask) fitWeight() float64 {
	if a.job.Type == state.JobTypeBatch {
		return 1
	}
	return 1 / float64(max(1, a.group.Count))
}

func share(free, of int) float64 {
	if of <= 0 {
		return 0
	}
	return float64(free) / float64(of)
}

// wishesUnique reports whether an affinity or a spread names something that differs from node to node.
func (a *ask) wishesUnique() bool {
	return a.likes != nil && a.likes.unique || slices.ContainsFunc(a.spreads, func(s *spread) bool { return namesUnique(s.attribute) })
}

// wishesOn is what affinities say of a node, and its values for the spreads.
func (a *ask) wishesOn(n *state.Node) (affinity float64, values []string) {
	look := nodeLook(n)
	for _, s := range a.spreads {
		values = append(values, s.value(look))
	}
	return a.likes.score(look), values
}

// unnamedValues counts, for each spread, the values that nodes have and no target names.
func (a *ask) unnamedValues(buckets []*bucket) []int {
	out := make([]int, len(a.spreads))
	for i, s := range a.spreads {
		seen := map[string]bool{}
		for _, b := range buckets {
			v := b.values[i]
			if _, named := s.targets[v]; !named && v != unset && !seen[v] {
				seen[v] = true
				out[i]++
			}
		}
	}
	return out
}

// spreadScore is what a group's spreads say of nodes with some values.
func (u *usage) spreadScore(a *ask, values []string, unnamed []int) float64 {
	score, total := 0.0, 0.0
	for i, s := range u.groups[a.group.Name].spreads {
		wanted := s.wanted(values[i], a.group.Count, unnamed[i])
		score += float64(s.weight) * spreadScore(values[i], s.copies[values[i]], wanted, a.group.Count)
		total += float64(s.weight)
	}
	if total == 0 {
		return 0
	}
	return score / total
}
