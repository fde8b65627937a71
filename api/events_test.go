package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/state"
)

// told is what a line says, in short.
func told(l EventLine) string {
	if l.Gap != nil {
		return fmt.Sprintf("gap to %d", l.Gap.To)
	}
	words := []string{fmt.Sprint(l.Index)}
	for _, e := range l.Events {
		words = append(words, e.Type+":"+e.Key)
	}
	return strings.Join(words, " ")
}

func TestEventsComeAsTheyHappen(t *testing.T) {
	for _, at := range []string{"s1", "s2", "c1"} {
		t.Run(at, func(t *testing.T) {
			runHerd(t, func(t *testing.T, h *herd) {
				h.must(state.RegisterNode{Node: testNode("n1")})
				s, err := h.client(at).Events(t.Context(), EventsRequest{Topics: []string{"Job:web", "Node"}, Follow: true})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				from := h.agents["s1"].store.Snapshot().Index()
				var got []string
				var wg sync.WaitGroup
				wg.Go(func() {
					for len(got) < 4 {
						l, err := s.Next()
						if err != nil {
							t.Error(err)
							return
						}
						got = append(got, told(l))
					}
				})
				h.pass(time.Minute) // heartbeats
				h.must(state.RegisterJob{Job: testJob("other", 1)})
				h.must(state.RegisterJob{Job: testJob("web", 1)})
				h.pass(time.Minute)
				h.must(state.RegisterJob{Job: testJob("web", 1)}) // the same again changes nothing
				h.must(state.SetEligibility{NodeID: "n1", Eligibility: state.NodeIneligible})
				elsewhere := testJob("web", 1)
				elsewhere.Namespace = "elsewhere"
				h.must(state.RegisterJob{Job: elsewhere})
				h.must(state.StopJob{Namespace: "default", JobID: "web", Purge: true})
				h.must(state.RegisterNode{Node: testNode("n2")})
				wg.Wait()
				want := []string{
					fmt.Sprint(from+2, " JobRegistered:web"), fmt.Sprint(from+4, " NodeEligibility:n1"),
					fmt.Sprint(from+6, " JobRemoved:web"), fmt.Sprint(from+7, " NodeRegistration:n2"),
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("events:\n%s", diff)
				}
			})
		})
	}
}

// TestEventsGoOnAtAnotherServer: what is read in two pieces, at two servers, is what one reader reads.
func TestEventsGoOnAtAnotherServer(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for i := range 40 {
			h.must(state.RegisterJob{Job: testJob(fmt.Sprint("job-", i%7), i+1)})
			if i%5 == 0 {
				h.place(fmt.Sprint("placed-", i), "n1")
			}
		}
		read := func(at string, from uint64, atMost int) (lines []string, next uint64) {
			s, err := h.client(at).Events(t.Context(), EventsRequest{Index: from})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			for next = from; len(lines) < atMost; {
				l, err := s.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if l.Index < next {
					t.Fatalf("index %d after %d", l.Index, next-1)
				}
				lines, next = append(lines, told(l)), l.Index+1
			}
			return lines, next
		}
		whole, _ := read("s1", 1, 1000)
		if len(whole) < 40 || strings.HasPrefix(whole[0], "gap") {
			t.Fatalf("%d lines, the first %s", len(whole), whole[0])
		}
		var pieces []string
		for from, at := uint64(1), 0; ; at++ {
			lines, next := read([]string{"s2", "c1", "s3", "s1"}[at%4], from, 7)
			if len(lines) == 0 {
				break
			}
			pieces, from = append(pieces, lines...), next
		}
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Errorf("in pieces:\n%s", diff)
		}
	})
}

func TestEventsGapAfterARestore(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		h.must(state.RegisterJob{Job: testJob("web", 1)})
		var saved bytes.Buffer
		if err := h.agents["s2"].store.Snapshot().Save(&saved); err != nil {
			t.Fatal(err)
		}
		s, err := h.client("s2").Events(t.Context(), EventsRequest{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		synctest.Wait()
		if err := h.agents["s2"].store.Restore(&saved); err != nil {
			t.Fatal(err)
		}
		l, err := s.Next()
		if err != nil || l.Gap == nil || !strings.Contains(l.Gap.Reason, "replaced") {
			t.Fatalf("after a restore: %+v, %v, want a gap", l, err)
		}
		h.mu.Lock()
		h.index++ // the restore's own
		h.mu.Unlock()
		h.must(state.RegisterJob{Job: testJob("web", 2)})
		if l, err = s.Next(); err != nil || len(l.Events) != 1 {
			t.Errorf("after the gap: %+v, %v", l, err)
		}
	})
}

func TestSlowReaderOfEventsIsCutOff(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		c := h.client("s1")
		s, err := c.Events(t.Context(), EventsRequest{Follow: true, Topics: []string{"Node"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		synctest.Wait()
		n := testNode("n1")
		for i := range 11_000 { // more than is kept, while nobody reads
			next := *n
			next.Attributes = map[string]string{"n": fmt.Sprint(i)}
			h.must(state.RegisterNode{Node: &next})
		}
		last := uint64(0)
		for {
			l, err := s.Next()
			if err != nil {
				e := wantCode(t, err, CodeTooSlow)
				if !strings.Contains(e.Message, fmt.Sprint("events ", last+1)) && !strings.Contains(e.Next, "is kept") {
					t.Errorf("after %d: %q", last, e)
				}
				break
			}
			if l.Gap != nil || last > 0 && l.Index != last+1 {
				t.Fatalf("index %d after %d: events are missing and nothing says so", l.Index, last)
			}
			last = l.Index
		}
		if last == 0 {
			t.Error("nothing was read before the end")
		}
		if _, err := s.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the reason: %v, want the end", err)
		}
	})
}

func TestEventHeartbeatsAndTheEndOfTheServer(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.net.Dial(ctx, addr) }}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://s2:4646/v1/event/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		start := time.Now()
		lines := bufio.NewScanner(res.Body)
		for range 3 {
			if !lines.Scan() || lines.Text() != "{}" {
				t.Fatalf("got %q, want a heartbeat", lines.Text())
			}
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("three heartbeats in %s, want 30s", took)
		}
		go h.agents["s2"].stop()
		if !lines.Scan() || !strings.Contains(lines.Text(), `"Code":"unavailable"`) {
			t.Errorf("a server that stops says %q, want why", lines.Text())
		}
	})
}

func TestEventTopics(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		a := h.place("web", "n1")
		for query, want := range map[string]int{
			"": 5, "topic=*": 5, "topic=*:*": 5, "topic=Job": 1, "topic=Job:web": 1, "topic=Job:we": 0, "topic=*:web": 2,
			"topic=Allocation:web": 1, "topic=Allocation:" + a.ID: 1, "topic=Allocation:n1": 1, "topic=Node:name-n1": 1,
			"topic=Job&topic=Node": 2, "namespace=elsewhere": 3, "namespace=*": 5, "topic=Cluster": 2,
		} {
			res, data := h.raw("s1:4646", "GET", "/v1/event/stream?follow=false&"+query, nil, nil)
			if got := bytes.Count(data, []byte(`"Topic"`)); res.StatusCode != http.StatusOK || got != want {
				t.Errorf("%q: %d events, want %d", query, got, want)
			}
		}
		for query, hint := range map[string]string{
			"topic=Jobs": "did you mean Job?", "topic=xyzzy": "the topics are", "index=x": "", "follow=perhaps": "",
			strings.Repeat("topic=Job&", maxTopics+1): "",
		} {
			res, data := h.raw("s1:4646", "GET", "/v1/event/stream?"+query, nil, nil)
			if e := expectError(t, res, data, CodeInvalid); !strings.Contains(e.Next, hint) {
				t.Errorf("%q: next is %q, want %q", query, e.Next, hint)
			}
		}
		f, err := newEventFilter(Caller{Capabilities: map[Capability]bool{CapReadJob: true}}, "default", nil)
		if err != nil || f.wants(&state.Event{Topic: state.TopicNode}) || !f.wants(&state.Event{Topic: state.TopicJob}) {
			t.Errorf("a caller who may not read nodes hears of them: %v", err)
		}
		_, err = newEventFilter(Caller{}, "default", []string{"Node"})
		wantCode(t, err, CodeForbidden)
	})
}
