package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newNodeStatus(a *app) *cobra.Command {
	var s shape
	var verbose, self bool
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "status [node]",
		Short:      "List machines, or show one with what it has and what runs on it",
		Example:    "  drover node status\n  drover node status m2\n  drover node status --self --verbose",
		SuggestFor: []string{"list", "ls", "get", "describe", "inspect"},
		Args:       arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if self {
				me, err := c.AgentSelf(cmd.Context())
				if err != nil {
					return err
				}
				args = []string{me.NodeID}
			}
			if len(args) == 0 {
				return listNodes(cmd.Context(), r, c, s, verbose)
			}
			return showNode(cmd.Context(), r, c, args[0], s, verbose)
		},
		ValidArgsFunction: a.completeNodes,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole IDs, and the attributes of one")
	cmd.Flags().BoolVar(&self, "self", false, "the machine of the agent asked")
	return cmd
}

func listNodes(ctx context.Context, r *reader, c *api.Client, s shape, verbose bool) error {
	nodes, err := fetchAll(ctx, r, api.QueryOptions{}, c.Nodes)
	if err != nil {
		return err
	}
	return s.print(r.app.out, nodes, func(w io.Writer) error {
		if len(nodes) == 0 {
			_, err := fmt.Fprintln(w, "No machines run work yet. Start an agent with --client, or client { enabled = true }.")
			return err
		}
		var rows [][]string
		for _, n := range nodes {
			rows = append(rows, []string{
				shortID(n.ID, verbose), n.NodePool, n.Datacenter, n.Name, orDash(n.NodeClass), strconv.FormatBool(n.Drain),
				n.SchedulingEligibility, n.Status,
			})
		}
		if err := table(w, "ID|Node Pool|DC|Name|Class|Drain|Eligibility|Status", rows); err != nil {
			return err
		}
		if r.stale {
			return nil // only a leader has a guard
		}
		return writeGuard(ctx, w, c)
	})
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

func showNode(ctx context.Context, r *reader, c *api.Client, prefix string, s shape, verbose bool) error {
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
	}{n, allocs}
	return s.print(r.app.out, answer, func(w io.Writer) error {
		if err := writeNode(w, n, verbose); err != nil {
			return err
		}
		if len(allocs) == 0 {
			_, err := fmt.Fprintln(w, "\nNo allocations.")
			return err
		}
		fmt.Fprintln(w, "\nAllocations")
		return allocTable(w, allocs, verbose, true)
	})
}

func writeNode(w io.Writer, n *api.NodeView, verbose bool) error {
	status := n.Status
	if n.StatusDescription != "" {
		status += " (" + n.StatusDescription + ")"
	}
	if err := facts(w, "ID", shortID(n.ID, verbose), "Name", n.Name, "Node Pool", n.NodePool, "Class", orDash(n.NodeClass), "DC", n.Datacenter,
		"Eligibility", n.Eligibility, "Status", status, "Address", n.HostIP, "API", n.HTTPAddr); err != nil {
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
	r, u := n.Resources, n.Allocated
	if err := table(w, "Resource|Allocated|Of", [][]string{
		{"CPU", fmt.Sprintf("%d MHz", u.CPU), fmt.Sprintf("%d MHz", r.CPU)},
		{"Memory", fmt.Sprintf("%d MiB", u.MemoryMB), fmt.Sprintf("%d MiB", r.MemoryMB)},
		{"Disk", fmt.Sprintf("%d MiB", u.DiskMB), fmt.Sprintf("%d MiB", r.DiskMB)},
	}); err != nil {
		return err
	}
	if !verbose {
		return nil
	}
	fmt.Fprintln(w, "\nAttributes")
	for _, name := range sortedKeys(n.Attributes) {
		fmt.Fprintf(w, "%s = %s\n", name, n.Attributes[name])
	}
	return nil
}

func newNodeEligibility(a *app) *cobra.Command {
	var enable, disable, self bool
	cmd := &cobra.Command{
		Use:     "eligibility --enable|--disable <node>",
		Short:   "Let a machine take new work, or not",
		Example: "  drover node eligibility --disable m2\n  drover node eligibility --enable m2",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if enable == disable {
				return errors.New("say either --enable or --disable")
			}
			want := state.NodeEligible
			if disable {
				want = state.NodeIneligible
			}
			c, n, err := a.oneNode(cmd.Context(), args, self)
			if err != nil {
				return err
			}
			if _, err := c.SetEligibility(cmd.Context(), n.ID, want, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Node %s (%s) is %s now.\n", n.Name, shortID(n.ID, false), want)
			return nil
		},
		ValidArgsFunction: a.completeNodes,
	}
	cmd.Flags().BoolVar(&enable, "enable", false, "take new work")
	cmd.Flags().BoolVar(&disable, "disable", false, "take no new work; what runs there runs on")
	cmd.Flags().BoolVar(&self, "self", false, "the machine of the agent asked")
	return cmd
}

func newNodeLost(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lost <node>",
		Short: "Say that a machine is gone: its work is placed elsewhere at once",
		Long: `Say that a machine is gone for good, or that its work may be started elsewhere although the cluster cannot tell whether it
still runs there. If the machine lives after all it stops what was placed elsewhere as soon as it is heard of again.`,
		Example: "  drover node lost m2",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, n, err := a.oneNode(cmd.Context(), args, false)
			if err != nil {
				return err
			}
			if _, err := c.DeclareNodeLost(cmd.Context(), n.ID, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Node %s (%s) is declared lost; its work is placed elsewhere.\n", n.Name, shortID(n.ID, false))
			return nil
		},
		ValidArgsFunction: a.completeNodes,
	}
}

// oneNode finds the node that the command line means.
func (a *app) oneNode(ctx context.Context, args []string, self bool) (*api.Client, api.NodeListItem, error) {
	c, err := a.client()
	if err != nil {
		return nil, api.NodeListItem{}, err
	}
	if self {
		me, err := c.AgentSelf(ctx)
		if err != nil {
			return nil, api.NodeListItem{}, err
		}
		args = []string{me.NodeID}
	}
	if len(args) != 1 {
		return nil, api.NodeListItem{}, errors.New("name a node: its name, its ID, or the beginning of one; `drover node status` lists them")
	}
	n, err := c.FindNode(ctx, args[0], api.QueryOptions{})
	return c, n, err
}
