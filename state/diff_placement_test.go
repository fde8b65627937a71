package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiffOfPlacement(t *testing.T) {
	before, after := testJob("a", 2), testJob("a", 2)
	before.Affinities = []Affinity{{LTarget: "${node.class}", Operand: OperandEqual, RTarget: "ssd", Weight: 50}}
	after.Affinities = []Affinity{{LTarget: "${node.class}", Operand: OperandEqual, RTarget: "ssd", Weight: -20}}
	after.Spreads = []Spread{{Attribute: "${node.datacenter}", Weight: 50, SpreadTarget: []SpreadTarget{{Value: "dc1", Percent: 70}}}}
	task(after).Resources = Resources{
		MilliCores: 500, MemoryMB: 256, MemoryMaxMB: 512, Devices: []RequestedDevice{{Name: "nvidia/gpu", Count: 2}},
	}
	want := []DiffLine{
		{`affinity."${node.class} = ssd"`, "weight 50", "weight -20"},
		{"group.web.task.server.resources.cpu", "500", "500m"},
		{`group.web.task.server.resources.device."nvidia/gpu"`, "", "present"},
		{`group.web.task.server.resources.device."nvidia/gpu".count`, "", "2"},
		{"group.web.task.server.resources.memory_max", "", "512"},
		{`spread."${node.datacenter}"`, "", "present"},
		{`spread."${node.datacenter}".target."dc1"`, "", "present"},
		{`spread."${node.datacenter}".target."dc1".percent`, "", "70"},
		{`spread."${node.datacenter}".weight`, "", "50"},
	}
	if diff := cmp.Diff(want, DiffJobs(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	task(before).Resources = Resources{Cores: 2, MemoryMB: 256}
	task(after).Resources = Resources{Cores: 4, MemoryMB: 256}
	before.Affinities, after.Affinities, after.Spreads = nil, nil, nil
	if diff := cmp.Diff([]DiffLine{{"group.web.task.server.resources.cores", "2", "4"}}, DiffJobs(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlacementIsNoWork: what only the leader reads leaves a copy as it is; what it holds does not.
func TestPlacementIsNoWork(t *testing.T) {
	a, b := testJob("a", 1), testJob("a", 1)
	task(a).Resources.Devices = []RequestedDevice{{Name: "gpu", Count: 1}}
	task(b).Resources.Devices = []RequestedDevice{{Name: "gpu", Count: 1, Affinities: []Affinity{{LTarget: "${device.model}", RTarget: "1080", Weight: 5}}}}
	b.Affinities = []Affinity{{LTarget: "${node.class}", RTarget: "ssd", Weight: 50}}
	group(b).Affinities, task(b).Affinities = b.Affinities, b.Affinities
	b.Spreads = []Spread{{Attribute: "${node.datacenter}", Weight: 50}}
	group(b).Spreads = b.Spreads
	if !SameWork(a, b, "web") {
		t.Error("affinities and spreads are no work")
	}
	if a.SpecEqual(b) {
		t.Error("affinities and spreads are the specification")
	}
	task(b).Resources.Devices[0].Affinities = nil
	task(b).Resources.Devices[0].Constraints = []Constraint{{LTarget: "${device.model}", RTarget: "1080", Operand: OperandEqual}}
	if SameWork(a, b, "web") {
		t.Error("a copy with another device does other work")
	}
	if task(b).Resources.Devices[0].Constraints == nil {
		t.Error("the job was changed")
	}
	task(b).Resources = task(a).Resources
	task(b).Resources.Cores = 1
	if SameWork(a, b, "web") {
		t.Error("a copy with cores of its own does other work")
	}
}
