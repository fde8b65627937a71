package jobspecs

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// anyJob draws a valid job, as the cluster stores it.
func anyJob(t *rapid.T) *state.Job {
	name := rapid.StringMatching(`[a-z][a-z0-9-]{0,8}`)
	text := rapid.StringMatching(`[ -~äé€\n"<>&]{0,12}`)
	pairs := rapid.MapOfN(rapid.StringMatching(`[A-Za-z_.]{1,8}`), text, 0, 3)
	batch := rapid.Bool().Draw(t, "batch")
	j := &state.Job{
		Namespace: name.Draw(t, "namespace"), ID: name.Draw(t, "id"), Name: name.Draw(t, "name"), Type: "service", Region: name.Draw(t, "region"),
		Datacenters: []string{"dc1", "*"}, NodePool: "default", Priority: rapid.IntRange(1, 100).Draw(t, "priority"),
		AllAtOnce: rapid.Bool().Draw(t, "all"), Constraints: constraintsOf(t), Affinities: affinitiesOf(t), Spreads: spreadsOf(t), Meta: full(pairs.Draw(t, "meta")),
		Stop: rapid.Bool().Draw(t, "stop"), Version: rapid.Uint64Range(0, 1<<40).Draw(t, "version"),
		SubmitTime: rapid.Int64Range(0, 1<<62).Draw(t, "time"), ModifyIndex: rapid.Uint64Range(0, 1<<62).Draw(t, "index"),
	}
	if batch {
		j.Type = "batch"
	}
	if rapid.Bool().Draw(t, "blocked") {
		j.Blocked = &state.Blocked{Since: rapid.Int64Range(0, 1<<62).Draw(t, "since"), Groups: map[string]int{"g": 3}, Reason: "no room"}
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "groups") {
		g := state.TaskGroup{Name: fmt.Sprintf("g%d", i), Count: rapid.IntRange(0, 10_000).Draw(t, "count"), Meta: full(pairs.Draw(t, "meta")),
			RestartPolicy: restartOf(t), ReschedulePolicy: state.ReschedulePolicy{Delay: 5 * time.Second, DelayFunction: "constant", Unlimited: true},
			Update: state.UpdateStrategy{MaxParallel: rapid.IntRange(0, 9).Draw(t, "parallel")}, EphemeralDisk: state.EphemeralDisk{SizeMB: 5000},
			Constraints: constraintsOf(t), Affinities: affinitiesOf(t), Spreads: spreadsOf(t)}
		if rapid.Bool().Draw(t, "network") {
			g.Networks = []state.Network{{Mode: "host", DynamicPorts: []state.Port{{Label: "http", To: rapid.IntRange(-1, 65535).Draw(t, "to")}},
				ReservedPorts: []state.Port{{Label: "admin", Value: rapid.IntRange(1, 65535).Draw(t, "static")}}}}
		}
		for k := range rapid.IntRange(1, 3).Draw(t, "tasks") {
			g.Tasks = append(g.Tasks, state.Task{Name: fmt.Sprintf("t%d", k), Driver: rapid.SampledFrom([]string{"exec", "docker", "fake"}).Draw(t, "driver"),
				User: text.Filter(func(s string) bool { return !strings.Contains(s, "\n") }).Draw(t, "user"), Env: full(pairs.Draw(t, "env")),
				Meta: full(pairs.Draw(t, "meta")), Config: configOf(t), RestartPolicy: restartOf(t),
				Resources: resourcesOf(t), Affinities: affinitiesOf(t),
				LogConfig: state.LogConfig{MaxFiles: 2, MaxFileSizeMB: rapid.IntRange(1, 99).Draw(t, "log"), Disabled: rapid.Bool().Draw(t, "nolog")},
				Leader:    k == 0, KillTimeout: time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "timeout")),
				KillSignal: rapid.SampledFrom([]string{"", "SIGINT"}).Draw(t, "signal")})
		}
		j.TaskGroups = append(j.TaskGroups, g)
	}
	return j
}

// full makes an empty map nil, as a job that went through JSON has it.
func full(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func constraintsOf(t *rapid.T) []state.Constraint {
	return rapid.SliceOfN(rapid.SampledFrom([]state.Constraint{
		{LTarget: "${attr.a}", Operand: "=", RTarget: ""}, {Operand: "distinct_hosts"}, {Operand: "distinct_hosts", RTarget: "true"},
		{LTarget: "${meta.rack}", Operand: "distinct_property", RTarget: "2"}, {LTarget: "${attr.a}", Operand: "is_set"},
		{LTarget: "${attr.v}", Operand: "version", RTarget: ">= 1.2, < 2"}, {LTarget: "${attr.v}", Operand: "regexp", RTarget: "^a.*<&>$"},
	}), 0, 3).Filter(func(cs []state.Constraint) bool { return cs == nil || len(cs) > 0 }).Draw(t, "constraints")
}

func affinitiesOf(t *rapid.T) []state.Affinity {
	return rapid.SliceOfN(rapid.SampledFrom([]state.Affinity{
		{LTarget: "${attr.a}", Operand: "=", RTarget: "x", Weight: 50}, {LTarget: "${attr.a}", Operand: "is_set", Weight: -100},
		{LTarget: "${attr.v}", Operand: "semver", RTarget: ">= 1.2.0", Weight: 1},
	}), 0, 3).Filter(func(as []state.Affinity) bool { return as == nil || len(as) > 0 }).Draw(t, "affinities")
}

func spreadsOf(t *rapid.T) []state.Spread {
	switch rapid.IntRange(0, 2).Draw(t, "spreads") {
	case 0:
		return nil
	case 1:
		return []state.Spread{{Attribute: "${node.datacenter}", Weight: rapid.IntRange(1, 100).Draw(t, "spread")}}
	}
	return []state.Spread{{Attribute: "${meta.a}", Weight: 50, SpreadTarget: []state.SpreadTarget{{Value: "a", Percent: 0}, {Value: "b", Percent: 99}}}}
}

// resourcesOf says its cpu in one of the three ways.
func resourcesOf(t *rapid.T) state.Resources {
	r := state.Resources{MemoryMB: rapid.IntRange(10, 1e6).Draw(t, "memory")}
	switch rapid.IntRange(0, 2).Draw(t, "way") {
	case 0:
		r.CPU = rapid.IntRange(1, 1e6).Draw(t, "cpu")
	case 1:
		r.MilliCores = rapid.IntRange(1, 4096000).Draw(t, "thousandths")
	case 2:
		r.Cores = rapid.IntRange(1, 4096).Draw(t, "cores")
	}
	if rapid.Bool().Draw(t, "max") {
		r.MemoryMaxMB = r.MemoryMB + rapid.IntRange(0, 1e6).Draw(t, "memory_max")
	}
	for range rapid.IntRange(0, 2).Draw(t, "devices") {
		r.Devices = append(r.Devices, state.RequestedDevice{
			Name: "nvidia/gpu", Count: rapid.IntRange(1, 512).Draw(t, "device count"),
			Constraints: constraintsOf(t), Affinities: affinitiesOf(t),
		})
	}
	return r
}

func restartOf(t *rapid.T) state.RestartPolicy {
	return state.RestartPolicy{Attempts: rapid.IntRange(0, 5).Draw(t, "attempts"), Interval: time.Hour,
		Delay: time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "delay")), Mode: rapid.SampledFrom([]string{"fail", "delay"}).Draw(t, "mode")}
}

func configOf(t *rapid.T) map[string]any {
	m := map[string]any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "config") {
		m[fmt.Sprintf("k%d", i)] = anyValue(t, 3)
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func anyValue(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 3+min(depth, 1)*2).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Float64().Draw(t, "number")
	case 3:
		return rapid.StringMatching(`[ -~é"]{0,9}`).Draw(t, "text")
	case 4:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			list = append(list, anyValue(t, depth-1))
		}
		return list
	}
	m := map[string]any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "n") {
		m[fmt.Sprintf("x%d", i)] = anyValue(t, depth-1)
	}
	return m
}

// TestJobSurvivesJSON: what json.Marshal makes of a job comes back as an equal job, whatever it is.
func TestJobSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		if err := j.Validate(); err != nil {
			t.Skip(err)
		}
		text, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "wrapped") {
			text = []byte(`{"Job": ` + string(text) + `}`)
		}
		got, ds := ParseJSON(text)
		if len(ds) > 0 {
			t.Fatalf("%s\n%s", ds.Error(), text)
		}
		if diff := cmp.Diff(j, got); diff != "" {
			t.Fatalf("-before +after:\n%s", diff)
		}
	})
}

// TestParseFromManyGoroutines lets the race detector look at what calls share.
func TestParseFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, ds := Parse(Source{Name: ExampleName, Data: Example()}, Inputs{}); len(ds) > 0 {
					t.Error(ds.Error())
				}
			}
		})
	}
	wg.Wait()
}

func TestDiagnosticsText(t *testing.T) {
	_, ds := Parse(Source{Name: "a.hcl", Data: []byte("job \"j\" {\n\tprioritty = \"é\" # x\n  ui {\n  }\n\ttask \"t\" {\n\t\tdriver = \"exec\"\n\t}\n}\n")}, Inputs{})
	var plain, colored strings.Builder
	if err := ds.WriteTo(&plain, false, 0); err != nil {
		t.Fatal(err)
	}
	want := "a.hcl:2:2: error: unknown name \"prioritty\" in job \"j\"; did you mean \"priority\"?\n" +
		"     2 |  prioritty = \"é\" # x\n       |  ^^^^^^^^^\n\n" +
		"a.hcl:3:3: warning: ui is ignored\n     3 |   ui {\n       |   ^^\n"
	if diff := cmp.Diff(want, plain.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := ds.WriteTo(&colored, true, 80); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(colored.String(), "\x1b[1;31merror:\x1b[0m") || !strings.Contains(colored.String(), "\x1b[1;33mwarning:\x1b[0m") {
		t.Errorf("there is no colour in %q", colored.String())
	}
	if got, want := ds.Error(), `a.hcl:2:2: unknown name "prioritty" in job "j"; did you mean "priority"?`; got != want {
		t.Errorf("Error is %q, want %q", got, want)
	}
	if got, want := strings.Join(wrap("aa bb cc dd", 5), "|"), "aa bb|cc dd"; got != want {
		t.Errorf("wrapped to %q, want %q", got, want)
	}
}

// TestManyErrors: only the first ones are shown, and how many more there are.
func TestManyErrors(t *testing.T) {
	_, ds := Parse(Source{Name: "j", Data: jobWith(strings.Repeat("  nonsense {}\n", MaxDiagnostics+7))}, Inputs{})
	if got, want := len(ds), MaxDiagnostics+1; got != want {
		t.Errorf("there are %d diagnostics, want %d", got, want)
	}
	if got := ds[len(ds)-1].Message; !strings.Contains(got, "7 more errors") {
		t.Errorf("the last one is %q", got)
	}
}

// TestInputFiles: a variable file that is no file of variables.
func TestInputFiles(t *testing.T) {
	for text, want := range map[string]string{
		"a {\n}\n":                       "names and values only",
		"a = ":                           "expression",
		"a = local.x":                    "may not refer to anything",
		`{"a": }`:                        "not JSON",
		`{"b": 1}`:                       `declares no variable "b"`,
		"a = 1e999999999":                "takes too much",
		"a = " + strings.Repeat("[", 65): "nested deeper",
		strings.Repeat("#", MaxSource+1): "more than 1048576 bytes",
	} {
		src := Source{Name: "j", Data: append([]byte("variable \"a\" {}\n"), jobWith("")...)}
		_, ds := Parse(src, Inputs{Strict: true, VarFiles: []Source{{Name: "v", Data: []byte(text)}}})
		if !strings.Contains(ds.Error(), want) || len(ds) > 1 && !strings.Contains(want, "declares") {
			t.Errorf("%.40q: got %q, want %q in it and nothing else", text, ds.Error(), want)
		}
	}
}

// BenchmarkParse parses 100 groups of two tasks.
func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("variable \"image\" {\n  default = \"busybox\"\n}\njob \"big\" {\n")
	for i := range 100 {
		fmt.Fprintf(&s, "group \"g%d\" {\n count = %d\n network {\n port \"http\" {\n to = 8080\n}\n}\n", i, i)
		fmt.Fprintf(&s, " task \"a\" {\n driver = \"docker\"\n config {\n image = \"${var.image}:%d\"\n args = [\"serve\", format(\":%%d\", 8080)]\n }\n", i)
		fmt.Fprintf(&s, " env = { A = \"x%d\", B = upper(\"y\") }\n resources {\n cpu = 100\n memory = 64\n}\n}\n task \"b\" {\n driver = \"exec\"\n}\n}\n", i)
	}
	s.WriteString("}\n")
	src := Source{Name: "big", Data: []byte(s.String())}
	b.ReportAllocs()
	for b.Loop() {
		if _, ds := Parse(src, Inputs{}); ds.HasErrors() {
			b.Fatal(ds.Error())
		}
	}
}
