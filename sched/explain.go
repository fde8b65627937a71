package sched

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/drover-io/drover/state"
)

// tally counts which filters exclude which nodes.
type tally struct {
	nodes    int
	feasible int
	counts   map[miss]int
	order    []miss // in the order of first sight
	only     map[miss][]int
	misses   [][]miss // by node
}

// count asks every filter about every node.
func (l *ledger) count(a *ask, u *usage) *tally {
	t := &tally{nodes: len(l.fleet.nodes), counts: map[miss]int{}, only: map[miss][]int{}}
	for pos := range l.fleet.nodes {
		ms := l.misses(a, u, pos)
		t.misses = append(t.misses, ms)
		if len(ms) == 0 {
			t.feasible++
		}
		if len(ms) == 1 {
			t.only[ms[0]] = append(t.only[ms[0]], pos)
		}
		for _, m := range ms {
			if t.counts[m] == 0 {
				t.order = append(t.order, m)
			}
			t.counts[m]++
		}
	}
	return t
}

// ranked is the filters that exclude nodes, most nodes first.
func (t *tally) ranked() []miss {
	out := slices.Clone(t.order)
	slices.SortStableFunc(out, func(a, b miss) int { return cmp.Compare(t.counts[b], t.counts[a]) })
	return out
}

// reasons are the filters that exclude nodes, as a view.
func (t *tally) reasons(a *ask) []state.Reason {
	var out []state.Reason
	for _, m := range t.ranked() {
		out = append(out, state.Reason{Filter: m.filter, Detail: m.reason(a), Nodes: t.counts[m]})
	}
	return out
}

// nearest is the node that fails the fewest filters and, of those, lacks the smallest share of what is asked; -1 when there is
// none that fails any.
func (l *ledger) nearest(a *ask, t *tally) int {
	best := -1
	for pos, ms := range t.misses {
		switch {
		case len(ms) == 0:
		case best < 0 || len(ms) < len(t.misses[best]):
			best = pos
		case len(ms) == len(t.misses[best]) && l.lacks(a, pos) < l.lacks(a, best):
			best = pos
		}
	}
	return best
}

// lacks is the share of what is asked that a node does not have, summed over the resources.
func (l *ledger) lacks(a *ask, pos int) float64 {
	of := func(want, free int) float64 {
		if want <= free {
			return 0
		}
		return float64(want-free) / float64(want)
	}
	n := l.fleet.nodes[pos].node
	want, free := a.on(n), l.free(pos)
	return of(want.CPU, free.CPU) + of(want.MemoryMB, free.MemoryMB) + of(want.DiskMB, free.DiskMB) +
		of(a.cores, len(l.stocks[pos].freeCores(&n.Resources)))
}

// firstReason is one sentence for a group that is blocked. It holds no count, so that it changes only when the reason does.
func (p *pass) firstReason(out *outcome, g *groupOutcome) string {
	t := p.ledger.count(g.ask, out.usage)
	if t.nodes == 0 {
		return fmt.Sprintf("group %q: no node has registered", g.ask.group.Name)
	}
	if t.feasible > 0 { // of an all_at_once group
		return fmt.Sprintf("group %q: not all of its copies fit at once", g.ask.group.Name)
	}
	m := t.misses[p.ledger.nearest(g.ask, t)][0]
	for _, o := range t.order { // better what most nodes lack alone
		if len(t.only[o]) > len(t.only[m]) {
			m = o
		}
	}
	return fmt.Sprintf("group %q: %s", g.ask.group.Name, m.say(g.ask))
}

// Explain answers why copies of a job can or cannot be placed now, group by group. It returns nil when there is no such job.
func Explain(snap *state.Snapshot, namespace, jobID string, now int64) *state.Explanation {
	job := snap.Job(namespace, jobID)
	if job == nil {
		return nil
	}
	return explain(snap, job, now)
}

// ExplainJob is Explain for a job that need not be registered.
func ExplainJob(snap *state.Snapshot, job *state.Job) *state.Explanation {
	return explain(snap, hypothetical(snap, job), snap.LatestTime())
}

func explain(snap *state.Snapshot, job *state.Job, now int64) *state.Explanation {
	p := alone(snap, now, BinPack)
	out := p.decide(job)
	return p.explanation(&out)
}

// alone is a pass for one job that nobody will carry out: without bounds, over a fleet of its own.
func alone(snap *state.Snapshot, now int64, fallback Algorithm) *pass {
	seed := Cursor{cluster: snap.ClusterID(), index: snap.Index(), now: now}.seed()
	f, m := newFleet(snap), newMemory()
	planner := newPlanner(0, m.census(len(f.nodes)))
	planner.unbounded = true
	return &pass{
		snap: snap, now: now, salt: salt(seed), shed: f.overfull(), algorithm: fallback, ledger: newLedger(f, m, now), planner: planner,
	}
}

// explanation describes an outcome. Copies that found a node have taken its room: what is counted is what the first copy that
// found none saw.
func (p *pass) explanation(out *outcome) *state.Explanation {
	e := &state.Explanation{Namespace: out.diff.job.Namespace, JobID: out.diff.job.ID}
	for i := range out.groups {
		e.Groups = append(e.Groups, p.explainGroup(out, &out.groups[i]))
	}
	return e
}

func (p *pass) explainGroup(out *outcome, g *groupOutcome) state.GroupExplanation {
	if out.diff.job.AllAtOnce && len(g.unplaced) > 0 {
		// Show what the copies that do fit leave to the others, also those that wait for a copy that ends, and so are not unplaced.
		p.ledger.place(g.ask, out.usage, atOnce(g.requests), p.salt)
	}
	t := p.ledger.count(g.ask, out.usage)
	e := state.GroupExplanation{
		TaskGroup: g.ask.group.Name, Wanted: g.ask.group.Count, Placed: p.liveCopies(out, g.ask.group.Name),
		Unplaced: len(g.unplaced), NodesEvaluated: t.nodes, NodesFeasible: t.feasible,
		Reasons: t.reasons(g.ask), Wishes: p.ledger.fulfilled(g.ask, out.usage),
	}
	if len(g.unplaced) == 0 || t.feasible > 0 {
		return e
	}
	if near := p.ledger.nearest(g.ask, t); near >= 0 {
		n := p.ledger.fleet.nodes[near].node
		e.NearestMiss = &state.Miss{NodeID: n.ID, NodeName: n.Name}
		for _, m := range t.misses[near] {
			e.NearestMiss.Failed = append(e.NearestMiss.Failed, p.ledger.sentence(m, g.ask, near))
		}
	}
	e.Suggestions = p.ledger.suggest(g.ask, t)
	return e
}

func (p *pass) liveCopies(out *outcome, group string) int {
	n := 0
	for _, a := range out.diff.live {
		if a.TaskGroup == group {
			n++
		}
	}
	return n
}
