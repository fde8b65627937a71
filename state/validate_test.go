package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func repeat[E any](n int, f func(i int) E) []E {
	out := make([]E, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func group(j *Job) *TaskGroup { return &j.TaskGroups[0] }
func task(j *Job) *Task       { return &j.TaskGroups[0].Tasks[0] }

// TestLimits tries each documented limit below, at and above it.
func TestLimits(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int
		set   func(j *Job, n int)
	}{
		{"groups", 100, func(j *Job, n int) {
			g := *group(j)
			j.TaskGroups = repeat(n, func(i int) TaskGroup { g.Name = fmt.Sprint("g", i); return g })
		}},
		{"tasks", 20, func(j *Job, n int) {
			x := *task(j)
			group(j).Tasks = repeat(n, func(i int) Task { x.Name = fmt.Sprint("t", i); return x })
		}},
		{"count", 10_000, func(j *Job, n int) { group(j).Count = n }},
		{"id", 128, func(j *Job, n int) { j.ID = strings.Repeat("x", n) }},
		{"namespace", 128, func(j *Job, n int) { j.Namespace = strings.Repeat("x", n) }},
		{"group name", 128, func(j *Job, n int) { group(j).Name = strings.Repeat("x", n) }},
		{"task name", 128, func(j *Job, n int) { task(j).Name = strings.Repeat("x", n) }},
		{"name", 128, func(j *Job, n int) { j.Name = strings.Repeat("x", n) }},
		{"env", 32 << 10, func(j *Job, n int) { task(j).Env = map[string]string{"KEY": strings.Repeat("x", n-3)} }},
		{"job meta", 16 << 10, func(j *Job, n int) { j.Meta = map[string]string{"KEY": strings.Repeat("x", n-3)} }},
		{"group meta", 16 << 10, func(j *Job, n int) { group(j).Meta = map[string]string{"KEY": strings.Repeat("x", n-3)} }},
		{"task meta", 16 << 10, func(j *Job, n int) { task(j).Meta = map[string]string{"KEY": strings.Repeat("x", n-3)} }},
		{"priority", 100, func(j *Job, n int) { j.Priority = n }},
		{"static port", 65535, func(j *Job, n int) { withPorts(j, []int{n}, 0) }},
		{"port to", 65535, func(j *Job, n int) { withPorts(j, nil, 1); group(j).Networks[0].DynamicPorts[0].To = n }},
		{"ports", 100, func(j *Job, n int) {
			group(j).Networks = []Network{{Mode: "host", DynamicPorts: repeat(n, func(i int) Port { return Port{Label: fmt.Sprint("p", i)} })}}
		}},
		{"networks", 1, func(j *Job, n int) {
			group(j).Networks = repeat(n, func(int) Network { return Network{Mode: "host"} })
		}},
		{"regexp", 256, func(j *Job, n int) {
			j.Constraints = []Constraint{{LTarget: "${attr.os.name}", Operand: OperandRegexp, RTarget: strings.Repeat("x", n)}}
		}},
		{"nesting", 64, func(j *Job, n int) {
			v := any("leaf")
			for range n - 1 {
				v = []any{v}
			}
			task(j).Config = map[string]any{"deep": v}
		}},
		{"leaders", 1, func(j *Job, n int) {
			x := *task(j)
			group(j).Tasks = repeat(3, func(i int) Task { x.Name, x.Leader = fmt.Sprint("t", i), i < n; return x })
		}},
		{"logs of 299 MiB in 300", 299, func(j *Job, n int) { task(j).LogConfig = LogConfig{MaxFiles: 1, MaxFileSizeMB: n} }},
		{"restart attempts × delay", 120, func(j *Job, n int) {
			task(j).RestartPolicy = RestartPolicy{Attempts: n, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: RestartModeFail}
		}},
	} {
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
		{"memory", 10, func(j *Job, n int) { task(j).Resources.MemoryMB = n }},
		{"cpu", 1, func(j *Job, n int) { task(j).Resources.CPU = n }},
		{"priority", 1, func(j *Job, n int) { j.Priority = n }},
		{"count", 0, func(j *Job, n int) { group(j).Count = n }},
		{"static port", 1, func(j *Job, n int) { withPorts(j, []int{n}, 0) }},
		{"restart interval", 5e9, func(j *Job, n int) {
			task(j).RestartPolicy = RestartPolicy{Interval: time.Duration(n), Mode: RestartModeDelay}
		}},
		{"reschedule delay", 5e9, func(j *Job, n int) { group(j).ReschedulePolicy.Delay = time.Duration(n) }},
		{"reschedule interval", 15e9, func(j *Job, n int) {
			group(j).ReschedulePolicy = ReschedulePolicy{Attempts: 1, Interval: time.Duration(n), Delay: 5e9, DelayFunction: DelayConstant}
		}},
		{"kill timeout", 0, func(j *Job, n int) { task(j).KillTimeout = time.Duration(n) }},
		{"max parallel", 0, func(j *Job, n int) { group(j).Update.MaxParallel = n }},
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

// validationCases each break one thing and say what the message must be.
var validationCases = []struct {
	alter func(j *Job)
	want  string
}{
	{func(j *Job) { j.ID = "" }, "id: must not be empty"},
	{func(j *Job) { j.ID = "a/b" }, "id: may hold letters, digits, '-', '_' and '.', not \"/\""},
	{func(j *Job) { j.ID = ".." }, `id: must not be ".."`},
	{func(j *Job) { j.Name = "a\nb" }, "name: must not hold control characters"},
	{func(j *Job) { j.Name = "" }, "name: must not be empty"},
	{func(j *Job) { j.Type = "system" }, `type: must be "service" or "batch", is "system"`},
	{func(j *Job) { j.Datacenters = nil }, `datacenters: there must be at least one; "*" means any`},
	{func(j *Job) { j.Datacenters = []string{"[a"} }, `datacenters: "[a" is not a pattern: syntax error in pattern`},
	{func(j *Job) { j.Datacenters = []string{""} }, `datacenters: "" is not a name`},
	{func(j *Job) { j.TaskGroups = nil }, "group: there must be at least one"},
	{func(j *Job) { j.TaskGroups = append(j.TaskGroups, j.TaskGroups[0]) }, `group: "web" is there twice`},
	{func(j *Job) { group(j).Tasks = nil }, `group "web": task: there must be at least one`},
	{func(j *Job) { group(j).Tasks = append(group(j).Tasks, *task(j)) }, `group "web": task: "server" is there twice`},
	{func(j *Job) { group(j).EphemeralDisk.SizeMB = 100 }, `group "web" task "server": logs: 10 files of 10 MiB do not fit into an ephemeral_disk of 100 MiB`},
	{func(j *Job) { task(j).Resources.MemoryMB = 4 }, `group "web" task "server": resources.memory: must be at least 10 MiB, is 4`},
	{func(j *Job) { task(j).Resources.CPU = 1 << 40 }, `group "web" task "server": resources.cpu: must be at most 53687091 MHz, is 1099511627776`},
	{func(j *Job) { task(j).Name = "alloc" }, `group "web" task "alloc": name: must not be "alloc", the directory that the tasks share`},
	{func(j *Job) { task(j).Driver = "" }, `group "web" task "server": driver: must not be empty`},
	{func(j *Job) { task(j).User = "a\x00" }, `group "web" task "server": user: must not hold control characters`},
	{func(j *Job) { task(j).KillSignal = "TERM" }, `group "web" task "server": kill_signal: "TERM" is not a signal; write SIGTERM, SIGINT, SIGUSR1 …`},
	{func(j *Job) { task(j).KillSignal = "SIGWHAT" }, `group "web" task "server": kill_signal: "SIGWHAT" is not a signal; write SIGTERM, SIGINT, SIGUSR1 …`},
	{func(j *Job) { task(j).Env = map[string]string{"A=B": "c"} }, `group "web" task "server": env: "A=B" is not a name`},
	{func(j *Job) { task(j).Env = map[string]string{"A": "\x00"} }, `group "web" task "server": env.A: must not hold a NUL byte`},
	{func(j *Job) { task(j).Config["n"] = math.NaN() }, `group "web" task "server": config.n: is not a finite number`},
	{func(j *Job) { task(j).Config["n"] = []any{map[string]any{"x": struct{}{}}} }, `group "web" task "server": config.n: is not a JSON value`},
	{func(j *Job) { task(j).RestartPolicy.Mode = "never" }, `group "web" task "server": restart.mode: must be "fail" or "delay", is "never"`},
	{func(j *Job) { group(j).RestartPolicy.Delay = -1 }, `group "web": restart.delay: must not be negative, is -1ns`},
	{func(j *Job) { group(j).ReschedulePolicy.Attempts = 1 }, `group "web": reschedule: attempts and unlimited exclude each other` + "\n" + `group "web": reschedule.interval: must be at least 15s, is 0s`},
	{func(j *Job) { group(j).ReschedulePolicy.DelayFunction = "random" }, `group "web": reschedule.delay_function: must be "constant", "exponential" or "fibonacci", is "random"`},
	{func(j *Job) { group(j).ReschedulePolicy.MaxDelay = 1 }, `group "web": reschedule.max_delay: must be at least the delay of 30s, is 1ns`},
	{func(j *Job) { withPorts(j, []int{80, 80}, 0) }, `group "web": network.port.sb.static: port 80 is there twice`},
	{func(j *Job) { withPorts(j, []int{80}, 1); group(j).Networks[0].DynamicPorts[0].Label = "sa" }, `group "web": network.port: label "sa" is there twice`},
	{func(j *Job) { withPorts(j, nil, 1); group(j).Networks[0].DynamicPorts[0].Value = 5 }, `group "web": network.port.da: a dynamic port has no number, it has 5`},
	{func(j *Job) { group(j).Networks = []Network{{Mode: "bridge"}} }, `group "web": network.mode: must be "host", is "bridge"`},
	{func(j *Job) { j.Constraints = []Constraint{{Operand: OperandEqual}} }, `constraint: operator "=" needs an attribute`},
	{func(j *Job) { j.Constraints = []Constraint{{LTarget: "x", Operand: "like"}} }, `constraint: operator "like" is not known`},
	{func(j *Job) { j.Constraints = []Constraint{{LTarget: "x", Operand: OperandSetContains}} }, `constraint: operator "set_contains" needs a value`},
	{func(j *Job) { j.Constraints = []Constraint{{LTarget: "x", Operand: OperandRegexp, RTarget: "("}} }, "constraint: \"(\" is not a regular expression: error parsing regexp: missing closing ): `(`"},
	{func(j *Job) {
		group(j).Constraints = []Constraint{{LTarget: "x", Operand: OperandDistinctProperty, RTarget: "0"}}
	}, `group "web": constraint: distinct_property needs a number of at least 1, not "0"`},
	{func(j *Job) { task(j).Constraints = []Constraint{{Operand: OperandDistinctHosts}} }, `group "web" task "server": constraint: operator "distinct_hosts" belongs to a job or a group, not to a task`},
	{func(j *Job) { j.Constraints = []Constraint{{LTarget: "x", Operand: OperandVersion, RTarget: "new"}} }, `constraint: "new" is not a version constraint, such as ">= 1.2, < 2.0": malformed constraint: new`},
	{func(j *Job) {
		j.Constraints = []Constraint{{LTarget: strings.Repeat("x", 1<<15), Operand: OperandEqual}}
	}, `constraint: attribute and value must be at most 16384 bytes`},
}

func TestValidate(t *testing.T) {
	for _, tc := range validationCases {
		j := testJob("a", 1)
		tc.alter(j)
		err := j.Validate()
		if err == nil {
			t.Errorf("no error, want %s", tc.want)
			continue
		}
		if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		var field *FieldError
		if !errors.As(err, &field) {
			t.Errorf("%T is no *FieldError", err)
		}
	}
}

func TestValidJobs(t *testing.T) {
	for name, alter := range map[string]func(j *Job){
		"as it is":        func(*Job) {},
		"without region":  func(j *Job) { j.Region = "" },
		"no rescheduling": func(j *Job) { group(j).ReschedulePolicy = ReschedulePolicy{} },
		"logs disabled":   func(j *Job) { task(j).LogConfig = LogConfig{Disabled: true} },
		"signal":          func(j *Job) { task(j).KillSignal = "SIGUSR1" },
		"interpolated": func(j *Job) {
			j.Constraints = []Constraint{{LTarget: "x", Operand: OperandVersion, RTarget: "${meta.v}"}}
		},
		"semver": func(j *Job) {
			j.Constraints = []Constraint{{LTarget: "x", Operand: OperandSemver, RTarget: ">= 1.2.0"}}
		},
		"is set":   func(j *Job) { j.Constraints = []Constraint{{LTarget: "${attr.x}", Operand: OperandIsSet}} },
		"distinct": func(j *Job) { j.Constraints = []Constraint{{Operand: OperandDistinctHosts, RTarget: "true"}} },
		"distinct by rack": func(j *Job) {
			j.Constraints = []Constraint{{LTarget: "${meta.rack}", Operand: OperandDistinctProperty}}
		},
		"same as the host": func(j *Job) { withPorts(j, nil, 1); group(j).Networks[0].DynamicPorts[0].To = -1 },
		"config": func(j *Job) {
			task(j).Config = map[string]any{"a": []any{nil, true, 1.5, "s", map[string]any{"b": []string{"c"}}}, "m": []map[string]any{{"n": json.Number("1")}}}
		},
	} {
		j := testJob("a", 1)
		alter(j)
		if err := j.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateNode(t *testing.T) {
	for want, alter := range map[string]func(n *Node){
		"":                                   func(*Node) {},
		"id: must not be empty":              func(n *Node) { n.ID = "" },
		"cpu: must be at least 0 MHz, is -1": func(n *Node) { n.Resources.CPU = -1 },
		"max_dynamic_port: must be at least 20000, is 5":                                           func(n *Node) { n.Resources.MaxDynamicPort = 5 },
		"boot: 18446744073709551615 is out of range":                                               func(n *Node) { n.Boot = math.MaxUint64 },
		"http address: must not hold control characters\nregion: must not be \"..\"":               func(n *Node) { n.HTTPAddr, n.Region = "\n", ".." },
		"attributes: attributes, meta and drivers must be at most 262144 bytes in all, are 300053": func(n *Node) { n.Meta = map[string]string{"x": strings.Repeat("y", 300_000)}; n.Attributes = nil },
	} {
		n := testNode("n1")
		alter(n)
		got := ""
		if err := n.Validate(); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
