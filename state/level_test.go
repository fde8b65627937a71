package state

import (
	"bytes"
	"errors"
	"testing"
)

// TestLevelOfFields: a command that sets something of level 2 needs level 2; the same command without it keeps its bytes.
func TestLevelOfFields(t *testing.T) {
	for name, alter := range map[string]func(j *Job){
		"affinity":         func(j *Job) { j.Affinities = []Affinity{like(1)} },
		"group's affinity": func(j *Job) { group(j).Affinities = []Affinity{like(1)} },
		"task's affinity":  func(j *Job) { task(j).Affinities = []Affinity{like(1)} },
		"spread":           func(j *Job) { j.Spreads = []Spread{{Attribute: "x", Weight: 1}} },
		"group's spread":   func(j *Job) { group(j).Spreads = []Spread{{Attribute: "x", Weight: 1}} },
		"cores":            func(j *Job) { task(j).Resources = Resources{Cores: 1, MemoryMB: 10} },
		"thousandths":      func(j *Job) { task(j).Resources = Resources{MilliCores: 1, MemoryMB: 10} },
		"memory_max":       func(j *Job) { task(j).Resources.MemoryMaxMB = 512 },
		"device":           func(j *Job) { task(j).Resources.Devices = []RequestedDevice{{Name: "gpu", Count: 1}} },
	} {
		h := newHerd(t)
		j := testJob("a", 1)
		alter(j)
		if got := levelOf(RegisterJob{Job: j}); got != 2 {
			t.Errorf("a job with %s needs level %d", name, got)
		}
		h.refuse(RegisterJob{Job: j}, ErrLevel)
		h.raise().must(RegisterJob{Job: j})
	}
	for _, cmd := range []Command{
		RegisterJob{Job: testJob("a", 1)}, RegisterJob{}, RegisterNode{Node: testNode("n")}, RegisterNode{}, ApplyPlan{Records: []PlanRecord{{}}},
	} {
		data, _ := Encode(cmd)
		for _, word := range []string{"Affinit", "Spread", "Cores", "MemoryMax", "Device", "MHzPerCore"} {
			if levelOf(cmd) != 1 || bytes.Contains(data, []byte(word)) {
				t.Errorf("%s of level %d says %q: %s", cmd.kind(), levelOf(cmd), word, data)
			}
		}
	}
	for _, rec := range []PlanRecord{{Cores: []int{1}}, {Devices: []string{"g0"}}} {
		if got := levelOf(ApplyPlan{Records: []PlanRecord{{}, rec}}); got != 2 {
			t.Errorf("plan %+v needs level %d", rec, got)
		}
	}
}

func TestNodeAtLevel(t *testing.T) {
	h := newHerd(t)
	n := richNode("n1")
	h.refuse(RegisterNode{Node: n}, ErrLevel)
	h.must(RegisterNode{Node: n.AtLevel(1)})
	if !n.Resources.needsLevel2() || n.AtLevel(2) != n {
		t.Error("the node itself was changed")
	}
	if plain := testNode("n2"); plain.AtLevel(1) != plain {
		t.Error("a node that says nothing new stays as it is")
	}
	h.raise().must(RegisterNode{Node: n})
	if got := len(h.snap().Node("n1").Resources.Devices); got != 3 {
		t.Errorf("%d devices", got)
	}
}

// TestEntryOfAnotherTerm: what a leader decided in one term is not applied when it proposes it in another.
func TestEntryOfAnotherTerm(t *testing.T) {
	h := newHerd(t)
	late := func() any { return h.store.ApplyCommand(h.index+1, testTerm+1, ApplyPlan{Term: testTerm}) }
	if result, bad := late().(error); bad {
		t.Errorf("a level-1 cluster applied it and must go on so: %v", result)
	}
	h.index++
	h.raise()
	err, _ := late().(error)
	h.index++
	if !errors.Is(err, ErrStaleTerm) {
		t.Errorf("got %v, want %v", err, ErrStaleTerm)
	}
	h.must(ApplyPlan{Term: testTerm})
}
