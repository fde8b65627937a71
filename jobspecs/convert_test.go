package jobspecs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

// parse parses a job that must be good.
func parse(t *testing.T, text string, in Inputs) *state.Job {
	t.Helper()
	j, ds := Parse(Source{Name: "j", Data: []byte(text)}, in)
	if ds.HasErrors() {
		t.Fatalf("%s\n%s", ds.Error(), text)
	}
	return j
}

func TestConstraints(t *testing.T) {
	c := func(l, op, r string) []state.Constraint {
		return []state.Constraint{{LTarget: l, Operand: op, RTarget: r}}
	}
	const a = "${attr.a}"
	for text, want := range map[string][]state.Constraint{
		`attribute = "${attr.a}"; value = "x"`:                                   c(a, "=", "x"),
		`attribute = "${attr.a}"; operator = "="; value = 5`:                     c(a, "=", "5"),
		`attribute = "${attr.a}"; operator = "=="; value = true`:                 c(a, "=", "true"),
		`attribute = "${attr.a}"; operator = "is"; value = ""`:                   c(a, "=", ""),
		`attribute = "${attr.a}"; operator = "!="; value = "x"`:                  c(a, "!=", "x"),
		`attribute = "${attr.a}"; operator = "not"; value = "x"`:                 c(a, "!=", "x"),
		`attribute = "${attr.a}"; operator = "<"; value = "x"`:                   c(a, "<", "x"),
		`attribute = "${attr.a}"; operator = "<="; value = "x"`:                  c(a, "<=", "x"),
		`attribute = "${attr.a}"; operator = ">"; value = "x"`:                   c(a, ">", "x"),
		`attribute = "${attr.a}"; operator = ">="; value = "x"`:                  c(a, ">=", "x"),
		`attribute = "${attr.a}"; operator = "regexp"; value = "a.*"`:            c(a, "regexp", "a.*"),
		`attribute = "${attr.a}"; operator = "version"; value = ">= 1, < 2"`:     c(a, "version", ">= 1, < 2"),
		`attribute = "${attr.a}"; operator = "semver"; value = ">= 1.2.3"`:       c(a, "semver", ">= 1.2.3"),
		`attribute = "${attr.a}"; operator = "set_contains"; value = "x,y"`:      c(a, "set_contains", "x,y"),
		`attribute = "${attr.a}"; operator = "set_contains_all"; value = "x,y"`:  c(a, "set_contains", "x,y"),
		`attribute = "${attr.a}"; operator = "set_contains_any"; value = "x"`:    c(a, "set_contains_any", "x"),
		`attribute = "${attr.a}"; operator = "is_set"`:                           c(a, "is_set", ""),
		`attribute = "${attr.a}"; operator = "is_not_set"`:                       c(a, "is_not_set", ""),
		`operator = "distinct_hosts"`:                                            c("", "distinct_hosts", ""),
		`operator = "distinct_hosts"; value = "true"`:                            c("", "distinct_hosts", "true"),
		`operator = "distinct_hosts"; value = "false"`:                           nil,
		`attribute = "${attr.a}"; operator = "distinct_property"`:                c(a, "distinct_property", ""),
		`attribute = "${attr.a}"; operator = "distinct_property"; value = 2`:     c(a, "distinct_property", "2"),
		`distinct_hosts = true`:                                                  c("", "distinct_hosts", "true"),
		`distinct_hosts = false`:                                                 nil,
		`distinct_property = "${attr.a}"`:                                        c(a, "distinct_property", ""),
		`distinct_property = "${attr.a}"; value = "3"`:                           c(a, "distinct_property", "3"),
		`attribute = "${attr.a}"; regexp = "^x$"`:                                c(a, "regexp", "^x$"),
		`attribute = "${attr.a}"; version = "> 1"`:                               c(a, "version", "> 1"),
		`attribute = "${attr.a}"; semver = "> 1.0.0"`:                            c(a, "semver", "> 1.0.0"),
		`attribute = "${attr.a}"; set_contains = "x"`:                            c(a, "set_contains", "x"),
		`attribute = "${attr.a}"; set_contains_any = "x,y"`:                      c(a, "set_contains_any", "x,y"),
		`attribute = "${attr.a}"; operator = "version"; value = "${meta.wants}"`: c(a, "version", "${meta.wants}"),
	} {
		j := parse(t, string(jobWith("  constraint {\n"+strings.ReplaceAll(text, "; ", "\n")+"\n  }")), Inputs{})
		if diff := cmp.Diff(want, j.Constraints); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestConversions(t *testing.T) {
	task := func(attr string) (*state.Task, Diagnostics) {
		j, ds := Parse(Source{Name: "j", Data: []byte("job \"j\" {\n group \"g\" {\n ephemeral_disk {\n size = 900000\n}\n task \"t\" {\n driver = \"exec\"\n" + attr + "\n}\n}\n}")}, Inputs{})
		if j == nil {
			return nil, ds
		}
		return &j.TaskGroups[0].Tasks[0], ds
	}
	memory := func(v string) string { return "resources {\n memory = " + v + "\n}" }
	cpu := func(v string) string { return "resources {\n cpu = " + v + "\n}" }
	for attr, want := range map[string]any{
		memory("10"): 10, memory(`"10"`): 10, memory(`"64MiB"`): 64, memory(`"64 MiB"`): 64, memory(`"64Mi"`): 64, memory(`"1.5GiB"`): 1536,
		memory(`"1Gi"`): 1024, memory(`"1TiB"`): 1 << 20, memory(`"100MB"`): 96, memory(`"1GB"`): 954, memory(`"1TB"`): 953675,
		memory(`"20480KiB"`): 20, memory(`"20000kB"`): 20, memory(`"20971520B"`): 20, memory(`"20971521B"`): 21,
		memory("9"): "at least 10 MiB", memory("1.5"): "whole number of MiB, not 1.5", memory("-5"): "at least 10", memory("1e18"): "at most",
		memory("1e30"): "too large", memory(`"64M"`): `unknown unit "M"`, memory(`"lots"`): `not "lots"`, memory(`"1e3MiB"`): `not "1e3MiB"`,
		memory(`"-1GiB"`): `not "-1GiB"`, memory(`"99999999999TiB"`): "too large", memory("true"): "not true", memory("[1]"): "not a list",
		memory(`"1.2.3MiB"`): `not "1.2.3MiB"`, memory(`"NaN"`): `not "NaN"`, memory(`"Inf"`): `not "Inf"`, memory(`""`): `not ""`,
		cpu("1"): 1, cpu(`"500MHz"`): 500, cpu(`"1.5GHz"`): 1500, cpu("0"): "at least 1 MHz", cpu(`"0m"`): "at least 1m",
		cpu(`"2cores"`): "unknown unit", cpu("0.5"): "whole number",
		`kill_timeout = "1m30s"`: 90 * time.Second, `kill_timeout = 1000000000`: time.Second, `kill_timeout = 0`: time.Duration(0),
		`kill_timeout = "5"`: `write "5s"`, `kill_timeout = "-5s"`: "negative", `kill_timeout = "soon"`: "must be a duration",
		`kill_timeout = 1.5`: "must be a duration", `kill_timeout = "99999999h"`: "must be a duration", `kill_timeout = {}`: "not a map",
		`leader = true`: true, `leader = "true"`: true, `leader = 1`: "true or false", `leader = "yes"`: "true or false",
		`user = 5`: "5", `user = true`: "true", `user = []`: "must be a string",
		`kill_signal = "SIGHUP"`: "", `kill_signal = "HUP"`: "may not be", `kill_signal = ""`: "may not be empty",
		`env = { A = null }`: "", `env = { A = [] }`: "must be a string", `env = ["a"]`: "must be a map", `env = null`: "",
		"config {\n a = 9007199254740993\n}": "exactly", "config {\n a = 1e23\n}": "", "config {\n a = 1e400\n}": "exactly",
		"env {\n A {\n}\n}": "not blocks",
	} {
		got, ds := task(attr)
		if message, bad := want.(string); bad && message != "" && got == nil {
			if !strings.Contains(ds.Error(), message) {
				t.Errorf("%s: got %q, want %q in it", attr, ds.Error(), message)
			}
			continue
		}
		if got == nil {
			t.Errorf("%s: %s", attr, ds.Error())
			continue
		}
		var have any
		switch {
		case strings.Contains(attr, "memory ="):
			have = got.Resources.MemoryMB
		case strings.Contains(attr, "cpu ="):
			have = got.Resources.CPU
		case strings.HasPrefix(attr, "kill_timeout"):
			have = got.KillTimeout
		case strings.HasPrefix(attr, "leader"):
			have = got.Leader
		case strings.HasPrefix(attr, "user"):
			have = got.User
		default:
			continue
		}
		if have != want {
			t.Errorf("%s is %v, want %v", attr, have, want)
		}
	}
}

// TestCounts gives the numbers of a job wrong values; each is said at the number.
func TestCounts(t *testing.T) {
	for text, want := range map[string]string{
		"group \"g\" {\ncount = -1\n}":            "j:3:9: count may not be negative",
		"group \"g\" {\ncount = 1000000000000\n}": "j:3:9: count may be at most 10000",
		"group \"g\" {\ncount = 1e40\n}":          "j:3:9: count is too large",
		"group \"g\" {\ncount = 0.5\n}":           "j:3:9: count must be a whole number, not 0.5",
		"group \"g\" {\ncount = \"x\"\n}":         "j:3:9: count must be a whole number, not \"x\"",
		"priority = 0":                            "j:2:12: priority must be at least 1",
		"priority = 101":                          "j:2:12: priority may be at most 100",
		"type = \"sysbatch\"":                     "j:2:8: type \"sysbatch\" is not supported yet",
		"datacenters = \"dc1\"":                   "j:2:15: datacenters must be a list of strings",
		"group \"g\" {\nrestart {\ninterval = \"1s\"\n}\ntask \"x\" {\ndriver = \"exec\"\n}\n}": "j:4:12: restart.interval: must be at least 5s",
	} {
		_, ds := Parse(Source{Name: "j", Data: jobWith(text)}, Inputs{})
		if !strings.Contains(ds.Error(), want) {
			t.Errorf("%q: got %q, want %q in it", text, ds.Error(), want)
		}
	}
}
