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

// nodeStatusOptions say how much of the machines is shown.
type nodeStatusOptions struct {
	verbose, self, short bool
	allocs, os           bool // columns of the list
	quiet, stats         bool
}

func newNodeStatus(a *app) *cobra.Command {
	var s shape
	var o nodeStatusOptions
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "status [node]",
		Short:      "List machines, or show one with what it has and what runs on it",
		Example:    "  drover node status\n  drover node status m2\n  drover node status --self --verbose\n  drover node status -allocs -os",
		SuggestFor: []string{"list", "ls", "get", "describe", "inspect"},
		Args:       arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if o.self {
				me, err := c.AgentSelf(cmd.Context())
				if err != nil {
					return err
				}
				args = []string{me.NodeID}
			}
			if o.quiet {
				s.format = formatName
			}
			if len(args) == 0 {
				return listNodes(cmd.Context(), r, c, s, o)
			}
			return showNode(cmd.Context(), r, c, args[0], s, o)
		},
		ValidArgsFunction: a.completeNodes,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	fs := cmd.Flags()
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "whole IDs, and the attributes of one")
	fs.BoolVar(&o.self, "self", false, "the machine of the agent asked")
	fs.BoolVar(&o.short, "short", false, "of one machine only how it stands")
	fs.BoolVar(&o.allocs, "allocs", false, "in the list how many allocations each runs")
	fs.BoolVar(&o.os, "os", false, "in the list each one's operating system")
	fs.BoolVar(&o.stats, "stats", false, "of one machine how it is used at the moment")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "only the IDs, the same as -o name")
	return cmd
}

// nodeList is how machines are listed.
func nodeList(o nodeStatusOptions) list[api.NodeListItem] {
	of := func(used, all int, unit string) string { return fmt.Sprintf("%d/%d %s", used, all, unit) }
	return list[api.NodeListItem]{
		empty: "No machines run work yet. Start an agent with --client, or client { enabled = true }.",
		name:  func(n api.NodeListItem) string { return n.ID },
		columns: []column[api.NodeListItem]{
			{head: "ID", cell: func(n api.NodeListItem) string { return shortID(n.ID, o.verbose) }},
			{head: "Node Pool", cell: func(n api.NodeListItem) string { return n.NodePool }},
			{head: "DC", cell: func(n api.NodeListItem) string { return n.Datacenter }},
			{head: "Name", cell: func(n api.NodeListItem) string { return n.Name }},
			{head: "Class", cell: func(n api.NodeListItem) string { return orDash(n.NodeClass) }},
			{head: "Address", wide: !o.verbose, cell: func(n api.NodeListItem) string { return n.Address }},
			{head: "Version", wide: !o.verbose, cell: func(n api.NodeListItem) string { return orDash(n.Version) }},
			{head: "OS", wide: !o.os, cell: func(n api.NodeListItem) string { return orDash(n.OS) }},
			{head: "Drain", cell: func(n api.NodeListItem) string { return strconv.FormatBool(n.Drain) }},
			{head: "Eligibility", cell: func(n api.NodeListItem) string { return n.SchedulingEligibility }},
			{head: "Status", cell: func(n api.NodeListItem) string { return n.Status }},
			{head: "Running Allocs", wide: !o.allocs, cell: func(n api.NodeListItem) string { return strconv.Itoa(n.Allocs) }},
			{head: "CPU", wide: true, cell: func(n api.NodeListItem) string { return of(n.Allocated.CPU, n.Resources.CPU, "MHz") }},
			{head: "Memory", wide: true, cell: func(n api.NodeListItem) string { return of(n.Allocated.MemoryMB, n.Resources.MemoryMB, "MiB") }},
		},
	}
}

func listNodes(ctx context.Context, r *reader, c *api.Client, s shape, o nodeStatusOptions) error {
	nodes, err := fetchAll(ctx, r, r.listed(), c.Nodes)
	if err != nil {
		return err
	}
	l := nodeList(o)
	l.items = nodes
	if !r.stale { // only a leader has a guard
		l.below = func(w io.Writer) error { return writeGuard(ctx, w, c) }
	}
	return printList(r.app.out, s, l)
}

// writeGuard adds how the eviction guard stands when it holds something back.
func writeGuard(ctx context.Context, w io.Writer, c *api.Client) error {
	view, err := c.Evictions(ctx)
	if err != nil {
		return err
	}
	for _, p := range view.Pools {
		if p.Reason != "" {
			fmt.Fprintf(w, "\nEviction guard of pool %q: %s\n", p.NodePool, p.Reason)
		}
	}
	return nil
}

func showNode(ctx context.Context, r *reader, c *api.Client, prefix string, s shape, o nodeStatusOptions) error {
	found, err := find(ctx, r, api.QueryOptions{}, prefix, c.FindNode)
	if err != nil {
		return err
	}
	n, err := fetch(r, api.QueryOptions{}, func(q api.QueryOptions) (*api.NodeView, api.QueryMeta, error) { return c.Node(ctx, found.ID, q) })
	if err != nil {
		return err
	}
	allocs, err := fetchAll(ctx, r, api.QueryOptions{}, func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return c.NodeAllocations(ctx, found.ID, q)
	})
	if err != nil {
		return err
	}
	answer := struct {
		*api.NodeView
		Allocations []api.AllocListItem
		HostStats   *api.HostStats `json:",omitempty"`
	}{n, allocs, nil}
	if o.stats {
		if answer.HostStats, err = c.HostStats(ctx, api.AgentRef{Node: n.ID}); err != nil {
			return err
		}
	}
	return s.printNamed(r.app.out, answer, n.ID, func(w io.Writer) error {
		if err := writeNode(w, n, o); err != nil {
			return err
		}
		if answer.HostStats != nil {
			if err := writeHost(w, answer.HostStats); err != nil {
				return err
			}
		}
		if o.short {
			return nil
		}
		if len(allocs) == 0 {
			_, err := fmt.Fprintln(w, "\nNo allocations.")
			return err
		}
		fmt.Fprintln(w, "\nAllocations")
		return allocTable(w, allocs, o.verbose, true)
	})
}

func writeNode(w io.Writer, n *api.NodeView, o nodeStatusOptions) error {
	status := n.Status
	if n.StatusDescription != "" {
		status += " (" + n.StatusDescription + ")"
	}
	if err := facts(w, "ID", shortID(n.ID, o.verbose), "Name", n.Name, "Node Pool", n.NodePool, "Class", orDash(n.NodeClass), "DC", n.Datacenter,
		"Eligibility", n.Eligibility, "Status", status, "Address", n.HostIP, "API", n.HTTPAddr); err != nil || o.short {
		return err
	}
	fmt.Fprintln(w, "\nDrivers")
	var rows [][]string
	for _, name := range sortedKeys(n.Drivers) {
		d := n.Drivers[name]
		rows = append(rows, []string{name, strconv.FormatBool(d.Detected), strconv.FormatBool(d.Healthy), orDash(d.HealthDescription)})
	}
	if err := table(w, "Driver|Detected|Healthy|Message", rows); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nResources")
	if err := table(w, "Resource|Allocated|Of", nodeResources(n)); err != nil {
		return err
	}
	if err := writeDevices(w, n, o.verbose); err != nil {
		return err
	}
	if !o.verbose {
		return nil
	}
	fmt.Fprintln(w, "\nAttributes")
	for _, name := range sortedKeys(n.Attributes) {
		fmt.Fprintf(w, "%s = %s\n", name, oneLine(n.Attributes[name]))
	}
	return nil
}

func writeHost(w io.Writer, h *api.HostStats) error {
	fmt.Fprintln(w, "\nMachine")
	return facts(w, "CPU", fmt.Sprintf("%.1f %% of %s", h.CPUPercent, plural(h.Cores, "core")), "Load", fmt.Sprintf("%.2f %.2f %.2f", h.Load1, h.Load5, h.Load15),
		"Memory", mebibytes(h.MemUsed, h.MemTotal), "Disk", mebibytes(h.DiskUsed, h.DiskTotal)+" at "+h.DiskPath,
		"Up", (time.Duration(h.Uptime) * time.Second).String(), "Agent", fmt.Sprintf("%d MiB, %s", h.AgentRSS>>20, plural(h.Goroutines, "goroutine")))
}

func mebibytes(used, total uint64) string { return fmt.Sprintf("%d of %d MiB", used>>20, total>>20) }
