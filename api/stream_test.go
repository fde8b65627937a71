package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drover-io/drover/state"
)

func (a *agent) setLogs(f func(ctx context.Context, req LogsRequest, w io.Writer) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logs = f
}

func TestFollowedLogsComeLineByLine(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				a := h.place("web", "c1")
				ended := make(chan struct{})
				h.agents["c1"].setLogs(func(ctx context.Context, req LogsRequest, w io.Writer) error {
					defer close(ended)
					if req.Task != "server" || req.Type != LogStderr || !req.Follow || req.Tail != 3 {
						t.Errorf("asked for %+v", req)
					}
					for i := 0; ; i++ {
						if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
							return err
						}
						if !pause(ctx, time.Minute) {
							return ctx.Err()
						}
					}
				})
				r, err := h.client(at).Logs(t.Context(), LogsRequest{AllocID: a.ID, Task: "server", Type: LogStderr, Follow: true, Tail: 3})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				lines := bufio.NewScanner(r)
				for i := range 5 {
					if !lines.Scan() || lines.Text() != fmt.Sprintf("line %d", i) {
						t.Fatalf("line %d: %q, %v", i, lines.Text(), lines.Err())
					}
				}
				if took := time.Since(start); took != 4*time.Minute {
					t.Errorf("five lines took %s, want 4m", took)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				<-ended // the owner's stream ends with its reader
			})
		})
	}
}

func TestLogsThatBreakOff(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "c1")
		h.agents["c1"].setLogs(func(_ context.Context, _ LogsRequest, w io.Writer) error {
			if _, err := io.WriteString(w, "some "); err != nil {
				return err
			}
			return errors.New("the disk is gone")
		})
		for _, at := range []string{"c1", "s2"} {
			r, err := h.client(at).Logs(t.Context(), LogsRequest{AllocID: a.ID})
			if err != nil {
				t.Fatal(err)
			}
			if data, err := io.ReadAll(r); err == nil {
				t.Errorf("at %s: %q and no error: a cut stream looks whole", at, data)
			}
			_ = r.Close()
		}
		h.agents["c1"].setLogs(func(context.Context, LogsRequest, io.Writer) error {
			return NewError(CodeNotFound, "", "there is no task x")
		})
		_, err := h.client("s1").Logs(t.Context(), LogsRequest{AllocID: a.ID, Task: "x"})
		wantCode(t, err, CodeNotFound)
		h.agents["c1"].setLogs(func(context.Context, LogsRequest, io.Writer) error { return nil })
		r, err := h.client("s1").Logs(t.Context(), LogsRequest{AllocID: a.ID})
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); err != nil || len(data) != 0 {
			t.Errorf("no output: %q, %v", data, err)
		}
		_ = r.Close()
		for _, q := range []string{"plain=false", "type=stdin", "offset=-1", "tail=x", "origin=middle", "follow=maybe"} {
			res, data := h.raw("c1:4646", "GET", "/v1/client/fs/logs/"+a.ID+"?"+q, nil, nil)
			expectError(t, res, data, CodeInvalid)
		}
	})
}

func TestSnapshotSaveAndRestore(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.place("web", "n1")
		c := h.client("c1")
		r, meta, err := c.SaveSnapshot(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		store := state.NewStore()
		if err := store.Restore(bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		want := h.agents["s1"].store.Snapshot()
		// What the log did is not in a backup: term, generation, cluster time.
		differ := slices.DeleteFunc(store.Snapshot().Hash().Diff(want.Hash()), func(table state.Table) bool { return table == state.TableMeta })
		if meta.Index != want.Index() || len(differ) > 0 || store.Snapshot().ClusterID() != want.ClusterID() {
			t.Errorf("header says index %d, want %d; tables that differ: %v", meta.Index, want.Index(), differ)
		}
		if _, err := c.RestoreSnapshot(t.Context(), bytes.NewReader(saved), int64(len(saved))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(h.agents["s1"].restored, saved) {
			t.Error("the leader got other bytes than were sent")
		}
		broken := bytes.Clone(saved)
		broken[len(broken)/2] ^= 1
		_, err = c.RestoreSnapshot(t.Context(), bytes.NewReader(broken), int64(len(broken)))
		wantCode(t, err, CodeInvalid)
		res, data := h.raw("s1:4646", "PUT", "/v1/operator/snapshot", nil, []byte{})
		expectError(t, res, data, CodeInvalid)
	})
}

func TestRestoreFindsTheLeaderBeforeItSends(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.lead("s3")
		var b bytes.Buffer
		if err := h.agents["s1"].store.Snapshot().Save(&b); err != nil {
			t.Fatal(err)
		}
		// c1 does not know the leader; the first server that it asks sends it on.
		if _, err := h.client("c1").RestoreSnapshot(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(h.agents["s3"].restored, b.Bytes()) {
			t.Error("the leader got other bytes than were sent")
		}
		h.agents["s3"].stop()
		start := time.Now()
		_, err := h.client("c1").RestoreSnapshot(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()))
		wantCode(t, err, CodeNoLeader)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("gave up after %s, want at most 5s", took)
		}
	})
}

func TestRestoreTakesItsLimitOnly(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		max := DefaultLimits().MaxSnapshot
		req := fmt.Sprintf("PUT /v1/operator/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", max+1)
		if got := h.talk("s1:4646", req); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
			t.Errorf("too large a snapshot: %.60q", got)
		}
		req = "PUT /v1/operator/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
		if got := h.talk("s1:4646", req); !strings.HasPrefix(got, "HTTP/1.1 411 ") {
			t.Errorf("a snapshot of no known length: %.60q", got)
		}
	})
}

func TestServerStopsWithStreamsAndReadsOpen(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "s2")
		h.agents["s2"].setLogs(func(ctx context.Context, _ LogsRequest, w io.Writer) error {
			if _, err := io.WriteString(w, "x"); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		r, err := h.client("s2").Logs(t.Context(), LogsRequest{AllocID: a.ID, Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		_, meta, err := h.client("s2").Jobs(t.Context(), QueryOptions{Stale: true})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := h.client("s2").Jobs(t.Context(), QueryOptions{Stale: true, Index: meta.Index, Wait: time.Hour})
			wantCode(t, err, CodeUnavailable)
		})
		wg.Go(func() { _, _ = io.Copy(io.Discard, r) }) // a pipe holds nothing: somebody must read the end
		synctest.Wait()
		start := time.Now()
		h.agents["s2"].stop()
		if took := time.Since(start); took > time.Second {
			t.Errorf("stopping took %s with a stream and a blocking read open", took)
		}
		wg.Wait()
		_ = r.Close()
	})
}

func TestMetrics(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("s2")
		if _, _, err := c.Jobs(t.Context(), QueryOptions{}); err != nil {
			t.Fatal(err)
		}
		view, err := c.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]float64{}
		for _, v := range view.Counters {
			found[v.Name+" "+v.Labels["route"]] += v.Value
		}
		if found["drover_http_requests_total job.list"] != 1 || found["drover_http_forwarded_total job.list"] != 1 {
			t.Errorf("counters: %v", found)
		}
		res, data := h.raw("s2:4646", "GET", "/v1/metrics?format=prometheus", nil, nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(string(data), `drover_http_requests_total{code="200",route="job.list"} 1`) {
			t.Errorf("prometheus: %s: %.300s", res.Status, data)
		}
	})
}
