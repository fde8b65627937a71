package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newNodeWhy(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:   "why <node>",
		Short: "Say what could still fit on a node, and what excludes the rest",
		Long: `Say what a node has free, for every job with copies that cannot be placed whether they would fit there and what excludes them, and for every
other group how many more copies would fit beside what is there.`,
		Example:    "  drover node why m2\n  drover node why --json m2",
		SuggestFor: []string{"explain", "fits"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showNodeWhy(cmd.Context(), r, args[0], s)
		},
		ValidArgsFunction: a.completeNodes,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	return cmd
}

func showNodeWhy(ctx context.Context, r *reader, prefix string, s shape) error {
	c, err := r.app.client()
	if err != nil {
		return err
	}
	found, err := find(ctx, r, api.QueryOptions{}, prefix, c.FindNode)
	if err != nil {
		return err
	}
	e, err := fetch(r, api.QueryOptions{}, func(q api.QueryOptions) (*state.NodeExplanation, api.QueryMeta, error) {
		return c.ExplainNode(ctx, found.ID, q)
	})
	if err != nil {
		return err
	}
	return s.printNamed(r.app.out, e, e.NodeID, func(w io.Writer) error { return writeNodeWhy(w, e) })
}

func writeNodeWhy(w io.Writer, e *state.NodeExplanation) error {
	if err := facts(w, "ID", shortID(e.NodeID, false), "Name", e.NodeName, "Status", e.Status, "Eligibility", e.SchedulingEligibility); err != nil {
		return err
	}
	for _, p := range e.Problems {
		fmt.Fprintln(w, "\nTakes no new work:", p)
	}
	fmt.Fprintln(w)
	if err := table(w, "Resource|Free|Of", roomRows(e)); err != nil {
		return err
	}
	if len(e.Blocked) > 0 {
		fmt.Fprintln(w, "\nCopies that cannot be placed")
		if err := table(w, "Job|Task Group|Not Placed|Would Fit Here|Because", fitRows(e.Blocked, true)); err != nil {
			return err
		}
	}
	if len(e.Groups) > 0 {
		fmt.Fprintln(w, "\nOther groups")
		if err := table(w, "Job|Task Group|Here|More Would Fit|Because", fitRows(e.Groups, false)); err != nil {
			return err
		}
	}
	if len(e.Blocked)+len(e.Groups) == 0 {
		fmt.Fprintln(w, "\nNo jobs want copies.")
	}
	if e.LeftOut > 0 {
		_, err := fmt.Fprintf(w, "%s were not looked at: one answer does so much work and no more\n", plural(e.LeftOut, "group"))
		return err
	}
	return nil
}

func roomRows(e *state.NodeExplanation) [][]string {
	row := func(name string, free, of int, unit string) []string {
		return []string{name, strings.TrimSpace(fmt.Sprintf("%d %s", free, unit)), strings.TrimSpace(fmt.Sprintf("%d %s", of, unit))}
	}
	rows := [][]string{
		row("CPU", e.Free.CPU, e.Total.CPU, "MHz"), row("Memory", e.Free.MemoryMB, e.Total.MemoryMB, "MiB"),
		row("Disk", e.Free.DiskMB, e.Total.DiskMB, "MiB"), row("Dynamic ports", e.Free.DynamicPorts, e.Total.DynamicPorts, ""),
	}
	if e.Total.Cores > 0 {
		rows = append(rows, row("Whole cores", e.Free.Cores, e.Total.Cores, ""))
	}
	for i, d := range e.Total.Devices {
		unit := ""
		if d.Shared {
			unit = "(shared)"
		}
		rows = append(rows, row(d.ID, e.Free.Devices[i].Instances, d.Instances, unit))
	}
	return rows
}

func fitRows(fits []state.NodeFit, blocked bool) [][]string {
	var rows [][]string
	for _, f := range fits {
		because := strings.Join(f.Failed, "; ")
		if len(f.Failed) == 0 && f.LimitedBy != "" {
			because = "then there is no more " + f.LimitedBy
		}
		count := f.Here
		if blocked {
			count = f.Unplaced
		}
		rows = append(rows, []string{f.JobID, f.TaskGroup, strconv.Itoa(count), strconv.Itoa(f.More), because})
	}
	return rows
}
