package agent

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/sched"
	"github.com/drover-io/drover/state"
)

const (
	// watchEvery is how often the leader looks at the leases, or watchPart times in a lease period when that is less often: with 5,000
	// nodes a look takes 7 ms.
	watchEvery = 250 * time.Millisecond
	watchPart  = 4
	// agreeing is how many probe rounds in a row must say the same before it is evidence.
	agreeing = 2
)

// watchkeeper observes, while its server leads, which nodes are alive: leases first, probes for those that are overdue, every
// voter's own probe for those that are silent. It decides nothing: sched.NodeLoss does, of its observations.
type watchkeeper struct {
	t *term

	mu     sync.Mutex
	seen   map[string]sighting
	guard  sched.Guard
	wakers chan struct{} // closed and replaced when an observation changed
	look   chan struct{} // somebody has reason to think that a node died
}

// sighting is the evidence about one node.
type sighting struct {
	evidence  sched.Evidence
	since     int64 // cluster time of the first agreeing evidence
	boot      uint64
	candidate sched.Evidence // what the latest rounds said, not agreed yet
	rounds    int
}

func newWatchkeeper(t *term) *watchkeeper {
	return &watchkeeper{t: t, seen: map[string]sighting{}, wakers: make(chan struct{}), look: make(chan struct{}, 1)}
}

// changed returns a channel that is closed when an observation changes.
func (w *watchkeeper) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wakers
}

// observations is everything known of every node, for the decider.
func (w *watchkeeper) observations() []sched.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]sched.Observation, 0, len(w.seen))
	for n := range w.t.s.store.Snapshot().Nodes() {
		if s, ok := w.seen[n.ID]; ok && s.evidence != sched.EvidenceNone {
			out = append(out, sched.Observation{NodeID: n.ID, Evidence: s.evidence, Since: s.since, Boot: s.boot})
		}
	}
	return out
}

func (w *watchkeeper) publish(g sched.Guard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guard = g
}

func (w *watchkeeper) view() sched.GuardView {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.guard.View()
}

// hint asks for a look before its time: gossip says that something died.
func (w *watchkeeper) hint() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// run looks at the leases until ctx ends. For its first three lease periods it judges nobody: nodes need that long to find the
// new leader.
func (w *watchkeeper) run(ctx context.Context) error {
	next := time.NewTimer(watchEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next.C:
		case <-w.look:
		}
		w.round(ctx)
		next.Reset(max(watchEvery, leasePeriod(w.t.s.store.Snapshot().NodeCount())/watchPart))
	}
}

// round sorts the nodes into those whose lease is fresh and those that must be asked, and asks. What it found is noted at once:
// a decider that saw one of many silent nodes before the others would take their silence for the death of that one.
func (w *watchkeeper) round(ctx context.Context) {
	snap := w.t.s.store.Snapshot()
	now := time.Now()
	period := leasePeriod(snap.NodeCount())
	overdue := overduePeriods * period
	if now.Sub(w.t.leases.began) < overdue {
		return
	}
	if w.t.leases.Len() > snap.NodeCount() {
		w.t.leases.Forget(func(id string) bool { return snap.Node(id) != nil })
	}
	var dead map[string]bool
	if !w.t.s.a.cfg.Server.LeaseOnly {
		dead = w.t.s.a.members.dead()
	}
	found, ask, late := w.sort(snap, dead, now, period)
	if w.t.s.a.cfg.Server.LeaseOnly {
		found, ask = append(found, byLease(snap, ask)...), nil
	}
	if len(ask) > 0 {
		// Leases of machines that are cut off at the same moment run out one after the other. Whoever is late is asked along, or
		// the guard would meet the first of them alone.
		ask = append(ask, late...)
		late = nil
		for id, evidence := range w.ask(ctx, ask) {
			age := w.t.leases.Age(id, time.Now())
			switch {
			case age < time.Since(now):
				evidence = sched.EvidenceFresh // it was heard of while it was being asked
			case evidence != sched.EvidenceSilent && age < overdue:
				evidence = sched.EvidenceFresh // gossip was wrong, or it is merely late
			}
			found = append(found, finding{snap.Node(id), evidence, 1})
		}
	}
	for _, t := range late {
		found = append(found, finding{snap.Node(t.NodeID), sched.EvidenceFresh, agreeing})
	}
	w.note(found...)
}

// sort says which nodes are heard of, which must be asked, and which have missed a renewal but may be merely late.
// dead are those that gossip calls dead.
func (w *watchkeeper) sort(
	snap *state.Snapshot, dead map[string]bool, now time.Time, period time.Duration,
) (found []finding, ask, late []api.ProbeTarget) {
	for n := range snap.Nodes() {
		age := w.t.leases.Age(n.ID, now)
		target := api.ProbeTarget{NodeID: n.ID, PeerAddr: n.PeerAddr}
		switch {
		case age < 3*period/2 && !dead[n.ID]:
			found = append(found, finding{n, sched.EvidenceFresh, agreeing})
		case n.Status == state.NodeStatusDown && (age >= overduePeriods*period || dead[n.ID]):
			found = append(found, finding{n, sched.EvidenceNone, agreeing}) // judged: it comes back by registering
		case age < overduePeriods*period && !dead[n.ID]:
			late = append(late, target)
		default:
			ask = append(ask, target)
		}
	}
	return found, ask, late
}

// ask probes the nodes from here and, those that are silent here, from every voter.
func (w *watchkeeper) ask(ctx context.Context, targets []api.ProbeTarget) map[string]sched.Evidence {
	out := make(map[string]sched.Evidence, len(targets))
	votes := map[string]int{} // node → voters that hear nothing
	voters := w.t.s.voters()
	var mu sync.Mutex
	count := func(results []api.ProbeResult, own bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range results {
			switch {
			case r.Outcome == api.ProbeSilent:
				votes[r.NodeID]++
			case own || out[r.NodeID] == sched.EvidenceNone:
				out[r.NodeID] = evidenceOf(r.Outcome)
			}
		}
	}
	var g errgroup.Group
	g.Go(func() error {
		count(w.t.s.a.prober.knock(ctx, targets, probeTimeout), true)
		return nil
	})
	asked := map[string]bool{w.t.s.a.id.NodeID: true}
	for _, t := range targets {
		asked[t.NodeID] = true // who may be dead cannot be a witness, and would hold up the round
	}
	for id, addr := range voters {
		if asked[id] {
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, knockLimit(len(targets))+probeTimeout)
			defer cancel()
			resp, err := w.t.s.a.peers.to(addr).Probe(ctx, &api.ProbeRequest{Targets: targets, Timeout: probeTimeout})
			if err == nil {
				count(resp.Results, false)
			}
			return nil // a voter that cannot be asked has no vote
		})
	}
	_ = g.Wait() // the functions return nil: a voter's answer is its result
	for _, t := range targets {
		if votes[t.NodeID] > len(voters)/2 {
			out[t.NodeID] = sched.EvidenceSilent
		}
	}
	return out
}

// byLease judges overdue nodes where the lease is all the evidence that there is (server.lease_only): simulated nodes neither gossip
// nor listen, so that a knock would find nobody and the node would be taken for one whose agent died. They count as machines that live
// and whose agents do not answer: disconnected, and lost after the grace.
func byLease(snap *state.Snapshot, overdue []api.ProbeTarget) []finding {
	found := make([]finding, len(overdue))
	for i, t := range overdue {
		found[i] = finding{snap.Node(t.NodeID), sched.EvidenceAccepts, agreeing}
	}
	return found
}

func evidenceOf(outcome string) sched.Evidence {
	switch outcome {
	case api.ProbeAnswers:
		return sched.EvidenceAnswers
	case api.ProbeAccepts:
		return sched.EvidenceAccepts
	case api.ProbeRefused:
		return sched.EvidenceRefused
	}
	return sched.EvidenceNone
}

// voters are the servers whose word counts, with their peer addresses.
func (s *server) voters() map[string]string {
	out := map[string]string{}
	for _, p := range s.raft.Peers() {
		if p.Voter {
			out[p.ID] = s.a.members.peerAddr(p.ID, p.Addr)
		}
	}
	return out
}

// finding is what one round said of a node. A lease counts as much as enough rounds that agree.
type finding struct {
	node     *state.Node
	evidence sched.Evidence
	weight   int
}

// note keeps what a round said of nodes, and makes it evidence once enough rounds agree.
func (w *watchkeeper) note(found ...finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := false
	for _, f := range found {
		s := w.seen[f.node.ID]
		if s.boot != f.node.Boot { // what was seen was of an earlier life of the agent
			s = sighting{boot: f.node.Boot}
		}
		if s.candidate == f.evidence {
			s.rounds += f.weight
		} else {
			s.candidate, s.rounds = f.evidence, f.weight
		}
		if s.rounds >= agreeing && s.evidence != f.evidence {
			s.evidence, s.since = f.evidence, w.t.clock.Now()
			news = true
		}
		s.rounds = min(s.rounds, agreeing)
		w.seen[f.node.ID] = s
	}
	if news {
		close(w.wakers)
		w.wakers = make(chan struct{})
	}
}
