package api

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/drover-io/drover/state"
)

// propose commits a write and notes its index.
func propose[T any](c *call, cmd state.Command) (T, error) {
	var zero T
	value, index, err := c.s.b.Writer.Propose(c.ctx, cmd)
	if err != nil {
		return zero, err
	}
	if err, ok := value.(error); ok {
		return zero, err
	}
	c.index = index
	if v, ok := value.(T); ok {
		return v, nil
	}
	return zero, fmt.Errorf("propose a %T: applying it returned a %T", cmd, value)
}

// written proposes a write that has nothing to say but that it is done.
func (c *call) written(cmd state.Command) (*WriteResponse, error) {
	value, err := propose[any](c, cmd)
	if err != nil {
		return nil, err
	}
	if done, ok := value.(state.Done); ok && done.Index > 0 {
		c.index = done.Index // a retry: the first one's
	}
	return &WriteResponse{Index: c.index, RequestID: c.requestID}, nil
}

func (c *call) job(snap *state.Snapshot) (*state.Job, error) {
	j := snap.Job(c.opts.namespace, c.id())
	if j == nil {
		return nil, noJob(c.opts.namespace, c.id())
	}
	return j, nil
}

func noJob(namespace, id string) *Error {
	return NewError(CodeNotFound, "list them with `drover job status` or GET /v1/jobs", "there is no job %s in namespace %s", id, namespace)
}

func listJobs(c *call, snap *state.Snapshot) ([]JobListItem, error) {
	return page(c, snap.JobsByPrefix(c.opts.namespace, c.opts.prefix), jobKeyOf, func(j *state.Job) JobListItem { return jobListItem(snap, j) })
}

func readJob(c *call, snap *state.Snapshot) (*JobView, error) {
	j, err := c.job(snap)
	if err != nil {
		return nil, err
	}
	return jobView(snap, j), nil
}

// registerEnvelope is JobRegisterRequest with the job as it came.
type registerEnvelope struct {
	Job            json.RawMessage
	EnforceIndex   bool
	JobModifyIndex uint64
	PreserveCounts bool
	Pin            string
}

func registerJob(c *call, req *registerEnvelope) (*JobRegisterResponse, error) {
	job, warnings, err := c.parseJob(req.Job, "")
	if err != nil {
		return nil, err
	}
	pins, err := pin(c.s.b.State.Snapshot(), job, req.Pin)
	if err != nil {
		return nil, err
	}
	res, err := c.register(job, req)
	if err != nil {
		return nil, err
	}
	out := c.registered(res)
	out.Warnings, out.Pins = append(warnings, c.s.b.Decider.Warnings(c.s.b.State.Snapshot(), job)...), pins
	return out, nil
}

// parseJob takes a job in by the door that every job takes. id, when it is set, must be the job's.
func (c *call) parseJob(raw json.RawMessage, id string) (*state.Job, []string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil, NewError(CodeInvalid, `send {"Job": {…}}`, "the body has no Job")
	}
	job, warnings, err := c.s.b.Jobs.ParseJSON(raw)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, nil, err
		}
		return nil, nil, NewError(CodeInvalid, "", "%s", err)
	}
	if id != "" && id != job.ID {
		return nil, nil, NewError(CodeInvalid, "", "the path names job %q, the body %q", id, job.ID)
	}
	if ns := c.query.Get("namespace"); ns != "" && ns != job.Namespace {
		return nil, nil, NewError(CodeInvalid, "", "the query names namespace %q, the job %q", ns, job.Namespace)
	}
	if own := c.s.self().Region; job.Region != "" && job.Region != own && job.Region != "global" {
		return nil, nil, NewError(CodeInvalid, "send it to an agent of that region", "this is region %q, the job wants %q", own, job.Region)
	}
	return job, warnings, nil
}

func stopJob(c *call) (*WriteResponse, error) {
	p := parser{values: c.query}
	purge := p.flag("purge")
	if p.err != nil {
		return nil, p.err
	}
	return c.written(state.StopJob{
		RequestID: c.requestID, Namespace: c.opts.namespace, JobID: c.id(), Purge: purge, Time: c.s.b.Now(),
	})
}

// planEnvelope is JobPlanRequest with the job as it came.
type planEnvelope struct {
	Job  json.RawMessage
	Diff bool
	Pin  string
}

func planJob(c *call, req *planEnvelope) (*JobPlanResponse, error) {
	job, warnings, err := c.parseJob(req.Job, c.id())
	if err != nil {
		return nil, err
	}
	snap := c.s.b.State.Snapshot()
	c.index = snap.Index()
	pins, err := pin(snap, job, req.Pin)
	if err != nil {
		return nil, err
	}
	view := c.s.b.Decider.Plan(snap, job, c.s.b.Now())
	if view == nil {
		return nil, fmt.Errorf("plan job %s: no answer", job.ID)
	}
	return &JobPlanResponse{PlanView: *view, Warnings: append(warnings, c.s.b.Decider.Warnings(snap, job)...), Pins: pins}, nil
}

func listJobAllocs(c *call, snap *state.Snapshot) ([]AllocListItem, error) {
	rows := filtered(byAllocID(snap.AllocsByJob(c.opts.namespace, c.id())), c.hasPrefix)
	items, err := page(c, rows, allocKeyOf, func(a *state.Alloc) AllocListItem { return allocListItem(snap, a) })
	if err != nil {
		return nil, err
	}
	if len(items) == 0 && snap.Job(c.opts.namespace, c.id()) == nil {
		return nil, noJob(c.opts.namespace, c.id())
	}
	return items, nil
}

func readJobVersions(c *call, snap *state.Snapshot) (*JobVersionsResponse, error) {
	versions := snap.JobVersions(c.opts.namespace, c.id())
	if len(versions) == 0 {
		return nil, noJob(c.opts.namespace, c.id())
	}
	out := &JobVersionsResponse{Versions: versions}
	for i := 0; i+1 < len(versions); i++ {
		out.Diffs = append(out.Diffs, state.DiffJobs(versions[i+1], versions[i]))
	}
	return out, nil
}

func explainJob(c *call, snap *state.Snapshot) (*state.Explanation, error) {
	if _, err := c.job(snap); err != nil {
		return nil, err
	}
	e := c.s.b.Decider.Explain(snap, c.opts.namespace, c.id(), c.clusterNow(snap))
	if e == nil {
		return nil, noJob(c.opts.namespace, c.id())
	}
	return e, nil
}
