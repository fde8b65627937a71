package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// topAtOnce is how many machines are asked at a time.
	topAtOnce = 16
	// topWait bounds how long one may take: the others are shown without it.
	topWait = 5 * time.Second
)

// topOptions are the flags of `top`.
type topOptions struct {
	once bool
	sort string
	rows int
}

func newTop(a *app) *cobra.Command {
	var s shape
	var o topOptions
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:   "top [nodes|allocs|jobs]",
		Short: "Show what machines, copies or jobs use at the moment",
		Long: `Show what machines, copies or jobs use at the moment, the busiest first. On a terminal it goes on until interrupted; elsewhere, or
with --once, it is shown once. A machine that does not answer is shown without figures.`,
		Example:    "  drover top\n  drover top allocs\n  drover top jobs --sort memory --once",
		SuggestFor: []string{"stats", "usage"},
		ValidArgs:  []string{"nodes", "allocs", "jobs"},
		Args:       arguments(0, 1),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"cpu", "memory", "name"}, o.sort) {
				return fmt.Errorf("flag --sort wants cpu, memory or name, not %q", o.sort)
			}
			if !cmd.Flags().Changed("watch") {
				r.watching = !o.once && !s.given() && a.terminal()
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			what := "nodes"
			if len(args) == 1 {
				what = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			switch what {
			case "nodes", "node":
				return topNodes(cmd.Context(), r, c, s, o)
			case "allocs", "alloc":
				return topAllocs(cmd.Context(), r, c, s, o)
			case "jobs", "job":
				return topJobs(cmd.Context(), r, c, s, o)
			}
			return fmt.Errorf("top shows nodes, allocs or jobs, not %q", what)
		},
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	cmd.Flags().BoolVar(&o.once, "once", false, "show it once, also on a terminal")
	cmd.Flags().StringVar(&o.sort, "sort", "cpu", "what to `sort` by: cpu, memory or name")
	cmd.Flags().IntVarP(&o.rows, "rows", "n", 0, "only the first so many; 0 for all")
	return cmd
}

// nodeUsage is one machine of `top nodes`.
type nodeUsage struct {
	ID        string
	Name      string
	Status    string
	Allocs    int
	HostStats *api.HostStats `json:",omitempty"`
	Error     string         `json:",omitempty"` // why there are no figures
}

// usedBy is one copy or one job of `top`.
type usedBy struct {
	ID        string
	Name      string
	Namespace string
	NodeName  string `json:",omitempty"`
	Copies    int    `json:",omitempty"`
	api.ResourceUsage
}

// asked asks every machine that is not down, some at a time.
func asked(ctx context.Context, nodes []api.NodeListItem, ask func(ctx context.Context, i int, n api.NodeListItem)) {
	var g errgroup.Group
	g.SetLimit(topAtOnce)
	for i, n := range nodes {
		if n.Status == state.NodeStatusDown {
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, topWait)
			defer cancel()
			ask(ctx, i, n)
			return nil
		})
	}
	_ = g.Wait() // they return none
}

func topNodes(ctx context.Context, r *reader, c *api.Client, s shape, o topOptions) error {
	nodes, err := fetchAll(ctx, r, api.QueryOptions{}, c.Nodes)
	if err != nil {
		return err
	}
	rows := make([]nodeUsage, len(nodes))
	for i, n := range nodes {
		rows[i] = nodeUsage{ID: n.ID, Name: n.Name, Status: n.Status, Allocs: n.Allocs}
	}
	asked(ctx, nodes, func(ctx context.Context, i int, n api.NodeListItem) {
		stats, err := c.HostStats(ctx, api.AgentRef{Node: n.ID})
		if err != nil {
			rows[i].Error = brief(err)
			return
		}
		rows[i].HostStats = stats
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	figure := func(n nodeUsage) (cpu, memory float64, name string) {
		if n.HostStats == nil {
			return -1, -1, n.Name
		}
		return n.HostStats.CPUPercent, float64(n.HostStats.MemUsed), n.Name
	}
	r.seen = 0 // figures change without the state
	return printList(r.app.out, s, list[nodeUsage]{
		items: ordered(o, rows, figure), empty: "No machines run work yet.", name: func(n nodeUsage) string { return n.ID },
		columns: nodeUsageColumns(),
	})
}

func nodeUsageColumns() []column[nodeUsage] {
	figure := func(f func(h *api.HostStats) string) func(nodeUsage) string {
		return func(n nodeUsage) string {
			if n.HostStats == nil {
				return "-"
			}
			return f(n.HostStats)
		}
	}
	return []column[nodeUsage]{
		{head: "Node ID", cell: func(n nodeUsage) string { return shortID(n.ID, false) }},
		{head: "Name", cell: func(n nodeUsage) string { return n.Name }},
		{head: "Status", cell: func(n nodeUsage) string { return n.Status }},
		{head: "CPU", cell: figure(func(h *api.HostStats) string { return fmt.Sprintf("%.1f%%", h.CPUPercent) })},
		{head: "Load", cell: figure(func(h *api.HostStats) string { return fmt.Sprintf("%.2f", h.Load1) })},
		{head: "Memory", cell: figure(func(h *api.HostStats) string { return bytesOf(h.MemUsed) })},
		{head: "Of", cell: figure(func(h *api.HostStats) string { return bytesOf(h.MemTotal) })},
		{head: "Disk", cell: figure(func(h *api.HostStats) string { return bytesOf(h.DiskUsed) })},
		{head: "Of Disk", wide: true, cell: figure(func(h *api.HostStats) string { return bytesOf(h.DiskTotal) })},
		{head: "Allocs", cell: func(n nodeUsage) string { return strconv.Itoa(n.Allocs) }},
		{head: "Error", wide: true, cell: func(n nodeUsage) string { return orDash(n.Error) }},
	}
}

// ordered sorts rows as the flags say and keeps the first of them.
func ordered[T any](o topOptions, rows []T, figure func(T) (cpu, memory float64, name string)) []T {
	slices.SortStableFunc(rows, func(x, y T) int {
		xc, xm, xn := figure(x)
		yc, ym, yn := figure(y)
		switch o.sort {
		case "cpu":
			return cmp.Or(cmp.Compare(yc, xc), cmp.Compare(xn, yn))
		case "memory":
			return cmp.Or(cmp.Compare(ym, xm), cmp.Compare(xn, yn))
		}
		return cmp.Compare(xn, yn)
	})
	if o.rows > 0 && len(rows) > o.rows {
		rows = rows[:o.rows]
	}
	return rows
}

// usedByCopies asks every machine what its copies use. silent names the machines that did not answer.
func usedByCopies(ctx context.Context, r *reader, c *api.Client) (copies []usedBy, jobs map[string]string, silent []string, err error) {
	nodes, err := fetchAll(ctx, r, api.QueryOptions{}, c.Nodes)
	if err != nil {
		return nil, nil, nil, err
	}
	var mu sync.Mutex
	used := map[string]api.AllocStats{}
	asked(ctx, nodes, func(ctx context.Context, i int, n api.NodeListItem) {
		stats, err := c.MachineStats(ctx, api.AgentRef{Node: n.ID})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			silent = append(silent, n.Name)
			return
		}
		for id, u := range stats.Allocs {
			used[id] = u
		}
	})
	if ctx.Err() != nil {
		return nil, nil, nil, ctx.Err()
	}
	allocs, err := fetchAll(ctx, r, api.QueryOptions{}, c.Allocations)
	if err != nil {
		return nil, nil, nil, err
	}
	r.seen = 0 // figures change without the state
	jobs = map[string]string{}
	for _, x := range allocs {
		if u, ok := used[x.ID]; ok {
			copies = append(copies, usedBy{ID: x.ID, Name: x.Name, Namespace: x.Namespace, NodeName: x.NodeName, ResourceUsage: u.ResourceUsage})
			jobs[x.ID] = x.JobID
		}
	}
	slices.Sort(silent)
	return copies, jobs, silent, nil
}

func usedFigure(u usedBy) (cpu, memory float64, name string) {
	return u.CpuStats.Percent, float64(u.MemoryStats.Usage), u.Name
}

// silentNote tells which machines are missing from what is shown.
func silentNote(silent []string) func(io.Writer) error {
	if len(silent) == 0 {
		return nil
	}
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "\nWithout %s, which did not answer: %v\n", plural(len(silent), "machine"), silent)
		return err
	}
}

func topAllocs(ctx context.Context, r *reader, c *api.Client, s shape, o topOptions) error {
	copies, _, silent, err := usedByCopies(ctx, r, c)
	if err != nil {
		return err
	}
	return printList(r.app.out, s, list[usedBy]{
		items: ordered(o, copies, usedFigure), empty: "No copy runs.", below: silentNote(silent), name: func(u usedBy) string { return u.ID },
		columns: append([]column[usedBy]{
			{head: "ID", cell: func(u usedBy) string { return shortID(u.ID, false) }},
			{head: "Name", cell: func(u usedBy) string { return u.Name }},
			{head: "Node", cell: func(u usedBy) string { return u.NodeName }},
		}, usedColumns()...),
	})
}

func topJobs(ctx context.Context, r *reader, c *api.Client, s shape, o topOptions) error {
	copies, jobs, silent, err := usedByCopies(ctx, r, c)
	if err != nil {
		return err
	}
	sums := map[state.JobKey]*usedBy{}
	var order []*usedBy
	for _, u := range copies {
		key := state.JobKey{Namespace: u.Namespace, ID: jobs[u.ID]}
		sum := sums[key]
		if sum == nil {
			sum = &usedBy{ID: key.ID, Name: key.ID, Namespace: key.Namespace}
			sums[key], order = sum, append(order, sum)
		}
		sum.Copies++
		sum.ResourceUsage.Add(u.ResourceUsage)
	}
	rows := make([]usedBy, len(order))
	for i, sum := range order {
		rows[i] = *sum
	}
	return printList(r.app.out, s, list[usedBy]{
		items: ordered(o, rows, usedFigure), empty: "No copy runs.", below: silentNote(silent), name: func(u usedBy) string { return u.ID },
		columns: append([]column[usedBy]{
			{head: "Job ID", cell: func(u usedBy) string { return u.ID }},
			{head: "Copies", cell: func(u usedBy) string { return strconv.Itoa(u.Copies) }},
		}, usedColumns()...),
	})
}

func usedColumns() []column[usedBy] {
	return []column[usedBy]{
		{head: "CPU", cell: func(u usedBy) string { return cpuCell(u.CpuStats) }},
		{head: "Memory", cell: func(u usedBy) string { return bytesOf(u.MemoryStats.Usage) }},
		{head: "Of", cell: func(u usedBy) string {
			if u.MemoryStats.Limit == 0 {
				return "-"
			}
			return bytesOf(u.MemoryStats.Limit)
		}},
		{head: "Processes", cell: func(u usedBy) string { return strconv.FormatUint(u.Processes, 10) }},
	}
}
