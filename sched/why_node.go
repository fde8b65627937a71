package sched

import (
	"cmp"
	"math"
	"slices"

	"github.com/drover-io/drover/state"
)

// What one answer of ExplainNode may cost.
const (
	maxNodeGroups = 200     // groups that are held against the node
	maxNodeAllocs = 100_000 // allocations that are counted for their limits
	maxMore       = 10_000  // copies of one group that are said to fit: more than a group may have
)

// nodeWhy is one answer in the making.
type nodeWhy struct {
	snap   *state.Snapshot
	ledger *ledger
	here   map[state.JobKey]map[string]int // live copies on the node
	allocs int                             // counted so far
}

// ExplainNode answers what could still fit on a node: what is free, for each job that is blocked whether it would fit and what
// excludes it, and how many more copies of each group there is room for. It returns nil when there is no such node.
func ExplainNode(snap *state.Snapshot, id string, now int64) *state.NodeExplanation {
	n := snap.Node(id)
	if n == nil {
		return nil
	}
	f := fleetOf(snap, []*state.Node{n})
	w := &nodeWhy{snap: snap, ledger: newLedger(f, newMemory(), now), here: map[state.JobKey]map[string]int{}}
	for a := range snap.AllocsByNode(id) {
		if snap.Live(a) && !a.TerminalDesired() {
			key := state.JobKey{Namespace: a.Namespace, ID: a.JobID}
			if w.here[key] == nil {
				w.here[key] = map[string]int{}
			}
			w.here[key][a.TaskGroup]++
		}
	}
	e := &state.NodeExplanation{
		NodeID: n.ID, NodeName: n.Name, Status: n.Status, SchedulingEligibility: n.Eligibility, Problems: w.problems(),
		Total: roomView(roomOf(&n.Resources), &n.Resources, nil, nil), Free: roomView(f.free(0), &n.Resources, f.stocks[0], f.ports[0]),
	}
	w.groups(e)
	return e
}

// problems says why the node takes no new work at all.
func (w *nodeWhy) problems() []string {
	var out []string
	nobody := &ask{job: &state.Job{NodePool: state.NodePoolAll}, group: &state.TaskGroup{}}
	for _, m := range w.ledger.misses(nobody, w.ledger.newUsage(nil), 0) {
		switch m.filter {
		case filterStatus, filterEligibility, filterFlapping:
			out = append(out, w.ledger.sentence(m, nobody, 0))
		}
	}
	return out
}

// roomView shows an amount of everything; nothing is taken where taken and ports are nil.
func roomView(r room, of *state.NodeResources, taken *stock, ports *state.PortSet) state.NodeRoom {
	out := state.NodeRoom{CPU: r.CPU, MemoryMB: r.MemoryMB, DiskMB: r.DiskMB, Cores: len(taken.freeCores(of))}
	if lo, hi := max(1, of.MinDynamicPort), min(65535, of.MaxDynamicPort); hi >= lo {
		out.DynamicPorts = hi - lo + 1 - ports.TakenBetween(lo, hi)
	}
	for i := range of.Devices {
		d := &of.Devices[i]
		out.Devices = append(out.Devices, state.DeviceRoom{ID: d.ID(), Instances: len(taken.freeInstances(d)), Shared: d.Shared})
	}
	return out
}

// groups holds the groups of all jobs against the node: those that are blocked first, then by priority.
func (w *nodeWhy) groups(e *state.NodeExplanation) {
	var jobs []*state.Job
	for j := range w.snap.Jobs() {
		if !j.Stop {
			jobs = append(jobs, j)
		}
	}
	slices.SortStableFunc(jobs, func(a, b *state.Job) int {
		return cmp.Or(sign(a.Blocked != nil && b.Blocked == nil, a.Blocked == nil && b.Blocked != nil), cmp.Compare(b.Priority, a.Priority))
	})
	seen := 0
	for _, j := range jobs {
		if seen += len(j.TaskGroups); seen > maxNodeGroups || w.allocs > maxNodeAllocs {
			e.LeftOut += len(j.TaskGroups)
			continue
		}
		for _, fit := range w.job(j) {
			if fit.Unplaced > 0 {
				e.Blocked = append(e.Blocked, fit)
			} else {
				e.Groups = append(e.Groups, fit)
			}
		}
	}
}

// job holds the groups of one job against the node.
func (w *nodeWhy) job(j *state.Job) []state.NodeFit {
	var asks []*ask
	limited := false
	for i := range j.TaskGroups {
		a := newAsk(j, &j.TaskGroups[i])
		asks, limited = append(asks, a), limited || len(a.limits) > 0
	}
	u := w.ledger.newUsage(asks)
	if limited {
		for a := range w.snap.AllocsByJob(j.Namespace, j.ID) {
			w.allocs++
			if n := w.snap.Node(a.NodeID); n != nil && w.snap.Live(a) && !a.TerminalDesired() {
				u.addAway(a.TaskGroup, n, 1)
			}
		}
	}
	var out []state.NodeFit
	for _, a := range asks {
		fit := state.NodeFit{
			Namespace: j.Namespace, JobID: j.ID, TaskGroup: a.group.Name,
			Here: w.here[state.JobKey{Namespace: j.Namespace, ID: j.ID}][a.group.Name],
		}
		if j.Blocked != nil {
			fit.Unplaced = j.Blocked.Groups[a.group.Name]
		}
		for _, m := range w.ledger.misses(a, u, 0) {
			fit.Failed = append(fit.Failed, w.ledger.sentence(m, a, 0))
			fit.LimitedBy = cmp.Or(fit.LimitedBy, m.filter)
		}
		if len(fit.Failed) == 0 {
			fit.More, fit.LimitedBy = w.more(a, u)
		}
		out = append(out, fit)
	}
	return out
}

// more is how many copies of a group fit beside what is on the node, and what ends it.
func (w *nodeWhy) more(a *ask, u *usage) (n int, by string) {
	l, node := w.ledger, w.ledger.fleet.nodes[0].node
	n = maxMore
	least := func(filter string, fits int) {
		if fits < n {
			n, by = fits, filter
		}
	}
	want, free := a.on(node), l.free(0)
	least(filterCPU, times(want.CPU, free.CPU))
	least(filterMemory, times(want.MemoryMB, free.MemoryMB))
	least(filterDisk, times(want.DiskMB, free.DiskMB))
	least(filterCores, times(a.cores, len(l.stocks[0].freeCores(&node.Resources))))
	if len(a.static) > 0 {
		least(filterPort, 1)
	}
	if a.dynamic > 0 {
		least(filterPort, times(a.dynamic, freeDynamic(a, node, l.ports[0])))
	}
	for _, lim := range a.limits {
		filter := filterProperty
		if lim.hosts {
			filter = filterHosts
		}
		v, _ := lim.value(node)
		least(filter, lim.max-u.counted(lim, 0, v))
	}
	if len(a.devices) > 0 {
		least(filterDevice, timesDevices(a, &node.Resources, l.stocks[0], n))
	}
	return n, by
}

// times is how often an ask goes into what is free.
func times(want, free int) int {
	if want <= 0 {
		return math.MaxInt
	}
	return free / want
}

// timesDevices is how often the devices of a copy can be given, at most limit times. Devices that can be shared never end.
func timesDevices(a *ask, of *state.NodeResources, taken *stock, limit int) int {
	for n := range limit {
		ids, _, ok := findDevices(a.devices, of, taken)
		if !ok {
			return n
		}
		next := taken.with(of, pieces{devices: ids})
		if next == taken {
			return limit
		}
		taken = next
	}
	return limit
}

// round keeps three digits: what an explanation shows need not be exact, and must not differ by the order of a sum.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }
