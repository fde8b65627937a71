package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/drover-io/drover/state"
)

// toolsFake is an agent's process that says its name.
type toolsFake struct{ a *agent }

func (f toolsFake) Monitor(ctx context.Context, req MonitorRequest, w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s %s %v\n", f.a.id, req.Level, req.JSON); err != nil || !req.Follow {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f toolsFake) Join(_ context.Context, addrs []string) (int, error) {
	if addrs[0] == "nobody" {
		return 0, errors.New("nobody answers")
	}
	return len(addrs), nil
}

func (f toolsFake) ForceLeave(context.Context, string, bool) error { return nil }

func (f toolsFake) Leave(_ context.Context, force bool) (*LeaveResponse, error) {
	if !force {
		return nil, NewError(CodeConflict, "move them first", "2 allocations run on %s", f.a.id)
	}
	return &LeaveResponse{NodeID: f.a.id, Name: f.a.id, Client: true, Allocations: 2}, nil
}

func (f toolsFake) Snapshots(context.Context) (*SnapshotFiles, error) {
	return &SnapshotFiles{NodeID: f.a.id, Retain: 24}, nil
}

func (f toolsFake) HostStats(context.Context) (*HostStats, error) {
	return &HostStats{NodeID: f.a.id}, nil
}

// fakeGarbage removes stopped jobs.
func fakeGarbage(snap *state.Snapshot, now int64) []state.Command {
	cmd := state.CollectGarbage{Term: snap.LeadTerm(), Time: now}
	for j := range snap.Jobs() {
		if j.Stop {
			cmd.Jobs = append(cmd.Jobs, state.JobKey{Namespace: j.Namespace, ID: j.ID})
		}
	}
	if cmd.Jobs == nil {
		return nil
	}
	return []state.Command{cmd}
}

// newVersion registers another version of a job.
func (m *matrix) newVersion(id string) {
	job := testJob(id, 7)
	job.Meta = map[string]string{"version": fmt.Sprint(m.h.index)}
	m.h.must(state.RegisterJob{Job: job})
}

func TestAnAgentIsAskedByName(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for _, c := range []struct {
			at   string
			ref  AgentRef
			want string // who answers, or the code of the error
		}{
			{"c1", AgentRef{}, "c1"},
			{"c1", AgentRef{Node: "s2"}, "s2"},
			{"s2", AgentRef{Node: "name-c1"}, "c1"},
			{"s3", AgentRef{Server: "leader"}, "s1"},
			{"s1", AgentRef{Server: "leader"}, "s1"},
			{"s1", AgentRef{Server: "c1"}, CodeNotFound},
			{"s1", AgentRef{Node: "s"}, CodeInvalid},
			{"s1", AgentRef{Node: "s1", Server: "s1"}, CodeInvalid},
			{"s1", AgentRef{Node: "nobody"}, CodeNotFound},
		} {
			got, err := h.client(c.at).HostStats(t.Context(), c.ref)
			var e *Error
			switch {
			case errors.As(err, &e):
				if e.Code != c.want {
					t.Errorf("%s asked for %+v: %v", c.at, c.ref, err)
				}
			case err != nil:
				t.Errorf("%s asked for %+v: %v", c.at, c.ref, err)
			case got.NodeID != c.want:
				t.Errorf("%s asked for %+v: answered by %s, want %s", c.at, c.ref, got.NodeID, c.want)
			}
		}
	})
}

func TestMonitorFollowsAnotherAgent(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := h.client("c1").Monitor(ctx, AgentRef{Node: "s3"}, MonitorRequest{Level: "debug", Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(r).ReadString('\n')
		if err != nil || line != "s3 debug false\n" {
			t.Errorf("%q, %v", line, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := h.client("s1").Monitor(ctx, AgentRef{}, MonitorRequest{Level: "loud"}); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	})
}

func TestAJobIsScaledStartedAndReverted(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("s2")
		ctx := t.Context()
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		job := func() *state.Job { return h.agents["s1"].store.Snapshot().Job("default", "web") }

		res, err := c.ScaleJob(ctx, "web", "", 5, WriteOptions{})
		if err != nil || res.Version != 1 || job().TaskGroups[0].Count != 5 {
			t.Errorf("scale: %+v, %v, count %d", res, err, job().TaskGroups[0].Count)
		}
		again := WriteOptions{RequestID: "once"}
		for range 2 {
			if res, err = c.ScaleJob(ctx, "web", "web", 6, again); err != nil || res.Version != 2 {
				t.Errorf("scale with the same request ID: %+v, %v", res, err)
			}
		}
		if _, err := c.ScaleJob(ctx, "web", "wbe", 6, WriteOptions{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), `did you mean`) {
			t.Error("an unknown group:", err)
		}
		if _, err := c.ScaleJob(ctx, "web", "web", -1, WriteOptions{}); !errors.Is(err, ErrInvalid) {
			t.Error("a negative count:", err)
		}

		prior := uint64(1)
		if _, err := c.RevertJob(ctx, "web", 0, &prior, WriteOptions{}); !errors.Is(err, ErrConflict) {
			t.Error("revert from another version:", err)
		}
		if res, err = c.RevertJob(ctx, "web", 0, nil, WriteOptions{}); err != nil || res.Version != 3 || job().TaskGroups[0].Count != 1 {
			t.Errorf("revert: %+v, %v", res, err)
		}
		if _, err := c.RevertJob(ctx, "web", 3, nil, WriteOptions{}); !errors.Is(err, ErrConflict) {
			t.Error("revert to the newest:", err)
		}
		if _, err := c.RevertJob(ctx, "web", 99, nil, WriteOptions{}); !errors.Is(err, ErrNotFound) {
			t.Error("revert to one that is not kept:", err)
		}

		h.must(state.StopJob{Namespace: "default", JobID: "web"})
		if _, err := c.ScaleJob(ctx, "web", "", 2, WriteOptions{}); !errors.Is(err, ErrConflict) {
			t.Error("scale a stopped job:", err)
		}
		if res, err = c.StartJob(ctx, "web", WriteOptions{}); err != nil || res.Changed || job().Stop {
			t.Errorf("start: %+v, %v", res, err)
		}

		if res, err = c.RegisterJob(ctx, &JobRegisterRequest{Job: testJob("web", 9), PreserveCounts: true}, WriteOptions{}); err != nil || res.Changed {
			t.Errorf("register with the counts kept: %+v, %v", res, err)
		}
		if res, err = c.RegisterJob(ctx, &JobRegisterRequest{Job: testJob("new", 9), PreserveCounts: true}, WriteOptions{}); err != nil || !res.Changed {
			t.Errorf("register a new job with the counts kept: %+v, %v", res, err)
		}
	})
}

func TestGarbageGoesAtOnce(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		h.must(state.RegisterJob{Job: testJob("stays", 1)})
		h.must(state.StopJob{Namespace: "default", JobID: "web"})
		got, err := h.client("c1").CollectGarbage(t.Context())
		if err != nil || got.Jobs != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err = h.client("c1").CollectGarbage(t.Context()); err != nil || got.Jobs != 0 {
			t.Errorf("again: %+v, %v", got, err)
		}
	})
}

func TestOnlyTheDeadAreForgotten(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("s1")
		if _, err := c.ForceLeave(t.Context(), "s2", false, WriteOptions{}); !errors.Is(err, ErrConflict) {
			t.Error("a live one:", err)
		}
		if _, err := c.ForceLeave(t.Context(), "nobody", false, WriteOptions{}); !errors.Is(err, ErrNotFound) {
			t.Error("nobody:", err)
		}
		if _, err := c.ForceLeave(t.Context(), "nobody", true, WriteOptions{}); err != nil {
			t.Error("one that is forgotten already:", err)
		}
		if _, err := c.JoinAgents(t.Context(), []string{"nobody"}); !errors.Is(err, ErrUnavailable) {
			t.Error("join nobody:", err)
		}
	})
}
