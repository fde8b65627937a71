package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// following are the flags of a command that changes a job and then follows its copies.
type following struct {
	detach  bool
	timeout time.Duration
}

func (f *following) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.detach, "detach", false, "return at once instead of following the copies")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait for the copies to start")
}

// follow follows a job after a change, as `job run` does.
func (f *following) follow(ctx context.Context, a *app, c *api.Client, resp *api.JobRegisterResponse, started time.Time) error {
	if f.detach {
		_, err := fmt.Fprintf(a.out, "Look at it with: drover job status %s\n", resp.ID)
		return err
	}
	job, _, err := c.Job(ctx, resp.ID, api.QueryOptions{Namespace: resp.Namespace})
	if err != nil {
		return err
	}
	l := newFollower(a, c, resp.Namespace, resp.ID)
	l.since, l.started, l.deadline, l.many = resp.Index, started, started.Add(f.timeout), copies(job.Job) > manyCopies
	return (&launch{follower: l, pin: api.PinOff, spec: job.Job, version: resp.Version, work: map[uint64]*state.Job{}}).follow(ctx)
}

// oneJob finds the job that a word names.
func (a *app) oneJob(ctx context.Context, word string) (*api.Client, api.JobListItem, error) {
	c, err := a.client()
	if err != nil {
		return nil, api.JobListItem{}, err
	}
	job, err := c.FindJob(ctx, word, api.QueryOptions{})
	return c, job, err
}

func newJobStart(a *app) *cobra.Command {
	var f following
	cmd := &cobra.Command{
		Use:        "start <job>",
		Short:      "Start a stopped job again, as it was registered",
		Example:    "  drover job start hello",
		SuggestFor: []string{"resume"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			started := time.Now()
			c, job, err := a.oneJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !job.Stop {
				_, err := fmt.Fprintf(a.out, "Job %q is started already.\n", job.ID)
				return err
			}
			resp, err := c.StartJob(cmd.Context(), job.ID, api.WriteOptions{Namespace: job.Namespace})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Job %q is asked to start, version %d.\n", job.ID, resp.Version)
			return f.follow(cmd.Context(), a, c, resp, started)
		},
		ValidArgsFunction: a.completeJobs,
	}
	f.addFlags(cmd)
	return cmd
}

func newJobScale(a *app) *cobra.Command {
	var f following
	cmd := &cobra.Command{
		Use:     "scale <job> [group] <count>",
		Short:   "Change the number of copies of a group",
		Long:    "Change the number of copies of a group of a job; the group may be left out where the job has one. It is a new version of the job: the\nnext `job run` of the file brings the file's count back, unless it is told --preserve-counts.",
		Example: "  drover job scale hello 5\n  drover job scale shop web 3",
		Args:    arguments(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			group := ""
			if len(args) == 3 {
				group = args[1]
			}
			count, err := strconv.Atoi(args[len(args)-1])
			if err != nil || count < 0 {
				return fmt.Errorf("%q is not a number of copies: give 0 or more\n  `%s --help` has examples", args[len(args)-1], cmd.CommandPath())
			}
			started := time.Now()
			c, job, err := a.oneJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			resp, err := c.ScaleJob(cmd.Context(), job.ID, group, count, api.WriteOptions{Namespace: job.Namespace})
			if err != nil {
				return err
			}
			if !resp.Changed {
				fmt.Fprintf(a.out, "Job %q asks for %s already, version %d.\n", job.ID, plural(count, "copy"), resp.Version)
			} else {
				fmt.Fprintf(a.out, "Job %q asks for %s now, version %d.\n", job.ID, plural(count, "copy"), resp.Version)
			}
			return f.follow(cmd.Context(), a, c, resp, started)
		},
		ValidArgsFunction: a.completeJobs,
	}
	f.addFlags(cmd)
	return cmd
}

func newJobRevert(a *app) *cobra.Command {
	var f following
	var prior uint64
	cmd := &cobra.Command{
		Use:        "revert <job> <version>",
		Short:      "Make an older version of a job the newest",
		Long:       "Make an older version of a job the newest: it becomes a new version with the old one's specification. `job history` lists the versions.",
		Example:    "  drover job revert hello 3",
		SuggestFor: []string{"rollback", "undo"},
		Args:       arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not a version: give its number\n  `drover job history %s` lists them", args[1], args[0])
			}
			var enforce *uint64
			if cmd.Flags().Changed("prior-version") {
				enforce = &prior
			}
			started := time.Now()
			c, job, err := a.oneJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			resp, err := c.RevertJob(cmd.Context(), job.ID, version, enforce, api.WriteOptions{Namespace: job.Namespace})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Job %q is reverted to what version %d was; that is version %d now.\n", job.ID, version, resp.Version)
			return f.follow(cmd.Context(), a, c, resp, started)
		},
		ValidArgsFunction: a.completeJobs,
	}
	f.addFlags(cmd)
	cmd.Flags().Uint64Var(&prior, "prior-version", 0, "revert only if this is the newest version now")
	return cmd
}

func newJobInspect(a *app) *cobra.Command {
	var s shape
	var version uint64
	cmd := &cobra.Command{
		Use:        "inspect <job>",
		Short:      "Print a job as it is stored, in JSON",
		Example:    "  drover job inspect hello\n  drover job inspect --version 2 hello\n  drover job inspect -o yaml hello",
		SuggestFor: []string{"show", "dump"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, found, err := a.oneJob(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			resp, _, err := c.JobVersions(cmd.Context(), found.ID, api.QueryOptions{Namespace: found.Namespace})
			if err != nil {
				return err
			}
			want := version
			if !cmd.Flags().Changed("version") {
				want = found.Version
			}
			job, err := versionOf(resp.Versions, found.ID, want)
			if err != nil {
				return err
			}
			if !s.given() {
				s.json = true
			}
			return s.printNamed(a.out, job, job.ID, nil)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	cmd.Flags().Uint64Var(&version, "version", 0, "this version instead of the newest")
	return cmd
}

// versionOf is a stored version of a job.
func versionOf(versions []*state.Job, id string, want uint64) (*state.Job, error) {
	var kept []string
	for _, v := range versions {
		if v.Version == want {
			return v, nil
		}
		kept = append(kept, strconv.FormatUint(v.Version, 10))
	}
	if len(kept) == 0 {
		return nil, errors.New("no version of the job is kept")
	}
	return nil, fmt.Errorf("version %d of job %q is not kept: there are %s", want, id, joinWords(kept))
}

func newJobAllocs(a *app) *cobra.Command {
	var s shape
	var verbose, all bool
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "allocs <job>",
		Short:      "List the allocations of a job",
		Example:    "  drover job allocs hello\n  drover job allocs -o name hello",
		SuggestFor: []string{"ps", "tasks", "pods"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.client()
			if err != nil {
				return err
			}
			found, err := find(ctx, r, api.QueryOptions{}, args[0], c.FindJob)
			if err != nil {
				return err
			}
			q := api.QueryOptions{Namespace: found.Namespace}
			allocs, err := fetchAll(ctx, r, q, func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
				return c.JobAllocations(ctx, found.ID, q)
			})
			if err != nil {
				return err
			}
			l := allocList(allocs, verbose, false)
			l.empty = fmt.Sprintf("Job %q has no allocations. `drover job why %s` says why.", found.ID, found.ID)
			return printList(a.out, s, l)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole IDs")
	cmd.Flags().BoolVar(&all, "all", false, "accepted for scripts; all are listed")
	_ = cmd.Flags().MarkHidden("all") // it exists
	return cmd
}
