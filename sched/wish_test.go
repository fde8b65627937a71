package sched

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// randomPieces gives a node cores and devices, or not.
func (h *history) randomPieces(n *state.Node) {
	t := h.t
	n.Resources.MHzPerCore = rapid.SampledFrom([]int{0, 200, 400}).Draw(t, "MHz per core")
	for c := range rapid.IntRange(0, 4).Draw(t, "cores") {
		n.Resources.Cores = append(n.Resources.Cores, c)
	}
	for i, name := range []string{"a100", "t4"} {
		d := state.NodeDevice{Vendor: "nvidia", Type: "gpu", Name: name, Attributes: map[string]string{"memory": fmt.Sprintf("%d GiB", 16<<i)}}
		d.Shared = rapid.IntRange(0, 4).Draw(t, "shared") == 0
		for k := range rapid.IntRange(0, 3).Draw(t, "instances") {
			d.Instances = append(d.Instances, state.DeviceInstance{ID: fmt.Sprintf("%s-%d", name, k), Healthy: rapid.IntRange(0, 3).Draw(t, "healthy") > 0})
		}
		if len(d.Instances) > 0 {
			n.Resources.Devices = append(n.Resources.Devices, d)
		}
	}
}

// randomWishes gives a group affinities, spreads, cores, devices and memory to grow into, or not.
func (h *history) randomWishes(g *state.TaskGroup) {
	t := h.t
	r := &g.Tasks[0].Resources
	switch rapid.IntRange(0, 6).Draw(t, "cpu unit") {
	case 0:
		r.CPU, r.Cores = 0, rapid.IntRange(1, 2).Draw(t, "cores")
	case 1:
		r.CPU, r.MilliCores = 0, rapid.SampledFrom([]int{250, 1333}).Draw(t, "thousandths")
	}
	if rapid.IntRange(0, 3).Draw(t, "grow") == 0 {
		r.MemoryMaxMB = 2 * r.MemoryMB
	}
	if rapid.IntRange(0, 4).Draw(t, "device") == 0 {
		r.Devices = append(r.Devices, state.RequestedDevice{Name: rapid.SampledFrom([]string{"gpu", "nvidia/gpu/t4"}).Draw(t, "name"), Count: rapid.IntRange(1, 2).Draw(t, "devices")})
		if rapid.Bool().Draw(t, "second device") {
			r.Devices = append(r.Devices, state.RequestedDevice{Name: "nvidia/gpu", Count: 1,
				Affinities: []state.Affinity{{LTarget: "${device.attr.memory}", Operand: ">", RTarget: "20 GiB", Weight: 40}}})
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "affinity") == 0 {
		g.Affinities = append(g.Affinities, rapid.SampledFrom([]state.Affinity{
			{LTarget: "${attr.arch}", Operand: "=", RTarget: "arm64", Weight: 50},
			{LTarget: "${meta.rack}", Operand: "=", RTarget: "r1", Weight: -100},
			{LTarget: "${attr.unique.hostname}", Operand: "regexp", RTarget: "[12]$", Weight: 20},
		}).Draw(t, "wish"))
	}
	if rapid.IntRange(0, 2).Draw(t, "spread") == 0 {
		g.Spreads = []state.Spread{randomSpread(t)}
	}
}

func randomSpread(t *rapid.T) state.Spread {
	return rapid.SampledFrom([]state.Spread{
		{Attribute: "${node.datacenter}", Weight: 50},
		{Attribute: "${node.datacenter}", Weight: 100, SpreadTarget: []state.SpreadTarget{{Value: "dc1", Percent: 70}, {Value: "dc2", Percent: 30}}},
		{Attribute: "${meta.rack}", Weight: 20, SpreadTarget: []state.SpreadTarget{{Value: "r2", Percent: 25}}},
		{Attribute: "${node.unique.name}", Weight: 50},
		{Attribute: "${attr.missing}", Weight: 50},
	}).Draw(t, "spread's attribute")
}

// slowScore is the plain twin of what a candidate scores: it adds up every score from what is there now.
func (p *placer) slowScore(r request, pos int) float64 {
	n := p.ledger.fleet.nodes[pos].node
	affinity, values := p.ask.wishesOn(n)
	s := p.ledger.baseScore(p.ask, p.usage, pos) + affinity
	s += p.usage.spreadScore(p.ask, values, p.unnamed) - p.ask.besideScore(p.slowAverage(values))
	if slices.Contains(r.why().avoid, n.ID) {
		s -= avoidPenalty
	}
	return s
}

// slowBest is the plain twin of placer.best: it asks every node.
func (p *placer) slowBest(r request) (pos int, score float64) {
	pos = -1
	for n := range p.ledger.fleet.nodes {
		if !p.possible(n) {
			continue
		}
		if s := p.slowScore(r, n); pos < 0 || s > score+1e-9 {
			pos, score = n, s
		}
	}
	return pos, score
}

// slowAverage is how many copies the open nodes with some values have on average.
func (p *placer) slowAverage(values []string) float64 {
	nodes, copies := 0, 0
	for n, fn := range p.ledger.fleet.nodes {
		if _, mine := p.ask.wishesOn(fn.node); len(values) > 0 && p.ledger.open(p.ask, n) && slices.Equal(mine, values) {
			nodes++
			copies += p.usage.copies(p.ask).on(n)
		}
	}
	return float64(copies) / float64(max(1, nodes))
}

// TestSpreadMeetsItsTargets: with room everywhere the copies on each value are about as many as are wanted there, however the
// machines are distributed over the values.
func TestSpreadMeetsItsTargets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, Options{})
		values := rapid.IntRange(1, 4).Draw(t, "values")
		for v := range values {
			for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
				w.node(fmt.Sprintf("n%d-%d", v, i), func(n *state.Node) {
					n.Meta = map[string]string{"rack": fmt.Sprint(v)}
					n.Resources.CPU, n.Resources.MemoryMB = 100_000, rapid.SampledFrom([]int{40_000, 100_000}).Draw(t, "memory")
				})
			}
		}
		s := state.Spread{Attribute: "${meta.rack}", Weight: 50}
		left := 100
		for v := range values {
			if rapid.Bool().Draw(t, "named") {
				percent := rapid.IntRange(0, left).Draw(t, "percent")
				left -= percent
				s.SpreadTarget = append(s.SpreadTarget, state.SpreadTarget{Value: fmt.Sprint(v), Percent: percent})
			}
		}
		if len(s.SpreadTarget) == values { // nothing is left for anyone else
			s.SpreadTarget[0].Percent += left
		}
		count := rapid.IntRange(1, 40).Draw(t, "count")
		w.register(job("web", func(j *state.Job) {
			j.TaskGroups[0].Count, j.TaskGroups[0].Spreads, j.TaskGroups[0].EphemeralDisk.SizeMB = count, []state.Spread{s}, 10
			j.TaskGroups[0].Tasks[0].LogConfig = state.LogConfig{MaxFiles: 1, MaxFileSizeMB: 1}
		}))
		w.settle()
		got := map[string]int{}
		for a := range w.snap().Allocs() {
			got[w.snap().Node(a.NodeID).Meta["rack"]]++
		}
		compiled := newSpread(s)
		for v := range values {
			value := fmt.Sprint(v)
			if wanted := compiled.wanted(value, count, values-len(s.SpreadTarget)); math.Abs(float64(got[value])-wanted) >= 1.5 {
				t.Fatalf("%d of %d copies are on %s, wanted are %v: %v", got[value], count, value, wanted, got)
			}
		}
	})
}
