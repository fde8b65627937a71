package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func isNotFound(err error) bool { return errors.Is(err, api.ErrNotFound) }

func newAllocStatus(a *app) *cobra.Command {
	var s shape
	var verbose bool
	cmd := &cobra.Command{
		Use:     "status [alloc]",
		Short:   "List allocations, or show one with its tasks and their events",
		Example: "  drover alloc status\n  drover alloc status 8f3c",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				allocs, _, err := api.All(cmd.Context(), c.Allocations, api.QueryOptions{})
				if err != nil {
					return err
				}
				return s.print(a.out, allocs, func(w io.Writer) error { return allocTable(w, allocs, verbose) })
			}
			return showAlloc(cmd.Context(), a, c, args[0], s, verbose)
		},
		ValidArgsFunction: a.completeAllocs,
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole IDs")
	return cmd
}

func showAlloc(ctx context.Context, a *app, c *api.Client, prefix string, s shape, verbose bool) error {
	found, err := c.FindAllocation(ctx, prefix, api.QueryOptions{})
	if err != nil {
		return err
	}
	x, _, err := c.Allocation(ctx, found.ID, api.QueryOptions{Namespace: found.Namespace})
	if err != nil {
		return err
	}
	return s.print(a.out, x, func(w io.Writer) error { return writeAlloc(w, x, verbose) })
}

func writeAlloc(w io.Writer, x *api.AllocView, verbose bool) error {
	pairs := []string{
		"ID", shortID(x.ID, verbose), "Name", x.Name, "Node ID", shortID(x.NodeID, verbose), "Node Name", x.NodeName,
		"Job ID", x.JobID, "Job Version", strconv.FormatUint(x.JobVersion, 10),
		"Client Status", x.ClientStatus, "Client Description", orDash(x.ClientDescription),
		"Desired Status", x.DesiredStatus, "Desired Description", orDash(x.DesiredDescription),
		"Created", when(x.CreateTime), "Modified", when(x.ModifyTime),
	}
	if x.PreviousAllocation != "" {
		pairs = append(pairs, "Replaces", shortID(x.PreviousAllocation, verbose))
	}
	if x.NextAllocation != "" {
		pairs = append(pairs, "Replaced By", shortID(x.NextAllocation, verbose))
	}
	if err := facts(w, pairs...); err != nil {
		return err
	}
	if len(x.Ports) > 0 {
		var rows [][]string
		for _, p := range x.Ports {
			rows = append(rows, []string{p.Label, fmt.Sprintf("%s:%d", p.HostIP, p.HostPort), strconv.Itoa(p.To)})
		}
		fmt.Fprintln(w)
		if err := table(w, "Port|Address|To", rows); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(x.TaskStates) {
		t := x.TaskStates[name]
		state := t.State
		if t.Failed {
			state += " (failed)"
		}
		fmt.Fprintf(w, "\nTask %q is %s, %d restarts\n", name, state, t.Restarts)
		var rows [][]string
		for i := len(t.Events) - 1; i >= 0; i-- {
			e := t.Events[i]
			rows = append(rows, []string{when(e.Time), e.Type, e.Message})
		}
		if err := table(w, "Time|Type|Description", rows); err != nil {
			return err
		}
	}
	return nil
}

func newAllocLogs(a *app) *cobra.Command {
	var follow, stderr, stdout bool
	var task string
	var tail int
	var lines int
	cmd := &cobra.Command{
		Use:     "logs <alloc> [task]",
		Short:   "Print what a task has written",
		Example: "  drover alloc logs 8f3c\n  drover alloc logs -f --stderr 8f3c web\n  drover alloc logs --tail 20 8f3c",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			x, err := c.FindAllocation(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			if len(args) == 2 {
				task = args[1]
			}
			req := api.LogsRequest{AllocID: x.ID, Task: task, Type: api.LogStdout, Follow: follow, Origin: api.LogFromStart, Tail: max(tail, lines)}
			if stderr {
				req.Type = api.LogStderr
			}
			r, err := c.Logs(cmd.Context(), req)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }() // read to its end, or given up
			_, err = io.Copy(a.out, r)
			if cmd.Context().Err() != nil {
				return nil // interrupted: that is how following ends
			}
			return err
		},
		ValidArgsFunction: a.completeAllocs,
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the task writes, until it has ended")
	cmd.Flags().BoolVar(&stderr, "stderr", false, "its standard error")
	cmd.Flags().BoolVar(&stdout, "stdout", false, "its standard output (the default)")
	cmd.Flags().StringVar(&task, "task", "", "the task, when the allocation has several")
	cmd.Flags().IntVar(&tail, "tail", 0, "the last so many lines; 0 for all")
	cmd.Flags().IntVarP(&lines, "lines", "n", 0, "the same as --tail")
	cmd.MarkFlagsMutuallyExclusive("stderr", "stdout")
	return cmd
}

func newAllocStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "stop <alloc>",
		Short:   "Stop one copy; another is placed in its stead",
		Example: "  drover alloc stop 8f3c",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			x, err := c.FindAllocation(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			if _, err := c.StopAllocation(cmd.Context(), x.ID, api.WriteOptions{Namespace: x.Namespace}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Allocation %s (%s) asked to stop; another copy is placed in its stead.\n", shortID(x.ID, false), x.Name)
			return nil
		},
		ValidArgsFunction: a.completeAllocs,
	}
}

func newAllocRestart(a *app) *cobra.Command {
	var task string
	cmd := &cobra.Command{
		Use:     "restart <alloc> [task]",
		Short:   "Restart the tasks of one copy where it is",
		Example: "  drover alloc restart 8f3c",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			x, err := c.FindAllocation(cmd.Context(), args[0], api.QueryOptions{})
			if err != nil {
				return err
			}
			if len(args) == 2 {
				task = args[1]
			}
			if _, err := c.RestartAllocation(cmd.Context(), x.ID, task, api.WriteOptions{Namespace: x.Namespace}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Allocation %s (%s) restarted.\n", shortID(x.ID, false), x.Name)
			return nil
		},
		ValidArgsFunction: a.completeAllocs,
	}
	cmd.Flags().StringVar(&task, "task", "", "only this task")
	return cmd
}
