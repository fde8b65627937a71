package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/state"
)

func TestBlockingReadWakesOnItsOwnKeyOnly(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				h.place("web", "n1")
				h.must(state.RegisterJob{Job: testJob("other", 1)})
				c := h.client(at)
				_, meta, err := c.Job(t.Context(), "web", QueryOptions{})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var wg sync.WaitGroup
				var got *JobView
				var took time.Duration
				wg.Go(func() {
					got, meta, err = c.Job(t.Context(), "web", QueryOptions{Index: meta.Index, Wait: time.Minute})
					took = time.Since(start)
				})
				synctest.Wait()
				h.pass(10 * time.Second)
				h.must(state.RegisterJob{Job: testJob("other", 2)})
				h.must(state.RegisterNode{Node: testNode("n2")})
				h.pass(10 * time.Second)
				h.must(state.RegisterJob{Job: testJob("web", 2)})
				wg.Wait()
				if err != nil || got.Version != 1 || took.Round(time.Second) != 20*time.Second {
					t.Errorf("got version %d after %s, %v; want 1 after 20s", got.Version, took, err)
				}
			})
		})
	}
}

func TestBlockingReadSeesWhatChangedBeforeItBegan(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "n1")
		index := h.agents["s1"].store.Snapshot().Index()
		h.must(state.RegisterJob{Job: testJob("other", 1)}) // after the index, and none of their business
		reads := map[string]func(q QueryOptions) (QueryMeta, error){
			"job": func(q QueryOptions) (QueryMeta, error) {
				_, m, err := h.client("s1").Job(t.Context(), "web", q)
				return m, err
			},
			"allocs": func(q QueryOptions) (QueryMeta, error) {
				_, m, err := h.client("s1").JobAllocations(t.Context(), "web", q)
				return m, err
			},
			"node": func(q QueryOptions) (QueryMeta, error) {
				_, m, err := h.client("s1").Node(t.Context(), "n1", q)
				return m, err
			},
			"nodes": func(q QueryOptions) (QueryMeta, error) {
				_, m, err := h.client("s1").Nodes(t.Context(), q)
				return m, err
			},
			"alloc": func(q QueryOptions) (QueryMeta, error) {
				_, m, err := h.client("s1").Allocation(t.Context(), a.ID, q)
				return m, err
			},
		}
		took := func(read func(QueryOptions) (QueryMeta, error)) time.Duration {
			start := time.Now()
			if _, err := read(QueryOptions{Index: index, Wait: 30 * time.Second}); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		for name, read := range reads {
			if got := took(read); got != 30*time.Second {
				t.Errorf("%s: nothing of it changed, answered after %s, want 30s", name, got)
			}
		}
		h.must(state.SetNodeStatus{Term: testTerm, Changes: []state.NodeStatusChange{{NodeID: "n1", Boot: 1, Status: state.NodeStatusDown}}})
		for name, read := range reads {
			if got := took(read); got != 0 {
				t.Errorf("%s: its node went down before, answered after %s, want at once", name, got)
			}
		}
		view, _, err := h.client("s1").Allocation(t.Context(), a.ID, QueryOptions{})
		if err != nil || view.ClientStatus != state.ClientLost {
			t.Errorf("allocation on a node that is down: %v, %v, want lost", view.ClientStatus, err)
		}
	})
}

func TestReadBehindNeverAnswersOlder(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.lag("s2", true)
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		index := h.agents["s1"].store.Snapshot().Index()
		c := h.client("s2")
		if jobs, _, err := c.Jobs(t.Context(), QueryOptions{Stale: true}); err != nil || len(jobs) != 0 {
			t.Fatalf("stale read of a server that lags: %v, %v", jobs, err)
		}
		start := time.Now()
		_, _, err := c.Jobs(t.Context(), QueryOptions{Stale: true, Index: index, Wait: time.Minute})
		wantCode(t, err, CodeBehind)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("said behind after %s, want 5s", took)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, meta, err := c.Jobs(t.Context(), QueryOptions{Stale: true, Index: index, Wait: 10 * time.Second})
			if err != nil || meta.Index < index {
				t.Errorf("after catching up: index %d, %v; want at least %d", meta.Index, err, index)
			}
		})
		h.pass(time.Second)
		h.lag("s2", false)
		wg.Wait()
	})
}

func TestReadModes(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		h.lag("s2", true)
		h.must(state.RegisterJob{Job: testJob("two", 1)})
		check := func(at string, q QueryOptions, agent string, jobs int, contact time.Duration) {
			t.Helper()
			got, meta, err := h.client(at).Jobs(t.Context(), q)
			if err != nil || meta.Agent != agent || len(got) != jobs || meta.LastContact != contact || !meta.KnownLeader {
				t.Errorf("at %s with %+v: %d jobs, %+v, %v; want %d jobs of %s, last contact %s", at, q, len(got), meta, err, jobs, agent, contact)
			}
		}
		check("s2", QueryOptions{}, "s1", 2, 0)
		check("s2", QueryOptions{Stale: true}, "s2", 1, 42*time.Millisecond)
		check("s2", QueryOptions{Consistent: true}, "s1", 2, 0)
		check("s1", QueryOptions{Stale: true}, "s1", 2, 0)

		res, _ := h.raw("s2:4646", "GET", "/v1/jobs?stale", nil, nil)
		for _, name := range []string{"Index", "Lastcontact", "Knownleader"} {
			d, n := res.Header.Get("X-Drover-"+name), res.Header.Get("X-Nomad-"+name)
			if d == "" || d != n {
				t.Errorf("header %s: %q and %q, want the same under both prefixes", name, d, n)
			}
		}
		a := h.agents["s1"]
		a.mu.Lock()
		a.verify = context.DeadlineExceeded
		a.mu.Unlock()
		_, _, err := h.client("s1").Jobs(t.Context(), QueryOptions{Consistent: true})
		wantCode(t, err, CodeTimeout)
	})
}

func TestStaleReadsGoOnWithoutLeader(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		h.lead("")
		for _, at := range []string{"s2", "c1"} {
			jobs, meta, err := h.client(at).Jobs(t.Context(), QueryOptions{Stale: true})
			if err != nil || len(jobs) != 1 || meta.KnownLeader {
				t.Errorf("stale at %s: %d jobs, known leader %v, %v", at, len(jobs), meta.KnownLeader, err)
			}
			start := time.Now()
			_, _, err = h.client(at).Jobs(t.Context(), QueryOptions{})
			if e := wantCode(t, err, CodeNoLeader); e.Message != "no leader: 3 of 3 servers reachable, an election is under way" {
				t.Errorf("at %s: %q", at, e.Message)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("at %s: gave up after %s, want at most 5s", at, took)
			}
		}
	})
}

func TestBlockingReadFollowsTheLeader(t *testing.T) {
	for _, at := range []string{"s1", "s3", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				h.must(state.RegisterJob{Job: testJob("web", 1)})
				c := h.client(at)
				_, meta, err := c.Job(t.Context(), "web", QueryOptions{})
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				start := time.Now()
				wg.Go(func() {
					j, meta, err := c.Job(t.Context(), "web", QueryOptions{Index: meta.Index, Wait: time.Minute})
					if err != nil || j.Version != 1 || meta.Agent != "s2" {
						t.Errorf("after the leader moved: %+v by %s, %v", j, meta.Agent, err)
					}
					if took := time.Since(start); took > 3*time.Second {
						t.Errorf("answered after %s, want as soon as it changed, 2s", took)
					}
				})
				h.pass(time.Second)
				h.lead("s2")
				h.lag("s1", true) // cut off: it hears of nothing
				h.pass(time.Second)
				h.must(state.RegisterJob{Job: testJob("web", 2)})
				wg.Wait()
			})
		})
	}
}

func TestBlockingReadOfALeaderThatLostItsMajority(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		_, meta, err := h.client("s1").Jobs(t.Context(), QueryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := h.client("s1").Jobs(t.Context(), QueryOptions{Index: meta.Index, Wait: 10 * time.Second})
			wantCode(t, err, CodeNoLeader)
		})
		h.pass(time.Second)
		h.lead("")
		wg.Wait()
	})
}

func TestPages(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		var want []string
		for _, ns := range []string{"a", "a-b", "default"} {
			for i := range 7 {
				j := testJob(fmt.Sprintf("job-%d", i), 1)
				j.Namespace = ns
				h.must(state.RegisterJob{Job: j})
				want = append(want, ns+"/"+j.ID)
			}
		}
		c := h.client("s2")
		for _, size := range []int{1, 2, 7, 20, 21, 22, 5000} {
			all, _, err := All(t.Context(), c.Jobs, QueryOptions{Namespace: AllNamespaces, PerPage: size})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, j := range all {
				got = append(got, j.Namespace+"/"+j.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: %v, want %v", size, got, want)
			}
		}
		page, meta, err := c.Jobs(t.Context(), QueryOptions{PerPage: 3, Prefix: "job-"})
		if err != nil || len(page) != 3 || meta.NextToken == "" || page[0].Namespace != "default" {
			t.Errorf("first page: %d items, next %q, %v", len(page), meta.NextToken, err)
		}
		page, _, err = c.Jobs(t.Context(), QueryOptions{Prefix: "job-4"})
		if err != nil || len(page) != 1 || page[0].ID != "job-4" {
			t.Errorf("prefix job-4: %v, %v", page, err)
		}
		_, _, err = c.Jobs(t.Context(), QueryOptions{NextToken: "%zz"})
		wantCode(t, err, CodeInvalid)
	})
}

func TestPageIsBounded(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for i := range MaxPage + 1 {
			h.must(state.RegisterNode{Node: testNode("n" + strconv.Itoa(i))})
		}
		nodes, meta, err := h.client("s1").Nodes(t.Context(), QueryOptions{PerPage: 1_000_000})
		if err != nil || len(nodes) != MaxPage || meta.NextToken == "" {
			t.Errorf("%d nodes, next %q, %v; want a page of %d", len(nodes), meta.NextToken, err, MaxPage)
		}
	})
}

func TestViewsAreDerived(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "n1")
		c := h.client("s1")
		status := func() (string, GroupSummary, string) {
			t.Helper()
			jobs, _, err := c.Jobs(t.Context(), QueryOptions{})
			if err != nil || len(jobs) != 1 {
				t.Fatal(jobs, err)
			}
			allocs, _, err := c.Allocations(t.Context(), QueryOptions{})
			if err != nil || len(allocs) != 1 {
				t.Fatal(allocs, err)
			}
			return jobs[0].Status, jobs[0].JobSummary.Summary["web"], allocs[0].ClientStatus
		}
		check := func(when, job string, sum GroupSummary, alloc string) {
			t.Helper()
			if j, s, al := status(); j != job || s != sum || al != alloc {
				t.Errorf("%s: job %s, %+v, allocation %s; want %s, %+v, %s", when, j, s, al, job, sum, alloc)
			}
		}
		check("placed", state.JobStatusRunning, GroupSummary{Starting: 1}, state.ClientPending)
		h.must(state.Report{Nodes: []state.NodeReport{{NodeID: "n1", Boot: 1, Seq: 1, Allocs: []state.AllocReport{{ID: a.ID, Status: state.ClientRunning}}}}})
		check("running", state.JobStatusRunning, GroupSummary{Running: 1}, state.ClientRunning)
		nodes, _, err := c.Nodes(t.Context(), QueryOptions{Prefix: "n1"})
		if err != nil || nodes[0].Allocs != 1 || nodes[0].Allocated.MemoryMB != 256 {
			t.Errorf("node: %+v, %v", nodes, err)
		}
		set := func(status string) {
			h.must(state.SetNodeStatus{Term: testTerm, Changes: []state.NodeStatusChange{{NodeID: "n1", Boot: 1, Status: status}}})
		}
		set(state.NodeStatusDisconnected)
		check("disconnected", state.JobStatusRunning, GroupSummary{Unknown: 1}, state.ClientUnknown)
		set(state.NodeStatusDown)
		check("down", state.JobStatusPending, GroupSummary{Lost: 1}, state.ClientLost)
		j := h.agents["s1"].store.Snapshot().Job("default", "web")
		h.must(state.ApplyPlan{Term: testTerm, Blocked: []state.BlockedChange{{
			Namespace: "default", JobID: "web", JobModifyIndex: j.JobModifyIndex,
			Blocked: &state.Blocked{Since: 1, Groups: map[string]int{"web": 1}, Reason: "memory"},
		}}})
		check("blocked", state.JobStatusPending, GroupSummary{Lost: 1, Queued: 1}, state.ClientLost)
		view, _, err := c.Allocation(t.Context(), a.ID, QueryOptions{})
		if err != nil || view.ClientStatus != state.ClientLost || view.Job == nil || view.Job.ID != "web" || view.Name != "web.web[0]" {
			t.Errorf("allocation: %+v, %v", view, err)
		}
	})
}

func TestNotInThisRegion(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.clientAt("s1:4646", Config{Region: "mars"})
		_, _, err := c.Jobs(t.Context(), QueryOptions{})
		wantCode(t, err, CodeInvalid)
		j := testJob("web", 1)
		j.Region = "mars"
		_, err = h.client("s1").RegisterJob(t.Context(), &JobRegisterRequest{Job: j}, WriteOptions{})
		wantCode(t, err, CodeInvalid)
	})
}

func TestHealth(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.lead("")
		for path, want := range map[string]int{
			"/v1/agent/health": http.StatusServiceUnavailable, "/v1/agent/health?type=server": http.StatusServiceUnavailable,
			"/v1/agent/health?type=client": http.StatusOK,
		} {
			if res, data := h.raw("s1:4646", "GET", path, nil, nil); res.StatusCode != want {
				t.Errorf("%s: %s: %s", path, res.Status, data)
			}
		}
		health, err := h.client("s1").AgentHealth(t.Context())
		if err != nil || health.Server.OK || !health.Client.OK {
			t.Errorf("health by the client: %+v, %v", health, err)
		}
	})
}

func TestCancelledReadEnds(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		_, meta, err := h.client("s2").Jobs(t.Context(), QueryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err = h.client("s2").Jobs(ctx, QueryOptions{Index: meta.Index}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		synctest.Wait()
		for _, id := range []string{"s1", "s2"} {
			if n := h.agents[id].server.watchers.n.Load(); n != 0 {
				t.Errorf("%s has %d watchers left", id, n)
			}
		}
	})
}

// TestPagesOfAllocations: pages of any size hold every allocation once, of all, of a job and of a node.
func TestPagesOfAllocations(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		const n = 8
		h.must(state.RegisterNode{Node: testNode("n1")})
		h.must(state.RegisterJob{Job: testJob("a", n)})
		snap := h.agents["s1"].store.Snapshot()
		plan := state.ApplyPlan{
			Term: testTerm, Seed: [16]byte{7}, Nodes: []state.NodeRef{{ID: "n1", Generation: snap.Node("n1").Generation}},
			Records: []state.PlanRecord{{Namespace: "default", JobID: "a", JobModifyIndex: snap.Job("default", "a").JobModifyIndex, TaskGroup: "web"}},
		}
		for i := range n {
			plan.Records[0].Index, plan.Records[0].Node = append(plan.Records[0].Index, i), append(plan.Records[0].Node, 0)
		}
		if res := h.must(plan).(state.PlanResult); res.Placed != n {
			t.Fatalf("placed %+v", res)
		}
		c := h.client("s1")
		for name, list := range map[string]func(context.Context, QueryOptions) ([]AllocListItem, QueryMeta, error){
			"all": c.Allocations,
			"of the job": func(ctx context.Context, q QueryOptions) ([]AllocListItem, QueryMeta, error) {
				return c.JobAllocations(ctx, "a", q)
			},
			"of the node": func(ctx context.Context, q QueryOptions) ([]AllocListItem, QueryMeta, error) {
				return c.NodeAllocations(ctx, "n1", q)
			},
		} {
			for _, reverse := range []bool{false, true} {
				for _, size := range []int{1, 2, n, n + 1} {
					all, _, err := All(t.Context(), list, QueryOptions{PerPage: size, Reverse: reverse})
					seen := map[string]bool{}
					for _, a := range all {
						seen[a.ID] = true
					}
					if err != nil || len(all) != n || len(seen) != n {
						t.Errorf("%s in pages of %d, reverse %v: %d, %d different, %v", name, size, reverse, len(all), len(seen), err)
					}
				}
			}
		}
	})
}

// TestPagesInACircle: a server whose pages never end is not asked for ever.
func TestPagesInACircle(t *testing.T) {
	asked := 0
	_, _, err := All(t.Context(), func(context.Context, QueryOptions) ([]int, QueryMeta, error) {
		asked++
		return []int{asked}, QueryMeta{NextToken: fmt.Sprint(asked % 3)}, nil
	}, QueryOptions{})
	wantCode(t, err, CodeInternal)
	if asked > 4 {
		t.Errorf("asked %d times", asked)
	}
}
