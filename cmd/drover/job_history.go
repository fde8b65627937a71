package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// jobVersion is one version of a job as `job history` shows it.
type jobVersion struct {
	*state.Job
	Diff []state.DiffLine `json:",omitempty"` // from the version before it that is kept
}

func newJobHistory(a *app) *cobra.Command {
	var s shape
	var diffs, full bool
	var version, against uint64
	cmd := &cobra.Command{
		Use:   "history <job>",
		Short: "List the versions of a job that are kept, and how they differ",
		Example: "  drover job history hello\n  drover job history -p hello              # with what changed in each\n" +
			"  drover job history --version 4 --diff-version 2 hello",
		SuggestFor: []string{"versions", "log"},
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
			flags := cmd.Flags()
			if flags.Changed("diff-version") {
				if !flags.Changed("version") {
					version = found.Version
				}
				return showDifference(a, s, resp.Versions, found.ID, against, version)
			}
			history := historyOf(resp, diffs)
			if flags.Changed("version") {
				if _, err := versionOf(resp.Versions, found.ID, version); err != nil {
					return err
				}
				history = onlyVersion(history, version)
			}
			return s.print(a.out, history, func(w io.Writer) error { return writeHistory(w, history, diffs, full) })
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	fs := cmd.Flags()
	fs.BoolVarP(&diffs, "diff", "p", false, "with what changed in each version")
	fs.BoolVar(&full, "full", false, "with the whole specification of each version, in JSON")
	fs.Uint64Var(&version, "version", 0, "only this version")
	fs.Uint64Var(&against, "diff-version", 0, "how --version, or the newest, differs from this one")
	return cmd
}

func historyOf(resp *api.JobVersionsResponse, diffs bool) []jobVersion {
	var out []jobVersion
	for i, v := range resp.Versions {
		one := jobVersion{Job: v}
		if diffs && i < len(resp.Diffs) {
			one.Diff = resp.Diffs[i]
		}
		out = append(out, one)
	}
	return out
}

func onlyVersion(history []jobVersion, version uint64) []jobVersion {
	for i, v := range history {
		if v.Version == version {
			return history[i : i+1]
		}
	}
	return nil
}

func writeHistory(w io.Writer, history []jobVersion, diffs, full bool) error {
	if !diffs && !full {
		var rows [][]string
		for i, v := range history {
			rows = append(rows, []string{strconv.FormatUint(v.Version, 10), strconv.FormatBool(i == 0 && !v.Stop), when(v.SubmitTime), groupCounts(v.Job)})
		}
		return table(w, "Version|Newest|Submit Date|Groups", rows)
	}
	for i, v := range history {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := facts(w, "Version", strconv.FormatUint(v.Version, 10), "Submit Date", when(v.SubmitTime), "Groups", groupCounts(v.Job)); err != nil {
			return err
		}
		if diffs && len(v.Diff) > 0 {
			fmt.Fprintln(w, "Changes:")
			writeDiffLines(w, v.Diff)
		}
		if full {
			if err := writeJSON(w, v.Job); err != nil {
				return err
			}
		}
	}
	return nil
}

// groupCounts are a job's groups with their counts: "web=3 db=1".
func groupCounts(j *state.Job) string {
	var out []string
	for _, g := range j.TaskGroups {
		out = append(out, fmt.Sprintf("%s=%d", g.Name, g.Count))
	}
	return strings.Join(out, " ")
}

// versionDifference is how two versions of a job differ.
type versionDifference struct {
	From, To uint64
	Diff     []state.DiffLine
}

func showDifference(a *app, s shape, versions []*state.Job, id string, from, to uint64) error {
	old, err := versionOf(versions, id, from)
	if err != nil {
		return err
	}
	now, err := versionOf(versions, id, to)
	if err != nil {
		return err
	}
	d := versionDifference{From: from, To: to, Diff: state.DiffJobs(old, now)}
	return s.print(a.out, d, func(w io.Writer) error {
		if len(d.Diff) == 0 {
			_, err := fmt.Fprintf(w, "Versions %d and %d of job %q ask for the same.\n", from, to, id)
			return err
		}
		fmt.Fprintf(w, "From version %d to version %d of job %q:\n", from, to, id)
		writeDiffLines(w, d.Diff)
		return nil
	})
}
