package sched

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"time"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// world is a real store with a clock that only tests move, and what is needed to play the nodes' part.
type world struct {
	t     rapid.TB
	store *state.Store
	index uint64
	term  uint64
	now   int64
	cur   Cursor
	guard Guard
	boots map[string]uint64
	seqs  uint64
	obs   map[string]Observation

	shrunk map[string]bool // nodes that may hold more than they have
}

func newWorld(t rapid.TB, opts Options) *world {
	w := &world{
		t: t, store: state.NewStore(), term: 1, now: int64(time.Hour), cur: NewCursor(opts),
		boots: map[string]uint64{}, obs: map[string]Observation{}, shrunk: map[string]bool{},
	}
	w.must(state.InitCluster{ClusterID: "herd", Time: w.now})
	w.must(state.Lead{NodeID: "leader", Time: w.now})
	w.must(state.RaiseLevel{Term: w.term, Level: state.MaxLevel, Time: w.now})
	return w
}

func (w *world) snap() *state.Snapshot { return w.store.Snapshot() }

// must applies a command through its encoding, as the log would, and fails the test when it is refused.
func (w *world) must(cmd state.Command) any {
	w.t.Helper()
	data, err := state.Encode(cmd)
	if err != nil {
		w.t.Fatalf("encode %T: %v", cmd, err)
	}
	w.index++
	result := w.store.Apply(w.index, w.term, data)
	if err, bad := result.(error); bad {
		w.t.Fatalf("apply %T: %v", cmd, err)
	}
	return result
}

// pass runs Reconcile once and applies what it says. It returns the plan, nil when there is nothing to do.
func (w *world) pass() (*state.ApplyPlan, state.PlanResult, int64) {
	w.t.Helper()
	forgetful := w.cur
	forgetful.memory = nil
	cmds, next, wake := Reconcile(w.snap(), w.cur, w.now)
	w.cur = next
	if again, _, when := Reconcile(w.snap(), forgetful, w.now); !reflect.DeepEqual(cmds, again) || when != wake {
		w.t.Fatalf("the plan is %+v, to wake at %d; without memory it is %+v, to wake at %d", cmds, wake, again, when)
	}
	if len(cmds) == 0 {
		return nil, state.PlanResult{}, wake
	}
	if len(cmds) > 1 {
		w.t.Fatalf("a pass returned %d commands", len(cmds))
	}
	plan := cmds[0].(state.ApplyPlan)
	return &plan, w.must(plan).(state.PlanResult), wake
}

// settle runs passes until there is nothing to do, and returns how many changed something.
func (w *world) settle() int {
	w.t.Helper()
	for n := range 1000 {
		plan, result, _ := w.pass()
		if plan == nil {
			return n
		}
		if len(result.Dropped) > 0 {
			w.t.Fatalf("plan on an unchanged snapshot was refused: %+v", result.Dropped)
		}
	}
	w.t.Fatal("no end after 1000 passes")
	return 0
}

// node registers a machine with sensible defaults.
func (w *world) node(name string, change ...func(*state.Node)) {
	w.t.Helper()
	w.boots[name]++
	n := &state.Node{
		ID: name, Name: name, Datacenter: "dc1", NodePool: "default", PeerAddr: name + ":4647", HostIP: "10.0.0.1",
		Attributes: map[string]string{"kernel.name": "linux", "unique.hostname": name},
		Drivers:    map[string]state.DriverInfo{"fake": {Detected: true, Healthy: true}},
		Resources:  state.NodeResources{CPU: 4000, MemoryMB: 4096, DiskMB: 10000, MinDynamicPort: 20000, MaxDynamicPort: 20099},
		Level:      state.MaxLevel, Boot: w.boots[name], BootID: "boot",
	}
	for _, f := range change {
		f(n)
	}
	w.must(state.RegisterNode{Node: n, Time: w.now})
}

func (w *world) status(name, status string) {
	w.t.Helper()
	n := w.snap().Node(name)
	w.must(state.SetNodeStatus{Term: w.term, Time: w.now, Changes: []state.NodeStatusChange{
		{NodeID: name, Boot: n.Boot, Status: status, Description: "the story says so"},
	}})
}

// comeBack registers a node again, as its agent does after an absence.
func (w *world) comeBack(name string) {
	w.t.Helper()
	n := *w.snap().Node(name)
	w.must(state.RegisterNode{Node: &n, Time: w.now})
}

// job returns a job of one group with sensible defaults.
func job(name string, change ...func(*state.Job)) *state.Job {
	j := &state.Job{
		Namespace: "default", ID: name, Name: name, Type: state.JobTypeService, Datacenters: []string{"*"}, NodePool: "default",
		Priority: 50, TaskGroups: []state.TaskGroup{group(name)},
	}
	for _, f := range change {
		f(j)
	}
	return j
}

func group(name string) state.TaskGroup {
	restart := state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail}
	return state.TaskGroup{
		Name: name, Count: 1, RestartPolicy: restart,
		ReschedulePolicy: state.ReschedulePolicy{
			Delay: 30 * time.Second, DelayFunction: state.DelayExponential, MaxDelay: time.Hour, Unlimited: true,
		},
		Update:        state.UpdateStrategy{MaxParallel: 1},
		EphemeralDisk: state.EphemeralDisk{SizeMB: 300},
		Tasks: []state.Task{{
			Name: "main", Driver: "fake", Config: map[string]any{"image": "v1"}, RestartPolicy: restart,
			Resources: state.Resources{CPU: 100, MemoryMB: 300}, LogConfig: state.LogConfig{MaxFiles: 2, MaxFileSizeMB: 10},
			KillTimeout: 5 * time.Second,
		}},
	}
}

func (w *world) register(j *state.Job) {
	w.t.Helper()
	w.must(state.RegisterJob{Job: j, Time: w.now})
}

// report plays a node's part: its word about one allocation.
func (w *world) report(a *state.Alloc, status string) {
	w.t.Helper()
	w.seqs++
	w.must(state.Report{Time: w.now, Nodes: []state.NodeReport{{
		NodeID: a.NodeID, Boot: w.snap().Node(a.NodeID).Boot, Seq: w.seqs,
		Allocs: []state.AllocReport{{ID: a.ID, Status: status}},
	}}})
}

// obey lets every reachable node do what is wanted of it: start what is pending, end what is to stop.
func (w *world) obey() {
	w.t.Helper()
	for _, a := range slices.Collect(w.snap().Allocs()) {
		n := w.snap().Node(a.NodeID)
		if n == nil || n.Status != state.NodeStatusReady || a.TerminalClient() {
			continue
		}
		switch {
		case a.TerminalDesired():
			w.report(a, state.ClientComplete)
		case a.ClientStatus == state.ClientPending:
			w.report(a, state.ClientRunning)
		}
	}
}

// copies returns the allocations of a slot, newest last: "web.web[0]".
func (w *world) copies(name string) []*state.Alloc {
	var out []*state.Alloc
	for a := range w.snap().Allocs() {
		if a.Name == name {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *state.Alloc) int { return sign(newer(b, a), newer(a, b)) })
	return out
}

// latest returns the newest allocation of a slot.
func (w *world) latest(name string) *state.Alloc {
	w.t.Helper()
	all := w.copies(name)
	if len(all) == 0 {
		w.t.Fatalf("there is no %s", name)
	}
	return all[len(all)-1]
}

// checkCapacity fails when a node holds more than it has, or two copies hold one port: faults.md I6, I7.
func (w *world) checkCapacity() {
	w.t.Helper()
	s := w.snap()
	for n := range s.Nodes() {
		var used room
		ports, cores, devices := map[int]string{}, map[int]string{}, map[string]string{}
		for a := range s.AllocsByNode(n.ID) {
			if !s.Holds(a) {
				continue
			}
			used = plus(used, heldBy(&a.Resources))
			for _, c := range a.Resources.Cores {
				if other, taken := cores[c]; taken {
					w.t.Fatalf("core %d of %s is held by %s and %s", c, n.ID, other, a.ID)
				}
				cores[c] = a.ID
			}
			for _, id := range piecesOf(&a.Resources).devices {
				d, _ := n.Resources.Device(id)
				if other, taken := devices[id]; taken && d != nil && !d.Shared {
					w.t.Fatalf("device %s of %s is held by %s and %s", id, n.ID, other, a.ID)
				}
				devices[id] = a.ID
			}
			for _, p := range a.Ports {
				if other, taken := ports[p.HostPort]; taken {
					w.t.Fatalf("port %d of %s is held by %s and %s", p.HostPort, n.ID, other, a.ID)
				}
				ports[p.HostPort] = a.ID
			}
		}
		if !w.shrunk[n.ID] && !within(used, roomOf(&n.Resources)) {
			w.t.Fatalf("node %s has %+v and holds %+v", n.ID, n.Resources, used)
		}
	}
}

// planLines says what a plan changes, in words.
func planLines(s *state.Snapshot, plan *state.ApplyPlan) []string {
	var out []string
	for _, r := range plan.Records {
		ports, next := 0, 0
		if j := s.Job(r.Namespace, r.JobID); j != nil && j.Group(r.TaskGroup) != nil && len(j.Group(r.TaskGroup).Networks) > 0 {
			ports = len(j.Group(r.TaskGroup).Networks[0].DynamicPorts)
		}
		for c := range r.Index {
			line := ""
			if r.Node[c] >= 0 {
				line = fmt.Sprintf("place %s.%s[%d] on %s", r.JobID, r.TaskGroup, r.Index[c], plan.Nodes[r.Node[c]].ID)
				if ports > 0 {
					line += fmt.Sprintf(" with ports %v", r.Ports[next:next+ports])
					next += ports
				}
			}
			if len(r.Stop) > 0 && r.Stop[c].AllocID != "" {
				a := s.Alloc(r.Stop[c].AllocID)
				if line != "" {
					line += ", "
				}
				line += fmt.Sprintf("stop %s on %s: %s", a.Name, a.NodeID, withoutIDs(s, r.Stop[c].Description))
			}
			if r.Atomic {
				line += " (all at once)"
			}
			out = append(out, line)
		}
	}
	for _, b := range plan.Blocked {
		if b.Blocked == nil {
			out = append(out, fmt.Sprintf("job %s is no longer blocked", b.JobID))
			continue
		}
		out = append(out, fmt.Sprintf("job %s is blocked, copies %v: %s", b.JobID, b.Blocked.Groups, b.Blocked.Reason))
	}
	return out
}

func withoutIDs(s *state.Snapshot, text string) string {
	for a := range s.Allocs() {
		text = strings.ReplaceAll(text, a.ID, "another")
	}
	return text
}
