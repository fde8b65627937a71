package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

func TestSchedulerConfiguration(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		ctx, c := t.Context(), h.client("s2")
		got, _, err := c.SchedulerConfig(ctx, QueryOptions{})
		if err != nil || got.SchedulerConfig.SchedulerAlgorithm != "binpack" || got.SchedulerConfig.ModifyIndex != 0 {
			t.Fatalf("a cluster where nobody has set it says %+v, %v", got, err)
		}
		wantCode(t, errOf(c.SetSchedulerConfig(ctx, SchedulerConfigRequest{SchedulerAlgorithm: "spread"}, nil, WriteOptions{})), CodeConflict)
		h.must(state.RaiseLevel{Term: testTerm, Level: state.MaxLevel})
		wantCode(t, errOf(c.SetSchedulerConfig(ctx, SchedulerConfigRequest{SchedulerAlgorithm: "best"}, nil, WriteOptions{})), CodeInvalid)
		if _, err := c.SetSchedulerConfig(ctx, SchedulerConfigRequest{SchedulerAlgorithm: "spread", MemoryOversubscriptionEnabled: true}, nil, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		got, meta, err := h.client("c1").SchedulerConfig(ctx, QueryOptions{})
		if err != nil || got.SchedulerConfig.SchedulerAlgorithm != "spread" || !got.SchedulerConfig.MemoryOversubscriptionEnabled {
			t.Fatalf("got %+v, %v", got, err)
		}
		old := got.SchedulerConfig.ModifyIndex - 1
		wantCode(t, errOf(c.SetSchedulerConfig(ctx, SchedulerConfigRequest{SchedulerAlgorithm: "binpack"}, &old, WriteOptions{})), CodeConflict)
		if res, data := h.raw("s1:4646", http.MethodPut, "/v1/operator/scheduler/configuration?cas=soon", nil, []byte(`{"SchedulerAlgorithm":"spread"}`)); res.StatusCode != http.StatusBadRequest {
			t.Errorf("cas=soon: %s %s", res.Status, data)
		}
		done := make(chan *SchedulerConfigResponse, 1)
		go func() {
			got, _, _ := c.SchedulerConfig(ctx, QueryOptions{Index: meta.Index, Wait: time.Minute})
			done <- got
		}()
		time.Sleep(time.Second)
		h.must(state.AllowEvictions{Time: 5}) // wakes the key, is no news
		now := got.SchedulerConfig.ModifyIndex
		if _, err := c.SetSchedulerConfig(ctx, SchedulerConfigRequest{SchedulerAlgorithm: "binpack"}, &now, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if woken := <-done; woken == nil || woken.SchedulerConfig.SchedulerAlgorithm != "binpack" {
			t.Errorf("the blocking read answers %+v", woken)
		}
	})
}

func errOf[T any](_ T, err error) error { return err }

func TestNodePoolRoutes(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		ctx, c := t.Context(), h.client("c1")
		h.must(state.RaiseLevel{Term: testTerm, Level: state.MaxLevel})
		for id, pool := range map[string]string{"n1": "default", "n2": "gpu", "n3": "gpu"} {
			n := testNode(id)
			n.NodePool = pool
			h.must(state.RegisterNode{Node: n})
		}
		other := testJob("train", 1)
		other.NodePool, other.Namespace = "gpu", "research"
		h.must(state.RegisterJob{Job: other})
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		if _, err := c.PutNodePool(ctx, &state.NodePool{Name: "allocations", Description: "a name that is a path of nodes too"}, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		pools, _, err := c.NodePools(ctx, QueryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range pools {
			got = append(got, strings.Join([]string{p.Name, strings.Repeat("n", p.Nodes), strings.Repeat("j", p.Jobs), map[bool]string{true: "built-in"}[p.BuiltIn]}, "|"))
		}
		if diff := cmp.Diff([]string{"all|nnn||built-in", "allocations|||", "default|n|j|built-in", "gpu|nn|j|"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if p, _, err := c.NodePool(ctx, "allocations", QueryOptions{}); err != nil || p.Description == "" {
			t.Errorf("the pool named allocations: %+v, %v", p, err)
		}
		nodes, _, err := c.NodePoolNodes(ctx, "gpu", QueryOptions{})
		if err != nil || len(nodes) != 2 || nodes[0].ID != "n2" {
			t.Errorf("nodes of gpu: %+v, %v", nodes, err)
		}
		if nodes, _, err := c.NodePoolNodes(ctx, "all", QueryOptions{}); err != nil || len(nodes) != 3 {
			t.Errorf("nodes of all: %d, %v", len(nodes), err)
		}
		jobs, _, err := c.NodePoolJobs(ctx, "gpu", QueryOptions{})
		if err != nil || len(jobs) != 1 || jobs[0].ID != "train" {
			t.Errorf("jobs of gpu: %+v, %v", jobs, err)
		}
		if jobs, _, err := c.NodePoolJobs(ctx, "gpu", QueryOptions{Namespace: "default"}); err != nil || len(jobs) != 0 {
			t.Errorf("jobs of gpu in another namespace: %+v, %v", jobs, err)
		}
		wantCode(t, errOf(c.DeleteNodePool(ctx, "gpu", WriteOptions{})), CodeConflict)
		wantCode(t, errOf(c.DeleteNodePool(ctx, "default", WriteOptions{})), CodeConflict)
		wantCode(t, errOf(c.PutNodePool(ctx, &state.NodePool{Name: "all"}, WriteOptions{})), CodeConflict)
		wantCode(t, errOf(c.PutNodePool(ctx, &state.NodePool{Name: "a/b"}, WriteOptions{})), CodeInvalid)
		if _, err := c.DeleteNodePool(ctx, "allocations", WriteOptions{}); err != nil {
			t.Error(err)
		}
		if _, _, err := c.NodePool(ctx, "allocations", QueryOptions{}); err == nil {
			t.Error("it is still there")
		}
		if _, _, err := h.client("s1").NodeAllocations(ctx, "n1", QueryOptions{}); err != nil {
			t.Errorf("the allocations of a node: %v", err)
		}
	})
}
