package state

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// idBytes is the size of an ID in a ReportRun.
const idBytes = 16

// ReportRun is what a node says of allocations that stand alike but for the times of their tasks: a record of columns instead of a
// record each. From level 2 on.
type ReportRun struct {
	Status      string
	Description string               `json:",omitempty"`
	Tasks       map[string]TaskState `json:",omitempty"` // of all
	IDs         []byte               // 16 bytes each, the allocations' UUIDs
	// Times are how much later the times in Tasks are, for each allocation against the one before it, for the first against Tasks: in
	// the order of the tasks' names; of a task StartedAt, FinishedAt, those of its events, that of its crash. Nanoseconds.
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
	return ids, len(r.IDs)%idBytes == 0 && len(r.Times) == times*len(ids)
}

// unpack is the run as reports of single allocations; none when it is not whole.
func (r *ReportRun) unpack() []AllocReport {
	ids, ok := r.ids()
	if !ok {
		return nil
	}
	out := make([]AllocReport, len(ids))
	tasks, now := timeless(r.Tasks)
	for i, id := range ids {
		for k := range now {
			now[k] += r.Times[i*len(now)+k]
		}
		out[i] = AllocReport{ID: id.String(), Status: r.Status, Description: r.Description}
		if len(tasks) == 0 {
			continue
		}
		out[i].Tasks = make(map[string]TaskState, len(tasks))
		rest := now
		for _, name := range slices.Sorted(maps.Keys(tasks)) {
			ts := tasks[name]
			ts = ts.clone()
			ts.eachTime(func(at *int64) { *at, rest = rest[0], rest[1:] })
			out[i].Tasks[name] = ts
		}
	}
	return out
}

// String is the UUID's text.
func (id idKey) String() string {
	var b [idBytes]byte
	return uuidText(id.append(b[:0]))
}

// append adds the ID's 16 bytes.
func (id idKey) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, id.hi), id.lo)
}

// uuidText is the text of a UUID's 16 bytes.
func uuidText(id []byte) string {
	var out [36]byte
	hex.Encode(out[0:8], id[0:4])
	hex.Encode(out[9:13], id[4:6])
	hex.Encode(out[14:18], id[6:8])
	hex.Encode(out[19:23], id[8:10])
	hex.Encode(out[24:36], id[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// Packed is the report with its allocations in runs of those that stand alike, where there are several. An allocation is in it once.
func (r NodeReport) Packed() NodeReport {
	type group struct {
		run  ReportRun
		last []int64 // times of the allocation before
		at   []int   // positions in Allocs
	}
	groups, order := map[string]*group{}, []string{}
	single := make([]AllocReport, 0, len(r.Allocs))
	for i := range r.Allocs {
		a := &r.Allocs[i]
		id, ok := parseID(a.ID)
		if !ok {
			single = append(single, *a)
			continue
		}
		tasks, times := timeless(a.Tasks)
		key := a.Status + "\x00" + a.Description + "\x00" + string(marshal(tasks))
		g := groups[key]
		if g == nil {
			g = &group{run: ReportRun{Status: a.Status, Description: a.Description, Tasks: a.Tasks}, last: times}
			groups[key] = g
			order = append(order, key)
		}
		g.run.IDs = id.append(g.run.IDs)
		for k, at := range times {
			g.run.Times = append(g.run.Times, at-g.last[k])
		}
		g.last, g.at = times, append(g.at, i)
	}
	out := r
	out.Runs = slices.Clip(r.Runs)
	for _, key := range order {
		if g := groups[key]; len(g.at) > 1 {
			out.Runs = append(out.Runs, g.run)
		} else {
			single = append(single, r.Allocs[g.at[0]])
		}
	}
	out.Allocs = single
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
	if slices.ContainsFunc(r.Runs, func(run ReportRun) bool { ids, _ := run.ids(); return slices.ContainsFunc(ids, s.ended) }) {
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
	serial := s.allocs.find(id)
	return serial != 0 && s.allocs.at(serial).TerminalClient()
}

// validate refuses runs whose columns do not belong together: applying would ignore them.
func (c Report) validate() error {
	for i := range c.Nodes {
		for k := range c.Nodes[i].Runs {
			if _, ok := c.Nodes[i].Runs[k].ids(); !ok {
				return fmt.Errorf("run %d of the report of node %q: columns differ in length: %w", k, truncate(c.Nodes[i].NodeID, maxNameBytes), ErrInvalid)
			}
		}
	}
	return nil
}
