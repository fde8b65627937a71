package main

import (
	"fmt"
	"io"

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
	fmt.Fprintf(w, "Group %q: %d of %d copies placed", g.TaskGroup, g.Placed, g.Wanted)
	if g.Unplaced == 0 {
		fmt.Fprintf(w, "; %d of %d nodes could take one more\n", g.NodesFeasible, g.NodesEvaluated)
	} else {
		fmt.Fprintf(w, ", %d cannot be placed: %d of %d nodes fit\n", g.Unplaced, g.NodesFeasible, g.NodesEvaluated)
	}
	for _, r := range g.Reasons {
		fmt.Fprintf(w, "  %4d nodes  %s: %s\n", r.Nodes, r.Filter, r.Detail)
	}
	if m := g.NearestMiss; m != nil && g.Unplaced > 0 {
		fmt.Fprintf(w, "  nearest miss: node %s (%s)\n", m.NodeName, shortID(m.NodeID, false))
		for _, f := range m.Failed {
			fmt.Fprintf(w, "    %s\n", f)
		}
	}
	for _, s := range g.Suggestions {
		if _, err := fmt.Fprintf(w, "  try: %s (%d nodes would fit)\n", s.Change, s.Nodes); err != nil {
			return err
		}
	}
	return nil
}
