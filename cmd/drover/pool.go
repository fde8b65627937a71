package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newNodePool(a *app) *cobra.Command {
	return habits(noun("pool", "Sets of machines that jobs name", "  drover node pool list\n  drover node pool apply gpu.hcl",
		newPoolList(a),
		newPoolInfo(a),
		newPoolNodes(a),
		newPoolJobs(a),
		newPoolInit(a),
		newPoolApply(a),
		newPoolDelete(a),
	), "pools")
}

func newPoolList(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "list",
		Short:      "List node pools",
		Example:    "  drover node pool list\n  drover node pool list -o name",
		SuggestFor: []string{"ls", "status", "get"},
		Args:       arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			pools, err := fetchAll(cmd.Context(), r, r.listed(), c.NodePools)
			if err != nil {
				return err
			}
			return printList(a.out, s, list[api.NodePoolView]{
				items: pools, name: func(p api.NodePoolView) string { return p.Name },
				columns: []column[api.NodePoolView]{
					{head: "Name", cell: func(p api.NodePoolView) string { return p.Name }},
					{head: "Nodes", cell: func(p api.NodePoolView) string { return strconv.Itoa(p.Nodes) }},
					{head: "Jobs", cell: func(p api.NodePoolView) string { return strconv.Itoa(p.Jobs) }},
					{head: "Description", cell: func(p api.NodePoolView) string { return orDash(p.Description) }},
				},
			})
		},
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	return cmd
}

func newPoolInfo(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "info <pool>",
		Short:      "Show a node pool",
		Example:    "  drover node pool info gpu",
		SuggestFor: []string{"describe", "inspect", "show"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := fetch(r, api.QueryOptions{}, func(q api.QueryOptions) (*api.NodePoolView, api.QueryMeta, error) {
				return c.NodePool(cmd.Context(), args[0], q)
			})
			if err != nil {
				return err
			}
			return s.printNamed(a.out, p, p.Name, func(w io.Writer) error { return writePool(w, p) })
		},
		ValidArgsFunction: a.completePools,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	return cmd
}

func writePool(w io.Writer, p *api.NodePoolView) error {
	algorithm, memory := "the cluster's", "the cluster's"
	if c := p.SchedulerConfiguration; c != nil {
		if c.SchedulerAlgorithm != "" {
			algorithm = c.SchedulerAlgorithm
		}
		if c.MemoryOversubscriptionEnabled != nil {
			memory = strconv.FormatBool(*c.MemoryOversubscriptionEnabled)
		}
	}
	if err := facts(w, "Name", p.Name, "Description", orDash(p.Description), "Nodes", strconv.Itoa(p.Nodes), "Jobs", strconv.Itoa(p.Jobs),
		"Scheduler Algorithm", algorithm, "Memory Oversubscription", memory); err != nil || len(p.Meta) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nMeta")
	for _, name := range sortedKeys(p.Meta) {
		fmt.Fprintf(w, "%s = %s\n", name, oneLine(p.Meta[name]))
	}
	return nil
}

func newPoolNodes(a *app) *cobra.Command {
	var s shape
	var o nodeStatusOptions
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:     "nodes <pool>",
		Short:   "List the machines of a node pool",
		Example: "  drover node pool nodes gpu",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			nodes, err := fetchAll(cmd.Context(), r, r.listed(), func(ctx context.Context, q api.QueryOptions) ([]api.NodeListItem, api.QueryMeta, error) {
				return c.NodePoolNodes(ctx, args[0], q)
			})
			if err != nil {
				return err
			}
			l := nodeList(o)
			l.items, l.empty = nodes, "No machine is in node pool "+args[0]+"."
			return printList(a.out, s, l)
		},
		ValidArgsFunction: a.completePools,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "whole IDs")
	return cmd
}

func newPoolJobs(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:     "jobs <pool>",
		Short:   "List the jobs that name a node pool, of all namespaces unless one is given",
		Example: "  drover node pool jobs gpu\n  drover node pool jobs gpu --namespace default",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			jobs, err := fetchAll(cmd.Context(), r, r.listed(), func(ctx context.Context, q api.QueryOptions) ([]api.JobListItem, api.QueryMeta, error) {
				return c.NodePoolJobs(ctx, args[0], q)
			})
			if err != nil {
				return err
			}
			return printList(a.out, s, list[api.JobListItem]{
				items: jobs, empty: "No job names node pool " + args[0] + ".", name: func(j api.JobListItem) string { return j.ID },
				columns: []column[api.JobListItem]{
					{head: "ID", cell: func(j api.JobListItem) string { return j.ID }},
					{head: "Namespace", cell: func(j api.JobListItem) string { return j.Namespace }},
					{head: "Type", cell: func(j api.JobListItem) string { return j.Type }},
					{head: "Priority", cell: func(j api.JobListItem) string { return strconv.Itoa(j.Priority) }},
					{head: "Status", cell: func(j api.JobListItem) string { return j.Status }},
				},
			})
		},
		ValidArgsFunction: a.completePools,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	return cmd
}

func newPoolApply(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply <file>",
		Short: "Create a node pool, or replace its description",
		Long: `Create a node pool, or replace its description, from a file of HCL or JSON (- for the standard input). A machine belongs to the
pool that its agent's configuration names; one that nobody has described is created by the first machine in it.`,
		Example: "  drover node pool init\n  drover node pool apply pool.nomad.hcl",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := a.readPool(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.PutNodePool(cmd.Context(), pool, api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Node pool %q is stored.\n", pool.Name)
			return nil
		},
	}
	return cmd
}

func newPoolInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "init [file]",
		Short:       "Write an example of a node pool's file",
		Example:     "  drover node pool init\n  drover node pool init gpu.nomad.hcl",
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := "pool.nomad.hcl"
			if len(args) == 1 {
				path = args[0]
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if os.IsExist(err) {
				return fmt.Errorf("%s exists already; name another file: drover node pool init gpu.nomad.hcl", path)
			}
			if err != nil {
				return err
			}
			_, err = f.WriteString(poolExample)
			if closed := f.Close(); err == nil {
				err = closed
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", path, err)
			}
			fmt.Fprintf(a.out, "Example written to %s. Store it with: drover node pool apply %s\n", path, path)
			return nil
		},
	}
}

func newPoolDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "delete <pool>",
		Short:             "Delete a node pool that no machine is in and no job uses",
		Example:           "  drover node pool delete gpu",
		SuggestFor:        []string{"rm", "remove"},
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if _, err := c.DeleteNodePool(cmd.Context(), args[0], api.WriteOptions{}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Node pool %q is deleted.\n", args[0])
			return nil
		},
	}
}

func (a *app) completePools(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, func(ctx context.Context, c *api.Client) ([]string, error) {
		pools, _, err := c.NodePools(ctx, api.QueryOptions{Prefix: word, Stale: true, PerPage: 50})
		var out []string
		for _, p := range pools {
			out = append(out, p.Name+"\t"+p.Description)
		}
		return out, err
	})
}
