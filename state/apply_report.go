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

func (c Report) apply(t *tx) (any, error) {
	var result ReportResult
	for i := range c.Nodes {
		nr := &c.Nodes[i]
		for k := range nr.Allocs {
			if t.applyReport(nr, &nr.Allocs[k]) {
				result.Applied++
			} else {
				result.Ignored++
			}
		}
	}
	return result, nil
}

func (t *tx) applyReport(nr *NodeReport, r *AllocReport) bool {
	old := t.next.Alloc(r.ID)
	if old == nil || old.NodeID != nr.NodeID || old.TerminalClient() || !newerReport(nr, old) {
		return false
	}
	switch r.Status {
	case ClientPending, ClientRunning, ClientComplete, ClientFailed:
	default:
		return false
	}
	a := *old
	a.ClientStatus, a.ClientDescription = r.Status, truncate(r.Description, maxTextBytes)
	if len(r.Tasks) > 0 {
		a.TaskStates = boundTasks(r.Tasks)
	}
	if a.ClientStatus == old.ClientStatus && a.ClientDescription == old.ClientDescription && sameJSON(a.TaskStates, old.TaskStates) {
		return false
	}
	a.ReportBoot, a.ReportSeq, a.ClientModifyTime = nr.Boot, nr.Seq, t.now
	t.putAlloc(&a)
	return true
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
