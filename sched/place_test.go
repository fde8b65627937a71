package sched

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestBestIsBest: each copy gets a node that scores as high as the best one that there is, whatever was kept of the first look and expected
// of a sample, what the copies before took, and which nodes are avoided. The plain twin asks every node for every copy.
func TestBestIsBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, w: newWorld(t, Options{})}
		for range rapid.IntRange(1, 40).Draw(t, "nodes") {
			h.addNode()
		}
		for range rapid.IntRange(0, 3).Draw(t, "jobs before") {
			h.w.register(h.randomJob())
			h.w.settle()
		}
		j := h.randomJob()
		for i := range j.TaskGroups {
			j.TaskGroups[i].Count = rapid.IntRange(1, 30).Draw(t, "count")
		}
		p := alone(h.w.snap(), h.w.now, rapid.SampledFrom([]Algorithm{BinPack, Spread}).Draw(t, "algorithm"))
		p.ledger.firstLook = rapid.IntRange(0, 3).Draw(t, "first look")
		p.ledger.sampleEvery = rapid.IntRange(1, 4).Draw(t, "sample")
		diff := diffJob(h.w.snap(), j, p.shed, h.w.now)
		out := p.prepare(diff)
		for _, g := range out.groups {
			h.randomAvoids(g.requests)
			h.checkPlacer(p.ledger.newPlacer(g.ask, out.usage, 1, len(g.requests)), g.requests)
		}
	})
}

// randomAvoids has some copies avoid some nodes.
func (h *history) randomAvoids(reqs []request) {
	for i := range reqs {
		for range rapid.SampledFrom([]int{0, 0, 0, 1, 5}).Draw(h.t, "avoids") {
			if reqs[i].cause == nil {
				reqs[i].cause = &cause{}
			}
			reqs[i].cause.avoid = append(reqs[i].cause.avoid, fmt.Sprintf("n%d", rapid.IntRange(1, h.nodes).Draw(h.t, "avoid")))
		}
	}
}

// checkPlacer places copies one after the other and has the plain twin judge each.
func (h *history) checkPlacer(p *placer, reqs []request) {
	p.moving = slices.ContainsFunc(reqs, func(r request) bool { return r.stop != nil })
	for i, r := range reqs {
		home := -1
		if r.stop != nil && r.kind != missing {
			home = p.ledger.fleet.position(r.stop.NodeID)
			p.usage.add(p.ask.group.Name, home, -1)
		}
		_, best := p.slowBest(r)
		slow, fits := make([]float64, len(p.ledger.fleet.nodes)), make([]bool, len(p.ledger.fleet.nodes))
		for n := range slow {
			fits[n], slow[n] = p.possible(n), p.slowScore(r, n)
		}
		p.usage.add(p.ask.group.Name, home, 1)
		pos := p.one(&r)
		switch {
		case pos < 0 && slices.Contains(fits, true):
			h.t.Fatalf("copy %d found no node, %v would do", i, fits)
		case pos < 0:
			continue
		case !fits[pos]:
			h.t.Fatalf("copy %d is on node %d, where it cannot be", i, pos)
		case slow[pos] < best-1e-9:
			h.t.Fatalf("copy %d is on node %d, which scores %v; the best is %v: %v", i, pos, slow[pos], best, slow)
		}
		p.ledger.take(p.ask, pos, 1)
		p.count(pos, 1)
	}
}
