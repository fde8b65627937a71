package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/drover-io/drover/state"
)

// writeExplanation says why copies of a job can or cannot be placed.
func writeExplanation(w io.Writer, e *state.Explanation) error {
	for i, g := range e.Groups {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := writeGroupExplanation(w, g); err != nil {
			return err
		}
	}
	return nil
}

func writeGroupExplanation(w io.Writer, g state.GroupExplanation) error {
	fmt.Fprintf(w, "Group %q: %d of %s placed", g.TaskGroup, g.Placed, plural(g.Wanted, "copy"))
	switch {
	case g.Unplaced == 0:
		fmt.Fprintf(w, "; %d of %s could take one more\n", g.NodesFeasible, plural(g.NodesEvaluated, "node"))
	case g.NodesEvaluated == 0:
		_, err := fmt.Fprintf(w, ", %d cannot be placed: no node has registered\n  Start an agent with --client, or client { enabled = true }. `drover node status` lists the nodes.\n", g.Unplaced)
		return err
	default:
		fmt.Fprintf(w, ", %d cannot be placed: %d of %s could take one more\n", g.Unplaced, g.NodesFeasible, plural(g.NodesEvaluated, "node"))
	}
	width := 0
	for _, r := range g.Reasons {
		width = max(width, len(plural(r.Nodes, "node")))
	}
	for _, r := range g.Reasons {
		detail := r.Detail
		if !strings.HasPrefix(detail, r.Filter+" ") {
			detail = r.Filter + ": " + detail
		}
		fmt.Fprintf(w, "  %*s  %s\n", width, plural(r.Nodes, "node"), detail)
	}
	if m := g.NearestMiss; m != nil && g.Unplaced > 0 {
		fmt.Fprintf(w, "  nearest miss: node %s (%s)\n", m.NodeName, shortID(m.NodeID, false))
		for _, f := range m.Failed {
			fmt.Fprintf(w, "    %s\n", f)
		}
	}
	for _, s := range g.Suggestions {
		if _, err := fmt.Fprintf(w, "  try: %s (%s would fit)\n", s.Change, plural(s.Nodes, "node")); err != nil {
			return err
		}
	}
	return nil
}
