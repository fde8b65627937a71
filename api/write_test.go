package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

func TestRetryWithTheSameRequestIDIsDoneOnce(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		register := func(at string, count int, id string) (*JobRegisterResponse, error) {
			return h.client(at).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", count)}, WriteOptions{RequestID: id})
		}
		first, err := register("s1", 1, "r-1")
		if err != nil || first.Version != 0 || !first.Changed || first.RequestID != "r-1" {
			t.Fatalf("first: %+v, %v", first, err)
		}
		if _, err := register("s2", 2, "r-2"); err != nil {
			t.Fatal(err)
		}
		again, err := register("s3", 1, "r-1")
		if err != nil || again.Version != 0 || again.JobModifyIndex != first.JobModifyIndex {
			t.Errorf("retried: %+v, %v; want what the first one answered", again, err)
		}
		if j := h.agents["s1"].store.Snapshot().Job("default", "web"); j.Version != 1 || j.TaskGroups[0].Count != 2 {
			t.Errorf("stored version %d, count %d: the retry was done twice", j.Version, j.TaskGroups[0].Count)
		}
		_, err = h.client("s1").StopJob(t.Context(), "web", false, WriteOptions{RequestID: "r-1"})
		wantCode(t, err, CodeConflict)
	})
}

func TestWriteWhoseLeaderDiesIsFoundAgain(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				h.mu.Lock()
				h.loseAck = true
				h.mu.Unlock()
				var wg sync.WaitGroup
				wg.Go(func() {
					res, err := h.client(at).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{})
					if err != nil || res.Version != 0 || !res.Changed {
						t.Errorf("got %+v, %v; want the first result from the next leader", res, err)
					}
				})
				h.pass(2 * time.Second)
				h.lead("s3")
				wg.Wait()
				if n := len(h.agents["s3"].store.Snapshot().JobVersions("default", "web")); n != 1 {
					t.Errorf("%d versions stored, want 1", n)
				}
			})
		})
	}
}

func TestUnknownOutcomeIsSaidToBeUnknown(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				h.mu.Lock()
				h.loseAck = true
				h.mu.Unlock()
				start := time.Now()
				_, err := h.client(at).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{RequestID: "r-1"})
				e := wantCode(t, err, CodeUnknownOutcome)
				if e.RequestID != "r-1" || !strings.Contains(e.Next, "r-1") || !strings.Contains(e.Message, "no leader: 3 of 3 servers reachable") {
					t.Errorf("got %+v, want the request ID and the reason", e)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("said so after %s, want at most 5s", took)
				}
				h.lead("s2")
				res, err := h.client(at).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{RequestID: "r-1"})
				if err != nil || res.Version != 0 {
					t.Errorf("retried: %+v, %v", res, err)
				}
			})
		})
	}
}

func TestLeaderThatHangs(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				a := h.agents["s1"]
				a.mu.Lock()
				a.hold = make(chan struct{})
				a.mu.Unlock()
				start := time.Now()
				_, err := h.client(at).DeclareNodeLost(t.Context(), "n1", WriteOptions{})
				wantCode(t, err, CodeUnknownOutcome)
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("answered after %s, want 5s", took)
				}
			})
		})
	}
}

func TestWriteLeavesALeaderThatIsGoneWithoutAWord(t *testing.T) {
	// A server hears of the new leader; an agent without that role has to ask another server in time.
	for at, limit := range map[string]time.Duration{"s2": 2 * time.Second, "c1": 4 * time.Second} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				a := h.agents["s1"]
				a.mu.Lock()
				a.hold = make(chan struct{})
				a.mu.Unlock()
				var wg sync.WaitGroup
				start := time.Now()
				wg.Go(func() {
					_, err := h.client(at).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{})
					if took := time.Since(start); err != nil || took > limit {
						t.Errorf("answered after %s: %v; want within %s", took, err, limit)
					}
				})
				h.pass(time.Second)
				h.net.setSilent("s1:4647", true)
				h.lead("s3")
				wg.Wait()
			})
		})
	}
}

func TestLeaderThatCannotBeReached(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.net.setSilent("s1:4647", true) // s2 hears of it and cannot reach it
		_, err := h.client("s2").AllowEvictions(t.Context(), WriteOptions{})
		if e := wantCode(t, err, CodeNoLeader); !strings.Contains(e.Message, "node s1 at s1:4647 does not answer") {
			t.Errorf("got %q, want the leader named", e.Message)
		}
	})
}

func TestNoLeader(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.lead("")
		h.agents["s2"].stop()
		h.agents["s3"].stop()
		for _, at := range []string{"s1", "c1"} {
			start := time.Now()
			_, err := h.client(at).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{})
			if e := wantCode(t, err, CodeNoLeader); e.Message != "no leader: 1 of 3 servers reachable, 2 needed" {
				t.Errorf("at %s: %q", at, e.Message)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("at %s: failed after %s, want at most 5s", at, took)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := h.client("s1").AllowEvictions(t.Context(), WriteOptions{}); err != nil {
				t.Errorf("a leader came while the write waited: %v", err)
			}
		})
		h.pass(3 * time.Second)
		h.lead("s1")
		wg.Wait()
	})
}

func TestLeaderElectedAndNotReady(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.mu.Lock()
		h.ready = false
		h.mu.Unlock()
		var wg sync.WaitGroup
		for _, at := range []string{"s1", "s2", "c1"} {
			wg.Go(func() {
				if _, _, err := h.client(at).Jobs(t.Context(), QueryOptions{}); err != nil {
					t.Errorf("at %s: %v", at, err)
				}
			})
		}
		h.pass(2 * time.Second)
		h.lead("s1")
		wg.Wait()
	})
}

func TestOneHopAtMost(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		header := http.Header{headerForwarded: {"s3"}}
		res, data := h.raw("s2:4647", "GET", "/v1/jobs", header, nil)
		expectError(t, res, data, CodeNotLeader)
		if got := res.Header.Get(headerTry); got != "s1:4647" {
			t.Errorf("try %q, want the leader", got)
		}
		res, data = h.raw("s2:4647", "GET", "/v1/client/fs/logs/"+a.ID, header, nil)
		expectError(t, res, data, CodeNotOwner)
		if got := res.Header.Get(headerTry); got != "c1:4647" {
			t.Errorf("try %q, want the owner", got)
		}
		// On the user's port nobody is believed to have forwarded anything.
		if res, data = h.raw("s2:4646", "GET", "/v1/jobs", header, nil); res.StatusCode != http.StatusOK {
			t.Errorf("a user with the header: %s %s", res.Status, data)
		}
	})
}

func TestPreconditions(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("s2")
		register := func(req JobRegisterRequest) (*JobRegisterResponse, error) {
			return c.RegisterJob(t.Context(), &req, WriteOptions{})
		}
		_, err := register(JobRegisterRequest{Job: testJob("web", 1), EnforceIndex: true, JobModifyIndex: 7})
		wantCode(t, err, CodeConflict)
		first, err := register(JobRegisterRequest{Job: testJob("web", 1), EnforceIndex: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = register(JobRegisterRequest{Job: testJob("web", 2), EnforceIndex: true})
		wantCode(t, err, CodeConflict)
		plan, err := c.PlanJob(t.Context(), testJob("web", 2), QueryOptions{})
		if err != nil || plan.JobModifyIndex != first.JobModifyIndex || plan.Groups[0].Place != 2 {
			t.Fatalf("plan: %+v, %v", plan, err)
		}
		second, err := register(JobRegisterRequest{Job: testJob("web", 2), EnforceIndex: true, JobModifyIndex: plan.JobModifyIndex})
		if err != nil || second.Version != 1 {
			t.Errorf("with the plan's index: %+v, %v", second, err)
		}
		same, err := register(JobRegisterRequest{Job: testJob("web", 2)})
		if err != nil || same.Changed {
			t.Errorf("the same again: %+v, %v", same, err)
		}
		versions, _, err := c.JobVersions(t.Context(), "web", QueryOptions{})
		if err != nil || len(versions.Versions) != 2 || len(versions.Diffs) != 1 || len(versions.Diffs[0]) == 0 {
			t.Errorf("versions: %+v, %v", versions, err)
		}
	})
}

func TestBadJobs(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		before := h.agents["s1"].store.Snapshot().Index()
		for name, change := range map[string]func(*state.Job){
			"no groups":      func(j *state.Job) { j.TaskGroups = nil },
			"negative count": func(j *state.Job) { j.TaskGroups[0].Count = -1 },
			"huge count":     func(j *state.Job) { j.TaskGroups[0].Count = 1 << 40 },
			"bad name":       func(j *state.Job) { j.ID = "a/../b" },
			"no memory":      func(j *state.Job) { j.TaskGroups[0].Tasks[0].Resources.MemoryMB = 0 },
		} {
			j := testJob("web", 1)
			change(j)
			_, err := h.client("s1").RegisterJob(t.Context(), &JobRegisterRequest{Job: j}, WriteOptions{})
			if e := wantCode(t, err, CodeInvalid); e.Message == "" {
				t.Errorf("%s: no sentence", name)
			}
		}
		for _, body := range []string{`{}`, `{"Job": null}`, `{"Job": 7}`, `{"Job": {"TaskGroups": "x"}}`} {
			res, data := h.raw("s1:4646", "PUT", "/v1/jobs", nil, []byte(body))
			expectError(t, res, data, CodeInvalid)
		}
		res, data := h.raw("s1:4646", "PUT", "/v1/jobs?namespace=other", nil, mustJSON(t, JobRegisterRequest{Job: testJob("web", 1)}))
		expectError(t, res, data, CodeInvalid)
		res, data = h.raw("s1:4646", "PUT", "/v1/job/api/plan", nil, mustJSON(t, JobPlanRequest{Job: testJob("web", 1)}))
		expectError(t, res, data, CodeInvalid)
		_, _, err := h.client("s1").Job(t.Context(), "..", QueryOptions{})
		wantCode(t, err, CodeInvalid)
		if after := h.agents["s1"].store.Snapshot().Index(); after != before {
			t.Errorf("bad jobs made %d log entries", after-before)
		}
		j := testJob("web", 1)
		j.Name = "warn"
		got, err := h.client("s1").RegisterJob(t.Context(), &JobRegisterRequest{Job: j}, WriteOptions{})
		if err != nil || len(got.Warnings) != 1 {
			t.Errorf("warnings: %+v, %v", got, err)
		}
	})
}

func TestRequestIDs(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for _, id := range []string{strings.Repeat("x", maxRequestID+1), "with space", "ünicode"} {
			res, data := h.raw("s1:4646", "PUT", "/v1/operator/evictions", http.Header{headerRequestID: {id}}, nil)
			expectError(t, res, data, CodeInvalid)
		}
		res, data := h.raw("s2:4646", "PUT", "/v1/operator/evictions", http.Header{headerRequestID: {strings.Repeat("x", maxRequestID)}}, nil)
		if res.StatusCode != http.StatusOK {
			t.Errorf("the longest request ID: %s %s", res.Status, data)
		}
	})
}

func TestStopRestartEligibility(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		c := h.client("s2")
		if _, err := c.RestartAllocation(t.Context(), a.ID, "server", WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := h.agents["c1"].restarts; len(got) != 1 || got[0] != a.ID+"/server" {
			t.Errorf("restarts at the owner: %v", got)
		}
		if _, err := c.StopAllocation(t.Context(), a.ID, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.SetEligibility(t.Context(), "c1", state.NodeIneligible, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := c.SetEligibility(t.Context(), "c1", "perhaps", WriteOptions{})
		wantCode(t, err, CodeInvalid)
		if _, err := c.DeclareNodeLost(t.Context(), "c1", WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.StopJob(t.Context(), "web", true, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		snap := h.agents["s1"].store.Snapshot()
		n := snap.Node("c1")
		if !snap.Alloc(a.ID).Migrate || n.Eligibility != state.NodeIneligible || n.Status != state.NodeStatusDown || !snap.Job("default", "web").Stop {
			t.Errorf("not all is stored: %+v %+v", snap.Alloc(a.ID), n)
		}
	})
}

func TestOwnerThatDoesNotAnswer(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "n1") // nobody listens at n1
		for _, at := range []string{"s1", "s2", "c1"} {
			start := time.Now()
			_, err := h.client(at).RestartAllocation(t.Context(), a.ID, "", WriteOptions{})
			if e := wantCode(t, err, CodeUnreachable); !strings.Contains(e.Message, "n1") {
				t.Errorf("at %s: %q, want the node named", at, e.Message)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("at %s: a refused connection took %s", at, took)
			}
		}
		h.net.setSilent("n1:4647", true)
		start := time.Now()
		_, err := h.client("s1").RestartAllocation(t.Context(), a.ID, "", WriteOptions{})
		wantCode(t, err, CodeUnreachable)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("a silent machine took %s", took)
		}
	})
}

func TestClientAgentTriesAnotherServer(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "s3")
		h.lead("s2")
		h.net.setSilent("s1:4647", true) // gossip has not noticed
		c := h.client("c1")
		if _, err := c.RestartAllocation(t.Context(), a.ID, "", WriteOptions{}); err != nil {
			t.Errorf("restart: %v", err)
		}
		if _, err := c.StopAllocation(t.Context(), a.ID, WriteOptions{}); err != nil {
			t.Errorf("stop: %v", err)
		}
		if _, _, err := c.Jobs(t.Context(), QueryOptions{Stale: true}); err != nil {
			t.Errorf("a stale read: %v", err)
		}
	})
}

func TestTransferLeadership(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("c1")
		if _, err := c.TransferLeadership(t.Context(), "s3", WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if addr, err := c.StatusLeader(t.Context()); err != nil || addr != "s3:4647" {
			t.Errorf("leader %q, %v", addr, err)
		}
		_, err := c.RemoveRaftPeer(t.Context(), "s9", WriteOptions{})
		wantCode(t, err, CodeNotFound)
		res, data := h.raw("s1:4646", "DELETE", "/v1/operator/raft/peer", nil, nil)
		expectError(t, res, data, CodeInvalid)
		cfg, _, err := c.RaftConfiguration(t.Context(), QueryOptions{})
		if err != nil || len(cfg.Servers) != 3 || !cfg.Servers[2].Leader {
			t.Errorf("configuration %+v, %v", cfg, err)
		}
	})
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.lead("")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.client("s1").AllowEvictions(ctx, WriteOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("got %v, want the context's error and an unknown outcome", err)
		}
	})
}

func TestTransferToANamedServerIsTriedAgain(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for _, id := range []string{"s3", ""} {
			h.lead("s1")
			c := h.client("c1")
			if _, err := c.StatusLeader(t.Context()); err != nil { // the agents now keep connections to each other
				t.Fatal(err)
			}
			lost := h.loseNextTransfer("s1")
			_, err := c.TransferLeadership(t.Context(), id, WriteOptions{})
			if !lost() {
				t.Fatal("the first try was not lost")
			}
			if id == "" {
				wantCode(t, err, CodeUnknownOutcome)
			} else if err != nil {
				t.Errorf("to %s: %v, want a second try", id, err)
			}
		}
	})
}

func TestNoLeaderBeforeTheClusterBegan(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.mu.Lock()
		h.leader, h.cluster = "", ""
		h.mu.Unlock()
		_, err := h.client("c1").RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{})
		if e := wantCode(t, err, CodeNoLeader); !strings.Contains(e.Message, "the cluster has not begun; 3 of its servers are up") {
			t.Errorf("got %q, want that it has not begun", e.Message)
		}
	})
}
