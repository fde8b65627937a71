package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newJobStatus(a *app) *cobra.Command {
	var s shape
	var o jobStatusOptions
	var evals bool
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "status [job]",
		Short:      "List jobs, or show one with its allocations",
		Example:    "  drover job status\n  drover job status hello\n  drover job status -t '{{range .}}{{.ID}} {{end}}'\n  drover job status -w hello",
		SuggestFor: []string{"list", "ls", "ps", "get", "describe", "inspect", "allocs"},
		Args:       arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listJobs(cmd.Context(), r, c, s)
			}
			return showJob(cmd.Context(), r, c, args[0], s, o)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "whole IDs")
	cmd.Flags().BoolVar(&o.all, "all-allocs", false, "all copies that ended too, not only the last of each")
	cmd.Flags().BoolVar(&o.short, "short", false, "of one job only how it stands, without its copies")
	cmd.Flags().BoolVar(&evals, "evals", false, "accepted for scripts; drover job why says what the scheduler thinks")
	_ = cmd.Flags().MarkHidden("evals") // it exists
	return cmd
}

// jobStatusOptions say how much of a job is shown.
type jobStatusOptions struct{ verbose, all, short bool }

func listJobs(ctx context.Context, r *reader, c *api.Client, s shape) error {
	jobs, err := fetchAll(ctx, r, r.listed(), c.Jobs)
	if err != nil {
		return err
	}
	l := jobList(r.app.inNamespace() == api.AllNamespaces)
	l.items, l.empty = jobs, noJobs(r.app.inNamespace())
	return printList(r.app.out, s, l)
}

// jobList is how jobs are listed; everywhere says that they may be of several namespaces.
func jobList(everywhere bool) list[api.JobListItem] {
	return list[api.JobListItem]{
		name: func(j api.JobListItem) string { return j.ID },
		columns: []column[api.JobListItem]{
			{head: "ID", cell: func(j api.JobListItem) string { return j.ID }},
			{head: "Namespace", wide: !everywhere, cell: func(j api.JobListItem) string { return j.Namespace }},
			{head: "Type", cell: func(j api.JobListItem) string { return j.Type }},
			{head: "Priority", cell: func(j api.JobListItem) string { return strconv.Itoa(j.Priority) }},
			{head: "Status", cell: func(j api.JobListItem) string { return jobStatusWords(j.Status, j.Stop, queued(j.JobSummary)) }},
			{head: "Submit Date", cell: func(j api.JobListItem) string { return when(j.SubmitTime) }},
			{head: "Version", wide: true, cell: func(j api.JobListItem) string { return strconv.FormatUint(j.Version, 10) }},
			{head: "Running", wide: true, cell: func(j api.JobListItem) string { return strconv.Itoa(running(j.JobSummary)) }},
			{head: "Node Pool", wide: true, cell: func(j api.JobListItem) string { return j.NodePool }},
			{head: "Datacenters", wide: true, cell: func(j api.JobListItem) string { return strings.Join(j.Datacenters, ",") }},
		},
	}
}

func noJobs(namespace string) string {
	if namespace != "" && namespace != api.AllNamespaces {
		return fmt.Sprintf("No jobs in namespace %q. `drover job status --namespace '*'` lists all.", namespace)
	}
	return "No jobs. `drover job init` writes an example, `drover job run` runs it."
}

// jobStatusWords is a job's status with what the one word does not tell.
func jobStatusWords(status string, stopped bool, unplaced int) string {
	switch {
	case stopped:
		return status + " (stopped)"
	case unplaced > 0:
		return fmt.Sprintf("%s (%d not placed)", status, unplaced)
	}
	return status
}

func running(s api.JobSummary) int {
	n := 0
	for _, g := range s.Summary {
		n += g.Running
	}
	return n
}

func queued(s api.JobSummary) int {
	n := 0
	for _, g := range s.Summary {
		n += g.Queued
	}
	return n
}

// maxSuggested bounds the changes that `job status` suggests for a group; `job why` lists them all.
const maxSuggested = 3

// jobStatus is what `job status` shows of one job.
type jobStatus struct {
	*api.JobView
	Allocations []api.AllocListItem
	Explanation *state.Explanation `json:",omitempty"` // of a job with copies that cannot be placed
	LastCrash   *lastCrash         `json:",omitempty"` // of a job with copies that failed and have no successor yet
}

func showJob(ctx context.Context, r *reader, c *api.Client, prefix string, s shape, o jobStatusOptions) error {
	found, err := find(ctx, r, api.QueryOptions{}, prefix, c.FindJob)
	if err != nil {
		return err
	}
	q := api.QueryOptions{Namespace: found.Namespace}
	job, err := fetch(r, q, func(q api.QueryOptions) (*api.JobView, api.QueryMeta, error) { return c.Job(ctx, found.ID, q) })
	if err != nil {
		return err
	}
	allocs, err := fetchAll(ctx, r, q, func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return c.JobAllocations(ctx, found.ID, q)
	})
	if err != nil {
		return err
	}
	st := jobStatus{JobView: job, Allocations: allocs}
	if job.Blocked != nil && !o.short {
		st.Explanation, err = fetch(r, q, func(q api.QueryOptions) (*state.Explanation, api.QueryMeta, error) {
			return c.ExplainJob(ctx, found.ID, q)
		})
		if err != nil {
			return err
		}
	}
	if !job.Stop && !o.short {
		if st.LastCrash, err = r.crash(ctx, c, q, failedNow(job.Job, allocs)); err != nil {
			return err
		}
	}
	return s.printNamed(r.app.out, st, st.ID, func(w io.Writer) error {
		if err := st.write(w, o); err != nil || o.short {
			return err
		}
		return st.writeAllocs(w, o)
	})
}

func (st jobStatus) write(w io.Writer, o jobStatusOptions) error {
	if err := facts(w, "ID", st.ID, "Name", st.Name, "Namespace", st.Namespace, "Submit Date", when(st.SubmitTime), "Type", st.Type,
		"Priority", strconv.Itoa(st.Priority), "Node Pool", st.NodePool, "Status", jobStatusWords(st.Status, st.Stop, queued(st.JobSummary)),
		"Version", strconv.FormatUint(st.Version, 10), "Modify Index", strconv.FormatUint(st.JobModifyIndex, 10)); err != nil {
		return err
	}
	if o.short {
		return nil
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
		fmt.Fprintf(w, "\nNot placed since %s: %s\n", when(b.Since), b.Reason)
		if st.Explanation != nil {
			for _, g := range st.Explanation.Groups {
				writeSuggestions(w, g.Suggestions[:min(len(g.Suggestions), maxSuggested)])
			}
		}
		fmt.Fprintf(w, "  drover job why %s   says more\n", st.ID)
	}
	if !st.Stop {
		writeFailed(w, failedNow(st.Job, st.Allocations), st.LastCrash)
	}
	return nil
}

func (st jobStatus) writeAllocs(w io.Writer, o jobStatusOptions) error {
	allocs, left := st.Allocations, 0
	if !o.all {
		allocs, left = current(allocs)
	}
	if len(allocs) == 0 {
		_, err := fmt.Fprintln(w, "\nNo allocations.")
		return err
	}
	fmt.Fprintln(w, "\nAllocations")
	if err := allocTable(w, allocs, o.verbose, false); err != nil {
		return err
	}
	if left > 0 {
		_, err := fmt.Fprintf(w, "%s that ended before: --all-allocs\n", plural(left, "allocation"))
		return err
	}
	return nil
}

// failedNow are the copies that failed and have no successor yet.
func failedNow(job *state.Job, allocs []api.AllocListItem) []api.AllocListItem {
	var out []api.AllocListItem
	for _, s := range slotsOf(allocs) {
		x := s.best
		if g := job.Group(x.TaskGroup); g != nil && x.Index < g.Count && x.ClientStatus == state.ClientFailed {
			out = append(out, x)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].CreateIndex > out[j].CreateIndex })
	return out
}

// writeFailed says why copies failed, each reason once, what the newest wrote last, and where to look.
func writeFailed(w io.Writer, failed []api.AllocListItem, last *lastCrash) {
	if len(failed) == 0 {
		return
	}
	fmt.Fprintln(w, "\nFailed")
	said := map[string]bool{}
	for _, x := range failed {
		if !said[x.ClientDescription] {
			said[x.ClientDescription] = true
			fmt.Fprintf(w, "  %s (%s) on %s: %s\n", x.Name, shortID(x.ID, false), x.NodeName, orElse(x.ClientDescription, "no reason was reported"))
		}
	}
	last.write(w)
	id := shortID(failed[0].ID, false)
	fmt.Fprintf(w, "  drover alloc status %s          shows what happened\n  drover alloc logs --stderr %s   shows what it wrote\n", id, id)
}

// current leaves out of ended allocations all but the newest of each slot, and counts them.
func current(allocs []api.AllocListItem) (out []api.AllocListItem, left int) {
	last := map[string]uint64{}
	for _, x := range allocs {
		last[x.Name] = max(last[x.Name], x.CreateIndex)
	}
	for _, x := range allocs {
		if !ended(x) || x.CreateIndex == last[x.Name] {
			out = append(out, x)
		} else {
			left++
		}
	}
	return out, left
}

func ended(x api.AllocListItem) bool {
	return x.ClientStatus == state.ClientComplete || x.ClientStatus == state.ClientFailed || x.ClientStatus == state.ClientLost
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
