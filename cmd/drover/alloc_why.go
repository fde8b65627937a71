package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newAllocWhy(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:   "why <alloc>",
		Short: "Say why a copy is on its node, score by score, and which nodes come next",
		Long: `Say how the node of a copy scores for it, score by score, how the best other nodes do, and what excludes the rest. The scores are worked
out now, as if the copy were not there yet and were to be placed; what has changed since it was placed is noted.`,
		Example:    "  drover alloc why 8f3c\n  drover alloc why --json 8f3c",
		SuggestFor: []string{"explain"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showAllocWhy(cmd.Context(), r, args[0], s)
		},
		ValidArgsFunction: a.completeAllocs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	return cmd
}

func showAllocWhy(ctx context.Context, r *reader, prefix string, s shape) error {
	c, err := r.app.client()
	if err != nil {
		return err
	}
	found, err := find(ctx, r, api.QueryOptions{}, prefix, c.FindAllocation)
	if err != nil {
		return err
	}
	e, err := fetch(r, api.QueryOptions{Namespace: found.Namespace}, func(q api.QueryOptions) (*state.AllocExplanation, api.QueryMeta, error) {
		return c.ExplainAllocation(ctx, found.ID, q)
	})
	if err != nil {
		return err
	}
	return s.printNamed(r.app.out, e, e.AllocID, func(w io.Writer) error { return writeAllocWhy(w, e) })
}

func writeAllocWhy(w io.Writer, e *state.AllocExplanation) error {
	if err := facts(w, "ID", shortID(e.AllocID, false), "Name", e.Name, "Job ID", e.JobID, "Job Version", strconv.FormatUint(e.JobVersion, 10),
		"Node ID", shortID(e.Chosen.NodeID, false), "Node Name", e.Chosen.NodeName, "Placed", when(e.PlacedAt), "Algorithm", orDash(e.Algorithm)); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nIf it were placed now, %d of %s could take it:\n", e.NodesFeasible, plural(e.NodesEvaluated, "node"))
	if err := writeRanks(w, e); err != nil {
		return err
	}
	if len(e.Chosen.Scores) > 0 {
		fmt.Fprintf(w, "\nNode %s\n", e.Chosen.NodeName)
		var rows [][]string
		for _, s := range e.Chosen.Scores {
			rows = append(rows, []string{s.Name, score(s.Score), s.Detail})
		}
		if err := table(w, "Score|Value|Because", rows); err != nil {
			return err
		}
	}
	for _, f := range e.Chosen.Failed {
		fmt.Fprintf(w, "\nNode %s could not: %s\n", e.Chosen.NodeName, f)
	}
	if len(e.Reasons) > 0 {
		fmt.Fprintln(w, "\nNodes that could not")
		writeReasons(w, e.Reasons)
	}
	for _, n := range e.Notes {
		if _, err := fmt.Fprintln(w, "\nNote:", n); err != nil {
			return err
		}
	}
	return nil
}

// writeRanks compares the chosen node with the best others, best first.
func writeRanks(w io.Writer, e *state.AllocExplanation) error {
	nodes := e.RunnersUp
	if e.Chosen.Rank > 0 {
		at := 0
		for at < len(nodes) && nodes[at].Rank < e.Chosen.Rank {
			at++
		}
		nodes = append(append(append([]state.NodeScore{}, nodes[:at]...), e.Chosen), nodes[at:]...)
	}
	if len(nodes) == 0 {
		_, err := fmt.Fprintln(w, "  none")
		return err
	}
	header := "Rank|Node|Score"
	for _, s := range nodes[0].Scores {
		header += "|" + s.Name
	}
	var rows [][]string
	for _, n := range nodes {
		name := n.NodeName
		if n.NodeID == e.Chosen.NodeID {
			name += " (it is here)"
		}
		row := []string{strconv.Itoa(n.Rank), name, score(n.Score)}
		for _, s := range n.Scores {
			row = append(row, score(s.Score))
		}
		rows = append(rows, row)
	}
	return table(w, header, rows)
}

func score(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }
