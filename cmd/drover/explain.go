package main

import (
	"fmt"
	"io"
	"strconv"
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
	writeReasons(w, g.Reasons)
	if m := g.NearestMiss; m != nil && g.Unplaced > 0 {
		fmt.Fprintf(w, "  nearest miss: node %s (%s)\n", m.NodeName, shortID(m.NodeID, false))
		for _, f := range m.Failed {
			fmt.Fprintf(w, "    %s\n", f)
		}
	}
	writeSuggestions(w, g.Suggestions)
	for _, wish := range g.Wishes {
		if err := writeWish(w, wish); err != nil {
			return err
		}
	}
	return nil
}

// writeReasons says how many nodes each reason excludes.
func writeReasons(w io.Writer, reasons []state.Reason) {
	width := 0
	for _, r := range reasons {
		width = max(width, len(plural(r.Nodes, "node")))
	}
	for _, r := range reasons {
		detail := r.Detail
		if !strings.HasPrefix(detail, r.Filter+" ") {
			detail = r.Filter + ": " + detail
		}
		fmt.Fprintf(w, "  %*s  %s\n", width, plural(r.Nodes, "node"), detail)
	}
}

func writeSuggestions(w io.Writer, all []state.Suggestion) {
	for _, s := range all {
		fmt.Fprintf(w, "  try: %s (%s would fit)\n", s.Change, plural(s.Nodes, "node"))
	}
}

// writeWish says how far an affinity or a spread is fulfilled.
func writeWish(w io.Writer, x state.Wish) error {
	if x.Kind == state.WishAffinity {
		_, err := fmt.Fprintf(w, "  affinity %q, weight %d: %s on %s\n", x.Text, x.Weight, plural(x.Copies, "copy"), plural(x.Nodes, "matching node"))
		return err
	}
	fmt.Fprintf(w, "  spread over %s, weight %d:\n", x.Text, x.Weight)
	for _, v := range x.Values {
		name := strconv.Quote(v.Value)
		if v.Value == "" {
			name = "nodes without it"
		}
		fmt.Fprintf(w, "    %s: %d of %.4g copies wanted, on %s\n", name, v.Copies, v.Wanted, plural(v.Nodes, "node"))
	}
	if x.More > 0 {
		fmt.Fprintf(w, "    and %s more\n", plural(x.More, "value"))
	}
	return nil
}
