package api

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/state"
)

const (
	// maxMatches bounds the matches of one context.
	maxMatches = 20
	// minFuzzy is the least that a fuzzy search looks for.
	minFuzzy = 2
	// maxSearch bounds what is looked for.
	maxSearch = 128
)

// Contexts of a search: what kind of thing is looked for.
const (
	ContextAll       = "all"
	ContextAllocs    = "allocs"
	ContextCommands  = "commands" // fuzzy only: what tasks run
	ContextGroups    = "groups"   // fuzzy only
	ContextImages    = "images"   // by prefix: imported ones, by their digests and names; fuzzy: what tasks run
	ContextJobs      = "jobs"
	ContextNodePools = "node_pools"
	ContextNodes     = "nodes"
	ContextTasks     = "tasks" // fuzzy only
)

// SearchRequest looks for what begins with a prefix.
type SearchRequest struct {
	Prefix  string
	Context string // a Context constant; "" means all
}

// SearchResponse is what was found: IDs by context.
type SearchResponse struct {
	Matches     map[string][]string
	Truncations map[string]bool // contexts of which there is more
}

// FuzzySearchRequest looks for what contains a text, in any case.
type FuzzySearchRequest struct {
	Text    string
	Context string // a Context constant; "" means all
}

// FuzzySearchResponse is what was found, by context.
type FuzzySearchResponse struct {
	Matches     map[string][]FuzzyMatch
	Truncations map[string]bool // contexts of which there is more
}

// FuzzyMatch is one thing that a fuzzy search found.
type FuzzyMatch struct {
	ID    string   // the name that contains the text
	Scope []string // where it is: namespace, job, group, task, as far as it has them; of an allocation and a node its ID last
}

// searchContext is a kind of thing that can be looked for.
type searchContext struct {
	name   string
	needs  Capability
	prefix func(c *call, snap *state.Snapshot, prefix string) iter.Seq[string] // nil: only fuzzy
	fuzzy  func(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch]            // nil: only by prefix
}

func searchContexts() []searchContext {
	return []searchContext{
		{ContextAllocs, CapReadJob, prefixAllocs, fuzzyAllocs},
		{ContextCommands, CapReadJob, nil, fuzzyConfig("command")},
		{ContextGroups, CapReadJob, nil, fuzzyGroups},
		{ContextImages, CapReadJob, prefixImages, fuzzyConfig("image")},
		{ContextJobs, CapReadJob, prefixJobs, fuzzyJobs},
		{ContextNodePools, CapNodeRead, prefixPools, nil},
		{ContextNodes, CapNodeRead, prefixNodes, fuzzyNodes},
		{ContextTasks, CapReadJob, nil, fuzzyTasks},
	}
}

// contextsNamed are those that a request looks in, of those that can answer it and that the caller may read.
func (c *call) contextsNamed(name string, can func(searchContext) bool) ([]searchContext, error) {
	var out []searchContext
	names := []string{ContextAll}
	for _, x := range searchContexts() {
		if !can(x) {
			continue
		}
		names = append(names, x.name)
		if name == x.name && !c.caller.Can(x.needs) {
			return nil, NewError(CodeForbidden, "", "looking for %s needs the capability %q", name, x.needs)
		}
		if (name == "" || name == ContextAll || name == x.name) && c.caller.Can(x.needs) {
			out = append(out, x)
		}
	}
	if name != "" && !slices.Contains(names, name) {
		next := firstOf(didYouMean(nearest.Name(name, names)), "the contexts are "+strings.Join(names, ", "))
		return nil, NewError(CodeInvalid, next, "there is no context %q", name)
	}
	return out, nil
}

func search(c *call, req *SearchRequest) (*SearchResponse, error) {
	if len(req.Prefix) > maxSearch {
		return nil, tooLongToFind(len(req.Prefix))
	}
	contexts, err := c.contextsNamed(req.Context, func(x searchContext) bool { return x.prefix != nil })
	if err != nil {
		return nil, err
	}
	snap := c.s.b.State.Snapshot()
	c.index = snap.Index()
	out := &SearchResponse{Matches: map[string][]string{}, Truncations: map[string]bool{}}
	for _, x := range contexts {
		found := []string{}
		for id := range x.prefix(c, snap, req.Prefix) {
			if len(found) == maxMatches {
				out.Truncations[x.name] = true
				break
			}
			found = append(found, id)
		}
		out.Matches[x.name], out.Truncations[x.name] = found, out.Truncations[x.name]
	}
	return out, nil
}

func tooLongToFind(n int) *Error {
	return NewError(CodeInvalid, "make it shorter", "what is looked for is %d bytes long, at most %d are taken", n, maxSearch)
}

// searchFuzzy finds the best: those that contain the text nearest to their beginning, then the shortest.
func searchFuzzy(c *call, req *FuzzySearchRequest) (*FuzzySearchResponse, error) {
	switch {
	case len(req.Text) < minFuzzy:
		return nil, NewError(CodeInvalid, "look for more", "the text %q is shorter than %d characters", req.Text, minFuzzy)
	case len(req.Text) > maxSearch:
		return nil, tooLongToFind(len(req.Text))
	}
	contexts, err := c.contextsNamed(req.Context, func(x searchContext) bool { return x.fuzzy != nil })
	if err != nil {
		return nil, err
	}
	snap := c.s.b.State.Snapshot()
	c.index = snap.Index()
	out := &FuzzySearchResponse{Matches: map[string][]FuzzyMatch{}, Truncations: map[string]bool{}}
	text := strings.ToLower(req.Text)
	for _, x := range contexts {
		best := bestMatches{text: text}
		for m := range x.fuzzy(c, snap) {
			best.offer(m)
		}
		out.Matches[x.name], out.Truncations[x.name] = best.list()
	}
	return out, nil
}

// bestMatches keeps a few more than are answered, so that a cluster of any size costs the same memory.
type bestMatches struct {
	text  string
	found []rankedMatch
	more  bool
}

type rankedMatch struct {
	FuzzyMatch
	at int
}

func (b *bestMatches) offer(m FuzzyMatch) {
	at := strings.Index(strings.ToLower(m.ID), b.text)
	if at < 0 {
		return
	}
	b.found = append(b.found, rankedMatch{m, at})
	if len(b.found) >= 8*maxMatches {
		b.trim()
	}
}

func (b *bestMatches) trim() {
	slices.SortStableFunc(b.found, func(x, y rankedMatch) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(len(x.ID), len(y.ID)), cmp.Compare(x.ID, y.ID), slices.Compare(x.Scope, y.Scope))
	})
	if len(b.found) > maxMatches {
		b.found, b.more = b.found[:maxMatches], true
	}
}

func (b *bestMatches) list() ([]FuzzyMatch, bool) {
	b.trim()
	out := []FuzzyMatch{}
	for _, m := range b.found {
		out = append(out, m.FuzzyMatch)
	}
	return out, b.more
}

func mapped[T, U any](seq iter.Seq[T], f func(T) U) iter.Seq[U] {
	return func(yield func(U) bool) {
		for x := range seq {
			if !yield(f(x)) {
				return
			}
		}
	}
}

func prefixAllocs(c *call, snap *state.Snapshot, prefix string) iter.Seq[string] {
	return mapped(filtered(snap.AllocsByPrefix(prefix), c.inNamespace), func(a *state.Alloc) string { return a.ID })
}

func prefixJobs(c *call, snap *state.Snapshot, prefix string) iter.Seq[string] {
	return mapped(snap.JobsByPrefix(c.opts.namespace, prefix), func(j *state.Job) string { return j.ID })
}

func prefixNodes(_ *call, snap *state.Snapshot, prefix string) iter.Seq[string] {
	return mapped(snap.NodesByPrefix(prefix), func(n *state.Node) string { return n.ID })
}

func prefixPools(_ *call, snap *state.Snapshot, prefix string) iter.Seq[string] {
	names := mapped(snap.NodePools(), func(p *state.NodePool) string { return p.Name })
	return filtered(names, func(name string) bool { return strings.HasPrefix(name, prefix) })
}

func prefixImages(_ *call, snap *state.Snapshot, prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for img := range snap.Images() {
			for _, name := range append([]string{img.Digest}, img.Names...) {
				if strings.HasPrefix(name, prefix) && !yield(name) {
					return
				}
			}
		}
	}
}

func fuzzyAllocs(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
	return mapped(filtered(snap.Allocs(), c.inNamespace), func(a *state.Alloc) FuzzyMatch {
		return FuzzyMatch{ID: a.Name, Scope: []string{a.Namespace, a.ID}}
	})
}

func fuzzyNodes(_ *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
	return mapped(snap.Nodes(), func(n *state.Node) FuzzyMatch { return FuzzyMatch{ID: n.Name, Scope: []string{n.ID}} })
}

func fuzzyJobs(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
	return mapped(snap.JobsByPrefix(c.opts.namespace, ""), func(j *state.Job) FuzzyMatch {
		return FuzzyMatch{ID: j.ID, Scope: []string{j.Namespace}}
	})
}

func fuzzyGroups(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
	return func(yield func(FuzzyMatch) bool) {
		for j := range snap.JobsByPrefix(c.opts.namespace, "") {
			for i := range j.TaskGroups {
				if !yield(FuzzyMatch{ID: j.TaskGroups[i].Name, Scope: []string{j.Namespace, j.ID}}) {
					return
				}
			}
		}
	}
}

// eachTask yields every task with where it is.
func eachTask(c *call, snap *state.Snapshot) iter.Seq2[*state.Task, []string] {
	return func(yield func(*state.Task, []string) bool) {
		for j := range snap.JobsByPrefix(c.opts.namespace, "") {
			for i := range j.TaskGroups {
				g := &j.TaskGroups[i]
				for k := range g.Tasks {
					if !yield(&g.Tasks[k], []string{j.Namespace, j.ID, g.Name}) {
						return
					}
				}
			}
		}
	}
}

func fuzzyTasks(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
	return func(yield func(FuzzyMatch) bool) {
		for t, scope := range eachTask(c, snap) {
			if !yield(FuzzyMatch{ID: t.Name, Scope: scope}) {
				return
			}
		}
	}
}

// fuzzyConfig looks in a key of the tasks' driver configuration.
func fuzzyConfig(key string) func(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
	return func(c *call, snap *state.Snapshot) iter.Seq[FuzzyMatch] {
		return func(yield func(FuzzyMatch) bool) {
			for t, scope := range eachTask(c, snap) {
				value, set := t.Config[key]
				if set && !yield(FuzzyMatch{ID: fmt.Sprint(value), Scope: append(scope, t.Name)}) {
					return
				}
			}
		}
	}
}
