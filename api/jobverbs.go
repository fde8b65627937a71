package api

import (
	"errors"
	"slices"
	"strings"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/state"
)

// ScaleRequest asks for another number of copies of one group.
type ScaleRequest struct {
	Count  *int              // copies, 0 or more
	Target map[string]string `json:",omitempty"` // {"Group": name}; may be left out where the job has one group
}

// RevertRequest makes an older version of a job the newest.
type RevertRequest struct {
	JobID               string  `json:",omitempty"` // when set it must be the one of the path
	JobVersion          uint64  // the version to go back to
	EnforcePriorVersion *uint64 `json:",omitempty"` // refuse unless this is the newest version now
}

// changeTries is how often a change of a stored job is tried anew when somebody else changed it in between.
const changeTries = 4

// change registers what edit makes of the stored job. The entry carries the index of the job that was read: what somebody else
// changed in between is never undone.
func (c *call) change(edit func(snap *state.Snapshot, old *state.Job) (*state.Job, error)) (*JobRegisterResponse, error) {
	for try := 1; ; try++ {
		snap := c.s.b.State.Snapshot()
		if first, again := snap.Registered(c.requestID); again {
			return c.registered(first), nil
		}
		old, err := c.job(snap)
		if err != nil {
			return nil, err
		}
		job, err := edit(snap, old)
		if err != nil {
			return nil, err
		}
		if err := job.Validate(); err != nil {
			return nil, NewError(CodeInvalid, "", "%s", err)
		}
		res, err := propose[state.RegisterJobResult](c, state.RegisterJob{
			RequestID: c.requestID, Job: job, EnforceIndex: true, JobModifyIndex: old.JobModifyIndex, Time: c.s.b.Now(),
		})
		if errors.Is(err, state.ErrIndexMismatch) && try < changeTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		return c.registered(res), nil
	}
}

func (c *call) registered(res state.RegisterJobResult) *JobRegisterResponse {
	return &JobRegisterResponse{
		Namespace: res.Namespace, ID: res.JobID, Version: res.Version, JobModifyIndex: res.JobModifyIndex, Changed: res.Changed,
		Index: c.index, RequestID: c.requestID,
	}
}

// register stores a job. With keep the counts of the groups that exist stay, whoever changes them at the same time.
func (c *call) register(job *state.Job, req *registerEnvelope) (state.RegisterJobResult, error) {
	for try := 1; ; try++ {
		cmd := state.RegisterJob{
			RequestID: c.requestID, Job: job, EnforceIndex: req.EnforceIndex, JobModifyIndex: req.JobModifyIndex, Time: c.s.b.Now(),
		}
		if req.PreserveCounts {
			snap := c.s.b.State.Snapshot()
			if first, again := snap.Registered(c.requestID); again {
				return first, nil
			}
			keepCounts(snap, job)
			if !req.EnforceIndex {
				cmd.EnforceIndex, cmd.JobModifyIndex = true, 0
				if old := snap.Job(job.Namespace, job.ID); old != nil {
					cmd.JobModifyIndex = old.JobModifyIndex
				}
			}
		}
		res, err := propose[state.RegisterJobResult](c, cmd)
		if err != nil && errors.Is(err, state.ErrIndexMismatch) && !req.EnforceIndex && try < changeTries {
			continue
		}
		return res, err
	}
}

// copyOf is a stored job's specification as a registration takes it.
func copyOf(old *state.Job) *state.Job {
	j := *old
	j.Stop, j.Purge, j.Blocked = false, false, nil
	return &j
}

func scaleJob(c *call, req *ScaleRequest) (*JobRegisterResponse, error) {
	if req.Count == nil {
		return nil, NewError(CodeInvalid, `send {"Count": 3, "Target": {"Group": "name"}}`, "the body has no Count")
	}
	for key := range req.Target {
		if key != "Group" {
			return nil, NewError(CodeInvalid, "name the group by Target.Group", "Target has no %q", key)
		}
	}
	return c.change(func(_ *state.Snapshot, old *state.Job) (*state.Job, error) {
		if old.Stop {
			return nil, NewError(CodeConflict, "start it first: drover job start "+old.ID, "job %s is stopped", old.ID)
		}
		i, err := groupOf(old, req.Target["Group"])
		if err != nil {
			return nil, err
		}
		j := copyOf(old)
		j.TaskGroups = slices.Clone(old.TaskGroups)
		j.TaskGroups[i].Count = *req.Count
		return j, nil
	})
}

// groupOf is the position of a group of a job, of its only one when name is "".
func groupOf(j *state.Job, name string) (int, error) {
	var names []string
	for i, g := range j.TaskGroups {
		if g.Name == name || name == "" && len(j.TaskGroups) == 1 {
			return i, nil
		}
		names = append(names, g.Name)
	}
	if name == "" {
		return 0, NewError(CodeInvalid, "name one of them", "job %s has %d groups: %s", j.ID, len(names), strings.Join(names, ", "))
	}
	return 0, NewError(CodeInvalid, didYouMean(nearest.Name(name, names)), "job %s has no group %q; it has %s", j.ID, name, strings.Join(names, ", "))
}

func startJob(c *call) (*JobRegisterResponse, error) {
	return c.change(func(_ *state.Snapshot, old *state.Job) (*state.Job, error) { return copyOf(old), nil })
}

func revertJob(c *call, req *RevertRequest) (*JobRegisterResponse, error) {
	if req.JobID != "" && req.JobID != c.id() {
		return nil, NewError(CodeInvalid, "", "the path names job %q, the body %q", c.id(), req.JobID)
	}
	return c.change(func(snap *state.Snapshot, old *state.Job) (*state.Job, error) {
		if prior := req.EnforcePriorVersion; prior != nil && *prior != old.Version {
			return nil, NewError(CodeConflict, "look at it again: drover job history "+old.ID, "job %s is at version %d, not %d", old.ID, old.Version, *prior)
		}
		if req.JobVersion == old.Version {
			return nil, NewError(CodeConflict, "choose an older one: drover job history "+old.ID, "version %d of job %s is the newest", old.Version, old.ID)
		}
		then := snap.JobVersion(old.Namespace, old.ID, req.JobVersion)
		if then == nil {
			return nil, NewError(CodeNotFound, "drover job history "+old.ID+" lists the versions that are kept", "version %d of job %s is not kept", req.JobVersion, old.ID)
		}
		return copyOf(then), nil
	})
}

// keepCounts takes over the counts of the groups that are stored already.
func keepCounts(snap *state.Snapshot, job *state.Job) {
	old := snap.Job(job.Namespace, job.ID)
	if old == nil {
		return
	}
	for i := range job.TaskGroups {
		if g := old.Group(job.TaskGroups[i].Name); g != nil {
			job.TaskGroups[i].Count = g.Count
		}
	}
}

// GarbageView is what was removed.
type GarbageView struct {
	Allocs int // allocations that have ended
	Jobs   int // jobs that are over
	Nodes  int // nodes that are down
	Index  uint64
}

// garbageRounds bounds one sweep: each round removes up to 2,000 rows.
const garbageRounds = 500

// collectGarbage removes at once what would be removed when it is old enough.
func collectGarbage(c *call) (*GarbageView, error) {
	out := &GarbageView{}
	for range garbageRounds {
		removed, err := c.collectOnce(out)
		if errors.Is(err, state.ErrStaleTerm) && pause(c.ctx, retryPause) {
			continue // a backup was restored, and the leader begins its term again
		}
		if err != nil {
			return nil, err
		}
		if !removed {
			break
		}
	}
	out.Index = c.index
	return out, nil
}

// collectOnce removes up to 2,000 rows, and reports whether there were any.
func (c *call) collectOnce(out *GarbageView) (removed bool, err error) {
	for _, cmd := range c.s.b.Decider.Garbage(c.s.b.State.Snapshot(), c.s.b.Now()) {
		r, err := propose[state.CollectGarbageResult](c, cmd)
		if err != nil {
			return false, err
		}
		out.Allocs, out.Jobs, out.Nodes = out.Allocs+r.Allocs, out.Jobs+r.Jobs, out.Nodes+r.Nodes
		removed = removed || r.Allocs+r.Jobs+r.Nodes > 0
	}
	return removed, nil
}
