package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func isNotFound(err error) bool { return errors.Is(err, api.ErrNotFound) }

func newAllocStatus(a *app) *cobra.Command {
	var s shape
	var verbose, short bool
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "status [alloc]",
		Short:      "List allocations, or show one with its tasks and their events",
		Example:    "  drover alloc status\n  drover alloc status 8f3c\n  drover alloc status -t '{{.NodeName}}' 8f3c",
		SuggestFor: []string{"list", "ls", "ps", "get", "describe", "inspect"},
		Args:       arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listAllocs(cmd.Context(), r, c, s, verbose)
			}
			return showAlloc(cmd.Context(), r, c, args[0], s, allocStatusOptions{verbose, short})
		},
		ValidArgsFunction: a.completeAllocs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole IDs")
	cmd.Flags().BoolVar(&short, "short", false, "of one only how it stands, without its tasks' events")
	return cmd
}

// allocStatusOptions say how much of an allocation is shown.
type allocStatusOptions struct{ verbose, short bool }

func listAllocs(ctx context.Context, r *reader, c *api.Client, s shape, verbose bool) error {
	allocs, err := fetchAll(ctx, r, r.listed(), c.Allocations)
	if err != nil {
		return err
	}
	l := allocList(allocs, verbose, true)
	l.empty = "No allocations. `drover job status` lists the jobs."
	return printList(r.app.out, s, l)
}

func showAlloc(ctx context.Context, r *reader, c *api.Client, prefix string, s shape, o allocStatusOptions) error {
	found, err := find(ctx, r, api.QueryOptions{}, prefix, c.FindAllocation)
	if err != nil {
		return err
	}
	q := api.QueryOptions{Namespace: found.Namespace}
	x, err := fetch(r, q, func(q api.QueryOptions) (*api.AllocView, api.QueryMeta, error) { return c.Allocation(ctx, found.ID, q) })
	if err != nil {
		return err
	}
	return s.printNamed(r.app.out, x, x.ID, func(w io.Writer) error { return writeAlloc(w, x, o) })
}

func writeAlloc(w io.Writer, x *api.AllocView, o allocStatusOptions) error {
	pairs := []string{
		"ID", shortID(x.ID, o.verbose), "Name", x.Name, "Node ID", shortID(x.NodeID, o.verbose), "Node Name", x.NodeName,
		"Job ID", x.JobID, "Job Version", strconv.FormatUint(x.JobVersion, 10),
		"Client Status", x.ClientStatus, "Client Description", orDash(x.ClientDescription),
		"Desired Status", x.DesiredStatus, "Desired Description", orDash(x.DesiredDescription),
		"Resources", heldBy(&x.Resources),
		"Created", when(x.CreateTime), "Modified", when(x.ModifyTime),
	}
	if x.PreviousAllocation != "" {
		pairs = append(pairs, "Replaces", shortID(x.PreviousAllocation, o.verbose))
	}
	if x.NextAllocation != "" {
		pairs = append(pairs, "Replaced By", shortID(x.NextAllocation, o.verbose))
	}
	if err := facts(w, pairs...); err != nil {
		return err
	}
	if len(x.Ports) > 0 {
		var rows [][]string
		for _, p := range x.Ports {
			rows = append(rows, []string{p.Label, net.JoinHostPort(p.HostIP, strconv.Itoa(p.HostPort)), strconv.Itoa(p.To)})
		}
		fmt.Fprintln(w)
		if err := table(w, "Port|Address|To", rows); err != nil {
			return err
		}
	}
	if o.short {
		return nil
	}
	for _, name := range sortedKeys(x.TaskStates) {
		if err := writeTask(w, name, x.TaskStates[name]); err != nil {
			return err
		}
		writeCrash(w, name, x.TaskStates[name].Crash)
	}
	if len(x.TaskStates) == 0 {
		_, err := fmt.Fprintln(w, "\nIts node has not reported about it yet.")
		return err
	}
	if x.ClientStatus == state.ClientFailed {
		_, err := fmt.Fprintf(w, "\n  drover alloc logs --stderr %s   shows what it wrote\n", shortID(x.ID, false))
		return err
	}
	return nil
}

// writeTask shows how a task stands and what happened to it, newest first.
func writeTask(w io.Writer, name string, t state.TaskState) error {
	status := t.State
	if t.Failed {
		status += " (failed)"
	}
	if t.Restarts > 0 {
		status += ", restarted " + plural(t.Restarts, "time")
	}
	fmt.Fprintf(w, "\nTask %q is %s\n", name, status)
	var rows [][]string
	for i := len(t.Events) - 1; i >= 0; i-- {
		e := t.Events[i]
		rows = append(rows, []string{when(e.Time), e.Type, e.Message})
	}
	return table(w, "Time|Type|Description", rows)
}

func newAllocStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "stop <alloc>",
		Short:   "Stop one copy; another is placed in its stead",
		Example: "  drover alloc stop 8f3c",
		Args:    arguments(1, 1),
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
		Args:    arguments(1, 2),
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
	cmd.Flags().StringVar(&task, "task", "", "only this `task`")
	return cmd
}
