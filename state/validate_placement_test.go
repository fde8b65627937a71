package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func like(weight int) Affinity {
	return Affinity{LTarget: "${node.class}", Operand: OperandEqual, RTarget: "ssd", Weight: weight}
}

// placementLimits are upper limits, each tried below, at and above it.
var placementLimits = []struct {
	name  string
	limit int
	set   func(j *Job, n int)
}{
	{"affinities", 100, func(j *Job, n int) { j.Affinities = repeat(n, func(int) Affinity { return like(1) }) }},
	{"affinity weight", 100, func(j *Job, n int) { group(j).Affinities = []Affinity{like(n)} }},
	{"spreads", 20, func(j *Job, n int) {
		j.Spreads = repeat(n, func(i int) Spread { return Spread{Attribute: fmt.Sprint("${meta.", i, "}"), Weight: 50} })
	}},
	{"spread weight", 100, func(j *Job, n int) { group(j).Spreads = []Spread{{Attribute: "x", Weight: n}} }},
	{"spread targets", 100, func(j *Job, n int) {
		j.Spreads = []Spread{{Attribute: "x", Weight: 1, SpreadTarget: repeat(n, func(i int) SpreadTarget { return SpreadTarget{Value: fmt.Sprint(i), Percent: 1 - i/100} })}}
	}},
	{"spread percent", 100, func(j *Job, n int) {
		j.Spreads = []Spread{{Attribute: "x", Weight: 1, SpreadTarget: []SpreadTarget{{Value: "a", Percent: n}}}}
	}},
	{"spread percents", 60, func(j *Job, n int) {
		j.Spreads = []Spread{{Attribute: "x", Weight: 1, SpreadTarget: []SpreadTarget{{Value: "a", Percent: 40}, {Value: "b", Percent: n}}}}
	}},
	{"cores", 4096, func(j *Job, n int) { task(j).Resources = Resources{Cores: n, MemoryMB: 10} }},
	{"thousandths of a core", 4_096_000, func(j *Job, n int) { task(j).Resources = Resources{MilliCores: n, MemoryMB: 10} }},
	{"memory_max", (1 << 30) / 20, func(j *Job, n int) { task(j).Resources.MemoryMaxMB = n }},
	{"device requests", 20, func(j *Job, n int) {
		task(j).Resources.Devices = repeat(n, func(int) RequestedDevice { return RequestedDevice{Name: "gpu", Count: 1} })
	}},
	{"device count", 512, func(j *Job, n int) { task(j).Resources.Devices = []RequestedDevice{{Name: "gpu", Count: n}} }},
	{"device affinities", 100, func(j *Job, n int) {
		task(j).Resources.Devices = []RequestedDevice{{Name: "gpu", Count: 1, Affinities: repeat(n, func(int) Affinity { return like(1) })}}
	}},
}

func TestPlacementLimits(t *testing.T) {
	for _, tc := range placementLimits {
		for extra := -1; extra <= 1; extra++ {
			j := testJob("a", 1)
			tc.set(j, tc.limit+extra)
			if err := j.Validate(); (err != nil) != (extra > 0) {
				t.Errorf("%s at %d%+d: %v", tc.name, tc.limit, extra, err)
			}
		}
	}
	for _, tc := range []struct {
		name  string
		limit int
		set   func(j *Job, n int)
	}{
		{"affinity weight", -100, func(j *Job, n int) { task(j).Affinities = []Affinity{like(n)} }},
		{"spread weight", 1, func(j *Job, n int) { j.Spreads = []Spread{{Attribute: "x", Weight: n}} }},
		{"spread percent", 0, func(j *Job, n int) {
			j.Spreads = []Spread{{Attribute: "x", Weight: 1, SpreadTarget: []SpreadTarget{{Value: "a", Percent: n}}}}
		}},
		{"memory_max", 256, func(j *Job, n int) { task(j).Resources.MemoryMaxMB = n }},
		{"device count", 1, func(j *Job, n int) { task(j).Resources.Devices = []RequestedDevice{{Name: "gpu", Count: n}} }},
	} {
		for extra := -1; extra <= 1; extra++ {
			j := testJob("a", 1)
			tc.set(j, tc.limit+extra)
			if err := j.Validate(); (err != nil) != (extra < 0) {
				t.Errorf("%s at %d%+d: %v", tc.name, tc.limit, extra, err)
			}
		}
	}
}

func TestValidatePlacement(t *testing.T) {
	gpu := func(name string) func(*Job) {
		return func(j *Job) { task(j).Resources.Devices = []RequestedDevice{{Name: name, Count: 1}} }
	}
	const inTask = `group "web" task "server": `
	const kinds = `must be "type", "vendor/type" or "vendor/type/name"`
	for _, tc := range []struct {
		alter func(j *Job)
		want  string
	}{
		{func(j *Job) { j.Affinities = []Affinity{like(0)} }, "affinity.weight: must not be 0, which means nothing; from -100 to 100"},
		{func(j *Job) { group(j).Affinities = []Affinity{{Operand: OperandDistinctHosts, Weight: 1}} },
			`group "web": affinity: operator "distinct_hosts" is a constraint's; a spread block is the wish for it`},
		{func(j *Job) { task(j).Affinities = []Affinity{{Operand: OperandEqual, Weight: 1}} }, inTask + `affinity: operator "=" needs an attribute`},
		{func(j *Job) {
			j.Affinities = []Affinity{{LTarget: "x", Operand: OperandRegexp, RTarget: "(", Weight: 1}}
		},
			"affinity: \"(\" is not a regular expression: error parsing regexp: missing closing ): `(`"},
		{func(j *Job) { j.Spreads = []Spread{{Weight: 1}} }, "spread.attribute: must not be empty; such as ${node.datacenter}"},
		{func(j *Job) { group(j).Spreads = []Spread{{Attribute: "x", Weight: 1}, {Attribute: "x", Weight: 1}} }, `group "web": spread: attribute "x" is there twice`},
		{func(j *Job) {
			j.Spreads = []Spread{{Attribute: "x", Weight: 1, SpreadTarget: []SpreadTarget{{Value: "a", Percent: 60}, {Value: "b", Percent: 41}}}}
		}, "spread.target.percent: must be at most 100 in all, is 101"},
		{func(j *Job) {
			j.Spreads = []Spread{{Attribute: "x", Weight: 1, SpreadTarget: []SpreadTarget{{Value: "a"}, {Value: "a"}, {}}}}
		}, "spread.target: \"a\" is there twice\nspread.target: a value must be 1 to 16384 bytes, is 0"},
		{func(j *Job) { task(j).Resources.Cores = 2 }, inTask + "resources.cores: cores and cpu exclude each other; whole cores are all of their cpu"},
		{func(j *Job) { task(j).Resources.MilliCores = 2 }, inTask + "resources.cpu: MHz and thousandths of a core exclude each other"},
		{func(j *Job) { task(j).Resources.MemoryMaxMB = 255 }, inTask + "resources.memory_max: must be at least the memory of 256 MiB, is 255"},
		{gpu(""), inTask + `resources.device: "" ` + kinds},
		{gpu("nvidia/"), inTask + `resources.device: "nvidia/" ` + kinds},
		{gpu("a/b/c/d"), inTask + `resources.device: "a/b/c/d" ` + kinds},
	} {
		j := testJob("a", 1)
		tc.alter(j)
		got := ""
		if err := j.Validate(); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for name, alter := range map[string]func(j *Job){
		"rich":        func(j *Job) { *j = *richJob("a", 1) },
		"even spread": func(j *Job) { j.Spreads = []Spread{{Attribute: "${node.datacenter}", Weight: 50}} },
		"interpolated": func(j *Job) {
			j.Affinities = []Affinity{{LTarget: "x", Operand: OperandVersion, RTarget: "${meta.v}", Weight: -1}}
		},
		"device by model": gpu("nvidia/gpu/Tesla T4"),
	} {
		j := testJob("a", 1)
		if alter(j); j.Validate() != nil {
			t.Errorf("%s: %v", name, j.Validate())
		}
	}
}

func TestValidateNodePlacement(t *testing.T) {
	device := func(n int) []NodeDevice {
		return []NodeDevice{{Vendor: "a", Type: "b", Name: "c", Instances: repeat(n, func(i int) DeviceInstance { return DeviceInstance{ID: fmt.Sprint(i)} })}}
	}
	for name, tc := range map[string]struct {
		limit int
		set   func(r *NodeResources, n int)
	}{
		"cores":        {4096, func(r *NodeResources, n int) { r.Cores = repeat(n, func(i int) int { return i }) }},
		"MHz per core": {100_000, func(r *NodeResources, n int) { r.MHzPerCore = n }},
		"devices": {64, func(r *NodeResources, n int) {
			r.Devices = repeat(n, func(i int) NodeDevice { return NodeDevice{Vendor: "a", Type: "b", Name: fmt.Sprint(i)} })
		}},
		"instances": {512, func(r *NodeResources, n int) { r.Devices = device(n) }},
		"attributes": {16 << 10, func(r *NodeResources, n int) {
			r.Devices = device(1)
			r.Devices[0].Attributes = map[string]string{"k": strings.Repeat("v", n-len(`{"k":""}`))}
		}},
	} {
		for extra := -1; extra <= 1; extra++ {
			n := testNode("n1")
			tc.set(&n.Resources, tc.limit+extra)
			if err := n.Validate(); (err != nil) != (extra > 0) {
				t.Errorf("%s at %d%+d: %v", name, tc.limit, extra, err)
			}
		}
	}
	for want, alter := range map[string]func(n *Node){
		"": func(n *Node) { *n = *richNode("n1") },
		`node_pool: "all" is every node; name another pool`: func(n *Node) { n.NodePool = NodePoolAll },
		"cores: must be ascending from 0, 1 is not":         func(n *Node) { n.Resources.Cores = []int{0, 2, 1} },
		"cores: must be ascending from 0, -1 is not":        func(n *Node) { n.Resources.Cores = []int{-1} },
		`device.a/b/c: instance "0" is there twice`: func(n *Node) {
			n.Resources.Devices = append(device(1), device(1)...)
			n.Resources.Devices[1].Name = "d"
		},
		`device.a//c: a vendor, a type and a name are needed, of at most 128 bytes each and without a slash`: func(n *Node) { n.Resources.Devices = device(1); n.Resources.Devices[0].Type = "" },
	} {
		n := testNode("n1")
		alter(n)
		got := ""
		if err := n.Validate(); err != nil {
			got = err.Error()
		}
		if got = strings.ReplaceAll(got, "device.a/b/d", "device.a/b/c"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
