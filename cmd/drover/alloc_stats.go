package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newAllocStats(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "stats <alloc|job>",
		Short:      "Show what the tasks of one copy use",
		Example:    "  drover alloc stats hello\n  drover alloc stats -w 8f3c\n  drover alloc stats -t '{{.ResourceUsage.CpuStats.Percent}}' 8f3c",
		SuggestFor: []string{"usage", "top", "metrics"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showAllocStats(cmd.Context(), a, s, args[0])
		},
		ValidArgsFunction: a.completeAllocs,
	}
	s.addProgramFlags(cmd)
	r.addWatch(cmd)
	return cmd
}

func showAllocStats(ctx context.Context, a *app, s shape, word string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	x, err := a.pickAlloc(ctx, c, word, false)
	if err != nil {
		return err
	}
	stats, err := c.AllocationStats(ctx, x.ID)
	if err != nil {
		return err
	}
	return s.print(a.out, stats, func(w io.Writer) error {
		if len(stats.Tasks) == 0 {
			_, err := fmt.Fprintf(w, "No task of allocation %s runs.\n", shortID(x.ID, false))
			return err
		}
		var rows [][]string
		for _, name := range sortedKeys(stats.Tasks) {
			rows = append(rows, append([]string{name}, usageCells(stats.Tasks[name].ResourceUsage)...))
		}
		return table(w, "Task|CPU|CPU Time|Memory|Of|Cache|Processes|Throttled", rows)
	})
}

// usageCells are the columns of what is used.
func usageCells(u api.ResourceUsage) []string {
	limit := "-"
	if u.MemoryStats.Limit > 0 {
		limit = bytesOf(u.MemoryStats.Limit)
	}
	throttled := "-"
	if u.CpuStats.ThrottledPeriods > 0 {
		throttled = fmt.Sprintf("%d times, %s", u.CpuStats.ThrottledPeriods, time.Duration(u.CpuStats.ThrottledTime).Round(time.Millisecond))
	}
	return []string{
		cpuCell(u.CpuStats), time.Duration(u.CpuStats.TotalNanos).Round(10 * time.Millisecond).String(), bytesOf(u.MemoryStats.Usage), limit,
		bytesOf(u.MemoryStats.Cache), strconv.FormatUint(u.Processes, 10), throttled,
	}
}

// cpuCell is the use of processors: of one core, and in MHz where the machine says how fast it is.
func cpuCell(u api.CPUStats) string {
	if u.TotalTicks == 0 && u.Percent > 0 {
		return fmt.Sprintf("%.1f%%", u.Percent)
	}
	return fmt.Sprintf("%.1f%% (%.0f MHz)", u.Percent, u.TotalTicks)
}
