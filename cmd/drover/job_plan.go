package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// Exit codes of `job plan` that scripts rely on.
const (
	exitPlanChanges = exitCode(1)
	exitPlanError   = 255 // because 1 means that something would change
)

func newJobPlan(a *app) *cobra.Command {
	var f jobFile
	var pin pinning
	var s shape
	var detach, diff bool
	cmd := &cobra.Command{
		Use:   "plan <file>",
		Short: "Say what running a job would place and stop, changing nothing",
		Long: `Say what running a job would place and stop, and where, and why what cannot be placed cannot, changing nothing.

Exit code 0: no copy would be placed or stopped. 1: some would. 255: an error.`,
		Example:    "  drover job plan hello.nomad.hcl\n  drover job plan -var copies=3 hello.nomad.hcl",
		SuggestFor: []string{"diff", "dry-run"},
		Args:       planArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := planJob(cmd.Context(), a, &f, &pin, s, args[0])
			if errors.Is(err, exitCode(exitError)) {
				return exitCode(exitPlanError)
			}
			if err != nil {
				return coded{err, exitPlanError}
			}
			if changes {
				return exitPlanChanges
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return coded{flagError(cmd, err), exitPlanError} })
	f.addFlags(cmd)
	pin.addFlags(cmd)
	s.addFlags(cmd)
	cmd.Flags().BoolVar(&diff, "diff", true, "accepted for scripts; what changed in the job is always shown")
	cmd.Flags().BoolVar(&detach, "detach", false, "accepted for scripts; a plan has nothing to follow")
	_ = cmd.Flags().MarkHidden("detach") // it exists
	return cmd
}

func planArguments(cmd *cobra.Command, args []string) error {
	if err := arguments(1, 1)(cmd, args); err != nil {
		return coded{err, exitPlanError}
	}
	return nil
}

// planJob prints a plan and reports whether it would place or stop anything, now or in later steps of a roll-out.
func planJob(ctx context.Context, a *app, f *jobFile, pin *pinning, s shape, path string) (changes bool, err error) {
	job, err := f.parse(a, path)
	if err != nil {
		return false, err
	}
	c, err := a.client()
	if err != nil {
		return false, err
	}
	mode, pins, err := pin.apply(ctx, a, c, job)
	if err != nil {
		return false, err
	}
	view, err := c.PlanJobAs(ctx, &api.JobPlanRequest{Job: job, Pin: mode}, api.QueryOptions{Namespace: job.Namespace})
	if err != nil {
		return false, err
	}
	view.Pins = append(pins, view.Pins...)
	changes = len(view.Placements)+len(view.Stops) > 0
	for _, g := range view.Groups {
		changes = changes || g.Place+g.Stop+g.Replace > 0
	}
	again := []string{"drover", "job", "run", "-check-index", strconv.FormatUint(view.JobModifyIndex, 10)}
	if a.address != "" {
		again = append(again, "-address", quote(a.address))
	}
	if a.namespace != "" {
		again = append(again, "-namespace", quote(a.namespace))
	}
	again = append(append(append(again, f.arguments()...), pin.arguments()...), quote(path))
	return changes, s.print(a.out, view, func(w io.Writer) error { return writePlan(w, view, strings.Join(again, " ")) })
}

func writePlan(w io.Writer, v *api.JobPlanResponse, again string) error {
	if v.JobModifyIndex == 0 {
		fmt.Fprint(w, "+ job: new\n\n")
	} else {
		writeDiff(w, v.Diff)
	}
	writePins(w, v.Pins)
	for _, g := range v.Groups {
		fmt.Fprintf(w, "Group %q: %s\n", g.TaskGroup, groupPlanWords(g))
	}
	for _, p := range v.Stops {
		fmt.Fprintf(w, "  - stop   %s (%s) on %s: %s\n", p.Name, shortID(p.AllocID, false), p.NodeName, p.Reason)
	}
	for _, p := range v.Placements {
		fmt.Fprintf(w, "  + place  %s on %s: %s\n", p.Name, p.NodeName, p.Reason)
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
	_, err := fmt.Fprintf(w, "\nJob Modify Index: %d\nNothing was changed. To run exactly this:\n  %s\n", v.JobModifyIndex, again)
	return err
}

// writeDiff lists what changes in a job, with an empty line behind it.
func writeDiff(w io.Writer, diff []state.DiffLine) {
	writeDiffLines(w, diff)
	if len(diff) > 0 {
		fmt.Fprintln(w)
	}
}

func writeDiffLines(w io.Writer, diff []state.DiffLine) {
	for _, d := range diff {
		image := imageDiff(d)
		switch {
		case image != "" && d.Old != "" && d.New != "":
			fmt.Fprintf(w, "~ %s: %s\n", d.Path, image)
		case d.Old == "":
			fmt.Fprintf(w, "+ %s: %s\n", d.Path, clip(d.New))
		case d.New == "":
			fmt.Fprintf(w, "- %s: %s\n", d.Path, clip(d.Old))
		default:
			old, now := difference(d.Old, d.New)
			fmt.Fprintf(w, "~ %s: %s => %s\n", d.Path, old, now)
		}
	}
}

const (
	longValue = 80 // characters of a value that are shown whole
	nearby    = 16 // characters around a difference
)

// clip shortens a long value.
func clip(s string) string {
	if r := []rune(s); len(r) > longValue {
		return string(r[:longValue]) + "…"
	}
	return s
}

// difference shortens two long values to the part in which they differ, with a little around it.
func difference(old, now string) (string, string) {
	a, b := []rune(old), []rune(now)
	if len(a) <= longValue && len(b) <= longValue {
		return old, now
	}
	from := 0
	for from < min(len(a), len(b)) && a[from] == b[from] {
		from++
	}
	to := 0
	for to < min(len(a), len(b))-from && a[len(a)-1-to] == b[len(b)-1-to] {
		to++
	}
	part := func(r []rune) string {
		start, end := max(0, from-nearby), min(len(r), len(r)-to+nearby)
		text := string(r[start:end])
		if end-start > 2*longValue {
			text = clip(text)
		}
		if start > 0 {
			text = "…" + text
		}
		if end < len(r) {
			text += "…"
		}
		return text
	}
	return part(a), part(b)
}

func groupPlanWords(g state.GroupPlan) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{g.Place, "to place"}, {g.Replace, "to replace"}, {g.Stop, "to stop"}, {g.Ignore, "left alone"}, {g.Unplaced, "cannot be placed"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if parts == nil {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}
