package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// newStatus is the top-level status: of whatever the word names.
func newStatus(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:     "status [job|alloc|node]",
		Short:   "List jobs, or show whatever a name or the beginning of an ID names",
		Example: "  drover status\n  drover status hello\n  drover status 8f3c",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listJobs(cmd.Context(), r, c, s)
			}
			return showAny(cmd.Context(), r, c, args[0], s)
		},
		ValidArgsFunction: a.completeJobs,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilter(cmd)
	return cmd
}

// showAny shows a job, an allocation or a node, looked for in this order. Of two that begin with the word the error names both.
func showAny(ctx context.Context, r *reader, c *api.Client, word string, s shape) error {
	job, err := find(ctx, r, api.QueryOptions{}, word, c.FindJob)
	if err == nil {
		return showJob(ctx, r, c, job.ID, s, jobStatusOptions{})
	}
	if !isNotFound(err) {
		return err
	}
	alloc, err := find(ctx, r, api.QueryOptions{}, word, c.FindAllocation)
	if err == nil {
		return showAlloc(ctx, r, c, alloc.ID, s, allocStatusOptions{})
	}
	if !isNotFound(err) {
		return err
	}
	node, err := find(ctx, r, api.QueryOptions{}, word, c.FindNode)
	if err == nil {
		return showNode(ctx, r, c, node.ID, s, nodeStatusOptions{})
	}
	if !isNotFound(err) {
		return err
	}
	if m, ok := agentNamed(ctx, c, word); ok {
		l := memberList(false)
		l.items = []api.Member{m}
		return printList(r.app.out, s, l)
	}
	return api.NewError(api.CodeNotFound, "list them with `drover job status`, `drover alloc status`, `drover node status`, `drover server members`",
		"no job, allocation, node or agent begins with %q", word)
}

// agentNamed is the agent that a word names, where gossip knows one.
func agentNamed(ctx context.Context, c *api.Client, word string) (api.Member, bool) {
	members, err := c.AgentMembers(ctx)
	if err != nil {
		return api.Member{}, false
	}
	for _, m := range members.Members {
		if m.Name == word || m.ID == word {
			return m, true
		}
	}
	return api.Member{}, false
}
