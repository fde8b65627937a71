package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// maxRunnersUp bounds the nodes that an explanation shows beside the chosen one.
const maxRunnersUp = 5

// ExplainAlloc answers why a copy is on its node: how every node scores for it, by the version of the job that it was placed
// with, as if it were not there and were to be placed now. It returns nil when there is no such allocation.
//
// The scores are not recorded when a copy is placed: they would make each of a million rows, and each line of the log, several
// times larger, to say what can nearly always be worked out again. What has changed since is said in Notes.
func (o Options) ExplainAlloc(snap *state.Snapshot, id string, now int64) *state.AllocExplanation {
	a := snap.Alloc(id)
	if a == nil {
		return nil
	}
	e := &state.AllocExplanation{
		AllocID: a.ID, Namespace: a.Namespace, JobID: a.JobID, JobVersion: a.JobVersion, TaskGroup: a.TaskGroup, Name: a.Name,
		PlacedAt: a.CreateTime, EvaluatedAt: now, Chosen: state.NodeScore{NodeID: a.NodeID, NodeName: a.NodeName},
		Notes: notesOn(snap, a),
	}
	job := snap.JobVersion(a.Namespace, a.JobID, a.JobVersion)
	if job == nil || job.Group(a.TaskGroup) == nil {
		e.Notes = append(e.Notes, "the version of the job that it was placed with is no longer kept: nothing can be scored")
		return e
	}
	p := alone(snap, now, o.orDefault().Algorithm)
	w := p.withoutAlloc(job, a)
	e.Algorithm = string(p.ledger.algorithm)
	t := p.ledger.count(w.ask, w.usage)
	e.NodesEvaluated, e.NodesFeasible, e.Reasons = t.nodes, t.feasible, t.reasons(w.ask)
	w.rank(e, t, p.ledger.fleet.position(a.NodeID))
	return e
}

// notesOn says what has changed since a copy was placed, as far as its row tells.
func notesOn(snap *state.Snapshot, a *state.Alloc) []string {
	var out []string
	if a.TerminalClient() {
		out = append(out, fmt.Sprintf("the copy has ended: it is %s", a.ClientStatus))
	} else if a.TerminalDesired() {
		out = append(out, "the copy is to stop: "+a.DesiredDescription)
	}
	if job := snap.Job(a.Namespace, a.JobID); job != nil && job.Version != a.JobVersion {
		out = append(out, fmt.Sprintf("the job is at version %d by now, the copy was placed with version %d", job.Version, a.JobVersion))
	}
	return out
}

// weighing scores nodes for one copy.
type weighing struct {
	*placer
	avoid []string // nodes on which it failed
}

// withoutAlloc readies the scoring of nodes for an allocation that is not there: its room is free and it counts nowhere.
func (p *pass) withoutAlloc(job *state.Job, a *state.Alloc) *weighing {
	var asks []*ask
	var mine *ask
	for i := range job.TaskGroups {
		k := newAsk(job, &job.TaskGroups[i])
		if asks = append(asks, k); k.group.Name == a.TaskGroup {
			mine = k
		}
	}
	l, u := p.ledger, p.ledger.newUsage(asks)
	for other := range p.snap.AllocsByJob(a.Namespace, a.JobID) {
		if other.ID != a.ID && p.snap.Live(other) && !other.TerminalDesired() {
			u.add(other.TaskGroup, l.fleet.position(other.NodeID), 1)
		}
	}
	p.algorithmFor(job)
	if pos := l.fleet.position(a.NodeID); pos >= 0 && p.snap.Holds(a) {
		l.setFree(pos, plus(l.free(pos), heldBy(&a.Resources)))
		l.setPorts(pos, l.ports[pos].Without(portsOf(a)...))
		l.givePieces(pos, piecesOf(&a.Resources))
	}
	w := &weighing{placer: l.newPlacer(mine, u, p.salt, 1)}
	for _, e := range a.RescheduleEvents {
		w.avoid = append(w.avoid, e.PrevNodeID)
	}
	return w
}

// rank orders the nodes that fit and describes the best and the chosen one.
func (w *weighing) rank(e *state.AllocExplanation, t *tally, chosen int) {
	var order []candidate
	for pos, ms := range t.misses {
		if len(ms) == 0 {
			order = append(order, candidate{pos: pos, score: w.total(pos)})
		}
	}
	slices.SortFunc(order, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.pos, b.pos))
	})
	best := ""
	for i, c := range order {
		if i >= maxRunnersUp && c.pos != chosen && len(e.RunnersUp) >= maxRunnersUp {
			continue
		}
		n := w.describe(c.pos)
		n.Rank = i + 1
		if c.pos == chosen {
			e.Chosen = n
			continue
		}
		if i == 0 {
			best = n.NodeName
		}
		if len(e.RunnersUp) < maxRunnersUp {
			e.RunnersUp = append(e.RunnersUp, n)
		}
	}
	switch {
	case chosen < 0:
		e.Notes = append(e.Notes, "its node has been removed from the cluster")
	case e.Chosen.Rank == 0:
		for _, m := range t.misses[chosen] {
			e.Chosen.Failed = append(e.Chosen.Failed, w.ledger.sentence(m, w.ask, chosen))
		}
		e.Notes = append(e.Notes, "its node could not take it now")
	case e.Chosen.Rank > 1:
		e.Notes = append(e.Notes, fmt.Sprintf("node %s scores higher now than when the copy was placed; copies that run are not moved for that", best))
	}
}

// total is the sum that orders the nodes.
func (w *weighing) total(pos int) float64 {
	s := w.ledger.baseScore(w.ask, w.usage, pos) + w.bucket(pos).wish.sum()
	if w.avoids(pos) {
		s -= avoidPenalty
	}
	return s
}

func (w *weighing) avoids(pos int) bool {
	return slices.Contains(w.avoid, w.ledger.fleet.nodes[pos].node.ID)
}

// describe is a node with its scores by name.
func (w *weighing) describe(pos int) state.NodeScore {
	n := w.ledger.fleet.nodes[pos].node
	out := state.NodeScore{NodeID: n.ID, NodeName: n.Name}
	add := func(name string, score float64, detail string) {
		out.Scores = append(out.Scores, state.Score{Name: name, Score: round(score), Detail: detail})
	}
	b := w.bucket(pos)
	add(string(w.ledger.algorithm), w.ledger.fitScore(w.ask, pos), w.fitDetail(pos))
	if w.ask.group.Count > 1 || w.ask.apart {
		add(scoreAntiAffinity, w.ask.besideScore(float64(w.usage.beside(w.ask, pos)))+b.wish.forgiven, w.besideDetail(pos, b))
	}
	if w.ask.likes != nil {
		add(scoreAffinity, b.wish.affinity, w.ask.likes.detail(nodeLook(n)))
	}
	if len(w.ask.spreads) > 0 {
		add(scoreSpread, b.wish.spread, w.spreadDetail(b))
	}
	if likedBy(w.ask.devices) > 0 {
		add(scoreDevices, w.ledger.deviceScore(w.ask, pos), "of the devices that are free there")
	}
	if len(w.avoid) > 0 {
		score, detail := 0.0, "it did not fail there"
		if w.avoids(pos) {
			score, detail = -avoidPenalty, "it failed there before"
		}
		add(scorePenalty, score, detail)
	}
	for _, s := range out.Scores {
		out.Score += s.Score
	}
	out.Score = round(out.Score / float64(len(out.Scores)))
	return out
}

func (w *weighing) fitDetail(pos int) string {
	n := w.ledger.fleet.nodes[pos].node
	free := minus(w.ledger.free(pos), w.ask.on(n))
	detail := fmt.Sprintf("cpu %.0f %% and memory %.0f %% used with it", 100*(1-share(free.CPU, n.Resources.CPU)), 100*(1-share(free.MemoryMB, n.Resources.MemoryMB)))
	if w.ask.group.Count > 1 && w.ask.job.Type != state.JobTypeBatch {
		detail += fmt.Sprintf("; divided by the count of %d", w.ask.group.Count)
	}
	return detail
}

func (w *weighing) besideDetail(pos int, b *bucket) string {
	detail := fmt.Sprintf("%d of %d copies are there", w.usage.beside(w.ask, pos), w.ask.group.Count)
	if b.peers != nil && b.peers.nodes > 1 {
		detail += fmt.Sprintf(", %.1f on average on the %d nodes that the spreads cannot tell apart", b.peers.average(), b.peers.nodes)
	}
	return detail
}

// detail says which affinities a node fulfils.
func (as *affinities) detail(look lookup) string {
	var held []string
	for _, w := range as.wishes {
		if w.check.passes(look) {
			held = append(held, fmt.Sprintf("%s (%d)", w.check, w.weight))
		}
	}
	if len(held) == 0 {
		return "no affinity holds"
	}
	return strings.Join(held, ", ")
}

func (w *weighing) spreadDetail(b *bucket) string {
	var out []string
	for i, s := range w.usage.groups[w.ask.group.Name].spreads {
		v := b.values[i]
		if v == unset {
			out = append(out, s.attribute+" is not set")
			continue
		}
		wanted := s.wanted(v, w.ask.group.Count, w.unnamed[i])
		out = append(out, fmt.Sprintf("%s %q has %d of %.4g copies wanted", s.attribute, v, s.copies[v], wanted))
	}
	return strings.Join(out, ", ")
}
