package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

const (
	// taskName is the one task of every job's group.
	taskName = "task"
	// retryMin and retryMax bound the back-off of an agent that reaches no server, as they do in package agent.
	retryMin = 200 * time.Millisecond
	retryMax = 3 * time.Second
)

// simulated is one agent. What it does is what package agent's client does, less what a machine is needed for.
type simulated struct {
	node    *state.Node
	servers []*api.Client // speaking for the node: its own first, then the others
	count   *counts

	mu       sync.Mutex
	leader   int // position in servers of the one that leads, as a poll last said; reports go there
	cluster  string
	index    uint64
	restore  uint64
	epoch    string
	period   time.Duration
	gather   time.Duration   // how long news that copies run may wait for more
	first    bool            // the next poll is the first: the leader itself must answer
	roster   api.Roster      // also what is on the machine: everything that is to run is there
	over     map[string]bool // allocations that have ended, until the cluster says that it knows
	unsaid   []state.AllocReport
	seq      uint64
	reports  chan struct{}
	peerAddr map[string]int // peer address → position in servers
}

// run works until ctx ends.
func (s *simulated) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.pollLoop(ctx) })
	g.Go(func() error { return s.reportLoop(ctx) })
	return g.Wait()
}

// pollLoop registers, then asks for orders for as long as it may.
func (s *simulated) pollLoop(ctx context.Context) error {
	wait, registered := retryMin, false
	for ctx.Err() == nil {
		var err error
		if !registered {
			if err = s.register(ctx); err == nil {
				registered = true
				s.count.registered.Add(1)
			}
		}
		if err == nil {
			var again bool
			if again, err = s.poll(ctx); again {
				registered = false
				s.count.registered.Add(-1)
			}
		}
		if err == nil {
			wait = retryMin
			continue
		}
		s.count.note(ctx, err)
		if Pause(ctx, wait) != nil {
			break
		}
		wait = min(2*wait, retryMax)
	}
	return ctx.Err()
}

// each asks one server after the other, from the one at position first on, until one answers.
func (s *simulated) each(ctx context.Context, first int, limit time.Duration, ask func(context.Context, *api.Client) error) error {
	var err error
	for i := range s.servers {
		try, cancel := context.WithTimeout(ctx, limit)
		err = ask(try, s.servers[(first+i)%len(s.servers)])
		cancel()
		if err == nil || errors.Is(err, api.ErrConflict) || errors.Is(err, api.ErrBusy) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (s *simulated) register(ctx context.Context) error {
	s.mu.Lock()
	req := &api.RegisterRequest{ClusterID: s.cluster, History: api.History{Epoch: s.epoch, Generation: s.restore}, Node: s.node}
	s.mu.Unlock()
	var resp *api.RegisterResponse
	err := s.each(ctx, 0, 5*time.Second, func(ctx context.Context, peer *api.Client) (err error) {
		resp, err = peer.NodeRegister(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster, s.period, s.index, s.first = resp.ClusterID, resp.LeasePeriod, max(s.index, resp.Index), true
	return nil
}

// question asks what has changed, or names everything that is held.
func (s *simulated) question() (req *api.PollRequest, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req = &api.PollRequest{
		NodeID: s.node.ID, ClusterID: s.cluster, Boot: s.node.Boot, Index: s.index, RestoreGeneration: s.restore, Epoch: s.epoch,
		Wait: api.RenewIn(s.node.ID, s.period, time.Now()),
	}
	if s.first {
		req.Wait = 0
	}
	s.roster.Ask(req, s.roster.Told(), time.Now())
	return req, s.first
}

// poll renews the lease and obeys. again is true when the node must register again.
func (s *simulated) poll(ctx context.Context) (again bool, err error) {
	req, first := s.question()
	limit := req.Wait + time.Second
	if first {
		limit = 5 * time.Second
	}
	var resp *api.PollResponse
	err = s.each(ctx, 0, limit, func(ctx context.Context, peer *api.Client) (err error) {
		s.count.polls.Add(1)
		resp, err = peer.NodePoll(ctx, req, !first)
		return err
	})
	if err != nil {
		return errors.Is(err, api.ErrBehind), err
	}
	return s.obey(req, resp)
}

// obey takes the orders of an answer that is not older than the newest seen: new allocations run at once, and are to be reported.
func (s *simulated) obey(req *api.PollRequest, resp *api.PollResponse) (again bool, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if resp.RestoreGeneration < s.restore || resp.RestoreGeneration == s.restore && resp.Index < s.index {
		return false, nil
	}
	if resp.RestoreGeneration > s.restore {
		s.roster.Reset()
	}
	s.index, s.restore, s.epoch, s.first = resp.Index, resp.RestoreGeneration, resp.Epoch, false
	if resp.LeasePeriod > 0 {
		s.period = resp.LeasePeriod
	}
	s.gather = resp.Gather
	if i, ok := s.peerAddr[resp.LeaderAddr]; ok {
		s.leader = i
	}
	if resp.Later {
		return false, nil
	}
	before := len(s.unsaid)
	s.ends(resp, now)
	had := s.roster.Count()
	if err = s.roster.Hear(req, resp, now); err == nil || errors.Is(err, api.ErrRoster) {
		s.runs(resp, now)
	}
	s.count.held.Add(int64(s.roster.Count() - had))
	if len(s.unsaid) > before {
		wake(s.reports)
	}
	return resp.Register, err
}

// ends ends what is to stop, and reports it. The caller holds mu.
func (s *simulated) ends(resp *api.PollResponse, now time.Time) {
	for _, id := range resp.Stop {
		if !s.over[id] {
			s.unsaid = append(s.unsaid, report(id, state.ClientComplete, state.TaskDead, now))
		}
		delete(s.over, id)
	}
	for _, ids := range [][]string{resp.Gone, resp.Over} {
		for _, id := range ids {
			delete(s.over, id)
		}
	}
}

// runs begins what is to run. The caller holds mu.
func (s *simulated) runs(resp *api.PollResponse, now time.Time) {
	for _, o := range resp.Run {
		s.count.rows.Add(int64(len(o.IDs)))
		at := int64(0)
		for _, j := range resp.Jobs {
			if j.ID == o.Alloc.JobID && j.Version == o.Alloc.JobVersion {
				at = submitted(j)
			}
		}
		for _, id := range o.IDs {
			if at > 0 {
				s.count.latency(now.UnixNano()-at, s.leader == 0)
			}
			s.unsaid = append(s.unsaid, report(id, state.ClientRunning, state.TaskRunning, now))
		}
	}
}

// fail ends up to n allocations as tasks that failed would, and returns how many there were to end.
func (s *simulated) fail(n int) int {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	done := 0
	for id := range s.roster.Told() {
		if done == n {
			break
		}
		if s.over[id] {
			continue
		}
		s.over[id] = true
		s.unsaid = append(s.unsaid, report(id, state.ClientFailed, state.TaskDead, now))
		done++
	}
	if done > 0 {
		wake(s.reports)
	}
	return done
}

// report is what an agent says of an allocation whose one task stands so.
func report(id, status, task string, now time.Time) state.AllocReport {
	ts := state.TaskState{State: task, Failed: status == state.ClientFailed, StartedAt: now.UnixNano(), Events: []state.TaskEvent{{Type: "Started", Time: now.UnixNano(), Message: "simulated"}}}
	if task == state.TaskDead {
		ts.FinishedAt = now.UnixNano()
	}
	return state.AllocReport{ID: id, Status: status, Tasks: map[string]state.TaskState{taskName: ts}}
}

// reportLoop hands what was not said yet to the leader. What was not confirmed is sent again.
func (s *simulated) reportLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.reports:
		}
		if err := s.gatherNews(ctx); err != nil {
			return err
		}
		for wait := retryMin; ; wait = min(2*wait, retryMax) {
			err := s.report(ctx)
			if err == nil {
				break
			}
			if !errors.Is(err, api.ErrBusy) {
				s.count.note(ctx, err)
			}
			if err := Pause(ctx, wait/2+rand.N(wait)); err != nil {
				return err
			}
		}
	}
}

// gatherNews lets news wait for more for as long as the servers want it, as package agent does.
func (s *simulated) gatherNews(ctx context.Context) error {
	for began := time.Now(); ; {
		s.mu.Lock()
		left, full := s.gather-time.Since(began), len(s.unsaid) >= runtime.MaxReport
		urgent := slices.ContainsFunc(s.unsaid, func(r state.AllocReport) bool { return !r.Calm() })
		s.mu.Unlock()
		if left <= 0 || full || urgent {
			return nil
		}
		again := time.NewTimer(min(left, time.Second))
		select {
		case <-ctx.Done():
		case <-s.reports:
		case <-again.C:
		}
		again.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// maxReported bounds one report, so that its body stays below what a server takes.
const maxReported = 2000

func (s *simulated) report(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := min(len(s.unsaid), maxReported)
		allocs, leader := slices.Clone(s.unsaid[:n]), s.leader
		s.seq++
		req := &api.ReportRequest{ClusterID: s.cluster, Report: state.NodeReport{NodeID: s.node.ID, Boot: s.node.Boot, Seq: s.seq, Allocs: allocs}.Packed()}
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		err := s.each(ctx, leader, 5*time.Second, func(ctx context.Context, peer *api.Client) error {
			_, err := peer.NodeReport(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.unsaid = s.unsaid[n:]
		for _, a := range allocs {
			if a.Status != state.ClientRunning {
				s.roster.Ended(a.ID)
			}
		}
		s.mu.Unlock()
		s.count.reports.Add(1)
		for _, a := range allocs {
			if a.Status == state.ClientRunning {
				s.count.running.Add(1)
			} else {
				s.count.ended.Add(1)
			}
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Pause waits, or returns why ctx ended.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
