package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
)

const (
	// debugAgents is how many agents are asked at a time.
	debugAgents = 8
	// debugJobs bounds the jobs whose specifications are read.
	debugJobs = 500
)

// gatherer asks the cluster for what goes into a bundle.
type gatherer struct {
	debugOptions
	a       *app
	c       *api.Client
	b       *bundle
	started time.Time

	mu      sync.Mutex
	reached int
}

// gather collects everything. What fails is noted and left out.
func (g *gatherer) gather(ctx context.Context) {
	members := g.cluster(ctx)
	var group errgroup.Group
	group.SetLimit(debugAgents)
	for _, m := range members {
		group.Go(func() error {
			g.agent(ctx, m)
			return nil
		})
	}
	_ = group.Wait() // each notes its own errors
}

// cluster collects what the servers know, and returns the agents to ask.
func (g *gatherer) cluster(ctx context.Context) []api.Member {
	g.step("the cluster's state")
	once, cancel := context.WithTimeout(ctx, 4*debugStep)
	defer cancel()
	c, stale := g.c, api.QueryOptions{Stale: true}
	members, err := c.AgentMembers(once)
	g.putJSON("cluster/members.json", members, err)
	leader, err := c.StatusLeader(once)
	g.putJSON("cluster/leader.json", leader, err)
	raft, _, err := c.RaftConfiguration(once, stale)
	g.putJSON("cluster/raft.json", raft, err)
	guard, err := c.Evictions(once)
	g.putJSON("cluster/evictions.json", guard, err)
	nodes, err := all(once, c.Nodes, "")
	g.putJSON("cluster/nodes.json", nodes, err)
	allocs, err := all(once, c.Allocations, api.AllNamespaces)
	g.putJSON("cluster/allocations.json", allocs, err)
	jobs, err := all(once, c.Jobs, api.AllNamespaces)
	g.putJSON("cluster/jobs.json", jobs, err)
	if g.jobs {
		g.specifications(once, jobs)
	}
	g.putJSON("version.json", version, nil)
	if members == nil {
		return nil
	}
	return g.wanted(members.Members)
}

// wanted are the members that the flags mean.
func (g *gatherer) wanted(members []api.Member) []api.Member {
	var out []api.Member
	for _, m := range members {
		if len(g.agents) == 0 || slices.ContainsFunc(g.agents, func(w string) bool { return m.Name == w || strings.HasPrefix(m.ID, w) }) {
			out = append(out, m)
		}
	}
	for _, w := range g.agents {
		if !slices.ContainsFunc(members, func(m api.Member) bool { return m.Name == w || strings.HasPrefix(m.ID, w) }) {
			g.b.note("agents/"+w, fmt.Errorf("no agent is called %q or has an ID that begins so", w))
		}
	}
	return out
}

// specifications collects the jobs whole, up to debugJobs.
func (g *gatherer) specifications(ctx context.Context, jobs []api.JobListItem) {
	var out []*api.JobView
	for i, j := range jobs {
		if i == debugJobs {
			g.b.note("cluster/specifications.json", fmt.Errorf("left out %d of %d jobs", len(jobs)-i, len(jobs)))
			break
		}
		view, _, err := g.c.Job(ctx, j.ID, api.QueryOptions{Namespace: j.Namespace, Stale: true})
		if err != nil {
			g.b.note("cluster/specifications.json: "+j.ID, err)
			continue
		}
		out = append(out, view)
	}
	g.putJSON("cluster/specifications.json", out, nil)
}

// agent collects what one agent says of itself.
func (g *gatherer) agent(ctx context.Context, m api.Member) {
	dir := "agents/" + fileName(m.Name) + "-" + fileName(shortID(m.ID, false)) + "/"
	if m.Status != api.MemberAlive && m.Status != api.MemberSuspect {
		g.step("agent %s is %s: not asked", m.Name, m.Status)
		g.b.note(dir, fmt.Errorf("agent %s (%s) at %s is %s by gossip", m.Name, m.ID, m.HTTPAddr, m.Status))
		return
	}
	ref := api.AgentRef{Node: m.ID}
	ctx, cancel := context.WithTimeout(ctx, 4*debugStep+g.duration)
	defer cancel()
	self, err := g.c.SelfOf(ctx, ref)
	g.putJSON(dir+"self.json", self, err)
	if err != nil {
		g.step("agent %s does not answer", m.Name)
		return
	}
	health, err := g.c.HealthOf(ctx, ref)
	g.putJSON(dir+"health.json", health, err)
	host, err := g.c.HostStats(ctx, ref)
	g.putJSON(dir+"host.json", host, err)
	r, err := g.c.MetricsOf(ctx, ref, "prometheus")
	g.putStream(dir+"metrics.prom", r, err)
	var both sync.WaitGroup
	both.Go(func() { g.log(ctx, dir, ref) })
	if g.profiles {
		g.profile(ctx, dir, ref)
	}
	both.Wait()
	r, err = g.c.MetricsOf(ctx, ref, "prometheus")
	g.putStream(dir+"metrics-later.prom", r, err)
	g.mu.Lock()
	g.reached++
	g.mu.Unlock()
	g.step("agent %s", m.Name)
}

// log reads an agent's log for a while.
func (g *gatherer) log(ctx context.Context, dir string, ref api.AgentRef) {
	ctx, cancel := context.WithTimeout(ctx, g.duration)
	defer cancel()
	r, err := g.c.Monitor(ctx, ref, api.MonitorRequest{Level: g.level, Follow: true})
	g.putStream(dir+"agent.log", r, err)
}

// profile collects the profiles of an agent's process.
func (g *gatherer) profile(ctx context.Context, dir string, ref api.AgentRef) {
	r, err := g.c.Profile(ctx, ref, "goroutine", 0, 2)
	g.putStream(dir+"goroutines.txt", r, err)
	r, err = g.c.Profile(ctx, ref, "heap", 0, 0)
	g.putStream(dir+"heap.pprof", r, err)
	r, err = g.c.Profile(ctx, ref, "profile", g.duration, 0)
	g.putStream(dir+"cpu.pprof", r, err)
}
