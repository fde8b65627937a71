package sched

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/drover-io/drover/state"
)

// affinities are the wishes of a group about what its nodes are, ready to be asked of many nodes. nil means there are none.
type affinities struct {
	wishes []affinity
	total  float64 // of the weights' sizes
	unique bool    // some name what differs from node to node
}

type affinity struct {
	check  *check
	weight int
}

func newAffinities(lists ...[]state.Affinity) *affinities {
	as := &affinities{}
	for _, list := range lists {
		for i := range list {
			k := compile(list[i].Constraint())
			as.wishes = append(as.wishes, affinity{k, list[i].Weight})
			as.total += math.Abs(float64(list[i].Weight))
			as.unique = as.unique || k.unique
		}
	}
	if as.total == 0 {
		return nil
	}
	return as
}

// score is the part of the weights that holds: 1 when every wish is fulfilled, -1 when everything unwanted is there.
func (as *affinities) score(look lookup) float64 {
	if as == nil {
		return 0
	}
	sum := 0.0
	for _, w := range as.wishes {
		if w.check.passes(look) {
			sum += float64(w.weight)
		}
	}
	return sum / as.total
}

// nameWishes names all that affinities and spreads look at: asks of equal names get equal answers.
func (a *ask) nameWishes() string {
	if a.likes == nil && len(a.spreads) == 0 {
		return ""
	}
	b := make([]byte, 0, 256)
	part := func(s string) { b = append(append(b, s...), 0) }
	number := func(n int) { b = append(strconv.AppendInt(b, int64(n), 10), 0) }
	if a.likes != nil {
		for _, w := range a.likes.wishes {
			part(w.check.constraint.LTarget)
			part(w.check.constraint.Operand)
			part(w.check.constraint.RTarget)
			number(w.weight)
		}
	}
	for _, s := range a.spreads {
		part("")
		part(s.attribute)
		number(s.weight)
		for _, v := range slices.Sorted(maps.Keys(s.targets)) {
			part(v)
			number(s.targets[v])
		}
	}
	return string(b)
}

// spread is a wish that a group's copies be spread over the values of an attribute.
type spread struct {
	attribute string
	weight    int
	targets   map[string]int // value → percent of the copies; nil for an even spread
	rest      int            // percent of all values that no target names
}

// spreadsOf are a group's own spreads and those of its job for other attributes.
func spreadsOf(job *state.Job, g *state.TaskGroup) []*spread {
	var out []*spread
	for _, s := range slices.Concat(g.Spreads, job.Spreads) {
		if s.Weight <= 0 || slices.ContainsFunc(out, func(o *spread) bool { return o.attribute == s.Attribute }) {
			continue
		}
		out = append(out, newSpread(s))
	}
	return out
}

func newSpread(s state.Spread) *spread {
	out := &spread{attribute: s.Attribute, weight: s.Weight, rest: 100}
	for _, t := range s.SpreadTarget {
		if t.Value == "*" { // what is left is theirs anyway
			continue
		}
		if out.targets == nil {
			out.targets = map[string]int{}
		}
		out.targets[t.Value] = t.Percent
		out.rest -= t.Percent
	}
	out.rest = max(0, out.rest)
	return out
}

// unset is the value that a node without the attribute has. No attribute's value can hold it.
const unset = "\x00unset"

// value is what a node has for the attribute.
func (s *spread) value(look lookup) string {
	v, has := interpolate(s.attribute, look)
	if !has || strings.Contains(v, "\x00") {
		return unset
	}
	return v
}

// wanted is how many of count copies nodes with one value should have, when so many values that no target names are to be had.
// Such values have equal parts of the rest: an even spread is one in which no value is named.
func (s *spread) wanted(value string, count, unnamed int) float64 {
	if value == unset {
		return 0
	}
	if share, named := s.targets[value]; named {
		return float64(share*count) / 100
	}
	return float64(s.rest*count) / float64(100*max(1, unnamed))
}

// spreadScore says how much a value that has some of the copies wanted there needs another one. A value that lacks more than half
// a copy scores from ½ to 1, the more the more it lacks; one that lacks less from -½ to 0; one that has enough from -½ to -1; a
// node without the attribute -1. The gap after the first is wider than what speaks for packing, so that a target that can be met
// is, however few machines it is about.
func spreadScore(value string, has int, wanted float64, count int) float64 {
	lacks := wanted - float64(has)
	switch {
	case value == unset:
		return -1
	case lacks > 0.5:
		return 0.5 + 0.5*min(1, lacks/float64(max(1, count)))
	case lacks > 0:
		return lacks - 0.5
	}
	return -0.5 + 0.5*lacks/(1-lacks)
}

// peers are the open nodes that a group's spreads cannot tell apart. How many copies they should have is the spreads' matter: a
// node's copies count against it only as far as they are more than its peers have on average. Otherwise the one machine of a small
// datacenter could never have the share that the job asks for it.
type peers struct{ nodes, copies int }

func (p *peers) average() float64 {
	if p == nil || p.nodes == 0 {
		return 0
	}
	return float64(p.copies) / float64(p.nodes)
}
