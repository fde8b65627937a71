package state

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// idBytes is the size of an ID in a ReportRun.
const idBytes = 16

// ReportRun is what nodes say of allocations that stand alike but for the times of their tasks: a record of columns instead of a
// record each. From level 2 on.
type ReportRun struct {
	Status      string
	Description string               `json:",omitempty"`
	Tasks       map[string]TaskState `json:",omitempty"` // of all
	IDs         []byte               // 16 bytes each, the allocations' UUIDs
	Nodes       []int                `json:",omitempty"` // whose they are: positions in Report.Nodes; none in a run of one node
	// Times are the times of each allocation, in the order of the tasks' names; of a task StartedAt, FinishedAt, those of its events,
	// that of its crash, as far as they are not 0. Nanoseconds: how much later each is than the same time of the allocation before, for
	// the first than in Tasks, and that against the difference of the time before it, since what moves mostly moves together.
	Times []int64 `json:",omitempty"`
}

// ids are the IDs of a run; ok is false when its columns do not belong together.
func (r *ReportRun) ids() (ids []idKey, ok bool) {
	ids = make([]idKey, len(r.IDs)/idBytes)
	for i := range ids {
		b := r.IDs[i*idBytes:]
		ids[i] = idKey{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	}
	times := 0
	for _, ts := range r.Tasks {
		ts.eachTime(func(*int64) { times++ })
	}
	return ids, len(r.IDs)%idBytes == 0 && len(r.Times) == times*len(ids) && columnOf(len(ids), len(r.Nodes))
}

// later moves times to those of the i-th allocation of the run, which stand behind those of the one before it.
func (r *ReportRun) later(times []int64, i int) {
	var by int64
	for k := range times {
		by += r.Times[i*len(times)+k]
		times[k] += by
	}
}

// add adds an allocation; last are the times of the one before it and become its.
func (r *ReportRun) add(id idKey, times, last []int64) {
	r.IDs = id.append(r.IDs)
	var by int64
	for k, at := range times {
		r.Times = append(r.Times, at-last[k]-by)
		by, last[k] = at-last[k], at
	}
}

// unpack is the run as reports of single allocations; none when it is not whole.
func (r *ReportRun) unpack() []AllocReport {
	ids, ok := r.ids()
	if !ok {
		return nil
	}
	out := make([]AllocReport, len(ids))
	tasks, times := timeless(r.Tasks)
	states := TaskStates{shape: (*shapes)(nil).share(tasks, len(times)), times: times}
	for i, id := range ids {
		r.later(times, i)
		out[i] = AllocReport{ID: id.String(), Status: r.Status, Description: r.Description}
		if len(tasks) > 0 {
			out[i].Tasks = states.Map()
		}
	}
	return out
}

// String is the UUID's text.
func (id idKey) String() string {
	text := id.text()
	return string(text[:])
}

// text is the UUID's text.
func (id idKey) text() (out [len(lowestID)]byte) {
	var b [idBytes]byte
	id.append(b[:0])
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return out
}

// append adds the ID's 16 bytes.
func (id idKey) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, id.hi), id.lo)
}

// packer gathers allocations that stand alike into runs.
type packer struct {
	groups map[string]*packed
	order  []*packed
}

// packed is a run in the making.
type packed struct {
	run  ReportRun
	last []int64     // times of the allocation before
	one  AllocReport // the first
}

// group is the run of allocations that stand so, and their times.
func (p *packer) group(status, description string, said map[string]TaskState) (g *packed, times []int64) {
	tasks, times := timeless(said)
	key := status + "\x00" + description + "\x00" + string(marshal(tasks))
	g = p.groups[key]
	if g == nil {
		if p.groups == nil {
			p.groups = map[string]*packed{}
		}
		g = &packed{run: ReportRun{Status: status, Description: description, Tasks: said}, last: slices.Clone(times)}
		p.groups[key], p.order = g, append(p.order, g)
	}
	return g, times
}

// take adds an allocation to the run of those that stand as it does.
func (p *packer) take(a *AllocReport, id idKey) *packed {
	g, times := p.group(a.Status, a.Description, a.Tasks)
	if len(g.run.IDs) == 0 {
		g.one = *a
	}
	g.run.add(id, times, g.last)
	return g
}

// takeRun adds a run of the node at a position.
func (p *packer) takeRun(r *ReportRun, node int) {
	ids, ok := r.ids()
	if !ok { // NewsIn refuses a report with such a run before it gets here
		return
	}
	g, times := p.group(r.Status, r.Description, r.Tasks)
	for i, id := range ids {
		r.later(times, i)
		g.run.add(id, times, g.last)
		g.run.Nodes = append(g.run.Nodes, node)
	}
}

// Packed is the report with its allocations in runs of those that stand alike, where there are several. An allocation is in it once.
func (r NodeReport) Packed() NodeReport {
	var p packer
	single := make([]AllocReport, 0, len(r.Allocs))
	for i := range r.Allocs {
		if id, ok := parseID(r.Allocs[i].ID); ok {
			p.take(&r.Allocs[i], id)
		} else {
			single = append(single, r.Allocs[i])
		}
	}
	r.Runs = slices.Clip(r.Runs)
	for _, g := range p.order {
		if len(g.run.IDs) > idBytes {
			r.Runs = append(r.Runs, g.run)
		} else {
			single = append(single, g.one)
		}
	}
	r.Allocs = single
	return r
}

// PackReports is one entry for the reports of many nodes, in runs over all of them. Each node has one report in it.
func PackReports(nodes []NodeReport, at int64) Report {
	var p packer
	out := Report{Nodes: make([]NodeReport, len(nodes)), Time: at}
	for n := range nodes {
		all := &nodes[n]
		out.Nodes[n] = NodeReport{NodeID: all.NodeID, Boot: all.Boot, Seq: all.Seq}
		for i := range all.Runs {
			p.takeRun(&all.Runs[i], n)
		}
		for i := range all.Allocs {
			if id, ok := parseID(all.Allocs[i].ID); ok {
				g := p.take(&all.Allocs[i], id)
				g.run.Nodes = append(g.run.Nodes, n)
			} else {
				out.Nodes[n].Allocs = append(out.Nodes[n].Allocs, all.Allocs[i])
			}
		}
	}
	for _, g := range p.order {
		out.Runs = append(out.Runs, g.run)
	}
	return out
}

// Unpacked is the report without runs.
func (r NodeReport) Unpacked() NodeReport {
	if len(r.Runs) == 0 {
		return r
	}
	r.Allocs = slices.Clone(r.Allocs)
	for i := range r.Runs {
		r.Allocs = append(r.Allocs, r.Runs[i].unpack()...)
	}
	r.Runs = nil
	return r
}

// Size is about how many bytes the report takes in the log.
func (r *NodeReport) Size() int {
	const header, id, time, status = 128, 22, 8, 128 // most times move with the one before them
	size := header
	if len(r.Allocs) > 0 {
		size += len(marshal(r.Allocs))
	}
	for i := range r.Runs {
		run := &r.Runs[i]
		size += status + len(run.Description)*2 + len(marshal(run.Tasks)) + len(run.IDs)/idBytes*id + len(run.Times)*time
	}
	return size
}

// Len is how many allocations the report is about.
func (r *NodeReport) Len() int {
	n := len(r.Allocs)
	for i := range r.Runs {
		n += len(r.Runs[i].IDs) / idBytes
	}
	return n
}

// NewsIn is a report without the allocations that the state knows to have ended, or an error when it is not whole.
func (s *Snapshot) NewsIn(r NodeReport) (NodeReport, error) {
	if err := (Report{Nodes: []NodeReport{r}}).validate(); err != nil {
		return r, err
	}
	if slices.ContainsFunc(r.Runs, func(run ReportRun) bool {
		if run.Status != ClientComplete && run.Status != ClientFailed {
			return false // that is not repeated
		}
		ids, _ := run.ids()
		return slices.ContainsFunc(ids, s.ended)
	}) {
		r = r.Unpacked()
	}
	r.Allocs = slices.DeleteFunc(slices.Clone(r.Allocs), func(a AllocReport) bool {
		id, ok := parseID(a.ID)
		return ok && s.ended(id)
	})
	return r, nil
}

// ended reports whether an allocation is known to have ended.
func (s *Snapshot) ended(id idKey) bool {
	_, row := s.allocs.find(id)
	return row != nil && row.TerminalClient()
}

// validate refuses runs whose columns do not belong together: applying would ignore them.
func (c Report) validate() error {
	for i := range c.Runs {
		if _, ok := c.Runs[i].ids(); !ok || !c.Runs[i].of(len(c.Nodes)) {
			return fmt.Errorf("run %d of the report: columns do not belong together: %w", i, ErrInvalid)
		}
	}
	for i := range c.Nodes {
		for k := range c.Nodes[i].Runs {
			if _, ok := c.Nodes[i].Runs[k].ids(); !ok {
				return fmt.Errorf("run %d of the report of node %q: columns do not belong together: %w", k, truncate(c.Nodes[i].NodeID, maxNameBytes), ErrInvalid)
			}
		}
	}
	return nil
}

// of reports whether a run over several nodes says of each allocation which of them it is of.
func (r *ReportRun) of(nodes int) bool {
	return len(r.Nodes) > 0 && !slices.ContainsFunc(r.Nodes, func(n int) bool { return n < 0 || n >= nodes })
}
