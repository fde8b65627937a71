package sched

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// TestTheLaw plays random histories against a real store and then, at a fixed time and with no outside event, repeats decide +
// apply: nothing is ever refused, no node is over-committed, each pass makes progress, and there is an end after as many passes
// as the work needs, from which neither this cursor nor a fresh one sees anything left to do.
func TestTheLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := Options{
			PlanCopies: rapid.SampledFrom([]int{1, 3, 50}).Draw(t, "plan copies"),
			Algorithm:  rapid.SampledFrom([]Algorithm{BinPack, Spread}).Draw(t, "algorithm"),
		}
		h := &history{t: t, w: newWorld(t, opts)}
		for range rapid.IntRange(1, 6).Draw(t, "nodes") {
			h.addNode()
		}
		for range rapid.IntRange(5, 40).Draw(t, "events") {
			h.event()
			h.w.checkCapacity()
			h.checkSlots()
		}
		h.checkEnd(opts)
		h.checkFleet()
		h.checkExplanations()
		h.checkRepeatable()
	})
}

// history plays random events.
type history struct {
	t     *rapid.T
	w     *world
	nodes int
	last  *state.ApplyPlan
}

func (h *history) addNode() {
	h.nodes++
	h.w.node(fmt.Sprintf("n%d", h.nodes), func(n *state.Node) {
		n.Resources.CPU = rapid.SampledFrom([]int{400, 1000, 4000}).Draw(h.t, "cpu")
		n.Resources.MemoryMB = rapid.SampledFrom([]int{500, 1000, 4000}).Draw(h.t, "memory")
		n.Resources.MaxDynamicPort = n.Resources.MinDynamicPort + rapid.IntRange(0, 4).Draw(h.t, "ports")
		n.Attributes["arch"] = rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(h.t, "arch")
		n.Datacenter = rapid.SampledFrom([]string{"dc1", "dc1", "dc2"}).Draw(h.t, "datacenter")
		n.Meta = map[string]string{"rack": rapid.SampledFrom([]string{"r1", "r2"}).Draw(h.t, "rack")}
		h.randomPieces(n)
	})
}

// event is one thing that may happen to a cluster.
func (h *history) event() {
	w := h.w
	switch rapid.SampledFrom([]string{
		"register", "register", "pass", "pass", "pass", "obey", "report", "report", "node", "node", "wait", "stop", "move",
		"eligibility", "lost plan", "replay", "old cursor", "add node", "garbage", "config", "lead",
	}).Draw(h.t, "event") {
	case "register":
		w.register(h.randomJob())
	case "pass":
		plan, result, _ := w.pass()
		if h.last = plan; plan != nil && len(result.Dropped) > 0 {
			h.t.Fatalf("plan on an unchanged snapshot was refused: %+v", result.Dropped)
		}
	case "obey":
		w.obey()
	case "report":
		if a := h.anyAlloc(); a != nil && w.snap().Node(a.NodeID) != nil {
			w.report(a, rapid.SampledFrom([]string{"running", "failed", "complete"}).Draw(h.t, "status"))
		}
	case "node":
		h.changeNode(fmt.Sprintf("n%d", rapid.IntRange(1, h.nodes).Draw(h.t, "node")))
	case "wait":
		w.now += int64(rapid.SampledFrom([]time.Duration{time.Second, 40 * time.Second, time.Hour, 25 * time.Hour}).Draw(h.t, "wait"))
	case "stop":
		if j := h.anyJob(); j != nil {
			w.must(state.StopJob{Namespace: j.Namespace, JobID: j.ID, Purge: rapid.Bool().Draw(h.t, "purge"), Time: w.now})
		}
	case "move":
		if a := h.anyAlloc(); a != nil && !a.TerminalClient() {
			w.must(state.StopAlloc{AllocID: a.ID, Time: w.now})
		}
	case "eligibility":
		name := fmt.Sprintf("n%d", rapid.IntRange(1, h.nodes).Draw(h.t, "node"))
		if w.snap().Node(name) != nil {
			e := rapid.SampledFrom([]string{state.NodeEligible, state.NodeIneligible}).Draw(h.t, "eligibility")
			w.must(state.SetEligibility{NodeID: name, Eligibility: e, Time: w.now})
		}
	default:
		h.mishap()
	}
}

// mishap is what may happen to a leader.
func (h *history) mishap() {
	w := h.w
	switch rapid.SampledFrom([]string{"lost plan", "replay", "old cursor", "add node", "garbage", "lead"}).Draw(h.t, "mishap") {
	case "lost plan": // the entry never made it into the log
		_, w.cur, _ = Reconcile(w.snap(), w.cur, w.now)
	case "replay": // the entry was thought lost and came through later
		if h.last != nil && h.last.Term == w.term {
			w.must(*h.last)
		}
	case "old cursor": // the commands of a pass were applied, and the next one began from the cursor before
		old := w.cur
		w.pass()
		w.cur = old
	case "add node":
		h.addNode()
	case "garbage":
		age := time.Duration(rapid.IntRange(0, 30).Draw(h.t, "age")) * time.Hour
		cmds, wake := Garbage(w.snap(), w.now+int64(age))
		if plain, plainWake := plainGarbage(w.snap(), w.now+int64(age)); !reflect.DeepEqual(sorted(cmds), sorted(plain)) || wake != plainWake {
			h.t.Fatalf("garbage: %+v, wake %d; who reads every row finds %+v, wake %d", cmds, wake, plain, plainWake)
		}
		cmds, _ = Garbage(w.snap(), w.now)
		for _, cmd := range cmds {
			w.must(cmd)
		}
	case "config":
		w.must(state.SetSchedulerConfig{Time: w.now, Config: state.SchedulerConfig{
			SchedulerAlgorithm:            rapid.SampledFrom([]string{state.AlgorithmBinPack, state.AlgorithmSpread}).Draw(h.t, "cluster's algorithm"),
			MemoryOversubscriptionEnabled: rapid.Bool().Draw(h.t, "oversubscription"),
		}})
	case "lead":
		w.term++
		w.must(state.Lead{NodeID: "leader", Time: w.now})
		w.cur = NewCursor(w.cur.opts)
	}
}

func (h *history) changeNode(name string) {
	n := h.w.snap().Node(name)
	if n == nil {
		return
	}
	switch to := rapid.SampledFrom([]string{"ready", "down", "disconnected", "register", "shrink"}).Draw(h.t, "to"); to {
	case "register":
		h.w.comeBack(name)
	case "ready":
		if n.Status == state.NodeStatusDown {
			h.w.comeBack(name)
			return
		}
		h.w.status(name, to)
	case "shrink":
		m := *n
		m.Boot++
		m.Resources.ReservedPorts = []int{8080}
		m.Resources.CPU = max(100, m.Resources.CPU/2)
		m.Resources.Cores = m.Resources.Cores[:len(m.Resources.Cores)/2]
		m.Resources.Devices = nil
		h.w.shrunk[name] = true
		h.w.must(state.RegisterNode{Node: &m, Time: h.w.now})
	default:
		h.w.status(name, to)
	}
}

func (h *history) anyAlloc() *state.Alloc {
	all := slices.Collect(h.w.snap().Allocs())
	if len(all) == 0 {
		return nil
	}
	return rapid.SampledFrom(all).Draw(h.t, "allocation")
}

func (h *history) anyJob() *state.Job {
	all := slices.Collect(h.w.snap().Jobs())
	if len(all) == 0 {
		return nil
	}
	return rapid.SampledFrom(all).Draw(h.t, "job")
}

func (h *history) randomJob() *state.Job {
	t := h.t
	name := rapid.SampledFrom([]string{"j1", "j2", "j3", "j4"}).Draw(t, "name")
	return job(name, func(j *state.Job) {
		if j.ID == "j4" {
			j.Type = state.JobTypeBatch
		}
		j.Priority = rapid.IntRange(1, 3).Draw(t, "priority")
		j.AllAtOnce = rapid.IntRange(0, 4).Draw(t, "all at once") == 0
		j.Datacenters = rapid.SampledFrom([][]string{{"*"}, {"dc1"}}).Draw(t, "datacenters")
		if rapid.IntRange(0, 2).Draw(t, "two groups") == 0 {
			j.TaskGroups = append(j.TaskGroups, group("side"))
		}
		if rapid.IntRange(0, 5).Draw(t, "job limit") == 0 {
			j.Constraints = []state.Constraint{{Operand: state.OperandDistinctHosts}}
		}
		for i := range j.TaskGroups {
			h.randomGroup(&j.TaskGroups[i])
			h.randomWishes(&j.TaskGroups[i])
		}
		if rapid.IntRange(0, 5).Draw(t, "job spread") == 0 {
			j.Spreads = []state.Spread{randomSpread(t)}
		}
	})
}

func (h *history) randomGroup(g *state.TaskGroup) {
	t := h.t
	g.Count = rapid.IntRange(0, 5).Draw(t, "count")
	g.Update.MaxParallel = rapid.IntRange(0, 2).Draw(t, "max parallel")
	task := &g.Tasks[0]
	task.Resources.CPU = rapid.SampledFrom([]int{50, 200, 500}).Draw(t, "cpu")
	task.Resources.MemoryMB = rapid.SampledFrom([]int{50, 300, 900}).Draw(t, "memory")
	task.Config = map[string]any{"image": rapid.SampledFrom([]string{"v1", "v2"}).Draw(t, "image")}
	g.ReschedulePolicy = rapid.SampledFrom([]state.ReschedulePolicy{
		{},
		{Attempts: 2, Interval: time.Hour, Delay: 5 * time.Second, DelayFunction: state.DelayConstant},
		{Unlimited: true, Delay: 5 * time.Second, MaxDelay: time.Minute, DelayFunction: state.DelayFibonacci},
	}).Draw(t, "reschedule")
	switch rapid.IntRange(0, 6).Draw(t, "constraint") {
	case 0:
		g.Constraints = []state.Constraint{{LTarget: "${attr.arch}", Operand: "=", RTarget: "arm64"}}
	case 1:
		g.Constraints = []state.Constraint{{Operand: state.OperandDistinctHosts}}
	case 2:
		g.Constraints = []state.Constraint{{LTarget: "${meta.rack}", Operand: state.OperandDistinctProperty, RTarget: "2"}}
	case 3:
		g.Constraints = []state.Constraint{{LTarget: "${attr.unique.hostname}", Operand: "!=", RTarget: "n1"}}
	}
	switch rapid.IntRange(0, 4).Draw(t, "network") {
	case 0:
		g.Networks = []state.Network{{Mode: "host", ReservedPorts: []state.Port{{Label: "http", Value: 8080}}}}
	case 1:
		g.Networks = []state.Network{{Mode: "host", ReservedPorts: []state.Port{{Label: "a", Value: 20001}}, DynamicPorts: []state.Port{{Label: "b"}, {Label: "c"}}}}
	}
}

// checkSlots fails when a slot has two live copies, or a copy is live where none is wanted and nothing will stop it.
func (h *history) checkSlots() {
	seen := map[string]string{}
	s := h.w.snap()
	for a := range s.Allocs() {
		if !s.Live(a) {
			continue
		}
		if other := seen[a.Name]; other != "" {
			h.t.Fatalf("%s has two live copies, %s and %s", a.Name, other, a.ID)
		}
		seen[a.Name] = a.ID
	}
}

// checkEnd repeats decide + apply at a fixed time.
func (h *history) checkEnd(opts Options) {
	w := h.w
	passes, work, alone := 0, 0, 0
	for j := range w.snap().Jobs() {
		if j.AllAtOnce { // such a group closes the plan before it, and has one for itself
			alone += 2 * len(j.TaskGroups)
		}
	}
	for {
		before := w.snap()
		plan, result, _ := w.pass()
		if plan == nil {
			break
		}
		if len(result.Dropped) > 0 {
			h.t.Fatalf("plan on an unchanged snapshot was refused: %+v", result.Dropped)
		}
		h.t.Logf("pass %d: %s", passes, planLines(before, plan))
		copies := 0
		for _, r := range plan.Records {
			copies += len(r.Index)
		}
		if result.Placed+result.Stopped != countChanges(plan) || (copies == 0 && len(plan.Blocked) == 0) {
			h.t.Fatalf("a pass of %d copies placed %d and stopped %d", copies, result.Placed, result.Stopped)
		}
		w.checkCapacity()
		h.checkSlots()
		passes, work = passes+1, work+copies
		if limit := (work+opts.PlanCopies-1)/opts.PlanCopies + 1 + alone; passes > limit {
			h.t.Fatalf("%d passes for %d copies, %d to a plan", passes, work, opts.PlanCopies)
		}
	}
	cmds, _, wake := Reconcile(w.snap(), NewCursor(opts), w.now)
	if len(cmds) != 0 {
		for j := range w.snap().Jobs() {
			h.t.Logf("job %s, blocked %+v, mark %+v", j.ID, j.Blocked, w.cur.agenda.get(state.JobKey{Namespace: j.Namespace, ID: j.ID}))
		}
		h.t.Fatalf("a fresh cursor sees more to do: %v", planLines(w.snap(), ptr(cmds[0].(state.ApplyPlan))))
	}
	_, w.cur, _ = Reconcile(w.snap(), w.cur, w.now)
	if _, _, mine := Reconcile(w.snap(), w.cur, w.now); mine != wake {
		h.t.Fatalf("wakes at %d, a fresh cursor at %d: %+v", mine, wake, w.cur.agenda.marks.Items())
	}
}

func ptr[T any](v T) *T { return &v }

// countChanges is what the store counts for a plan: copies placed, and copies told to stop that were not told before.
func countChanges(plan *state.ApplyPlan) int {
	n := 0
	for _, r := range plan.Records {
		for c := range r.Index {
			if r.Node[c] >= 0 {
				n++
			}
			if len(r.Stop) > 0 && r.Stop[c].AllocID != "" {
				n++
			}
		}
	}
	return n
}

// checkFleet fails when the fleet that was moved forward differs from one built from scratch.
func (h *history) checkFleet() {
	got, want := h.w.cur.fleet, newFleet(h.w.snap())
	got.take()
	if len(got.nodes) != len(want.nodes) {
		h.t.Fatalf("the fleet has %d nodes, from scratch %d", len(got.nodes), len(want.nodes))
	}
	for i := range got.nodes {
		a, b := got.opening(i), want.opening(i)
		if a.node != b.node || a.free != b.free || !a.stock.covers(b.stock) || !b.stock.covers(a.stock) || !slices.Equal(a.shed, b.shed) || a.heldUntil != b.heldUntil || a.class.key != b.class.key || !a.ports.Covers(b.ports) || !b.ports.Covers(a.ports) {
			h.t.Fatalf("node %s: the fleet says %+v, from scratch %+v", a.node.ID, a, b)
		}
		if got.rows[i].heft != want.rows[i].heft || got.works(i) != want.works(i) || got.sizes[a.class.id] != sizeOf(a.node) || got.dynamic[i] != want.dynamic[i] || got.classes[a.class.key].id != got.rows[i].classID() || got.position(a.node.ID) != i {
			h.t.Fatalf("node %s: the columns of the fleet differ from those from scratch", a.node.ID)
		}
	}
	if !slices.Equal(got.flapping, want.flapping) || !slices.Equal(got.shrunk, want.shrunk) {
		h.t.Fatalf("odd nodes are %v and %v, from scratch %v and %v", got.flapping, got.shrunk, want.flapping, want.shrunk)
	}
}

// checkExplanations fails when an explanation and placement disagree.
func (h *history) checkExplanations() {
	s := h.w.snap()
	for j := range s.Jobs() {
		e := Explain(s, j.Namespace, j.ID, h.w.now)
		for _, g := range e.Groups {
			if g.Unplaced > 0 && g.NodesFeasible > 0 {
				h.t.Fatalf("job %s group %s: %d copies unplaced, %d nodes feasible", j.ID, g.TaskGroup, g.Unplaced, g.NodesFeasible)
			}
			if g.Unplaced > 0 && g.NodesEvaluated > 0 && (len(g.Reasons) == 0 || g.NearestMiss == nil || len(g.Suggestions) == 0) {
				h.t.Fatalf("job %s group %s is unplaced without a reason: %+v", j.ID, g.TaskGroup, g)
			}
			if j.Blocked != nil && j.Blocked.Groups[g.TaskGroup] > g.Unplaced {
				h.t.Fatalf("job %s group %s: blocked %d, explained %d", j.ID, g.TaskGroup, j.Blocked.Groups[g.TaskGroup], g.Unplaced)
			}
		}
		h.checkFilters(j)
	}
}

// checkFilters fails when explanations and placement judge one node differently.
func (h *history) checkFilters(j *state.Job) {
	p := alone(h.w.snap(), h.w.now, BinPack)
	out := p.prepare(diffJob(h.w.snap(), j, p.shed, h.w.now))
	for _, g := range out.groups {
		q := p.ledger.newPlacer(g.ask, out.usage, 0, 1)
		for pos := range p.ledger.fleet.nodes {
			if ms := p.ledger.misses(g.ask, out.usage, pos); (len(ms) == 0) != q.possible(pos) {
				h.t.Fatalf("job %s on %s: possible is %v, the filters that say no are %v", j.ID, p.ledger.fleet.nodes[pos].node.ID, q.possible(pos), ms)
			}
		}
	}
}

// checkRepeatable fails when the same input gives another answer, or a dry run changes anything.
func (h *history) checkRepeatable() {
	w := h.w
	j := h.randomJob()
	if old := w.snap().Job(j.Namespace, j.ID); old != nil {
		j.Type = old.Type
	}
	before := w.snap().Hash()
	view := w.cur.opts.DryRun(w.snap(), j, w.now)
	if !reflect.DeepEqual(view, w.cur.opts.DryRun(w.snap(), j, w.now)) {
		h.t.Fatal("a dry run answered differently the second time")
	}
	if !reflect.DeepEqual(w.snap().Hash(), before) {
		h.t.Fatal("a dry run changed the state")
	}
	w.register(j)
	a, nextA, wakeA := Reconcile(w.snap(), w.cur, w.now)
	b, nextB, wakeB := Reconcile(w.snap(), w.cur, w.now)
	if !reflect.DeepEqual(a, b) || wakeA != wakeB || nextA.agenda.marks.Len() != nextB.agenda.marks.Len() {
		h.t.Fatal("the same snapshot, cursor and time gave two answers")
	}
	h.checkDryRun(view, a, j)
}

// checkDryRun fails when a dry run foretold other numbers than what then happened, bounds aside.
func (h *history) checkDryRun(view *state.PlanView, cmds []state.Command, j *state.Job) {
	if h.w.cur.opts.PlanCopies < 50 {
		return
	}
	places, stops := 0, 0
	for _, cmd := range cmds {
		for _, r := range cmd.(state.ApplyPlan).Records {
			if r.JobID != j.ID {
				continue
			}
			for c := range r.Index {
				if r.Node[c] >= 0 {
					places++
				}
				if len(r.Stop) > 0 && r.Stop[c].AllocID != "" {
					stops++
				}
			}
		}
	}
	if len(view.Placements) != places || len(view.Stops) != stops {
		h.t.Fatalf("the dry run said %d placements and %d stops, there are %d and %d", len(view.Placements), len(view.Stops), places, stops)
	}
}
