package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// planBytes bounds the encoded size of a plan: half of what one Raft entry may hold. Only an all_at_once group may be larger.
const (
	planBytes  = state.MaxCommandBytes / 2
	wholeBytes = state.MaxCommandBytes * 9 / 10
)

// Upper bounds of what a copy costs in an encoded plan, names not counted.
const (
	placeBytes  = 24
	portBytes   = 6
	coreBytes   = 5
	deviceBytes = 3 + 6*128 // with the name of the instance, whatever characters it has
	nodeBytes   = 64
	nodeIDBytes = 36
	emptyBytes  = 130 // of a copy that stops and follows nothing, in a record of others that do
	stopBytes   = 120
	eventBytes  = 180
	recordBytes = 240
	blockBytes  = 240
	namedBytes  = planBytes / 4 // a copy whose cores and devices take more is not placed
)

// planner collects what one pass changes, in columns, within the bounds of one plan.
type planner struct {
	plan      state.ApplyPlan
	positions *census // position in the plan's nodes by the node's place in the fleet, counted from 1
	copies    int
	bytes     int
	maxCopies int
	unbounded bool // a plan that nobody will carry out
}

// newPlanner returns a planner of so many copies at most, with a census of its own.
func newPlanner(maxCopies int, positions *census) *planner {
	return &planner{positions: positions, maxCopies: maxCopies}
}

func (p *planner) empty() bool { return len(p.plan.Records) == 0 && len(p.plan.Blocked) == 0 }

// young reports whether the plan changes no copy yet, and says little else.
func (p *planner) young() bool { return p.copies == 0 && p.bytes < planBytes/4 }

// full reports whether there is no room for more in the plan.
func (p *planner) full() bool { return !p.holds(p.copies, p.bytes) }

// holds reports whether a plan of so many copies and bytes may grow.
func (p *planner) holds(copies, bytes int) bool {
	return p.unbounded || (copies < p.maxCopies && bytes <= planBytes)
}

// admitStops is how many of some stops there is room for.
func (p *planner) admitStops(stops []stop) int {
	bytes := p.bytes + 2*recordBytes
	for i, s := range stops {
		bytes += placeBytes + stopCost(s.alloc, s.description)
		if !p.holds(p.copies+i, bytes) {
			return i
		}
	}
	return len(stops)
}

// admit is how many of some requests there is room for.
func (p *planner) admit(a *ask, reqs []request) int {
	bytes := p.bytes + 3*recordBytes
	for i := range reqs {
		bytes += requestCost(a, &reqs[i]) + nodeBytes + nodeIDBytes // each may be on a node of its own
		if !p.holds(p.copies+i, bytes) {
			return i
		}
	}
	return len(reqs)
}

// holdsWhole reports whether all of some requests fit into one record. Columns that only some of them need are counted for all.
func (p *planner) holdsWhole(f *fleet, a *ask, reqs []request) bool {
	bytes := p.bytes + recordBytes + 3*f.longestID + min(len(reqs), len(f.nodes))*(nodeBytes+f.longestID) + len(reqs)*emptyBytes
	for i := range reqs {
		bytes += requestCost(a, &reqs[i])
	}
	return p.unbounded || bytes <= wholeBytes
}

func requestCost(a *ask, r *request) int {
	n := placeBytes + portBytes*a.dynamic + a.named
	if r.stop != nil {
		n += stopCost(r.stop, r.why().description)
	}
	if r.follows() {
		n += eventBytes
	}
	return n
}

func stopCost(a *state.Alloc, description string) int {
	return stopBytes + len(a.ID) + 2*len(description)
}

// node is the position in the plan of the node at a place.
func (p *planner) node(f *fleet, at int) int {
	pos := p.positions.on(at) - 1
	if pos < 0 {
		pos = len(p.positions.places)
		p.positions.add(at, pos+1)
		p.bytes += nodeBytes + f.longestID
	}
	return pos
}

// nodes are those of the plan. They are looked up together: what is far from each other in memory comes at once then.
func (p *planner) nodes(f *fleet) []state.NodeRef {
	out := make([]state.NodeRef, len(p.positions.places))
	for i, at := range p.positions.places {
		out[i] = f.nodes[at].ref
	}
	return out
}

func (p *planner) record(job *state.Job, group string) *state.PlanRecord {
	p.bytes += recordBytes + len(job.Namespace) + len(job.ID) + len(group)
	p.plan.Records = append(p.plan.Records, state.PlanRecord{
		Namespace: job.Namespace, JobID: job.ID, JobModifyIndex: job.JobModifyIndex, TaskGroup: group,
	})
	return &p.plan.Records[len(p.plan.Records)-1]
}

// stop adds stops that nothing replaces, a record for each run of one group.
func (p *planner) stop(job *state.Job, stops []stop) {
	var rec *state.PlanRecord
	for _, s := range stops {
		if rec == nil || rec.TaskGroup != s.alloc.TaskGroup {
			rec = p.record(job, s.alloc.TaskGroup)
		}
		rec.Index = append(rec.Index, -1)
		rec.Node = append(rec.Node, -1)
		rec.Stop = append(rec.Stop, stopRef(s.alloc, s.description))
		p.copies++
		p.bytes += placeBytes + stopCost(s.alloc, s.description)
	}
}

func stopRef(a *state.Alloc, description string) state.StopRef {
	return state.StopRef{AllocID: a.ID, ModifyIndex: a.ModifyIndex, Desired: state.DesiredStop, Description: description}
}

// shape says which columns a placement needs. Copies of one shape share a record, so that a plain run of copies costs a few
// bytes each.
type shape struct{ stops, follows bool }

// place adds placements of one group: one record per shape, or a single one that is applied whole.
func (p *planner) place(f *fleet, a *ask, placed []placement, atomic bool) {
	shapes := []shape{{}, {stops: true}, {stops: true, follows: true}}
	if atomic {
		shapes = []shape{{
			stops:   slices.ContainsFunc(placed, func(r placement) bool { return r.stop != nil }),
			follows: slices.ContainsFunc(placed, func(r placement) bool { return r.follows() }),
		}}
	}
	for _, want := range shapes {
		var rec *state.PlanRecord
		for i := range placed {
			r := &placed[i]
			has := shape{stops: r.stop != nil, follows: r.follows()}
			if !atomic && has != want {
				continue
			}
			if rec == nil {
				rec = p.record(a.job, a.group.Name)
				rec.Index, rec.Node, rec.Atomic = make([]int, 0, len(placed)), make([]int, 0, len(placed)), atomic
			}
			p.add(rec, f, r, want)
			p.bytes += requestCost(a, r.request)
		}
	}
}

func (p *planner) add(rec *state.PlanRecord, f *fleet, r *placement, s shape) {
	rec.Index = append(rec.Index, r.index)
	rec.Node = append(rec.Node, p.node(f, r.pos))
	if r.names != nil {
		rec.Ports = append(rec.Ports, r.names.ports...)
		rec.Cores = append(rec.Cores, r.names.pieces.cores...)
		rec.Devices = append(rec.Devices, r.names.pieces.devices...)
	}
	if s.stops {
		var ref state.StopRef
		if r.stop != nil {
			ref = stopRef(r.stop, r.why().description)
		}
		rec.Stop = append(rec.Stop, ref)
	}
	if s.follows {
		rec.Reschedule = append(rec.Reschedule, r.why().event)
	}
	p.copies++
}

// block adds a change of why a job's copies cannot be placed.
func (p *planner) block(job *state.Job, b *state.Blocked) {
	p.plan.Blocked = append(p.plan.Blocked, state.BlockedChange{
		Namespace: job.Namespace, JobID: job.ID, JobModifyIndex: job.JobModifyIndex, Blocked: b,
	})
	p.bytes += blockBytes + len(job.Namespace) + len(job.ID)
	if b != nil {
		p.bytes += 2 * len(b.Reason)
		for g := range b.Groups {
			p.bytes += len(g) + 16
		}
	}
}

// mass tells whether two looks at the planner saw the same plan.
type mass struct{ records, blocked, copies int }

func (p *planner) size() mass {
	return mass{len(p.plan.Records), len(p.plan.Blocked), p.copies}
}
