package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/consensus"
	"github.com/drover-io/drover/state"
)

var _ api.Recovery = (*server)(nil)

const (
	// surveyTimeout bounds one question to another server.
	surveyTimeout = 2 * time.Second
	// maxInDoubt is how many commands in doubt are described.
	maxInDoubt = 20
	// maxInDoubtRead bounds how many entries are looked through to count them.
	maxInDoubtRead = 100_000
)

// Survey says who is left of the servers, what this one's log holds, and what recovering the cluster from it would put at risk.
func (s *server) Survey(ctx context.Context) (*api.RecoveryView, error) {
	at, known := s.raft.Standing(), s.lastStanding()
	_, leader := s.raft.Leader()
	v := &api.RecoveryView{
		NodeID: s.a.id.NodeID, Name: s.a.cfg.Name, ClusterID: s.a.clusterID(), Leader: leader,
		LastIndex: at.LastIndex, LastTerm: at.LastTerm, CommitIndex: min(max(at.Commit, at.Snapshot, known.Commit), at.LastIndex),
		InTouch: known.At, Led: known.Leader == s.a.id.NodeID,
	}
	if leader != "" {
		v.InTouch, v.Led = time.Now().UnixNano(), s.raft.IsLeader()
	}
	entries, err := s.raft.Entries(v.CommitIndex, maxInDoubtRead)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e consensus.Entry) bool { return e.Index > v.LastIndex }) // written since
	v.InDoubtAll = len(entries)
	for _, e := range entries[max(0, len(entries)-maxInDoubt):] {
		v.InDoubt = append(v.InDoubt, api.InDoubt{Index: e.Index, Description: state.Describe(e.Data)})
	}
	v.Servers = s.surveyServers(ctx, at)
	v.Refusals = refusals(v)
	v.Risks = risks(v, time.Now())
	return v, nil
}

// surveyServers asks every server of the configuration, and those that gossip knows beside them, how far its log goes.
func (s *server) surveyServers(ctx context.Context, own consensus.Standing) []api.RecoveryServer {
	var out []api.RecoveryServer
	have := map[string]bool{}
	for _, p := range s.raft.Peers() {
		have[p.ID] = true
		out = append(out, api.RecoveryServer{ID: p.ID, Name: s.a.members.nameOf(p.ID), Address: p.Addr, Voter: p.Voter, State: api.ServerSilent})
	}
	for _, m := range s.a.members.aliveServers() {
		if !have[m.Tags.ID] {
			out = append(out, api.RecoveryServer{ID: m.Tags.ID, Name: m.Tags.Name, Address: m.Tags.PeerAddr, State: api.ServerWaiting})
		}
	}
	var wg sync.WaitGroup
	for i := range out {
		p := &out[i]
		if p.ID == s.a.id.NodeID {
			p.Name, p.State, p.LastIndex, p.LastTerm = s.a.cfg.Name, api.ServerSelf, own.LastIndex, own.LastTerm
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
			defer cancel()
			if r, err := s.a.peers.to(p.Address).Progress(ctx); err == nil {
				s.judgeSurvivor(p, r, own)
			}
		})
	}
	wg.Wait()
	return out
}

// judgeSurvivor notes what the server that answered at another's address is.
func (s *server) judgeSurvivor(p *api.RecoveryServer, r *api.ProgressResponse, own consensus.Standing) {
	mine := r.ClusterID == "" || r.ClusterID == s.a.clusterID()
	switch {
	case r.NodeID != p.ID || !mine:
		p.State = api.ServerOther
	case r.HasLog:
		p.LastIndex, p.LastTerm = r.LastIndex, r.LastLogTerm
		p.Newer = r.LastLogTerm > own.LastTerm || r.LastLogTerm == own.LastTerm && r.LastIndex > own.LastIndex
		if p.State != api.ServerWaiting {
			p.State = api.ServerAnswers
		}
	case p.State != api.ServerWaiting:
		p.State = api.ServerWiped
	}
}

// refusals says why recovering is wrong.
func refusals(v *api.RecoveryView) []string {
	var out []string
	voters, alive, self := 0, 0, false
	for _, p := range v.Servers {
		switch {
		case p.Newer:
			out = append(out, fmt.Sprintf("server %s has a newer log (entry %d of term %d, this one ends with %d of term %d): recover from there, with --address",
				nameOr(p), p.LastIndex, p.LastTerm, v.LastIndex, v.LastTerm))
		case !p.Voter:
			continue
		}
		if !p.Voter {
			continue
		}
		voters++
		self = self || p.State == api.ServerSelf
		if p.State == api.ServerSelf || p.State == api.ServerAnswers {
			alive++
		}
	}
	switch {
	case v.Leader != "":
		out = append(out, "there is a leader, at "+v.Leader+": nothing is to be recovered")
	case voters == 0:
		out = append(out, "this server has no log: recover from one that has")
	case !self:
		out = append(out, "this server has no vote: its log may lack much of what was acknowledged")
	case alive > voters/2:
		out = append(out, fmt.Sprintf("%d of %d servers answer and have their logs: they elect a leader by themselves within seconds; "+
			"if they do not, look in their logs why", alive, voters))
	}
	return out
}

func nameOr(p api.RecoveryServer) string {
	if p.Name != "" {
		return p.Name
	}
	return p.ID
}

// risks says what is kept and what may be lost.
func risks(v *api.RecoveryView, now time.Time) []string {
	if v.Leader != "" {
		return []string{"nothing: the cluster has a leader"}
	}
	out := []string{fmt.Sprintf("kept: everything up to entry %d, which this server knows to be committed", v.CommitIndex)}
	if v.InDoubtAll > 0 {
		out = append(out, fmt.Sprintf("in doubt: entries %d to %d (%d commands) are in this server's log and not known to be committed; they will count "+
			"from now on, also writes of which a user was told that nobody knows", v.CommitIndex+1, v.LastIndex, v.InDoubtAll))
	}
	switch since := now.Sub(time.Unix(0, v.InTouch)).Round(time.Second); {
	case v.InTouch == 0:
		out = append(out, "at risk: whatever the other servers acknowledged that is not in this server's log; it does not know when it last heard of a leader")
	case v.Led:
		out = append(out, fmt.Sprintf("at risk: this server led until %s ago and has all that was acknowledged until then; lost is only what the others "+
			"acknowledged without it since, if they were still a majority", since))
	default:
		out = append(out, fmt.Sprintf("at risk: this server last heard of the leader %s ago; lost is what the others acknowledged "+
			"since and did not send here", since))
	}
	for _, p := range v.Servers {
		switch {
		case p.Newer && p.LastTerm == v.LastTerm:
			out = append(out, fmt.Sprintf("lost for sure: %d entries that server %s has and this one has not", p.LastIndex-v.LastIndex, nameOr(p)))
		case p.Newer:
			out = append(out, fmt.Sprintf("lost for sure: what server %s has of term %d", nameOr(p), p.LastTerm))
		case p.State == api.ServerSilent:
			out = append(out, fmt.Sprintf("server %s does not answer: should it come back with its log it takes no part any more; move raft/ out of its "+
				"data directory, and it joins anew", nameOr(p)))
		case p.State == api.ServerAnswers:
			out = append(out, fmt.Sprintf("server %s leaves the cluster by this: move raft/ out of its data directory and start it again, and it joins anew", nameOr(p)))
		}
	}
	return out
}

// Recover makes this server, alone, the cluster. What runs goes on running: nodes stop nothing until they have reported to the new
// history, and servers without a log join it by themselves.
func (s *server) Recover(ctx context.Context, req *api.RecoverRequest) (*api.RecoverResponse, error) {
	v, err := s.Survey(ctx)
	if err != nil {
		return nil, err
	}
	if why := refuseRecovery(v, req); why != nil {
		return nil, why
	}
	epoch, err := newEpoch()
	if err != nil {
		return nil, err
	}
	fresh := &reborn{fsm: &fsm{store: state.NewStore(), outgrown: s.fsm.outgrown}, epoch: epoch}
	s.log.Warn("recovering the cluster from this server alone", "index", v.LastIndex, "term", v.LastTerm, "committed", v.CommitIndex,
		"in_doubt", v.InDoubtAll, "forced", req.Force)
	switch err := s.raft.Recover(ctx, fresh); {
	case errors.Is(err, consensus.ErrHasLeader), errors.Is(err, consensus.ErrBusy):
		return nil, api.NewError(api.CodeConflict, "look again", "%s", err)
	case err != nil:
		s.log.Error("the recovery failed; what it had not replaced is as it was. Look at the cause and try again", "error", err)
		return nil, api.NewError(api.CodeUnavailable, "look in the log of this agent, start it again and try again", "the recovery failed: %s", err)
	}
	snap := s.store.Snapshot()
	s.log.Warn("the cluster goes on with this server alone", "index", snap.Index(), "generation", snap.Generation(), "epoch", snap.Epoch())
	return &api.RecoverResponse{Index: snap.Index(), Generation: snap.Generation(), View: v}, nil
}

// refuseRecovery is why a recovery is not begun, nil when it is.
func refuseRecovery(v *api.RecoveryView, req *api.RecoverRequest) error {
	switch {
	case v.Leader != "":
		return api.NewError(api.CodeConflict, "to go back to a backup use `drover operator snapshot restore`", "the cluster has a leader, at %s: nothing is to be recovered", v.Leader)
	case v.LastIndex == 0:
		return api.NewError(api.CodeConflict, "ask a server that has one, with --address", "this server has no log to recover from")
	case req.LastIndex != v.LastIndex || req.LastTerm != v.LastTerm:
		return api.NewError(api.CodeConflict, "look again", "the log ends with entry %d of term %d, not with %d of term %d as confirmed",
			v.LastIndex, v.LastTerm, req.LastIndex, req.LastTerm)
	case len(v.Refusals) > 0 && !req.Force:
		return api.NewError(api.CodeConflict, "force it (--force) only if that cannot be helped: what the others have and this one has not is lost",
			"recovering from here is wrong: %s", v.Refusals[0])
	}
	return nil
}

// reborn is the state machine that a recovery replays the log into. Its snapshot begins the new history.
type reborn struct {
	*fsm
	epoch string
}

// Snapshot captures the state as the beginning of a new history.
func (r *reborn) Snapshot() func(io.Writer) error {
	snap := r.store.Snapshot()
	return snap.Recovered(r.epoch, nextGeneration(snap)).Save
}
