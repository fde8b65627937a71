package sched

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/drover-io/drover/state"
)

// Evidence is what was found out about a node by its lease and by probes. See the table in ARCHITECTURE.md §6.
type Evidence string

// Evidence of a node's life, best first. A node of which nothing is known yet has none and is left as it is.
const (
	EvidenceNone    Evidence = ""
	EvidenceFresh   Evidence = "fresh"   // its lease is in time
	EvidenceAnswers Evidence = "answers" // its lease is overdue; its agent answers a probe
	EvidenceAccepts Evidence = "accepts" // its lease is overdue; its machine takes connections, its agent does not answer
	EvidenceRefused Evidence = "refused" // its machine refuses connections: the agent died, its containers run on
	EvidenceSilent  Evidence = "silent"  // a majority of the voters, each probing for itself, hears nothing
)

// Observation is the evidence about one node.
type Observation struct {
	NodeID   string
	Evidence Evidence
	Since    int64  // cluster time of the first observation that agrees with it
	Boot     uint64 // the agent's boot counter that it is about; 0 when not known
}

// changesPerCommand bounds one SetNodeStatus: a change costs up to 300 bytes.
const changesPerCommand = 1000

// NodeLoss judges nodes from what was observed of them. What would declare a node down passes the
// eviction guard, whose memory comes back as next; an operator's word (state.DeclareNodeLost) does not come through here. A node
// that is down comes back by registering. wake is the cluster time at which to look again, 0 for "when an observation changes".
func NodeLoss(snap *state.Snapshot, obs []Observation, g Guard, now int64, opts Options) (cmds []state.Command, next Guard, wake int64) {
	opts = opts.orDefault()
	j := &judgement{now: now, opts: opts, pools: map[string]*poolView{}}
	for n := range snap.Nodes() {
		j.pool(n.NodePool).count(n, g, now)
	}
	for _, o := range obs {
		if n := snap.Node(o.NodeID); n != nil && (o.Boot == 0 || o.Boot >= n.Boot) {
			j.judge(n, o)
		}
	}
	next = g.admit(j, snap.EvictionsAllowedAt())
	for _, name := range sortedPools(j.pools) {
		j.declare(j.pools[name])
	}
	for _, p := range next.pools {
		j.wake = earlier(j.wake, p.nextAt)
	}
	slices.SortFunc(j.changes, func(a, b state.NodeStatusChange) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for part := range slices.Chunk(j.changes, changesPerCommand) {
		cmds = append(cmds, state.SetNodeStatus{Term: snap.LeadTerm(), Changes: part, Time: now})
	}
	return cmds, next, j.wake
}

// judgement is one look at all nodes.
type judgement struct {
	now     int64
	opts    Options
	pools   map[string]*poolView
	changes []state.NodeStatusChange
	wake    int64
}

// poolView is what one look sees of a node pool.
type poolView struct {
	name     string
	size     int             // nodes that are not down, and those that the guard let go a moment ago
	silent   int             // of these, how many are silent or were let go a moment ago
	fresh    map[string]bool // nodes that are heard of
	suspects []suspect       // nodes to declare down
	allowed  int             // how many of them the guard lets go now
}

// suspect is a node that the evidence says is gone.
type suspect struct {
	node  *state.Node
	since int64
	why   string
}

func (j *judgement) pool(name string) *poolView {
	name = state.PoolOf(name)
	p := j.pools[name]
	if p == nil {
		p = &poolView{name: name, fresh: map[string]bool{}}
		j.pools[name] = p
	}
	return p
}

// count adds a node to its pool. One that has been down for longer than the guard's window is no longer a member: the death of
// another machine next week must not look like the death of many.
func (p *poolView) count(n *state.Node, g Guard, now int64) {
	switch {
	case n.Status != state.NodeStatusDown:
		p.size++
	case g.letGo(p.name, n.ID, now):
		p.size++
		p.silent++
	}
}

// judge applies the evidence table to one node.
func (j *judgement) judge(n *state.Node, o Observation) {
	p := j.pool(n.NodePool)
	if o.Evidence == EvidenceFresh {
		p.fresh[n.ID] = true
	}
	if n.Status == state.NodeStatusDown {
		return
	}
	switch o.Evidence {
	case EvidenceFresh:
		if n.Status == state.NodeStatusDisconnected {
			j.change(n, state.NodeStatusReady, "")
		}
	case EvidenceAnswers, EvidenceAccepts:
		j.grace(p, n, o, "agent hangs or is cut off: its lease is overdue, its machine takes connections")
	case EvidenceRefused:
		j.grace(p, n, o, "agent is gone: its machine refuses connections, its containers may run on")
	case EvidenceSilent:
		p.silent++
		p.suspects = append(p.suspects, suspect{n, o.Since, "machine or network is gone: a majority of the servers hears nothing of it"})
	}
}

// grace makes a node disconnected and, when it has been so for long enough, a suspect.
func (j *judgement) grace(p *poolView, n *state.Node, o Observation, why string) {
	if n.Status != state.NodeStatusDisconnected {
		j.change(n, state.NodeStatusDisconnected, why)
		j.wake = earlier(j.wake, j.now+int64(j.opts.LostAfter))
		return
	}
	due := n.StatusUpdatedAt + int64(j.opts.LostAfter)
	if o.Since > n.StatusUpdatedAt { // it was silent before: one that begins to answer has a moment to renew its lease
		due = max(due, o.Since+int64(j.opts.LostAfter)/10)
	}
	if due > j.now {
		j.wake = earlier(j.wake, due)
		return
	}
	p.silent++
	p.suspects = append(p.suspects, suspect{n, o.Since, fmt.Sprintf("disconnected for %s", time.Duration(j.now-n.StatusUpdatedAt).Round(time.Second))})
}

// declare says of a pool's suspects which are down, and of the others that they are disconnected until the guard lets them go:
// nothing new is placed on them, and what they run stays theirs.
func (j *judgement) declare(p *poolView) {
	for i, s := range p.suspects {
		switch {
		case i < p.allowed:
			j.change(s.node, state.NodeStatusDown, s.why)
		case s.node.Status != state.NodeStatusDisconnected:
			j.change(s.node, state.NodeStatusDisconnected, s.why+"; the eviction guard holds it")
		}
	}
}

func (j *judgement) change(n *state.Node, status, why string) {
	j.changes = append(j.changes, state.NodeStatusChange{NodeID: n.ID, Boot: n.Boot, Status: status, Description: why})
}
