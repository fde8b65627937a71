package sched

import (
	"testing"

	"github.com/drover-io/drover/state"
)

func TestOperators(t *testing.T) {
	n := &state.Node{
		ID: "1234", Name: "herdsman", Datacenter: "dc1", NodeClass: "big", Region: "eu",
		Attributes: map[string]string{
			"kernel.name": "linux", "kernel.version": "6.1.0-13-amd64", "cpu.numcores": "16", "load": "1.5",
			"driver.docker.version": "27.3.1", "beta": "1.8.0-beta.2", "features": "avx, avx2,sse", "unique.hostname": "h1", "empty": "",
		},
		Meta: map[string]string{"rack": "r7"},
	}
	for _, c := range []struct {
		left, op, right string
		want            bool
	}{
		{"${attr.kernel.name}", "=", "linux", true},
		{"${attr.kernel.name}", "==", "linux", true},
		{"${attr.kernel.name}", "is", "plan9", false},
		{"${attr.missing}", "=", "", false},
		{"${attr.empty}", "=", "", true},
		{"${attr.kernel.name}", "!=", "linux", false},
		{"${attr.kernel.name}", "not", "plan9", true},
		{"${attr.missing}", "!=", "anything", true},
		{"${attr.cpu.numcores}", ">", "9", true}, // as numbers: "16" < "9" as text
		{"${attr.cpu.numcores}", ">=", "16", true},
		{"${attr.cpu.numcores}", "<", "16", false},
		{"${attr.cpu.numcores}", "<=", "16", true},
		{"${attr.load}", "<", "1.75", true},
		{"${attr.kernel.name}", "<", "m", true},
		{"${attr.missing}", "<", "1", false},
		{"${attr.kernel.version}", "regexp", "^6\\.[0-9]+", true},
		{"${attr.kernel.version}", "regexp", "^5", false},
		{"${attr.kernel.version}", "regexp", "(", false},
		{"${attr.driver.docker.version}", "version", ">= 24, < 28", true},
		{"${attr.driver.docker.version}", "version", "~> 27.0", true},
		{"${attr.driver.docker.version}", "version", "~> 26.0", false},
		{"${attr.beta}", "version", ">= 1.0", false}, // a pre-release must be asked for
		{"${attr.kernel.name}", "version", ">= 1", false},
		{"${attr.beta}", "semver", ">= 1.0.0", true},
		{"${attr.beta}", "semver", "< 1.8.0", true},
		{"${attr.beta}", "semver", ">= 1.8.0", false},
		{"${attr.beta}", "semver", "> 1.7.0, < 1.8.0-beta.10", true},
		{"${attr.beta}", "semver", "!= 1.8.0-beta.2", false},
		{"${attr.driver.docker.version}", "semver", "~> 27.1", true},
		{"${attr.driver.docker.version}", "semver", "nonsense", false},
		{"${attr.features}", "set_contains", "sse,avx", true},
		{"${attr.features}", "set_contains_all", "sse,neon", false},
		{"${attr.features}", "set_contains_any", "neon, sse", true},
		{"${attr.features}", "set_contains_any", "neon", false},
		{"${meta.rack}", "is_set", "", true},
		{"${meta.row}", "is_set", "", false},
		{"${meta.row}", "is_not_set", "", true},
		{"${meta.rack}", "is_not_set", "", false},
		{"${node.datacenter}", "=", "dc1", true},
		{"${node.class}", "=", "big", true},
		{"${node.pool}", "=", "default", true},
		{"${node.region}", "=", "eu", true},
		{"${node.unique.id}", "=", "1234", true},
		{"${node.unique.name}", "=", "herdsman", true},
		{"${node.colour}", "is_set", "", false},
		{"${node.datacenter}-${meta.rack}", "=", "dc1-r7", true},
		{"dc1", "=", "${node.datacenter}", true},
		{"${attr.unclosed", "=", "${attr.unclosed", false},
		{"${attr.kernel.name}", "resembles", "linux", false},
	} {
		k := compile(state.Constraint{LTarget: c.left, Operand: c.op, RTarget: c.right})
		if got := k.passes(nodeLook(n)); got != c.want {
			t.Errorf("%s %s %s: got %v, want %v", c.left, c.op, c.right, got, c.want)
		}
		if !c.want && k.describe(n) == "" {
			t.Errorf("%s %s %s: nothing is said of the node", c.left, c.op, c.right)
		}
	}
}

func TestUniqueAttributesAreAskedOfEveryNode(t *testing.T) {
	for _, c := range []struct {
		target string
		want   bool
	}{
		{"${attr.unique.hostname}", true}, {"${node.unique.id}", true}, {"${meta.unique.x}", true}, {"${attr.unique.network.ip-address}", true},
		{"${attr.kernel.name}", false}, {"${meta.rack}", false}, {"${node.datacenter}", false},
	} {
		if got := compile(state.Constraint{LTarget: c.target, Operand: "=", RTarget: "x"}).unique; got != c.want {
			t.Errorf("%s: got %v, want %v", c.target, got, c.want)
		}
	}
	// What is not unique is part of the class, so that nodes of one class answer alike.
	a := &state.Node{ID: "a", Attributes: map[string]string{"x": "1", "unique.y": "1"}}
	b := &state.Node{ID: "b", Attributes: map[string]string{"x": "1", "unique.y": "2"}}
	c := &state.Node{ID: "c", Attributes: map[string]string{"x": "2"}}
	if classKey(a) != classKey(b) || classKey(a) == classKey(c) {
		t.Error("classes do not follow the attributes that are not unique")
	}
	// "a"+"bc" and "ab"+"c" are two different nodes.
	d := &state.Node{Attributes: map[string]string{"a": "bc"}}
	e := &state.Node{Attributes: map[string]string{"ab": "c"}}
	if classKey(d) == classKey(e) {
		t.Error("two different nodes have one class")
	}
}

func TestDatacentersAndPools(t *testing.T) {
	for _, c := range []struct {
		globs []string
		dc    string
		want  bool
	}{
		{[]string{"*"}, "dc1", true}, {[]string{"dc1"}, "dc1", true}, {[]string{"dc1"}, "dc2", false}, {[]string{"eu-*"}, "eu-west", true},
		{[]string{"eu-?"}, "eu-12", false}, {[]string{"a", "b"}, "b", true}, {nil, "dc1", true}, {[]string{"["}, "dc1", false}, {[]string{"["}, "[", true},
	} {
		if got := inDatacenter(&state.Job{Datacenters: c.globs}, c.dc); got != c.want {
			t.Errorf("%v, %s: got %v, want %v", c.globs, c.dc, got, c.want)
		}
	}
	for _, c := range []struct {
		job, node string
		want      bool
	}{{"", "default", true}, {"default", "", true}, {"gpu", "default", false}, {"all", "gpu", true}, {"gpu", "gpu", true}} {
		if got := inPool(c.job, c.node); got != c.want {
			t.Errorf("pool %q, node in %q: got %v, want %v", c.job, c.node, got, c.want)
		}
	}
}
