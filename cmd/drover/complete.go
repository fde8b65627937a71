package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// completeWait bounds how long the shell waits for an agent when the user presses tab.
const completeWait = time.Second

// complete offers what list finds under the word typed so far.
func (a *app) complete(cmd *cobra.Command, args []string, list func(context.Context, *api.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	names, err := list(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeJobs(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, func(ctx context.Context, c *api.Client) ([]string, error) {
		jobs, _, err := c.Jobs(ctx, api.QueryOptions{Prefix: word, Stale: true, PerPage: 50})
		var out []string
		for _, j := range jobs {
			out = append(out, j.ID+"\t"+j.Status)
		}
		return out, err
	})
}

func (a *app) completeAllocs(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, func(ctx context.Context, c *api.Client) ([]string, error) {
		allocs, _, err := c.Allocations(ctx, api.QueryOptions{Prefix: word, Stale: true, PerPage: 50})
		var out []string
		for _, x := range allocs {
			out = append(out, x.ID+"\t"+x.Name+" "+x.ClientStatus)
		}
		return out, err
	})
}

func (a *app) completeNodes(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, func(ctx context.Context, c *api.Client) ([]string, error) {
		nodes, _, err := c.Nodes(ctx, api.QueryOptions{Stale: true})
		var out []string
		for _, n := range nodes {
			if strings.HasPrefix(n.Name, word) {
				out = append(out, n.Name+"\t"+n.Status)
			} else if strings.HasPrefix(n.ID, word) {
				out = append(out, n.ID+"\t"+n.Name+" "+n.Status)
			}
		}
		return out, err
	})
}

// completeTasks offers allocations, and behind one its tasks.
func (a *app) completeTasks(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeAllocs(cmd, args, word)
	}
	return a.complete(cmd, nil, func(ctx context.Context, c *api.Client) ([]string, error) {
		x, err := c.FindAllocation(ctx, args[0], api.QueryOptions{Stale: true})
		return sortedKeys(x.TaskStates), err
	})
}

func (a *app) completeContexts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := a.contextNames()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// offer adds a word to those offered when it continues what is typed.
func offer(out []string, word, name, about string) []string {
	if name == "" || !strings.HasPrefix(name, word) {
		return out
	}
	return append(out, name+"\t"+about)
}

// completeNamespaces offers the namespaces that jobs live in, and the one that stands for all.
func (a *app) completeNamespaces(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	a.namespace = "" // what is being typed names none yet
	return a.complete(cmd, nil, func(ctx context.Context, c *api.Client) ([]string, error) {
		jobs, _, err := c.Jobs(ctx, api.QueryOptions{Namespace: api.AllNamespaces, Stale: true})
		counts := map[string]int{}
		for _, j := range jobs {
			counts[j.Namespace]++
		}
		var out []string
		for _, ns := range sortedKeys(counts) {
			out = offer(out, word, ns, plural(counts[ns], "job"))
		}
		return out, err
	})
}
