package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// retryPause is how long a request waits before it looks for the leader again.
const retryPause = 25 * time.Millisecond

// maxHints is how many times a request follows at once where another agent sends it: two that send each other must not spin.
const maxHints = 3

// target is where a request goes next.
type target struct {
	local bool
	addr  string // a peer address, when not local
	id    string // node ID of the agent there, "" when not known
	final bool   // nobody else can answer: the owner of the allocation
	err   error  // the answer is known already: there is no such allocation
}

// attempt is what became of a request at one target.
type attempt struct {
	done  bool   // answered
	sent  bool   // it may have been done there
	final bool   // there is nobody else to ask
	addr  string // of the agent that was asked, "" for this one
	hint  string // a peer address to try next
	owner bool   // the hint is the owner's
	err   error  // why it was not answered
}

// dispatch answers a request: here, or at the agent that can. While there is nobody who can, it looks again, for as long as
// Limits.LeaderWait; a write never takes longer than that in all.
func (s *Server) dispatch(c *call) error {
	deadline := time.Now().Add(s.b.Limits.LeaderWait)
	var last attempt
	sent := false
	for try := 0; ; try++ {
		t := s.target(c, last, try)
		if t.err != nil {
			return t.err
		}
		if c.forwarded() && !t.local {
			return s.elsewhere(c, t)
		}
		began := time.Now()
		last = s.attempt(c, t)
		if last.done {
			return nil
		}
		if !c.rt.Write && time.Since(began) > time.Second {
			deadline = time.Now().Add(s.b.Limits.LeaderWait) // a read that was served well until now
		}
		sent = sent || last.sent
		if !last.again(c) || !s.restBefore(c, deadline, last.hint != "" && try < maxHints) {
			return s.giveUp(c, sent, last.err)
		}
	}
}

// attempt tries one target.
func (s *Server) attempt(c *call, t target) attempt {
	switch {
	case t.local:
		return s.runLocal(c)
	case t.addr != "":
		return s.hop(c, t)
	}
	return attempt{err: ErrNoLeader}
}

// restBefore waits a little before the next try, unless the last one advised where to go at once. It is false when there is
// no time left for another.
func (s *Server) restBefore(c *call, deadline time.Time, atOnce bool) bool {
	if !atOnce && (!time.Now().Add(retryPause).Before(deadline) || !pause(c.ctx, retryPause)) {
		return false
	}
	return c.ctx.Err() == nil && time.Now().Before(deadline)
}

// again reports whether another try can help and cannot harm.
func (a attempt) again(c *call) bool {
	if c.forwarded() || c.w.began() || a.final {
		return false // the agent that forwarded tries again, it may know better
	}
	if a.sent && (!c.repeatable() || c.rt.Stream) || c.bodyGone() {
		return false
	}
	return errors.Is(a.err, ErrNotLeader) || errors.Is(a.err, ErrNotOwner) || errors.Is(a.err, ErrNoLeader) ||
		errors.Is(a.err, ErrUnknownOutcome) || errors.Is(a.err, ErrUnreachable)
}

// giveUp is the error of a request that nobody answered.
func (s *Server) giveUp(c *call, sent bool, err error) error {
	if c.forwarded() {
		return s.forwardedError(c, err)
	}
	outOfTime := errors.Is(err, context.DeadlineExceeded) || c.ctx.Err() != nil
	switch {
	case c.rt.Write && (sent || errors.Is(err, ErrUnknownOutcome)):
		return NewError(CodeUnknownOutcome, "send it again with the header "+headerRequestID+": "+c.requestID,
			"this write may have happened or not: %s", s.whyNot(c, err))
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrNoLeader), c.rt.Where != AtOwner && c.rt.Where != AtAgent && errors.Is(err, ErrUnreachable), c.rt.Write && outOfTime:
		return NewError(CodeNoLeader, "look at `drover server members`, start servers until a majority is there, then try again", "%s", s.whyNot(c, err))
	}
	return err
}

// forwardedError turns the error of a forwarded request into one that the forwarding agent can act upon.
func (s *Server) forwardedError(c *call, err error) error {
	if c.rt.Write && errors.Is(err, context.DeadlineExceeded) {
		return NewError(CodeUnknownOutcome, "", "the leader did not see the write through in time")
	}
	if errors.Is(err, ErrNotLeader) {
		return s.elsewhere(c, target{})
	}
	return err
}

// whyNot says why nobody answered, or nobody knows what became of a write.
func (s *Server) whyNot(c *call, err error) string {
	_, _, known := s.b.Cluster.Leader()
	switch {
	case known && (errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnknownOutcome)):
		return err.Error()
	case known && (c.ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)):
		return fmt.Sprintf("the leader did not see it through within %s", s.b.Limits.LeaderWait)
	}
	return s.noLeader()
}

// elsewhere tells the agent that forwarded a request where it belongs.
func (s *Server) elsewhere(c *call, t target) error {
	addr := t.addr
	if addr == "" {
		if id, leader, known := s.b.Cluster.Leader(); known && id != s.self().NodeID {
			addr = leader
		}
	}
	if addr != "" {
		c.w.Header().Set(headerTry, addr)
	}
	if t.final {
		if c.rt.Where == AtAgent || c.rt.Where == AtNode {
			return NewError(CodeNotOwner, "", "this is not the agent that was named")
		}
		return NewError(CodeNotOwner, "", "this agent does not own the allocation %s", c.id())
	}
	return NewError(CodeNotLeader, "", "this agent does not lead")
}

// runLocal answers on this agent.
func (s *Server) runLocal(c *call) attempt {
	if c.rt.handler.stream != nil {
		return c.outcome(c.rt.handler.stream(c))
	}
	v, err := c.rt.handler.run(c)
	if err != nil {
		return c.outcome(err)
	}
	if resp, ok := v.(*PollResponse); ok {
		return c.outcome(c.replyLines(resp))
	}
	return c.outcome(c.reply(v))
}

// outcome judges what a local handler returned.
func (c *call) outcome(err error) attempt {
	if err == nil {
		return attempt{done: true}
	}
	unknown := errors.Is(err, ErrUnknownOutcome) || c.rt.Write && errors.Is(err, context.DeadlineExceeded)
	return attempt{err: err, sent: unknown}
}

// target says where a request goes, after the last attempt; try counts from 0.
func (s *Server) target(c *call, last attempt, try int) target {
	server := s.b.State != nil
	switch {
	case c.rt.Where == Here:
		return target{local: true}
	case c.rt.Where == AtAgent:
		return s.named(c)
	case c.rt.Where == AnyServer, c.rt.Stale && c.opts.stale:
		if server {
			return target{local: true}
		}
		return s.someServer(last, try)
	case c.rt.Where == AtNode:
		return s.node(c, last, try)
	case c.rt.Where == AtOwner:
		return s.owner(c, last, try)
	}
	if server && s.b.Cluster.IsLeader() {
		return target{local: true}
	}
	return s.leader(last, try)
}

// leader is where the leader is thought to be.
func (s *Server) leader(last attempt, try int) target {
	self := s.self()
	if last.hint != "" && last.hint != self.PeerAddr {
		return target{addr: last.hint}
	}
	id, addr, known := s.b.Cluster.Leader()
	switch {
	case s.b.State == nil && (!known || addr == last.addr):
		return s.someServer(attempt{addr: last.addr}, try) // it says who leads
	case !known, id == self.NodeID: // nobody, or this one, which is elected and not ready yet
		return target{}
	}
	return target{addr: addr, id: id}
}

// someServer picks a server that gossip thinks alive, another one than the last.
func (s *Server) someServer(last attempt, try int) target {
	if last.hint != "" {
		return target{addr: last.hint}
	}
	var servers []Member
	for _, m := range s.b.Cluster.Members() {
		if m.Server && m.Status == MemberAlive {
			servers = append(servers, m)
		}
	}
	if len(servers) > 1 {
		servers = slices.DeleteFunc(servers, func(m Member) bool { return m.PeerAddr == last.addr })
	}
	if len(servers) == 0 {
		return target{}
	}
	m := servers[try%len(servers)]
	return target{addr: m.PeerAddr, id: m.ID}
}

// owner is the agent that owns the allocation named by the path.
func (s *Server) owner(c *call, last attempt, try int) target {
	if s.b.Owner != nil && s.b.Owner.Owns(c.id()) {
		return target{local: true}
	}
	if last.hint != "" {
		return target{addr: last.hint, final: last.owner}
	}
	if s.b.State == nil {
		return s.someServer(attempt{addr: last.addr}, try) // it says where the owner is
	}
	snap := s.b.State.Snapshot()
	a := snap.Alloc(c.id())
	switch {
	case a == nil && s.b.Cluster.IsLeader():
		return target{err: noAlloc(c.id())}
	case a == nil:
		return s.leader(attempt{}, try) // it may be too new for this server
	case a.NodeID == s.self().NodeID:
		return target{err: NewError(CodeNotFound, "", "nothing of allocation %s is left on this machine", a.ID)}
	}
	n := snap.Node(a.NodeID)
	if n == nil {
		return target{err: NewError(CodeUnreachable, "", "the node %s of allocation %s is gone", a.NodeID, a.ID)}
	}
	return target{addr: n.PeerAddr, id: n.ID, final: true}
}

func noAlloc(id string) *Error {
	return NewError(CodeNotFound, "list them with `drover job allocs` or GET /v1/allocations", "there is no allocation %s", id)
}
