package state

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestColumnarPlans: a plan in columns is the same plan, in fewer bytes.
func TestColumnarPlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		column := rapid.SliceOf(rapid.OneOf(rapid.IntRange(-1, 3), rapid.IntRange(0, 10_000)))
		var c ApplyPlan
		for range rapid.IntRange(1, 5).Draw(t, "nodes") {
			id := idKey{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
			c.Nodes = append(c.Nodes, NodeRef{ID: id.String(), Generation: rapid.Uint64().Draw(t, "generation")})
		}
		for range rapid.IntRange(1, 3).Draw(t, "records") {
			c.Records = append(c.Records, PlanRecord{JobID: "a", Index: column.Draw(t, "index"), Node: column.Draw(t, "node")})
		}
		packed := c.columnar()
		if data, err := EncodeFor(c, 1); err != nil || bytes.Contains(data, []byte("Columns")) || levelOf(packed) != 2 {
			t.Fatal("level 1 does not know columns")
		}
		data, err := Encode(packed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got, cmp.Comparer(func(a, b []int) bool { return slices.Equal(a, b) })); diff != "" {
			t.Fatal(diff)
		}
	})
	h := newHerd(t)
	h.node("n1")
	if c := h.planCommand(record(h.job(testJob("a", 1)), []int{0}, []int{0}), "n1"); c.columnar().Columns != nil {
		t.Error("n1 is no UUID")
	}
}

func TestBrokenColumnarPlans(t *testing.T) {
	node := &NodeColumns{IDs: make([]byte, idBytes), Generations: []int64{1}}
	for name, c := range map[string]ApplyPlan{
		"half an ID":           {Columns: &NodeColumns{IDs: make([]byte, 15), Generations: []int64{1}}},
		"no ID":                {Columns: &NodeColumns{Generations: []int64{1}}},
		"nodes twice":          {Columns: node, Nodes: []NodeRef{{ID: "a"}}},
		"a run of nothing":     {Columns: node, Records: []PlanRecord{{Index: []int{-1}}}},
		"a run without an end": {Columns: node, Records: []PlanRecord{{Node: []int{1, -1 << 62}}}},
		"more than fit":        {Columns: node, Records: []PlanRecord{{Node: []int{1, -maxPlanNumbers / 2}, Index: []int{1, -maxPlanNumbers / 2}}}},
		"the lowest number":    {Columns: node, Records: []PlanRecord{{Node: []int{1, -1 << 63}}}},
	} {
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(data); err == nil {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
}
