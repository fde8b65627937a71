package state

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// Bounds of what nodes report; what is longer is cut, because a report must never be refused for its length: the node's word
// that a copy has ended frees its resources.
const (
	maxTextBytes     = 1024
	maxReportedTasks = maxTasks
)

// timesTogether is of how many copies the times stand in one piece of memory, which lives as long as one of them says so.
const timesTogether = 32

func (c Report) apply(t *tx) (any, error) {
	var result ReportResult
	for i := range c.Nodes {
		nr := &c.Nodes[i]
		for k := range nr.Allocs {
			result.count(t.applyReport(nr, &nr.Allocs[k]))
		}
		for k := range nr.Runs {
			t.applyRun(c.Nodes[i:i+1], &nr.Runs[k], &result)
		}
	}
	for k := range c.Runs {
		run := &c.Runs[k]
		if !run.of(len(c.Nodes)) {
			result.Ignored += len(run.IDs) / idBytes
			continue
		}
		t.applyRun(c.Nodes, run, &result)
	}
	return result, nil
}

func (r *ReportResult) count(applied bool) {
	if applied {
		r.Applied++
	} else {
		r.Ignored++
	}
}

func (t *tx) applyReport(nr *NodeReport, r *AllocReport) bool {
	id, ok := parseID(r.ID)
	if !ok {
		return false
	}
	said := said{status: statusWord(r.Status), description: truncate(r.Description, maxTextBytes)}
	if len(r.Tasks) > 0 {
		said.tasks = t.next.shapes.pack(boundTasks(r.Tasks))
	}
	return t.applySaid(nr, id, said)
}

// said is what a node says of one allocation, within its bounds.
type said struct {
	status, description string
	tasks               TaskStates // zero: as before
}

// statusWord is one of the statuses that a node may report, "" for any other word.
func statusWord(s string) string {
	for _, known := range [...]string{ClientPending, ClientRunning, ClientComplete, ClientFailed} {
		if s == known {
			return known
		}
	}
	return ""
}

// applySaid takes a node's word on one of its allocations, unless it is old or nothing new.
func (t *tx) applySaid(nr *NodeReport, id idKey, s said) bool {
	serial, old := t.next.allocs.find(id)
	if old == nil || s.status == "" {
		return false
	}
	if old.NodeID != nr.NodeID || old.TerminalClient() || !newerReport(nr, old) {
		return false
	}
	if s.tasks.IsZero() {
		s.tasks = old.TaskStates
	}
	if s.status == old.ClientStatus && s.description == old.ClientDescription && s.tasks.Equal(old.TaskStates) {
		return false
	}
	a := *old
	a.ClientStatus, a.ClientDescription, a.TaskStates = s.status, s.description, s.tasks
	a.ReportBoot, a.ReportSeq, a.ClientModifyTime = nr.Boot, nr.Seq, t.now
	t.replaceAlloc(serial, old, &a)
	return true
}

// applyRun takes the word of nodes, or of one, on allocations that stand alike. A run that is not whole is not taken.
func (t *tx) applyRun(nodes []NodeReport, r *ReportRun, result *ReportResult) {
	ids, ok := r.ids()
	if !ok {
		result.Ignored += len(ids)
		return
	}
	of := func(i int) *NodeReport {
		if len(r.Nodes) == 0 || len(nodes) == 1 {
			return &nodes[0]
		}
		return &nodes[r.Nodes[i]]
	}
	if bounded := boundTasks(r.Tasks); !sameJSON(bounded, r.Tasks) && len(r.Tasks) > 0 {
		for i, one := range r.unpack() { // each within its bounds, which may leave times out
			result.count(t.applyReport(of(i), &one))
		}
		return
	}
	s := said{status: statusWord(r.Status), description: truncate(r.Description, maxTextBytes)}
	tasks, times := timeless(r.Tasks)
	var shape *taskShape
	if len(tasks) > 0 {
		shape = t.next.shapes.share(tasks, len(times))
	}
	var room []int64 // for the times of several copies in one piece of memory
	for i, id := range ids {
		r.later(times, i)
		if len(room) < len(times) {
			room = make([]int64, len(times)*min(timesTogether, len(ids)-i))
		}
		copy(room, times)
		s.tasks = TaskStates{shape: shape, times: room[:len(times):len(times)]}
		room = room[len(times):]
		if slices.Contains(times, 0) { // no time, which is another shape
			s.tasks = t.next.shapes.pack(s.tasks.Map())
		}
		result.count(t.applySaid(of(i), id, s))
	}
}

func newerReport(nr *NodeReport, a *Alloc) bool {
	if nr.Boot != a.ReportBoot {
		return nr.Boot > a.ReportBoot
	}
	return nr.Seq > a.ReportSeq
}

// boundTasks copies task states within their bounds: the first tasks by name, their latest events.
func boundTasks(in map[string]TaskState) map[string]TaskState {
	out := make(map[string]TaskState, min(len(in), maxReportedTasks))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if len(out) == maxReportedTasks {
			break
		}
		if len(name) > maxNameBytes {
			continue
		}
		ts := in[name]
		ts.State = truncate(ts.State, maxNameBytes)
		ts.Events = slices.Clone(lastOf(ts.Events, MaxTaskEvents))
		for i := range ts.Events {
			ts.Events[i].Type = truncate(ts.Events[i].Type, maxNameBytes)
			ts.Events[i].Message = truncate(ts.Events[i].Message, maxTextBytes)
		}
		out[name] = ts
	}
	BoundCrashTails(out)
	return out
}

// lastOf returns the last n elements of s, or s.
func lastOf[E any](s []E, n int) []E {
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}

// truncate cuts s to at most n bytes, at the start of a character.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
