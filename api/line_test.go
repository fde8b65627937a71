package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func matrixLine(t *testing.T, m *matrix, _ *Route, addr string) {
	ls := &m.h.agents["s2"].server.lines
	a, sent, err := ls.ask(t.Context(), addr, lineRequest{method: get, uri: "/v1/node-protocol/ping", header: http.Header{headerForwarded: {"s2"}}})
	if err != nil || !sent || a.status != http.StatusOK {
		t.Errorf("a ping by a line: %+v, sent %v, %v", a, sent, err)
	}
}

func linesOf(ls *lines) int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.open)
}

// TestManyWritesShareALine: what followers pass on goes by one connection each, and every answer reaches who asked.
func TestManyWritesShareALine(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				id := fmt.Sprint("job-", i)
				got, err := h.client([]string{"s2", "s3"}[i%2]).RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob(id, 1)}, WriteOptions{})
				if err != nil || got.ID != id || got.Index == 0 || got.Index != got.JobModifyIndex {
					t.Errorf("%s: %+v, %v", id, got, err)
				}
			})
		}
		wg.Wait()
		if got := h.agents["s1"].store.Snapshot().JobCount(); got != 200 {
			t.Errorf("%d jobs, want 200", got)
		}
		s1 := h.agents["s1"].peer
		s1.mu.Lock()
		defer s1.mu.Unlock()
		if n := len(s1.accepted); n != 2 {
			t.Errorf("the leader took %d connections, want one line from each follower", n)
		}
	})
}

// TestLargeWritesGoByThemselves: nobody waits behind a large body.
func TestLargeWritesGoByThemselves(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		job := testJob("large", 1)
		for i := range 5 {
			g := job.TaskGroups[0]
			g.Name, g.Meta = fmt.Sprint("group-", i), map[string]string{"text": strings.Repeat("x", 15<<10)}
			job.TaskGroups = append(job.TaskGroups, g)
		}
		if _, err := h.client("s2").RegisterJob(t.Context(), &JobRegisterRequest{Job: job}, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if n := linesOf(&h.agents["s2"].server.lines); n != 0 {
			t.Errorf("%d lines, want none", n)
		}
	})
}

// TestLineIsGivenUpWhenSilent: a machine that is gone says nothing, and its line is not used again.
func TestLineIsGivenUpWhenSilent(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		s1, ls := h.agents["s1"], &h.agents["s2"].server.lines
		ping := lineRequest{method: get, uri: "/v1/node-protocol/ping", header: http.Header{headerForwarded: {"s2"}}}
		if _, _, err := ls.ask(t.Context(), "s1:4647", ping); err != nil {
			t.Fatal(err)
		}
		ls.mu.Lock()
		first := ls.open["s1:4647"]
		ls.mu.Unlock()
		s1.mu.Lock()
		s1.hold = make(chan struct{})
		s1.mu.Unlock()
		write := lineRequest{method: del, uri: "/v1/job/nobody", header: http.Header{headerForwarded: {"s2"}}}
		for _, c := range []struct {
			wait time.Duration
			kept bool
		}{{lineSilence / 2, true}, {2 * lineSilence, false}} {
			ctx, cancel := context.WithTimeout(t.Context(), c.wait)
			_, sent, err := ls.ask(ctx, "s1:4647", write)
			cancel()
			if !sent || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a write that is held up: sent %v, %v", sent, err)
			}
			h.pass(time.Millisecond)
			if kept := !first.isOver(); kept != c.kept {
				t.Errorf("given up after %s: kept %v, want %v", c.wait, kept, c.kept)
			}
		}
		close(s1.hold)
		if _, _, err := ls.ask(t.Context(), "s1:4647", ping); err != nil {
			t.Errorf("by a new line: %v", err)
		}
	})
}

// TestLineThatTakesNothingEnds: nobody waits behind a message that the other agent does not read.
func TestLineThatTakesNothingEnds(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		over := make(chan struct{})
		deaf := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if conn, err := websocket.Accept(w, r, nil); err == nil {
				<-over
				_ = conn.CloseNow()
			}
		})}
		var wg sync.WaitGroup
		at := h.net.Listen("deaf:4647")
		wg.Go(func() { _ = deaf.Serve(at) })
		s := h.agents["s2"].server
		began := time.Now()
		_, sent, err := s.lines.ask(t.Context(), "deaf:4647", lineRequest{method: put, uri: "/v1/jobs", body: make([]byte, maxLineBody)})
		if took := time.Since(began); err == nil || !sent || took != s.b.Limits.WriteTimeout {
			t.Errorf("sent %v, %v after %s, want an error after %s", sent, err, took, s.b.Limits.WriteTimeout)
		}
		close(over)
		_ = deaf.Close()
		wg.Wait()
	})
}

// TestHandlerThatGivesUp: an answer that was cut off is one without a status, and harms nobody else.
func TestHandlerThatGivesUp(t *testing.T) {
	gives := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	})
	l := &lineServer{c: &call{s: &Server{peer: gives}, r: &http.Request{}}}
	if a := l.answer(t.Context(), &lineRequest{id: 7, method: get, uri: "/"}); a == nil || a.id != 7 || a.status != 0 {
		t.Errorf("%+v, want an answer to 7 without a status", a)
	}
}

// TestIdleLineEnds: a line that nobody uses is closed, and opened again when it is needed.
func TestIdleLineEnds(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for range 2 {
			if _, err := h.client("s2").RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			ls := &h.agents["s2"].server.lines
			if n := linesOf(ls); n != 1 {
				t.Fatalf("%d lines, want one", n)
			}
			h.pass(3 * lineIdle)
			if linesOf(ls) != 0 {
				t.Errorf("the line is there after %s", 3*lineIdle)
			}
		}
	})
}

// TestWithoutLines: an agent that does not know lines is asked as before.
func TestWithoutLines(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		ls := &h.agents["s2"].server.lines
		if _, _, err := ls.ask(t.Context(), "s1:4647", lineRequest{method: get, uri: "/"}); err != nil {
			t.Fatal(err)
		}
		ls.mu.Lock()
		ls.plain["s1:4647"] = time.Now()
		ls.mu.Unlock()
		if _, _, err := ls.ask(t.Context(), "s1:4647", lineRequest{method: get, uri: "/"}); !errors.Is(err, errNoLine) {
			t.Errorf("got %v, want %v", err, errNoLine)
		}
		if _, err := h.client("s2").RegisterJob(t.Context(), &JobRegisterRequest{Job: testJob("web", 1)}, WriteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func TestFrames(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringN(0, 20, 40)
		header := rapid.Custom(func(rt *rapid.T) http.Header {
			h := http.Header{}
			for range rapid.IntRange(0, 3).Draw(rt, "values") {
				h.Add("X-"+rapid.StringMatching(`[a-z]{1,3}`).Draw(rt, "key"), text.Draw(rt, "value"))
			}
			return h
		})
		var requests []lineRequest
		var answers []lineAnswer
		var asked, answered []byte
		for range rapid.IntRange(0, 4).Draw(rt, "frames") {
			q := lineRequest{
				id: rapid.Uint64().Draw(rt, "id"), method: text.Draw(rt, "method"), uri: text.Draw(rt, "uri"), header: header.Draw(rt, "header"),
				body: []byte(text.Draw(rt, "body")),
			}
			a := lineAnswer{id: q.id, status: rapid.IntRange(0, 599).Draw(rt, "status"), header: q.header, body: q.body}
			requests, answers = append(requests, q), append(answers, a)
			asked, answered = q.append(asked), a.append(answered)
		}
		gotRequests, err := requestsOf(asked)
		if diff := cmp.Diff(requests, gotRequests, cmp.AllowUnexported(lineRequest{})); err != nil || diff != "" {
			rt.Fatalf("%v\n%s", err, diff)
		}
		gotAnswers, err := answersOf(answered)
		if diff := cmp.Diff(answers, gotAnswers, cmp.AllowUnexported(lineAnswer{})); err != nil || diff != "" {
			rt.Fatalf("%v\n%s", err, diff)
		}
		if len(asked) > 0 {
			cut := rapid.IntRange(1, len(asked)).Draw(rt, "cut")
			if got, err := requestsOf(asked[:len(asked)-cut]); err == nil && len(got) >= len(requests) {
				rt.Fatalf("a message that was cut off by %d bytes has %d requests", cut, len(got))
			}
		}
	})
}

// FuzzFrames: what another agent sends is bounded by its length, whatever it says.
func FuzzFrames(f *testing.F) {
	f.Add((&lineRequest{id: 1, method: put, uri: "/v1/jobs", header: http.Header{"A": {"b", "c"}}, body: []byte("{}")}).append(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 3, 4})
	f.Fuzz(func(t *testing.T, message []byte) {
		requests, err := requestsOf(message)
		if err == nil && len(requests) > len(message) {
			t.Errorf("%d requests in %d bytes", len(requests), len(message))
		}
		if answers, err := answersOf(message); err == nil && len(answers) > len(message) {
			t.Errorf("%d answers in %d bytes", len(answers), len(message))
		}
	})
}
