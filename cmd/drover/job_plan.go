package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// Exit codes of `job plan` that scripts rely on.
const (
	exitPlanChanges = exitCode(1)
	exitPlanError   = 255
)

// planError makes every error of `job plan` exit with 255, because 1 means that something would change.
type planError struct{ error }

// ExitCode is what the process exits with.
func (planError) ExitCode() int { return exitPlanError }

func newJobPlan(a *app) *cobra.Command {
	var f jobFile
	var s shape
	cmd := &cobra.Command{
		Use:     "plan <file>",
		Short:   "Say what running a job would place and stop, changing nothing",
		Long:    "Say what running a job would place and stop, where, changing nothing.\n\nExit code 0: nothing would change. 1: copies would be placed or stopped. 255: an error.",
		Example: "  drover job plan hello.nomad.hcl",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := f.parse(a, args[0])
			if err == exitCode(1) {
				return exitCode(exitPlanError)
			}
			if err != nil {
				return planError{err}
			}
			c, err := a.client()
			if err != nil {
				return planError{err}
			}
			view, err := c.PlanJob(cmd.Context(), job, api.QueryOptions{})
			if err != nil {
				return planError{err}
			}
			if err := s.print(a.out, view, func(w io.Writer) error { return writePlan(w, view, args[0]) }); err != nil {
				return planError{err}
			}
			if len(view.Placements)+len(view.Stops) > 0 {
				return exitPlanChanges
			}
			return nil
		},
	}
	f.addFlags(cmd)
	s.addFlags(cmd)
	return cmd
}

func writePlan(w io.Writer, v *api.JobPlanResponse, file string) error {
	for _, d := range v.Diff {
		switch {
		case d.Old == "":
			fmt.Fprintf(w, "+ %s: %s\n", d.Path, d.New)
		case d.New == "":
			fmt.Fprintf(w, "- %s: %s\n", d.Path, d.Old)
		default:
			fmt.Fprintf(w, "~ %s: %s => %s\n", d.Path, d.Old, d.New)
		}
	}
	if len(v.Diff) > 0 {
		fmt.Fprintln(w)
	}
	for _, g := range v.Groups {
		var parts []string
		for _, p := range []struct {
			n    int
			what string
		}{{g.Place, "to place"}, {g.Replace, "to replace"}, {g.Stop, "to stop"}, {g.Ignore, "left alone"}, {g.Unplaced, "that cannot be placed"}} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
			}
		}
		if parts == nil {
			parts = []string{"nothing to do"}
		}
		fmt.Fprintf(w, "Group %q: %s\n", g.TaskGroup, strings.Join(parts, ", "))
	}
	for _, p := range v.Stops {
		fmt.Fprintf(w, "  - stop   %s (%s) on %s: %s\n", p.Name, shortID(p.AllocID, false), p.NodeName, p.Reason)
	}
	for _, p := range v.Placements {
		fmt.Fprintf(w, "  + place  %s on %s", p.Name, p.NodeName)
		if p.Reason != "" {
			fmt.Fprintf(w, ": %s", p.Reason)
		}
		fmt.Fprintln(w)
	}
	for _, warning := range v.Warnings {
		fmt.Fprintln(w, "Warning:", warning)
	}
	if v.Explanation != nil {
		fmt.Fprintln(w)
		if err := writeExplanation(w, v.Explanation); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nJob Modify Index: %d\nNothing was changed. To run exactly this:\n  drover job run -check-index %d %s\n", v.JobModifyIndex, v.JobModifyIndex, file)
	return err
}
