package state

import "fmt"

func (c ApplyPlan) apply(t *tx) (any, error) {
	r := newReferee(t, &c)
	for i := range c.Records {
		r.judgeRecord(i)
		r.first += len(c.Records[i].Index)
	}
	for i := range c.Blocked {
		t.setBlocked(&c.Blocked[i])
	}
	t.notePlan(&c, r.result)
	return r.result, nil
}

// setBlocked writes why copies of a job cannot be placed, unless the job has changed since or says so already.
func (t *tx) setBlocked(c *BlockedChange) {
	old := t.next.Job(c.Namespace, c.JobID)
	if old == nil || old.JobModifyIndex != c.JobModifyIndex || sameJSON(old.Blocked, c.Blocked) {
		return
	}
	j := *old
	j.Blocked = nil
	if c.Blocked != nil {
		b := *c.Blocked
		b.Reason = truncate(b.Reason, maxTextBytes)
		j.Blocked = &b
	}
	t.putJob(&j)
}

// judgeRecord applies the copies of a record that pass, each for itself, or all of an Atomic one.
func (r *referee) judgeRecord(i int) {
	rec := &r.plan.Records[i]
	if reason := r.openRecord(i); reason != "" {
		r.drop(rec, PlanDrop{Record: i, Copy: -1, Reason: reason}, len(rec.Index))
		return
	}
	if rec.Atomic {
		r.judgeAtomic(i)
		return
	}
	for c := range rec.Index {
		if reason := r.judgeCopy(i, c); reason != "" {
			r.drop(rec, PlanDrop{Record: i, Copy: c, Reason: reason}, 1)
		}
	}
}

// judgeAtomic tries all copies on a copy of the state, and goes back to it at the first that does not pass.
func (r *referee) judgeAtomic(i int) {
	rec := &r.plan.Records[i]
	before, result, changed := r.tx.next.clone(), r.result, len(r.tx.changes.allocs)
	for c := range rec.Index {
		reason := r.judgeCopy(i, c)
		if reason == "" {
			continue
		}
		r.tx.next, r.result = before, result
		r.tx.changes.allocs = r.tx.changes.allocs[:changed]
		r.groups, r.tx.marked = map[groupKey]*wanted{}, marked{} // they remember what was undone
		r.drop(rec, PlanDrop{Record: i, Copy: -1, Reason: fmt.Sprintf("copy %d: %s", c, reason)}, len(rec.Index))
		return
	}
}

// drop notes a refusal and makes the job dirty, so that it is planned again. A record that is refused whole although it is not
// Atomic is noted copy by copy, as its reader expects.
func (r *referee) drop(rec *PlanRecord, d PlanDrop, copies int) {
	if d.Copy < 0 && !rec.Atomic {
		for c := range copies {
			r.result.Dropped = append(r.result.Dropped, PlanDrop{Record: d.Record, Copy: c, Reason: d.Reason})
		}
	} else {
		r.result.Dropped = append(r.result.Dropped, d)
	}
	if r.tx.anyLeft(rec.Namespace, rec.JobID) {
		r.tx.markJob(rowKey(rec.Namespace, rec.JobID))
	}
	r.tx.changes.dirty = true
}
