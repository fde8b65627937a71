package consensus

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// graceOfHeir is how long the first in line waits after the first sign, and graceOfNext how much longer each one behind it, so
	// that not all of them stand at once and split the vote.
	graceOfHeir = 50 * time.Millisecond
	graceOfNext = 150 * time.Millisecond
	// looksAtDead is how often a server looks whether one that refuses connections goes on speaking.
	looksAtDead = 5
	// listenFirst is how long a server that was just founded waits to hear from a leader before it asks the others whether there is one.
	listenFirst = 200 * time.Millisecond
	// knockTimeout bounds one question to another server.
	knockTimeout = 250 * time.Millisecond
	// keptStreams bounds the connections that are kept to each other server.
	keptStreams = 3
)

// Raft finds out by silence alone that a leader is gone, and silence has to be long: a leader that a busy machine does not let run
// must not lose its office, see DefaultConfig. A leader whose process died is not silent: the kernel of its machine closes its
// connections and refuses new ones. And a server that was just bootstrapped, or is alone, need not wait for a leader that, by the
// word of a majority, does not exist. In both cases succession lets the server stand for election at once, in the way in which a
// leader that leaves asks another one to (TimeoutNow). It is never needed: where it sees nothing, the silence tells.
type succession struct {
	c    *Consensus
	hint chan struct{} // a server that had connected to this one hung up
}

// watchSuccession runs until Close begins.
func (c *Consensus) watchSuccession() {
	s := &succession{c: c, hint: c.trans.streams.hungUp}
	c.wg.Go(s.run)
}

func (s *succession) run() {
	ctx := s.c.closing
	if _, voters := s.rank(""); voters == 1 { // others may have gone on without this one: first it has to find out
		s.begin(ctx)
	}
	for {
		select {
		case <-s.hint:
			s.bury(ctx)
		case <-s.c.founded:
			s.begin(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// begin stands for election when nobody leads: asked of all voters, as raft itself does it once it is tired of waiting.
func (s *succession) begin(ctx context.Context) {
	rank, voters := s.rank("")
	if rank < 0 || voters > 1 && !s.pause(ctx, listenFirst+time.Duration(rank)*graceOfNext) {
		return
	}
	if s.leader() == "" && s.c.raft().State() == raft.Follower && s.nobodyLeads(ctx) {
		s.stand("nobody leads")
	}
}

// bury stands for election when the leader's process is dead: it hung up, its machine refuses connections to it, twice, and nothing
// was heard from it in between. What it had sent before it died may still be worked on, so it is looked at more than once.
func (s *succession) bury(ctx context.Context) {
	dead := s.leader()
	if dead == "" || dead == s.c.cfg.NodeID {
		return
	}
	rank, _ := s.rank(dead)
	wait := graceOfHeir + time.Duration(max(0, rank))*graceOfNext
	for range looksAtDead {
		gone, since := s.refused(ctx, dead), time.Now()
		if !s.pause(ctx, wait) || !gone || rank < 0 {
			return
		}
		if now := s.leader(); s.c.raft().State() != raft.Follower || now != dead && now != "" {
			return // another one stood
		}
		if s.c.raft().LastContact().Before(since) && s.refused(ctx, dead) {
			s.freshen(ctx)
			s.stand("the leader's process is dead")
			return
		}
	}
}

// leader is whom this server takes for the leader.
func (s *succession) leader() string {
	_, id := s.c.raft().LeaderWithID()
	return string(id)
}

// rank is this server's place in the line of voters without one of them, -1 when it has no vote, and the length of the line.
func (s *succession) rank(without string) (rank, voters int) {
	var ids []string
	for _, m := range s.c.servers() {
		if m.Suffrage == raft.Voter && string(m.ID) != without {
			ids = append(ids, string(m.ID))
		}
	}
	slices.Sort(ids)
	return slices.Index(ids, s.c.cfg.NodeID), len(ids)
}

// refused reports whether a server's machine says that nobody listens at its address.
func (s *succession) refused(ctx context.Context, id string) bool {
	d, ok := s.c.trans.streams.StreamLayer.(ContextDialer)
	if !ok {
		return false
	}
	addr, err := s.c.trans.ServerAddr(raft.ServerID(id))
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	conn, err := d.DialContext(ctx, addr)
	if err == nil {
		_ = conn.Close() // it was to see whether somebody is there
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// nobodyLeads asks the other voters for their pre-votes, which a server that knows a leader, or more than this one, refuses.
func (s *succession) nobodyLeads(ctx context.Context) bool {
	st := s.c.Standing()
	req := &raft.RequestPreVoteRequest{RPCHeader: s.header(), Term: st.Term + 1, LastLogIndex: st.LastIndex, LastLogTerm: st.LastTerm}
	members := s.c.servers()
	granted := make(chan bool, len(members))
	voters, asked := 0, 0
	for _, m := range members {
		if m.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(m.ID) == s.c.cfg.NodeID {
			continue
		}
		asked++
		ask := func() {
			var resp raft.RequestPreVoteResponse
			err := s.c.trans.RequestPreVote(m.ID, m.Address, req, &resp)
			for i := 0; err != nil && i < keptStreams && ctx.Err() == nil; i++ {
				err = s.c.trans.RequestPreVote(m.ID, m.Address, req, &resp) // what was kept was of a process that is no more
			}
			granted <- err == nil && resp.Granted
		}
		if s.c.spawn(&s.c.ops, ask) != nil {
			return false
		}
	}
	votes := 1
	for ; votes <= voters/2 && asked > 0; asked-- {
		select {
		case yes := <-granted:
			if yes {
				votes++
			}
		case <-ctx.Done():
			return false
		}
	}
	return votes > voters/2
}

// freshen has the connections that are kept to other voters used once. Raft asks each for its vote once, by a connection that may be to a
// process that was started again since: then nobody hears of this server's term, the next in line votes for itself in it, too, and
// both wait until they are tired.
func (s *succession) freshen(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	s.nobodyLeads(ctx) // what they answer is asked again with the vote
}

// stand makes raft stand for election now.
func (s *succession) stand(why string) {
	s.c.log.Info("standing for election at once", "because", why, "term", s.c.Term())
	self := raft.ServerID(s.c.cfg.NodeID)
	addr := raft.ServerAddress(s.c.trans.streams.Addr().String())
	if err := s.c.trans.TimeoutNow(self, addr, &raft.TimeoutNowRequest{RPCHeader: s.header()}, &raft.TimeoutNowResponse{}); err != nil {
		s.c.log.Debug("this server cannot be reached by itself: it stands later", "error", err)
	}
}

func (s *succession) header() raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(s.c.cfg.NodeID),
		Addr:            s.c.trans.EncodePeer(raft.ServerID(s.c.cfg.NodeID), s.c.trans.LocalAddr()),
	}
}

// pause waits, and reports whether Close has not begun meanwhile.
func (s *succession) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// acceptedStream is a stream that another server opened. When that one hangs up, there is something to find out.
type acceptedStream struct {
	*stream
	hungUp chan<- struct{}
}

// Read reads what the other server sent.
func (a *acceptedStream) Read(b []byte) (int, error) {
	n, err := a.stream.Read(b)
	a.look(err)
	return n, err
}

// Write answers the other server.
func (a *acceptedStream) Write(b []byte) (int, error) {
	n, err := a.stream.Write(b)
	a.look(err)
	return n, err
}

func (a *acceptedStream) look(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return
	}
	select {
	case a.hungUp <- struct{}{}:
	default:
	}
}
