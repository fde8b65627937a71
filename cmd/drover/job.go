package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newJobStatus(a *app) *cobra.Command {
	var s shape
	var verbose, all bool
	cmd := &cobra.Command{
		Use:     "status [job]",
		Short:   "List jobs, or show one with its allocations",
		Example: "  drover job status\n  drover job status hello\n  drover job status -t '{{range .}}{{.ID}} {{end}}'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listJobs(cmd.Context(), a, c, s)
			}
			return showJob(cmd.Context(), a, c, args[0], s, verbose, all)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole IDs")
	cmd.Flags().BoolVar(&all, "all-allocs", false, "ended allocations of older versions too")
	return cmd
}

func listJobs(ctx context.Context, a *app, c *api.Client, s shape) error {
	jobs, _, err := api.All(ctx, c.Jobs, api.QueryOptions{})
	if err != nil {
		return err
	}
	return s.print(a.out, jobs, func(w io.Writer) error {
		if len(jobs) == 0 {
			_, err := fmt.Fprintln(w, "No jobs. `drover job init` writes an example, `drover job run` runs it.")
			return err
		}
		var rows [][]string
		for _, j := range jobs {
			status := j.Status
			if j.Stop {
				status += " (stopped)"
			}
			rows = append(rows, []string{j.ID, j.Type, strconv.Itoa(j.Priority), status, when(j.SubmitTime)})
		}
		return table(w, "ID|Type|Priority|Status|Submit Date", rows)
	})
}

// jobStatus is what `job status` shows of one job.
type jobStatus struct {
	*api.JobView
	Allocations []api.AllocListItem
}

func showJob(ctx context.Context, a *app, c *api.Client, prefix string, s shape, verbose, all bool) error {
	found, err := c.FindJob(ctx, prefix, api.QueryOptions{})
	if err != nil {
		return err
	}
	q := api.QueryOptions{Namespace: found.Namespace}
	job, _, err := c.Job(ctx, found.ID, q)
	if err != nil {
		return err
	}
	list := func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return c.JobAllocations(ctx, found.ID, q)
	}
	allocs, _, err := api.All(ctx, list, q)
	if err != nil {
		return err
	}
	st := jobStatus{JobView: job, Allocations: allocs}
	return s.print(a.out, st, func(w io.Writer) error { return st.write(w, verbose, all) })
}

func (st jobStatus) write(w io.Writer, verbose, all bool) error {
	status := st.Status
	if st.Stop {
		status += " (stopped)"
	}
	if err := facts(w, "ID", st.ID, "Name", st.Name, "Submit Date", when(st.SubmitTime), "Type", st.Type,
		"Priority", strconv.Itoa(st.Priority), "Node Pool", st.NodePool, "Status", status,
		"Version", strconv.FormatUint(st.Version, 10), "Modify Index", strconv.FormatUint(st.JobModifyIndex, 10)); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nSummary")
	var rows [][]string
	for _, name := range sortedKeys(st.JobSummary.Summary) {
		g := st.JobSummary.Summary[name]
		row := []string{name}
		for _, n := range []int{g.Queued, g.Starting, g.Running, g.Failed, g.Complete, g.Lost, g.Unknown} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	if err := table(w, "Task Group|Queued|Starting|Running|Failed|Complete|Lost|Unknown", rows); err != nil {
		return err
	}
	if b := st.Blocked; b != nil {
		fmt.Fprintf(w, "\nBlocked since %s: %s\n  drover job why %s   says what would help\n", when(b.Since), b.Reason, st.ID)
	}
	fmt.Fprintln(w, "\nAllocations")
	allocs := st.Allocations
	if !all {
		allocs = current(allocs, st.Version)
	}
	if len(allocs) == 0 {
		_, err := fmt.Fprintln(w, "No allocations placed")
		return err
	}
	return allocTable(w, allocs, verbose)
}

// current leaves out ended allocations of older versions, and of this one all but the newest few.
func current(allocs []api.AllocListItem, version uint64) []api.AllocListItem {
	var out []api.AllocListItem
	for _, x := range allocs {
		if x.JobVersion == version || !ended(x) {
			out = append(out, x)
		}
	}
	return out
}

func ended(x api.AllocListItem) bool {
	return x.ClientStatus == "complete" || x.ClientStatus == "failed" || x.ClientStatus == "lost"
}

func allocTable(w io.Writer, allocs []api.AllocListItem, verbose bool) error {
	sort.SliceStable(allocs, func(i, j int) bool { return allocs[i].CreateIndex > allocs[j].CreateIndex })
	now := time.Now()
	var rows [][]string
	for _, x := range allocs {
		rows = append(rows, []string{
			shortID(x.ID, verbose), shortID(x.NodeID, verbose), x.NodeName, x.TaskGroup, strconv.FormatUint(x.JobVersion, 10),
			x.DesiredStatus, x.ClientStatus, ago(x.CreateTime, now), ago(x.ModifyTime, now),
		})
	}
	return table(w, "ID|Node ID|Node|Task Group|Version|Desired|Status|Created|Modified", rows)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func newJobStop(a *app) *cobra.Command {
	var purge, detach, yes bool
	cmd := &cobra.Command{
		Use:     "stop <job>",
		Short:   "Stop all copies of a job",
		Example: "  drover job stop hello\n  drover job stop --purge hello   # and forget it",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			job, err := c.FindJob(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			resp, err := c.StopJob(cmd.Context(), job.ID, purge, api.WriteOptions{Namespace: job.Namespace})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Job %q asked to stop.\n", job.ID)
			if detach {
				return nil
			}
			return followStop(cmd.Context(), a, c, job.Namespace, job.ID, resp.Index)
		},
		ValidArgsFunction: a.completeJobs,
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "forget the job once its copies have ended")
	cmd.Flags().BoolVar(&detach, "detach", false, "return at once instead of waiting for the copies to end")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "accepted for scripts; nothing is asked")
	return cmd
}

func newJobWhy(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:     "why <job>",
		Short:   "Say why copies cannot be placed, and what would help",
		Example: "  drover job why hello",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			job, err := c.FindJob(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			e, _, err := c.ExplainJob(cmd.Context(), job.ID, api.QueryOptions{Namespace: job.Namespace})
			if err != nil {
				return err
			}
			return s.print(a.out, e, func(w io.Writer) error { return writeExplanation(w, e) })
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	return cmd
}
