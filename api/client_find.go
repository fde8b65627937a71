package api

import (
	"context"
	"fmt"
	"strings"
)

// All reads every page of a list: all, err := api.All(ctx, c.Jobs, api.QueryOptions{}).
func All[T any](ctx context.Context, list func(context.Context, QueryOptions) ([]T, QueryMeta, error), q QueryOptions) ([]T, QueryMeta, error) {
	var all []T
	seen := map[string]bool{}
	for {
		items, meta, err := list(ctx, q)
		if err != nil {
			return nil, meta, err
		}
		all = append(all, items...)
		if meta.NextToken == "" {
			return all, meta, nil
		}
		if seen[meta.NextToken] { // or a server that is wrong would be asked for ever
			return nil, meta, NewError(CodeInternal, "check that the agent and this program are of the same version",
				"the agent's pages go in a circle: %q follows twice", meta.NextToken)
		}
		seen[meta.NextToken] = true
		q.NextToken, q.Index = meta.NextToken, 0
	}
}

// maxCandidates bounds how many of the matches an error names.
const maxCandidates = 8

// unique picks the one match of a prefix.
func unique[T any](kind, prefix string, more bool, items []T, id func(T) string) (T, error) {
	var none T
	noun := kind // of the command line
	if kind == "alloc" {
		kind = "allocation"
	}
	for _, it := range items {
		if id(it) == prefix {
			return it, nil // the whole ID, though others begin with it
		}
	}
	switch len(items) {
	case 0:
		return none, NewError(CodeNotFound, fmt.Sprintf("list them with `drover %s status`", noun), "no %s begins with %q", kind, prefix)
	case 1:
		return items[0], nil
	}
	var names []string
	for _, it := range items[:min(len(items), maxCandidates)] {
		names = append(names, id(it))
	}
	tail := ""
	if more || len(items) > maxCandidates {
		tail = ", …"
	}
	return none, NewError(CodeConflict, "give more of it", "more than one %s begins with %q: %s%s", kind, prefix, strings.Join(names, ", "), tail)
}

// FindJob reads the job whose ID is, or alone begins with, prefix. ErrNotFound: none does; ErrConflict: several do.
func (c *Client) FindJob(ctx context.Context, prefix string, q QueryOptions) (JobListItem, error) {
	q.Prefix, q.PerPage = prefix, 50
	items, meta, err := c.Jobs(ctx, q)
	if err != nil {
		return JobListItem{}, err
	}
	return unique("job", prefix, meta.NextToken != "", items, func(j JobListItem) string { return j.ID })
}

// FindNode reads the node whose ID is, or alone begins with, prefix, or whose name is prefix.
func (c *Client) FindNode(ctx context.Context, prefix string, q QueryOptions) (NodeListItem, error) {
	q.Prefix, q.PerPage = prefix, 50
	items, meta, err := c.Nodes(ctx, q)
	if err != nil {
		return NodeListItem{}, err
	}
	if len(items) == 0 {
		q.Prefix, q.PerPage = "", 0
		all, _, err := All(ctx, c.Nodes, q)
		if err != nil {
			return NodeListItem{}, err
		}
		for _, n := range all {
			if n.Name == prefix {
				items = append(items, n)
			}
		}
	}
	return unique("node", prefix, meta.NextToken != "", items, func(n NodeListItem) string { return n.ID })
}

// FindAllocation reads the allocation whose ID is, or alone begins with, prefix, in any namespace unless the options name one.
func (c *Client) FindAllocation(ctx context.Context, prefix string, q QueryOptions) (AllocListItem, error) {
	q.Prefix, q.PerPage = prefix, 50
	q.Namespace = firstOf(q.Namespace, AllNamespaces)
	items, meta, err := c.Allocations(ctx, q)
	if err != nil {
		return AllocListItem{}, err
	}
	return unique("alloc", prefix, meta.NextToken != "", items, func(a AllocListItem) string { return a.ID })
}

// Search finds what begins with a prefix, at most a few of each context.
func (c *Client) Search(ctx context.Context, req SearchRequest, namespace string) (*SearchResponse, error) {
	out := new(SearchResponse)
	_, err := c.call(ctx, exchange{route: routeSearch, namespace: namespace, body: req}, out)
	return out, err
}

// SearchFuzzy finds what contains a text, the nearest first, at most a few of each context.
func (c *Client) SearchFuzzy(ctx context.Context, req FuzzySearchRequest, namespace string) (*FuzzySearchResponse, error) {
	out := new(FuzzySearchResponse)
	_, err := c.call(ctx, exchange{route: routeFuzzy, namespace: namespace, body: req}, out)
	return out, err
}
