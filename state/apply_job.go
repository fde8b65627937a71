package state

import "fmt"

// maxVersions is how many versions of a job are kept although nothing refers to them.
const maxVersions = 6

func (c RegisterJob) apply(t *tx) (any, error) {
	if c.Job == nil {
		return nil, fmt.Errorf("register a job: there is none: %w", ErrInvalid)
	}
	if err := c.Job.admissible(); err != nil {
		return nil, fmt.Errorf("register job %q: %w: %w", truncate(c.Job.ID, maxNameBytes), err, ErrInvalid)
	}
	old := t.next.Job(c.Job.Namespace, c.Job.ID)
	if err := c.checkIndex(old); err != nil {
		return nil, err
	}
	if old != nil && old.Type != c.Job.Type {
		return nil, fmt.Errorf("register job %q: it is a %s job, not %s; stop it with purge first: %w",
			old.ID, old.Type, c.Job.Type, ErrConflict)
	}
	if err := t.mayRegister(c.Job); err != nil {
		return nil, err
	}
	if old != nil && old.SpecEqual(c.Job) {
		return t.startAgain(old), nil
	}
	j := *c.Job
	j.Stop, j.Purge, j.Blocked = false, false, nil
	j.Version = 0
	if kept := t.next.JobVersions(j.Namespace, j.ID); len(kept) > 0 { // also of a purged job: allocations may refer to them
		j.Version = kept[0].Version + 1
	}
	j.SubmitTime, j.CreateIndex, j.JobModifyIndex = t.now, t.index, t.index
	if old != nil {
		j.CreateIndex = old.CreateIndex
	}
	t.putJob(&j)
	t.next.versions.putHashed(versionKey(j.Namespace, j.ID, j.Version), &j, t.next.jobs.hashOf(rowKey(j.Namespace, j.ID)))
	t.pruneVersions(j.Namespace, j.ID)
	return registered(&j, true), nil
}

// mayRegister asks what the cluster as a whole says to a job.
func (t *tx) mayRegister(j *Job) error {
	if c := t.next.meta.Scheduler; c != nil && c.RejectJobRegistration {
		return fmt.Errorf("register job %q: the scheduler configuration rejects job registrations; "+
			"an operator may change that with operator scheduler set-config: %w", j.ID, ErrConflict)
	}
	return t.checkPool(j)
}

func (c RegisterJob) checkIndex(old *Job) error {
	if !c.EnforceIndex {
		return nil
	}
	switch {
	case old == nil && c.JobModifyIndex != 0:
		return fmt.Errorf("register job %q: check index is %d, the job does not exist: %w", c.Job.ID, c.JobModifyIndex, ErrIndexMismatch)
	case old != nil && c.JobModifyIndex != old.JobModifyIndex:
		return fmt.Errorf("register job %q: check index is %d, the job's modify index %d; plan again: %w",
			c.Job.ID, c.JobModifyIndex, old.JobModifyIndex, ErrIndexMismatch)
	}
	return nil
}

// startAgain answers the registration of what is registered already: only a stopped job changes.
func (t *tx) startAgain(old *Job) RegisterJobResult {
	if !old.Stop {
		return registered(old, false)
	}
	j := *old
	j.Stop, j.Purge = false, false
	j.JobModifyIndex = t.index
	t.putJob(&j)
	return registered(&j, false)
}

func registered(j *Job, changed bool) RegisterJobResult {
	return RegisterJobResult{
		Namespace: j.Namespace, JobID: j.ID, Version: j.Version, JobModifyIndex: j.JobModifyIndex, Changed: changed,
	}
}

// pruneVersions drops the versions of a job that are neither current, nor referred to, nor among the newest of a job that
// still exists.
func (t *tx) pruneVersions(namespace, id string) {
	kept := t.next.JobVersions(namespace, id)
	j := t.next.Job(namespace, id)
	if j != nil && len(kept) <= maxVersions {
		return
	}
	used := map[uint64]bool{}
	for a := range t.next.AllocsByJob(namespace, id) {
		used[a.JobVersion] = true
	}
	for i, v := range kept {
		if used[v.Version] || j != nil && (i < maxVersions || v.Version == j.Version) {
			continue
		}
		t.next.versions.remove(versionKey(namespace, id, v.Version))
	}
}

func (c StopJob) apply(t *tx) (any, error) {
	old := t.next.Job(c.Namespace, c.JobID)
	if old == nil {
		return nil, fmt.Errorf("stop job %q in namespace %q: %w", c.JobID, c.Namespace, ErrNotFound)
	}
	if old.Stop && (old.Purge || !c.Purge) {
		return Done{Index: t.index}, nil
	}
	j := *old
	j.Stop, j.Purge, j.Blocked = true, c.Purge, nil
	j.JobModifyIndex = t.index
	t.putJob(&j)
	return Done{Index: t.index}, nil
}

func (c StopAlloc) apply(t *tx) (any, error) {
	old := t.next.Alloc(c.AllocID)
	switch {
	case old == nil:
		return nil, fmt.Errorf("stop allocation %q: %w", c.AllocID, ErrNotFound)
	case old.TerminalClient():
		return nil, fmt.Errorf("stop allocation %q: it is %s already: %w", old.ID, old.ClientStatus, ErrConflict)
	case old.TerminalDesired() || old.Migrate:
		return Done{Index: t.index}, nil
	}
	a := *old
	a.Migrate = true
	t.putAlloc(&a)
	return Done{Index: t.index}, nil
}
