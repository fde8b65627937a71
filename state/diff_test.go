package state

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDiffJobs(t *testing.T) {
	before := withPorts(testJob("a", 2), []int{8080}, 1)
	before.Constraints = []Constraint{{LTarget: "${attr.kernel.name}", Operand: OperandEqual, RTarget: "linux"}}
	task(before).Env = map[string]string{"MODE": "slow", "GONE": "1"}
	after := withPorts(testJob("a", 0), []int{8081}, 1)
	after.Version, after.ModifyIndex, after.Stop, after.SubmitTime = 7, 99, true, 5
	after.Datacenters = []string{"dc1", "dc2"}
	after.AllAtOnce = true
	after.Constraints = []Constraint{{Operand: OperandDistinctHosts}}
	task(after).Env = map[string]string{"MODE": "fast"}
	task(after).Config["args"] = []any{"-v", 1.0}
	task(after).Resources.MemoryMB = 512
	task(after).KillTimeout = time.Minute
	group(after).RestartPolicy.Attempts = 3
	group(after).Networks[0].DynamicPorts[0].Label = "new"
	want := []DiffLine{
		{"all_at_once", "false", "true"},
		{`constraint."${attr.kernel.name} = linux"`, "present", ""},
		{`constraint."distinct_hosts"`, "", "present"},
		{"datacenters", `["*"]`, `["dc1","dc2"]`},
		{"group.web.count", "2", "0"},
		{"group.web.network.port.da", "dynamic", ""},
		{"group.web.network.port.new", "", "dynamic"},
		{"group.web.network.port.sa.static", "8080", "8081"},
		{"group.web.restart.attempts", "2", "3"},
		{"group.web.task.server.config.args", "", `["-v",1]`},
		{"group.web.task.server.env.GONE", "1", ""},
		{"group.web.task.server.env.MODE", "slow", "fast"},
		{"group.web.task.server.kill_timeout", "5s", "1m0s"},
		{"group.web.task.server.resources.memory", "256", "512"},
	}
	if diff := cmp.Diff(want, DiffJobs(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := DiffJobs(before, before); len(got) != 0 {
		t.Errorf("a job differs from itself in %v", got)
	}
}

func TestDiffOfANewJob(t *testing.T) {
	got := map[string]string{}
	for _, line := range DiffJobs(nil, testJob("a", 1)) {
		if line.Old != "" {
			t.Errorf("line %+v", line)
		}
		got[line.Path] = line.New
	}
	want := map[string]string{
		"datacenters": `["*"]`, "id": "a", "name": "a", "namespace": "default", "node_pool": "default", "priority": "50",
		"region": "global", "type": "service",
		"group.web": "present", "group.web.count": "1", "group.web.ephemeral_disk.size": "300", "group.web.update.max_parallel": "1",
		"group.web.restart.attempts": "2", "group.web.restart.delay": "15s", "group.web.restart.interval": "30m0s", "group.web.restart.mode": "fail",
		"group.web.reschedule.delay": "30s", "group.web.reschedule.delay_function": "exponential", "group.web.reschedule.max_delay": "1h0m0s",
		"group.web.reschedule.unlimited": "true",
		"group.web.task.server":          "present", "group.web.task.server.driver": "exec", "group.web.task.server.config.command": "/bin/true",
		"group.web.task.server.kill_timeout": "5s", "group.web.task.server.logs.max_file_size": "10", "group.web.task.server.logs.max_files": "10",
		"group.web.task.server.resources.cpu": "500", "group.web.task.server.resources.memory": "256",
		"group.web.task.server.restart.attempts": "2", "group.web.task.server.restart.delay": "15s",
		"group.web.task.server.restart.interval": "30m0s", "group.web.task.server.restart.mode": "fail",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if DiffJobs(nil, nil) != nil {
		t.Error("nothing differs from nothing")
	}
}

func TestSpecEqual(t *testing.T) {
	a, b := testJob("a", 1), testJob("a", 1)
	b.Version, b.ModifyIndex, b.Stop, b.Blocked = 3, 9, true, &Blocked{}
	b.Meta = map[string]string{}
	if !a.SpecEqual(b) {
		t.Error("what the cluster adds is no part of the specification")
	}
	task(b).Env = map[string]string{"A": "1"}
	if a.SpecEqual(b) {
		t.Error("the environment is")
	}
}

func TestGroupResources(t *testing.T) {
	j := testJob("a", 1)
	g := group(j)
	g.Tasks = append(g.Tasks, Task{Name: "side", Resources: Resources{CPU: 100, MemoryMB: 44}})
	if got, want := j.Group("web").Resources(), (AllocResources{CPU: 600, MemoryMB: 300, DiskMB: 300}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if j.Group("none") != nil || g.Task("none") != nil || g.Task("side") != &g.Tasks[1] {
		t.Error("groups and tasks by name")
	}
}

func TestDirtyIndexForgetsOldRemovals(t *testing.T) {
	d := newDirtyIndex()
	for i := range uint64(maxGone + 10) {
		key := time.Duration(i).String()
		d.mark(key, i+1)
		d.retire(key, i+1)
	}
	if d.gone.Len() != maxGone || d.floor != 10 || d.byKey.Len() != 0 || len(d.marks.list) > maxGone+1 || d.changed("0s", 0) || !d.changed("20ns", 0) {
		t.Errorf("%d remembered, floor %d", d.gone.Len(), d.floor)
	}
	n := 0
	for range d.since(d.floor) {
		n++
	}
	if n != maxGone {
		t.Errorf("%d since the floor, want %d", n, maxGone)
	}
	for range d.since(1<<64 - 1) {
		t.Error("nothing can be later")
	}
}
