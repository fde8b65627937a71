package main

import (
	"context"
	"fmt"
	"io"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// lastCrash is how the newest failed copy of a job ended.
type lastCrash struct {
	AllocID  string
	Name     string
	NodeName string
	Tasks    map[string]*state.CrashTail
}

// readCrash asks how the newest of some failed copies ended; nil when nothing is known of it.
func readCrash(failed []api.AllocListItem, read func(id string) (*api.AllocView, error)) (*lastCrash, error) {
	if len(failed) == 0 {
		return nil, nil
	}
	x := failed[0]
	row, err := read(x.ID)
	if isNotFound(err) {
		return nil, nil // it was collected since it was listed
	}
	if err != nil {
		return nil, err
	}
	c := &lastCrash{AllocID: x.ID, Name: x.Name, NodeName: x.NodeName, Tasks: map[string]*state.CrashTail{}}
	for name, ts := range row.TaskStates {
		if ts.Failed && ts.Crash != nil {
			c.Tasks[name] = ts.Crash
		}
	}
	if len(c.Tasks) == 0 {
		return nil, nil
	}
	return c, nil
}

// crash is readCrash of a command that reads.
func (r *reader) crash(ctx context.Context, c *api.Client, q api.QueryOptions, failed []api.AllocListItem) (*lastCrash, error) {
	return readCrash(failed, func(id string) (*api.AllocView, error) {
		return fetch(r, q, func(q api.QueryOptions) (*api.AllocView, api.QueryMeta, error) { return c.Allocation(ctx, id, q) })
	})
}

// write shows what the tasks wrote last, as part of what is said of failed copies.
func (c *lastCrash) write(w io.Writer) {
	if c == nil {
		return
	}
	for _, name := range sortedKeys(c.Tasks) {
		if t := c.Tasks[name]; len(t.Stderr)+len(t.Stdout) > 0 {
			fmt.Fprintf(w, "  the last that task %q of %s wrote:\n", name, c.Name)
			writeOutput(w, "    ", t)
		}
	}
}

// writeCrash shows how a task ended when it last failed.
func writeCrash(w io.Writer, name string, t *state.CrashTail) {
	if t == nil {
		return
	}
	fmt.Fprintf(w, "\nLast failure of task %q, %s: %s\n", name, when(t.Time), t.Reason)
	if len(t.Stderr)+len(t.Stdout) == 0 {
		fmt.Fprintln(w, "  it wrote nothing")
	}
	writeOutput(w, "  ", t)
}

// writeOutput shows the lines of a tail, each with the stream that it is of. They are harmless to a terminal, see state.CrashTail.
func writeOutput(w io.Writer, indent string, t *state.CrashTail) {
	for _, line := range t.Stdout {
		fmt.Fprintf(w, "%sstdout  %s\n", indent, line)
	}
	for _, line := range t.Stderr {
		fmt.Fprintf(w, "%sstderr  %s\n", indent, line)
	}
}
