package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// maxMerged bounds the copies whose logs are printed together.
const maxMerged = 200

func newJobLogs(a *app) *cobra.Command {
	var o logOptions
	var group string
	var ended bool
	cmd := &cobra.Command{
		Use:   "logs <job>",
		Short: "Print what all copies of a job write",
		Long: `Print what the tasks of all copies of a job have written, each line with its copy before it. With -f it goes on as they write, takes
in new copies as they come, and ends with the job or when interrupted.`,
		Example: "  drover job logs hello\n  drover job logs -f --tail 10 hello\n  drover job logs --since 10m --group web hello",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			job, err := c.FindJob(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			l := &jobLogs{m: newMerged(a), c: c, o: o, group: group, ended: ended, job: job, prefixes: map[string]string{}, begun: map[string]bool{}}
			return l.run(cmd.Context())
		},
		ValidArgsFunction: a.completeJobs,
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&group, "group", "", "only the copies of this `group`")
	cmd.Flags().BoolVar(&ended, "all", false, "also copies that have ended or were replaced, as far as their logs are kept")
	cmd.MarkFlagsMutuallyExclusive("tail", "lines", "bytes")
	return cmd
}

// jobLogs prints the logs of a job's copies.
type jobLogs struct {
	m     *merged
	c     *api.Client
	o     logOptions
	group string
	ended bool
	job   api.JobListItem

	prefixes map[string]string // by copy and task
	begun    map[string]bool   // copies and tasks whose streams are open
	wg       sync.WaitGroup
	active   atomic.Int64 // streams that are followed
	mu       sync.Mutex   // of begun
}

func (l *jobLogs) run(ctx context.Context) error {
	q := api.QueryOptions{Namespace: l.job.Namespace}
	for first := true; ; first = false {
		list := func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
			return l.c.JobAllocations(ctx, l.job.ID, q)
		}
		allocs, meta, err := api.All(ctx, list, q)
		if ctx.Err() != nil {
			break
		}
		if err != nil && (first || isNotFound(err)) {
			return err
		}
		if err != nil { // an election, or an agent that is started again
			q.Index = 0
			if !rest(ctx, troublePause) {
				break
			}
			continue
		}
		copies := l.choose(allocs, first)
		if first && len(copies) == 0 && !l.o.follow {
			return fmt.Errorf("job %q has no copy that runs; --all prints those that have ended, `drover job why %s` says why there is none", l.job.ID, l.job.ID)
		}
		if !l.o.follow {
			return l.printAll(ctx, copies)
		}
		l.open(ctx, copies, first)
		if l.active.Load() == 0 && l.over(ctx) {
			break
		}
		q.Index, q.Wait = meta.Index, api.MinWait
	}
	l.wg.Wait()
	return nil // interrupted, or everything has ended: that is how following ends
}

// over reports whether nothing of the job will write any more.
func (l *jobLogs) over(ctx context.Context) bool {
	job, _, err := l.c.Job(ctx, l.job.ID, api.QueryOptions{Namespace: l.job.Namespace})
	return isNotFound(err) || err == nil && job.Status == state.JobStatusDead
}

// choose picks the copies to print. While following, those that come are taken in, however short they live.
func (l *jobLogs) choose(allocs []api.AllocListItem, first bool) []api.AllocListItem {
	var out []api.AllocListItem
	for _, x := range allocs {
		current := x.DesiredStatus == state.DesiredRun && !ended(x)
		if l.group != "" && x.TaskGroup != l.group || len(x.TaskStates) == 0 || first && !current && !l.ended {
			if first && !current {
				for task := range x.TaskStates {
					l.begun[x.ID+"/"+task] = true // it was over before
				}
			}
			continue
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(x, y api.AllocListItem) int { return strings.Compare(x.Name, y.Name) })
	if len(out) > maxMerged {
		fmt.Fprintf(l.m.a.err, "Warning: of %d copies the logs of the first %d are printed; --group or drover alloc logs choose others.\n", len(out), maxMerged)
		out = out[:maxMerged]
	}
	return out
}

// streams are those of one copy.
func (l *jobLogs) streams(x api.AllocListItem, task string) []logStream {
	key := x.ID + "/" + task
	if l.prefixes[key] == "" {
		name := fmt.Sprintf("%s[%d] %s", x.TaskGroup, x.Index, shortID(x.ID, false))
		if len(x.TaskStates) > 1 {
			name += " " + task
		}
		l.prefixes[key] = l.m.prefix(name)
	}
	var out []logStream
	for _, kind := range l.o.kinds() {
		out = append(out, logStream{req: l.o.request(x.ID, task, kind), prefix: l.prefixes[key], who: shortID(x.ID, false)})
	}
	return out
}

func (l *jobLogs) tasks(x api.AllocListItem) []string {
	if l.o.task != "" {
		return []string{l.o.task}
	}
	return sortedKeys(x.TaskStates)
}

// printAll prints the logs of copies one after the other. A machine that does not answer is told and left out.
func (l *jobLogs) printAll(ctx context.Context, copies []api.AllocListItem) error {
	failed := 0
	var last error
	for _, x := range copies {
		for _, task := range l.tasks(x) {
			err := l.m.all(ctx, l.c, false, l.streams(x, task))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed, last = failed+1, err
				fmt.Fprintf(l.m.a.err, "Warning: %s (%s) on %s: %s\n", shortID(x.ID, false), x.Name, x.NodeName, brief(err))
			}
		}
	}
	if failed > 0 && failed == len(copies) {
		return last
	}
	return nil
}

// open follows the copies that are not followed yet. One whose log cannot be opened is tried again when something has changed.
func (l *jobLogs) open(ctx context.Context, copies []api.AllocListItem, first bool) {
	for _, x := range copies {
		for _, task := range l.tasks(x) {
			key := x.ID + "/" + task
			l.mu.Lock()
			known := l.begun[key]
			l.begun[key] = true
			l.mu.Unlock()
			if known || x.TaskStates[task].State == state.TaskPending && !first {
				if !known {
					l.mu.Lock()
					delete(l.begun, key) // its files are not there yet
					l.mu.Unlock()
				}
				continue
			}
			for _, s := range l.streams(x, task) {
				if !first { // all of what a new copy writes
					s.req.Tail, s.req.Offset, s.req.Origin, s.req.Ago, s.req.Since = 0, 0, api.LogFromStart, 0, time.Time{}
				}
				l.active.Add(1)
				l.wg.Go(func() { l.follow(ctx, x, key, s) })
			}
		}
	}
}

func (l *jobLogs) follow(ctx context.Context, x api.AllocListItem, key string, s logStream) {
	defer l.active.Add(-1)
	err := l.m.one(ctx, l.c, s)
	if err == nil || ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, key)
	fmt.Fprintf(l.m.a.err, "Warning: %s (%s) on %s: %s\n", shortID(x.ID, false), x.Name, x.NodeName, brief(err))
}
