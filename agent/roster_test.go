package agent

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// machine is a node that obeys, and loses or finds things now and then.
type machine struct {
	roster api.Roster
	index  uint64
	has    map[string]bool // allocations on it, also those that have ended
	ended  map[string]bool // those that have ended
	runs   map[string]int  // how often each was begun
	full   int             // polls that named everything
}

// poll asks a state and obeys the answer, unless it is older than what was seen.
func (m *machine) poll(t rapid.TB, snap *state.Snapshot, now time.Time) {
	req := &api.PollRequest{NodeID: nodeA, Boot: 1, Index: m.index}
	m.roster.Ask(req, maps.Keys(m.has), now)
	if req.Since == 0 {
		m.full++
	}
	if snap.Index() < req.Index {
		return // the server says that it is behind
	}
	resp := orders(snap, req)
	m.index = resp.Index
	if err := m.roster.Hear(req, resp, now); err != nil && req.Since == 0 {
		t.Fatalf("an answer about everything does not come to what the state has: %v", err)
	}
	for _, id := range resp.Keep {
		if !m.has[id] {
			t.Fatalf("%s is to be kept and is not there", id)
		}
	}
	for _, o := range resp.Run {
		for _, a := range o.Rows() {
			if !m.has[a.ID] {
				m.has[a.ID] = true
				m.runs[a.ID]++
			}
		}
	}
	for _, id := range resp.Stop {
		if m.has[id] {
			m.ended[id] = true
		}
	}
	for _, id := range resp.Gone {
		delete(m.has, id)
		delete(m.ended, id)
	}
}

// running are the allocations that run on it.
func (m *machine) running() []string {
	var out []string
	for id := range m.has {
		if !m.ended[id] {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// TestRosterFollows: whatever is placed, stopped, reported and removed, in whatever order a node asks servers of which some are behind,
// what it runs is what the state wants once it has asked a few times; nothing is begun twice; and where nothing is lost, it asks about
// everything only once.
func TestRosterFollows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.register(nodeA, 1)
		m := &machine{has: map[string]bool{}, ended: map[string]bool{}, runs: map[string]int{}}
		now := time.Now()
		history := []*state.Snapshot{w.store.Snapshot()}
		jobs, meddled := 0, false
		for range rapid.IntRange(1, 40).Draw(rt, "length") {
			snap := w.store.Snapshot()
			var live, stopped []string
			for a := range snap.AllocsByNode(nodeA) {
				switch {
				case a.IsToRun() && m.has[a.ID]:
					live = append(live, a.ID)
				case !a.TerminalClient() && m.ended[a.ID]:
					stopped = append(stopped, a.ID)
				}
			}
			switch what := rapid.SampledFrom([]string{"place", "poll", "poll", "poll", "behind", "stop", "fail", "ran", "clean", "lose", "find"}).Draw(rt, "what"); {
			case what == "place":
				jobs++
				w.place(fmt.Sprint("job", jobs), nodeA, rapid.IntRange(1, 3).Draw(rt, "copies"))
			case what == "poll":
				m.poll(rt, snap, now)
			case what == "behind":
				m.poll(rt, history[rapid.IntRange(0, len(history)-1).Draw(rt, "at")], now)
			case what == "stop" && len(live) > 0:
				w.stop(rapid.SampledFrom(live).Draw(rt, "id"))
			case what == "fail" && len(live) > 0:
				id := rapid.SampledFrom(live).Draw(rt, "id")
				m.ended[id] = true
				w.says(nodeA, state.ClientFailed, id)
				m.roster.Ended(id)
				if rapid.Bool().Draw(rt, "forgotten") { // a machine keeps only so many that have ended
					delete(m.has, id)
				}
			case what == "ran" && len(live) > 0:
				w.says(nodeA, state.ClientRunning, live[0])
			case what == "clean" && len(stopped) > 0:
				w.says(nodeA, state.ClientComplete, stopped[0])
			case what == "lose" && len(live) > 0:
				meddled = true
				id := rapid.SampledFrom(live).Draw(rt, "id")
				delete(m.has, id)
				m.runs[id]--
			case what == "find":
				meddled = true
				m.has[fmt.Sprint("stranger", len(history))] = true
			}
			history = append(history, w.store.Snapshot())
		}
		for range 3 {
			m.poll(rt, w.store.Snapshot(), now)
		}
		var want []string
		for a := range w.store.Snapshot().AllocsByNode(nodeA) {
			if a.IsToRun() {
				want = append(want, a.ID)
			}
		}
		if slices.Sort(want); !slices.Equal(m.running(), want) {
			rt.Fatalf("the machine runs %v, the state wants %v", m.running(), want)
		}
		for id, n := range m.runs {
			if n > 1 {
				rt.Fatalf("%s was begun %d times", id, n)
			}
		}
		if !meddled && m.full > 1 {
			rt.Fatalf("%d polls named everything although nothing was lost", m.full)
		}
	})
}

// TestRosterHeals: a difference that no answer speaks of, and one that the digest does not show, end with a poll about everything.
func TestRosterHeals(t *testing.T) {
	w := newWorld(t)
	w.register(nodeA, 1)
	mine := w.place("web", nodeA, 2)
	m := &machine{has: map[string]bool{}, ended: map[string]bool{}, runs: map[string]int{}}
	now := time.Now()
	m.poll(t, w.store.Snapshot(), now)
	m.poll(t, w.store.Snapshot(), now)
	if m.full != 1 || len(m.running()) != 2 {
		t.Fatalf("after two polls %d were about everything and %v run", m.full, m.running())
	}

	// An answer that was lost on its way out of a server that is wrong: the digest says so, the next poll asks by name.
	req := &api.PollRequest{NodeID: nodeA, Boot: 1}
	m.roster.Ask(req, maps.Keys(m.has), now)
	wrong := orders(w.store.Snapshot(), req)
	wrong.ToRun = wrong.ToRun.Without(mine[0]).With("another")
	if err := m.roster.Hear(req, wrong, now); err == nil {
		t.Error("an answer whose digest differs was taken for whole")
	}
	m.poll(t, w.store.Snapshot(), now)
	if m.full != 2 {
		t.Errorf("%d polls about everything after the digests differed, want 2", m.full)
	}

	// Rows that are gone, whose directories are not: nothing says so until the node asks about them, which it does in any case.
	m.has["ended long ago"], m.ended["ended long ago"] = true, true
	m.poll(t, w.store.Snapshot(), now)
	if m.full != 3 || m.has["ended long ago"] {
		t.Errorf("after %d polls about everything the machine has %v", m.full, m.has)
	}
	m.poll(t, w.store.Snapshot(), now.Add(10*time.Minute))
	if m.full != 4 {
		t.Errorf("%d polls about everything after a long time, want 4", m.full)
	}
}
