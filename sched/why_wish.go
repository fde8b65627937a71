package sched

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// maxSpreadValues bounds the values of a spread that an explanation lists.
const maxSpreadValues = 20

// fulfilled says how far the wishes of a group are fulfilled by the copies that it has.
func (l *ledger) fulfilled(a *ask, u *usage) []state.Wish {
	var out []state.Wish
	if a.likes != nil {
		for _, w := range a.likes.wishes {
			out = append(out, l.fulfilledAffinity(a, u, w))
		}
	}
	for i := range a.spreads {
		out = append(out, l.fulfilledSpread(a, u, i))
	}
	return out
}

func (l *ledger) fulfilledAffinity(a *ask, u *usage, w affinity) state.Wish {
	out := state.Wish{Kind: state.WishAffinity, Text: w.check.String(), Weight: w.weight}
	copies := u.copies(a)
	for pos, n := range l.fleet.nodes {
		open := l.open(a, pos)
		if (!open && copies.on(pos) == 0) || !w.check.passes(nodeLook(n.node)) {
			continue
		}
		out.Copies += copies.on(pos)
		if open {
			out.Nodes++
		}
	}
	return out
}

func (l *ledger) fulfilledSpread(a *ask, u *usage, i int) state.Wish {
	s := u.groups[a.group.Name].spreads[i]
	out := state.Wish{Kind: state.WishSpread, Text: s.attribute, Weight: s.weight}
	nodes := map[string]int{}
	for pos, n := range l.fleet.nodes {
		if l.open(a, pos) {
			nodes[s.value(nodeLook(n.node))]++
		}
	}
	unnamed := 0
	for v := range nodes {
		if _, named := s.targets[v]; !named && v != unset {
			unnamed++
		}
	}
	add := func(v string) {
		wanted := math.Round(100*s.wanted(v, a.group.Count, unnamed)) / 100
		out.Values = append(out.Values, state.SpreadValue{
			Value: strings.TrimSuffix(v, unset), Nodes: nodes[v], Wanted: wanted, Copies: s.copies[v],
		})
	}
	for v := range nodes {
		add(v)
	}
	for v, n := range s.copies {
		if _, known := nodes[v]; !known && n > 0 {
			add(v)
		}
	}
	for v := range s.targets {
		if _, known := nodes[v]; !known && s.copies[v] <= 0 {
			add(v)
		}
	}
	slices.SortFunc(out.Values, func(x, y state.SpreadValue) int {
		return cmp.Or(cmp.Compare(y.Wanted, x.Wanted), strings.Compare(x.Value, y.Value))
	})
	if n := len(out.Values); n > maxSpreadValues {
		out.Values, out.More = out.Values[:maxSpreadValues], n-maxSpreadValues
	}
	return out
}
