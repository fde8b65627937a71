package sched

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// TestMemoryChangesNothing: many jobs of few kinds share their looks at the fleet, within a pass and from pass to pass, while copies come
// and go, nodes change, and plans are lost; world.pass compares each plan with that of a planner that remembers nothing. Few candidates
// are kept, so that looks run short.
func TestMemoryChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, w: newWorld(t, Options{PlanCopies: rapid.SampledFrom([]int{3, 50}).Draw(t, "plan copies")})}
		h.w.cur.opts.firstLook = rapid.IntRange(1, 4).Draw(t, "first look")
		h.w.cur.opts.sampleEvery = rapid.IntRange(1, 4).Draw(t, "sample")
		for range rapid.IntRange(1, 30).Draw(t, "nodes") {
			h.addNode()
		}
		kinds := []*state.Job{h.randomJob(), h.randomJob(), h.randomJob()}
		for range rapid.IntRange(3, 25).Draw(t, "events") {
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				h.event()
				continue
			}
			for range rapid.IntRange(1, 3).Draw(t, "jobs") {
				kind := rapid.IntRange(0, len(kinds)-1).Draw(t, "kind")
				j := *kinds[kind]
				j.ID = fmt.Sprintf("k%d-%d", kind, rapid.IntRange(0, 6).Draw(t, "name"))
				j.Name = j.ID
				h.w.register(&j)
			}
			h.w.pass()
			h.w.checkCapacity()
		}
	})
}

// TestLooksAreShared: a job that asks for the same as another one does not look at every node again.
func TestLooksAreShared(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 200 {
		w.node(fmt.Sprintf("n%03d", i))
	}
	for i := range 30 {
		w.register(job(fmt.Sprintf("web%02d", i), func(j *state.Job) {
			j.TaskGroups[0].Affinities = []state.Affinity{{LTarget: "${node.datacenter}", Operand: "=", RTarget: "dc1", Weight: 1}}
		}))
		if i%10 == 9 {
			w.settle()
		}
	}
	m := w.cur.memory
	if len(m.looks) != 1 || m.scans != 1 {
		t.Errorf("%d looks are remembered, every node was looked at %d times; both should be 1", len(m.looks), m.scans)
	}
}

// TestAnAskIsPlacedTwice: a second look for an ask whose look is of no use to others fills buckets of its own.
func TestAnAskIsPlacedTwice(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 3 {
		w.node(fmt.Sprintf("n%d", i), func(n *state.Node) { n.Resources.MHzPerCore = 1000 })
	}
	j := job("web", func(j *state.Job) {
		j.TaskGroups[0].Count = 3
		j.TaskGroups[0].Tasks[0].Resources.CPU, j.TaskGroups[0].Tasks[0].Resources.MilliCores = 0, 500
	})
	p := alone(w.snap(), w.now, BinPack)
	out := p.prepare(diffJob(w.snap(), j, p.shed, w.now))
	g := out.groups[0]
	for i := range g.requests {
		if placed, _ := p.ledger.place(g.ask, out.usage, g.requests[i:i+1], 1); len(placed) != 1 {
			t.Fatalf("copy %d found no node", i)
		}
	}
}
