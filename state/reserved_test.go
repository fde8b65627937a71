package state

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// raise brings the herd to the highest level.
func (h *herd) raise() *herd {
	h.t.Helper()
	h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	return h
}

// richNode has four cores of 1000 MHz, two GPUs of which one more is broken, and one device that can be shared.
func richNode(id string) *Node {
	n := testNode(id)
	n.Resources.MHzPerCore, n.Resources.Cores = 1000, []int{0, 1, 2, 3}
	n.Resources.Devices = []NodeDevice{
		{Vendor: "nvidia", Type: "gpu", Name: "a100", Attributes: map[string]string{"memory": "40 GiB"}, Instances: []DeviceInstance{
			{ID: "g0", Healthy: true}, {ID: "g1", Healthy: true}, {ID: "g2", HealthDescription: "fell off the bus"},
		}},
		{Vendor: "nvidia", Type: "gpu", Name: "t4", Instances: []DeviceInstance{{ID: "t0", Healthy: true}}},
		{Vendor: "linux", Type: "kvm", Name: "kvm", Shared: true, Instances: []DeviceInstance{{ID: "/dev/kvm", Healthy: true}}},
	}
	return n
}

func richJob(id string, count int) *Job {
	j := testJob(id, count)
	task(j).Resources = Resources{Cores: 1, MemoryMB: 256, Devices: []RequestedDevice{{Name: "nvidia/gpu", Count: 1}, {Name: "kvm", Count: 1}}}
	return j
}

func TestReservedCoresAndDevices(t *testing.T) {
	for _, tc := range []struct {
		name   string
		cores  []int
		ids    []string
		alter  func(h *herd, n *Node)
		reason string
	}{
		{"as asked", []int{1}, []string{"g1", "/dev/kvm"}, nil, ""},
		{"core held", []int{0}, []string{"g1", "/dev/kvm"}, nil, "core 0 is held by ID"},
		{"no such core", []int{4}, []string{"g1", "/dev/kvm"}, nil, "core 4 is not one that the node lets reserve"},
		{"too few cores", nil, []string{"g1", "/dev/kvm"}, nil, "cores do not match the group"},
		{"too many cores", []int{1, 2}, []string{"g1", "/dev/kvm"}, nil, "cores do not match the group"},
		{"device held", []int{1}, []string{"g0", "/dev/kvm"}, nil, `device "g0" is held by ID`},
		{"device broken", []int{1}, []string{"g2", "/dev/kvm"}, nil, `device "g2" is not healthy`},
		{"no such device", []int{1}, []string{"g9", "/dev/kvm"}, nil, `device "g9" is not on the node`},
		{"another kind", []int{1}, []string{"/dev/kvm", "g1"}, nil, `device "/dev/kvm" is a linux/kvm/kvm, not a nvidia/gpu`},
		{"another model is as good", []int{1}, []string{"t0", "/dev/kvm"}, nil, ""},
		{"too few devices", []int{1}, []string{"g1"}, nil, "devices do not match the group"},
		{"cores of no speed", []int{1}, []string{"g1", "/dev/kvm"}, func(h *herd, n *Node) {
			n.Resources.MHzPerCore = 0
			h.must(RegisterNode{Node: n})
		}, "cpu: asks for cores, the node does not say how fast its cores are"},
		{"cores are cpu too", []int{1}, []string{"g1", "/dev/kvm"}, func(h *herd, n *Node) {
			n.Resources.CPU = 1999
			h.must(RegisterNode{Node: n})
		}, "cpu: asks 1000 MHz, 999 of 1999 free"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHerd(t).raise()
			h.must(RegisterNode{Node: richNode("n1")})
			j := h.job(richJob("a", 2))
			c := h.planCommand(record(j, []int{0}, []int{0}), "n1")
			c.Records[0].Cores, c.Records[0].Devices = []int{0}, []string{"g0", "/dev/kvm"}
			if got := h.must(c).(PlanResult); got.Placed != 1 {
				t.Fatalf("first copy: %+v", got)
			}
			first := h.firstAlloc()
			want := AllocResources{CPU: 1000, MemoryMB: 256, DiskMB: 300, Cores: []int{0}, Devices: []AllocDevice{
				{Vendor: "nvidia", Type: "gpu", Name: "a100", IDs: []string{"g0"}}, {Vendor: "linux", Type: "kvm", Name: "kvm", IDs: []string{"/dev/kvm"}},
			}}
			if diff := cmp.Diff(want, first.Resources); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if tc.alter != nil {
				tc.alter(h, richNode("n1"))
			}
			c = h.planCommand(record(j, []int{1}, []int{0}), "n1")
			c.Records[0].Cores, c.Records[0].Devices = tc.cores, tc.ids
			got := reasons(h.must(c).(PlanResult))
			for i := range got {
				got[i] = replaceID(got[i], first.ID)
			}
			var wantReasons []string
			if tc.reason != "" {
				wantReasons = []string{tc.reason}
			}
			if diff := cmp.Diff(wantReasons, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGivenTwiceToOneCopy(t *testing.T) {
	h := newHerd(t).raise()
	h.must(RegisterNode{Node: richNode("n1")})
	j := richJob("a", 1)
	task(j).Resources = Resources{Cores: 2, MemoryMB: 10, Devices: []RequestedDevice{{Name: "gpu", Count: 2}}}
	j = h.job(j)
	try := func(cores []int, ids ...string) []string {
		c := h.planCommand(record(j, []int{0}, []int{0}), "n1")
		c.Records[0].Cores, c.Records[0].Devices = cores, ids
		return reasons(h.must(c).(PlanResult))
	}
	if got := try([]int{1, 1}, "g0", "g1"); !slices.Equal(got, []string{"core 1 is given twice"}) {
		t.Errorf("cores: %v", got)
	}
	if got := try([]int{1, 2}, "g0", "g0"); !slices.Equal(got, []string{`device "g0" is given twice`}) {
		t.Errorf("devices: %v", got)
	}
	if got := try([]int{1, 2}, "g0", "t0"); len(got) != 1 {
		t.Errorf("two models for one request: %v", got)
	}
	if got := try([]int{1, 2}, "g0", "g1"); len(got) != 0 {
		t.Errorf("as asked: %v", got)
	}
}

func TestTasksShareOut(t *testing.T) {
	g := &TaskGroup{Tasks: []Task{
		{Name: "a", Resources: Resources{Cores: 2, Devices: []RequestedDevice{{Name: "gpu", Count: 1}}}},
		{Name: "b", Resources: Resources{CPU: 100}},
		{Name: "c", Resources: Resources{Cores: 1, Devices: []RequestedDevice{{Name: "kvm", Count: 1}, {Name: "gpu", Count: 2}}}},
	}}
	held := &AllocResources{Cores: []int{4, 7, 2}, Devices: []AllocDevice{{Name: "one"}, {Name: "two"}, {Name: "three"}}}
	for name, want := range map[string]string{"a": "[4 7] [one]", "b": "[] []", "c": "[2] [two three]", "d": "[] []"} {
		var devices []string
		for _, d := range g.TaskDevices(held, name) {
			devices = append(devices, d.Name)
		}
		if got := fmt.Sprint(g.TaskCores(held, name), devices); got != want {
			t.Errorf("task %s has %s, want %s", name, got, want)
		}
	}
	if got := g.TaskCores(&AllocResources{Cores: []int{1}}, "a"); got != nil {
		t.Errorf("an allocation with too few cores gives %v", got)
	}
}

func TestThousandthsOfACore(t *testing.T) {
	for _, tc := range []struct{ milli, perCore, want int }{
		{500, 2400, 1200}, {1, 1000, 1}, {1, 999, 1}, {333, 1000, 333}, {1500, 2401, 3602}, {500, 0, 0},
	} {
		r := Resources{MilliCores: tc.milli}
		if got := r.CPUOn(&NodeResources{MHzPerCore: tc.perCore}); got != tc.want {
			t.Errorf("%dm at %d MHz is %d MHz, want %d", tc.milli, tc.perCore, got, tc.want)
		}
	}
	h := newHerd(t).raise()
	h.must(RegisterNode{Node: richNode("n1")})
	slow := richNode("n2")
	slow.Resources.MHzPerCore = 500
	h.must(RegisterNode{Node: slow})
	h.node("n3")
	j := testJob("a", 3)
	task(j).Resources = Resources{MilliCores: 500, MemoryMB: 10}
	j = h.job(j)
	if got, want := h.place(j, 0, "n1").Resources.CPU, 500; got != want {
		t.Errorf("holds %d MHz, want %d", got, want)
	}
	if got, want := h.place(j, 1, "n2").Resources.CPU, 250; got != want {
		t.Errorf("holds %d MHz on the slow node, want %d", got, want)
	}
	if got := h.plan(record(j, []int{2}, []int{0}), "n3"); got.Placed != 0 {
		t.Error("a node that does not say how fast it is took thousandths of a core")
	}
}

// TestMemoryMax: memory_max is granted where the configuration allows it, and never counts against the node.
func TestMemoryMax(t *testing.T) {
	h := newHerd(t).raise()
	h.node("n1")
	j := testJob("a", 3)
	task(j).Resources = Resources{CPU: 10, MemoryMB: 2048, MemoryMaxMB: 8192}
	j = h.job(j)
	if got := h.place(j, 0, "n1").Resources.MemoryMaxMB; got != 0 {
		t.Errorf("granted %d MiB although it is not enabled", got)
	}
	h.must(SetSchedulerConfig{Config: SchedulerConfig{SchedulerAlgorithm: AlgorithmSpread, MemoryOversubscriptionEnabled: true}})
	if got := h.place(j, 1, "n1").Resources; got.MemoryMaxMB != 8192 || got.MemoryMB != 2048 {
		t.Errorf("granted %+v", got)
	}
	if got := reasons(h.plan(record(j, []int{2}, []int{0}), "n1")); !slices.Equal(got, []string{"memory: asks 2048 MiB, 0 of 4096 free"}) {
		t.Errorf("a third copy: %v", got)
	}
	off := false
	h.must(UpsertNodePool{Pool: &NodePool{Name: "strict", SchedulerConfiguration: &NodePoolSchedulerConfig{MemoryOversubscriptionEnabled: &off}}})
	n2, b := testNode("n2"), testJob("b", 1)
	n2.NodePool, b.NodePool = "strict", "strict"
	h.must(RegisterNode{Node: n2})
	task(b).Resources = task(j).Resources
	if got := h.place(h.job(b), 0, "n2").Resources.MemoryMaxMB; got != 0 {
		t.Errorf("granted %d MiB in a pool that does not", got)
	}
	if s := h.snap(); s.SchedulerAlgorithm("strict", "x") != AlgorithmSpread || s.SchedulerAlgorithm("default", "x") != AlgorithmSpread {
		t.Error("a pool that says nothing of the algorithm has the cluster's")
	}
}

func TestRequestedDeviceMatches(t *testing.T) {
	d := &NodeDevice{Vendor: "nvidia", Type: "gpu", Name: "a100"}
	for name, want := range map[string]bool{
		"gpu": true, "nvidia/gpu": true, "nvidia/gpu/a100": true, "nvidia": false, "amd/gpu": false, "nvidia/gpu/t4": false, "gpu/a100": false, "": false,
	} {
		if got := (&RequestedDevice{Name: name}).Matches(d); got != want {
			t.Errorf("%q matches %s: %v", name, d.ID(), got)
		}
	}
}
