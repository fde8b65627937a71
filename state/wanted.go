package state

import "slices"

// groupKey names a task group.
type groupKey struct {
	job   JobKey
	group string
}

// wanted are the serials of the copies of a group that want to run and have not ended, by their index.
type wanted struct {
	one  []uint64         // where there is one
	more map[int][]uint64 // where there are several
}

// wanting is what is wanted of the group being judged.
func (r *referee) wanting(job JobKey, group string) *wanted {
	k := groupKey{job, group}
	if w := r.groups[k]; w != nil {
		return w
	}
	w := &wanted{one: make([]uint64, r.group.Count)}
	serials := r.tx.next.allocs.byJob.listed(rowKey(job.Namespace, job.ID))
	for _, serial := range serials {
		if a := r.tx.next.allocs.at(serial); a.TaskGroup == group && !a.TerminalClient() && !a.TerminalDesired() {
			w.add(a.Index, serial)
		}
	}
	r.groups[k] = w
	return w
}

// of are the copies at an index, oldest first. Read them before the next change.
func (w *wanted) of(index int) []uint64 {
	if several := w.more[index]; len(several) > 0 {
		return several
	}
	if index < len(w.one) && w.one[index] != 0 {
		return w.one[index : index+1]
	}
	return nil
}

func (w *wanted) add(index int, serial uint64) {
	there := w.of(index)
	switch {
	case len(there) > 0 || index >= len(w.one):
		if w.more == nil {
			w.more = map[int][]uint64{}
		}
		w.more[index] = append(slices.Clone(there), serial)
		if index < len(w.one) {
			w.one[index] = 0
		}
	default:
		w.one[index] = serial
	}
}

func (w *wanted) drop(index int, serial uint64) {
	if several := w.more[index]; len(several) > 0 {
		w.more[index] = slices.DeleteFunc(several, func(s uint64) bool { return s == serial })
	} else if index < len(w.one) && w.one[index] == serial {
		w.one[index] = 0
	}
}
