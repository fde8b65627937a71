package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func poolNames(s *Snapshot) string {
	var out []string
	for p := range s.NodePools() {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

func TestNodePools(t *testing.T) {
	h := newHerd(t)
	h.refuse(UpsertNodePool{Pool: &NodePool{Name: "gpu"}}, ErrLevel)
	h.raise()
	if got, want := poolNames(h.snap()), "all default"; got != want {
		t.Errorf("a new cluster has %q, want %q", got, want)
	}
	for _, name := range []string{NodePoolAll, NodePoolDefault} {
		h.refuse(UpsertNodePool{Pool: &NodePool{Name: name, Description: "mine"}}, ErrConflict)
		h.refuse(DeleteNodePool{Name: name}, ErrConflict)
	}
	h.refuse(UpsertNodePool{}, ErrInvalid)
	h.refuse(UpsertNodePool{Pool: &NodePool{Name: "a b"}}, ErrInvalid)
	h.refuse(DeleteNodePool{Name: "gpu"}, ErrNotFound)
	h.must(UpsertNodePool{Pool: &NodePool{Name: "gpu", Description: "with GPUs", ModifyIndex: 99}})
	p := h.snap().NodePool("gpu")
	if p == nil || p.Description != "with GPUs" || p.CreateIndex != h.index || p.ModifyIndex != h.index {
		t.Fatalf("row %+v at %d", p, h.index)
	}
	h.must(UpsertNodePool{Pool: &NodePool{Name: "gpu", Description: "with GPUs"}})
	if h.snap().NodePool("gpu") != p {
		t.Error("writing the same again changed the row")
	}
	h.must(UpsertNodePool{Pool: &NodePool{Name: "gpu", Description: "with more GPUs"}})
	if q := h.snap().NodePool("gpu"); q.CreateIndex != p.CreateIndex || q.ModifyIndex != h.index {
		t.Errorf("row %+v", q)
	}
	h.must(DeleteNodePool{Name: "gpu"})
	if got := poolNames(h.snap()); got != "all default" {
		t.Errorf("pools %q", got)
	}
}

func TestUsedNodePoolStays(t *testing.T) {
	h := newHerd(t).raise()
	n := testNode("n1")
	n.NodePool = "edge"
	h.must(RegisterNode{Node: n})
	if h.snap().NodePool("edge") == nil {
		t.Fatal("a node of an unknown pool creates it")
	}
	h.refuse(DeleteNodePool{Name: "edge"}, ErrConflict)
	j := testJob("a", 1)
	j.NodePool = "edge"
	h.job(j)
	moved := testNode("n1")
	moved.Boot = 2
	h.must(RegisterNode{Node: moved})
	err := h.try(DeleteNodePool{Name: "edge"}).(error)
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), `job "a"`) {
		t.Errorf("deleting the pool of a job: %v", err)
	}
	h.must(StopJob{Namespace: "default", JobID: "a"})
	h.must(DeleteNodePool{Name: "edge"})
	again := testJob("a", 1)
	again.NodePool = "edge"
	h.refuse(RegisterJob{Job: again}, ErrInvalid) // it cannot start again in a pool that is gone
	again.NodePool = NodePoolAll
	h.must(RegisterJob{Job: again})
}

// TestRaisedClusterAdoptsPools: jobs that a level-1 cluster took, in pools that are only names, go on.
func TestRaisedClusterAdoptsPools(t *testing.T) {
	h := newHerd(t)
	n, j := testNode("n1"), testJob("a", 1)
	n.NodePool, j.NodePool = "edge", "someday"
	h.must(RegisterNode{Node: n})
	h.must(RegisterJob{Job: j})
	if got := poolNames(h.snap()); got != "all default" {
		t.Errorf("a level-1 cluster has the pools %q", got)
	}
	h.raise()
	if got, want := poolNames(h.snap()), "all default edge someday"; got != want {
		t.Errorf("raised: %q, want %q", got, want)
	}
	j2 := testJob("b", 1)
	j2.NodePool = "nowhere"
	h.refuse(RegisterJob{Job: j2}, ErrInvalid)
}

func TestSchedulerConfig(t *testing.T) {
	h := newHerd(t)
	spread := SchedulerConfig{SchedulerAlgorithm: AlgorithmSpread}
	h.refuse(SetSchedulerConfig{Config: spread}, ErrLevel)
	h.raise()
	if h.snap().SchedulerConfig() != nil || h.snap().SchedulerAlgorithm("default", "binpack") != AlgorithmBinPack {
		t.Error("a new cluster places by its servers' settings")
	}
	h.refuse(SetSchedulerConfig{}, ErrInvalid)
	h.refuse(SetSchedulerConfig{Config: SchedulerConfig{SchedulerAlgorithm: "best"}}, ErrInvalid)
	h.refuse(SetSchedulerConfig{Config: spread, EnforceIndex: true, ModifyIndex: 1}, ErrIndexMismatch)
	h.must(SetSchedulerConfig{Config: spread, EnforceIndex: true})
	c := h.snap().SchedulerConfig()
	if c.CreateIndex != h.index || c.ModifyIndex != h.index || h.snap().SchedulerAlgorithm("default", "binpack") != AlgorithmSpread {
		t.Errorf("row %+v", c)
	}
	h.must(SetSchedulerConfig{Config: spread})
	if h.snap().SchedulerConfig() != c {
		t.Error("setting the same again changed the row")
	}
	h.must(UpsertNodePool{Pool: &NodePool{Name: "big", SchedulerConfiguration: &NodePoolSchedulerConfig{SchedulerAlgorithm: AlgorithmBinPack}}})
	if got := h.snap().SchedulerAlgorithm("big", "x"); got != AlgorithmBinPack {
		t.Errorf("pool big is placed by %s", got)
	}
	h.job(testJob("old", 1))
	spread.RejectJobRegistration = true
	h.must(SetSchedulerConfig{Config: spread, EnforceIndex: true, ModifyIndex: c.ModifyIndex})
	h.refuse(RegisterJob{Job: testJob("a", 1)}, ErrConflict)
	h.must(StopJob{Namespace: "default", JobID: "old"})
	h.refuse(RegisterJob{Job: testJob("old", 1)}, ErrConflict)
}

func TestNodePoolLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		limit int
		set   func(p *NodePool, n int)
	}{
		"name":        {128, func(p *NodePool, n int) { p.Name = strings.Repeat("x", n) }},
		"description": {1024, func(p *NodePool, n int) { p.Description = strings.Repeat("x", n) }},
		"meta":        {16 << 10, func(p *NodePool, n int) { p.Meta = map[string]string{"KEY": strings.Repeat("x", n-3)} }},
	} {
		for extra := -1; extra <= 1; extra++ {
			p := &NodePool{Name: "gpu"}
			tc.set(p, tc.limit+extra)
			if err := p.Validate(); (err != nil) != (extra > 0) {
				t.Errorf("%s at %d%+d: %v", name, tc.limit, extra, err)
			}
		}
	}
	bad := &NodePool{Name: "gpu", SchedulerConfiguration: &NodePoolSchedulerConfig{SchedulerAlgorithm: "best"}}
	if got, want := fmt.Sprint(bad.Validate()), `scheduler_config.scheduler_algorithm: must be "binpack" or "spread", is "best"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
