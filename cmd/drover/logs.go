package main

import (
	"context"
	"fmt"
	"io"
	"sort"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// logOptions are the flags of `alloc logs`.
type logOptions struct {
	follow, stderr, stdout bool
	task                   string
	tail, lines            int
	bytes                  int64
}

func newAllocLogs(a *app) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "logs <alloc|job> [task]",
		Short: "Print what a task has written",
		Long: `Print what a task of an allocation has written. Of a job the newest copy that runs is taken, or else the newest.

With -f it goes on as the task writes, until the task has ended.`,
		Example: "  drover alloc logs 8f3c\n  drover alloc logs -f --stderr 8f3c web\n  drover alloc logs --tail 20 hello",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				o.task = args[1]
			}
			return printLogs(cmd.Context(), a, o, args[0])
		},
		ValidArgsFunction: a.completeTasks,
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.follow, "follow", "f", false, "go on as the task writes, until it has ended")
	fs.BoolVar(&o.stderr, "stderr", false, "its standard error")
	fs.BoolVar(&o.stdout, "stdout", false, "its standard output (the default)")
	fs.StringVar(&o.task, "task", "", "the `task`, when the allocation has several")
	fs.IntVar(&o.tail, "tail", 0, "only the last so many lines; 0 for all")
	fs.IntVarP(&o.lines, "lines", "n", 0, "the same as --tail")
	fs.Int64VarP(&o.bytes, "bytes", "c", 0, "only the last so many bytes; 0 for all")
	cmd.MarkFlagsMutuallyExclusive("stderr", "stdout")
	cmd.MarkFlagsMutuallyExclusive("tail", "lines", "bytes")
	return cmd
}

func printLogs(ctx context.Context, a *app, o logOptions, word string) error {
	if o.tail < 0 || o.lines < 0 || o.bytes < 0 {
		return fmt.Errorf("--tail, --lines and --bytes count from the end: give them a number of 0 or more")
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := whoseLogs(ctx, a, c, word)
	if err != nil {
		return err
	}
	req := api.LogsRequest{AllocID: id, Task: o.task, Type: api.LogStdout, Follow: o.follow, Origin: api.LogFromStart, Tail: max(o.tail, o.lines)}
	if o.stderr {
		req.Type = api.LogStderr
	}
	if o.bytes > 0 {
		req.Origin, req.Offset = api.LogFromEnd, o.bytes
	}
	r, err := c.Logs(ctx, req)
	if err != nil && ctx.Err() != nil {
		return nil // interrupted: that is how following ends
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // read to its end, or given up
	if _, err = io.Copy(a.out, r); ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the log of %s broke off: %w; what runs runs on, ask again", shortID(id, false), err)
	}
	return nil
}

// whoseLogs is the allocation that a word names: by its ID, or as the copy of a job to look at first.
func whoseLogs(ctx context.Context, a *app, c *api.Client, word string) (string, error) {
	x, err := c.FindAllocation(ctx, word, api.QueryOptions{})
	if err == nil {
		return x.ID, nil
	}
	if !isNotFound(err) {
		return "", err
	}
	job, jerr := c.FindJob(ctx, word, api.QueryOptions{})
	if isNotFound(jerr) {
		return "", api.NewError(api.CodeNotFound, "list them with `drover alloc status` and `drover job status`", "no allocation and no job begins with %q", word)
	}
	if jerr != nil {
		return "", jerr
	}
	list := func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return c.JobAllocations(ctx, job.ID, q)
	}
	allocs, _, err := api.All(ctx, list, api.QueryOptions{Namespace: job.Namespace})
	if err != nil {
		return "", err
	}
	if len(allocs) == 0 {
		return "", fmt.Errorf("job %q has no allocation yet; `drover job why %s` says why", job.ID, job.ID)
	}
	sort.SliceStable(allocs, func(i, j int) bool {
		ri, rj := allocs[i].ClientStatus == state.ClientRunning, allocs[j].ClientStatus == state.ClientRunning
		if ri != rj {
			return ri
		}
		return allocs[i].CreateIndex > allocs[j].CreateIndex
	})
	fmt.Fprintf(a.err, "Logs of %s (%s) on %s:\n", shortID(allocs[0].ID, false), allocs[0].Name, allocs[0].NodeName)
	return allocs[0].ID, nil
}
