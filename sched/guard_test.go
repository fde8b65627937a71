package sched

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/drover-io/drover/state"
)

// TestTheGuardHolds plays random evidence and checks what the guard promises: at most max(1, 10 %) of a pool in a window, one in
// ten seconds beyond that, nobody at all while more than a third is silent and nothing has ended the hold.
func TestTheGuardHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, Options{})
		size := rapid.IntRange(1, 24).Draw(t, "nodes")
		names := make([]string, size)
		for i := range names {
			names[i] = fmt.Sprintf("n%02d", i)
			w.node(names[i])
		}
		var downs []int64
		evidence := map[string]Evidence{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now += int64(rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Second, 40 * time.Second, 6 * time.Minute}).Draw(t, "wait"))
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				evidence[rapid.SampledFrom(names).Draw(t, "node")] = rapid.SampledFrom([]Evidence{
					EvidenceFresh, EvidenceFresh, EvidenceSilent, EvidenceSilent, EvidenceAnswers, EvidenceRefused, EvidenceNone,
				}).Draw(t, "evidence")
			}
			if rapid.IntRange(0, 20).Draw(t, "allow") == 0 {
				w.must(state.AllowEvictions{Time: w.now})
			}
			downs = judgeOnce(t, w, names, evidence, downs)
		}
	})
}

// judgeOnce runs the decider, applies it, and checks its judgement. It returns the times at which nodes were declared down.
func judgeOnce(t *rapid.T, w *world, names []string, evidence map[string]Evidence, downs []int64) []int64 {
	var obs []Observation
	members, silent := 0, 0
	for _, name := range names {
		n := w.snap().Node(name)
		if n.Status == state.NodeStatusDown && evidence[name] == EvidenceFresh {
			w.comeBack(name)
			n = w.snap().Node(name)
		}
		if n.Status != state.NodeStatusDown {
			members++
			if evidence[name] == EvidenceSilent {
				silent++
			}
		}
		if e := evidence[name]; e != EvidenceNone {
			obs = append(obs, Observation{NodeID: name, Evidence: e, Since: w.now, Boot: n.Boot})
		}
	}
	held := w.guard.pools["default"].holdSince
	cmds, next, wake := NodeLoss(w.snap(), obs, w.guard, w.now, Options{})
	w.guard = next
	if wake != 0 && wake <= w.now {
		t.Fatalf("wakes at %d, it is %d", wake, w.now)
	}
	declared := 0
	for _, cmd := range cmds {
		for _, c := range cmd.(state.SetNodeStatus).Changes {
			if c.Status == state.NodeStatusDown {
				declared++
				checkWorthy(t, w, c.NodeID, evidence[c.NodeID])
			}
		}
		w.must(cmd)
	}
	quick := max(1, members*guardAtOnce/100)
	holding := next.pools["default"].holdSince != 0
	switch {
	case holding && declared > 0:
		t.Fatalf("%d nodes go while the guard holds", declared)
	case held == 0 && !holding && !next.pools["default"].slow && declared > 0 && tooMany(silent, members):
		t.Fatalf("%d go although %d of %d are silent", declared, silent, members)
	case declared > quick:
		t.Fatalf("%d of %d go at once", declared, members)
	case declared > 1 && len(downs) > 0 && w.now-downs[len(downs)-1] < int64(guardWindow):
		t.Fatalf("%d go at once, the last one went %s ago", declared, time.Duration(w.now-downs[len(downs)-1]))
	}
	for range declared {
		downs = append(downs, w.now)
	}
	recent := 0
	for _, at := range downs {
		if w.now-at < int64(guardWindow) {
			recent++
		}
	}
	if limit := max(1, len(names)*guardAtOnce/100) + int(guardWindow/guardSlow); recent > limit {
		t.Fatalf("%d went within the window, at most %d may", recent, limit)
	}
	return downs
}

func tooMany(silent, members int) bool {
	if members < guardPool {
		return silent >= members
	}
	return 3*silent > members
}

// checkWorthy fails when a node is declared down without the evidence for it.
func checkWorthy(t *rapid.T, w *world, name string, e Evidence) {
	n := w.snap().Node(name)
	overdue := n.Status == state.NodeStatusDisconnected && w.now-n.StatusUpdatedAt >= int64(5*time.Minute)
	if e != EvidenceSilent && (!overdue || (e != EvidenceAnswers && e != EvidenceAccepts && e != EvidenceRefused)) {
		t.Fatalf("%s is %s since %s, the evidence is %q, and it is declared down", name, n.Status, time.Duration(w.now-n.StatusUpdatedAt), e)
	}
}

func TestEvidenceOfAnEarlierBootIsNone(t *testing.T) {
	w := newWorld(t, Options{})
	w.node("a")
	w.node("b")
	w.node("a") // its agent was started again
	for _, c := range []struct {
		boot uint64
		want int
	}{{1, 0}, {2, 1}, {3, 1}, {0, 1}} {
		obs := []Observation{{NodeID: "a", Evidence: EvidenceSilent, Boot: c.boot}, {NodeID: "unknown", Evidence: EvidenceSilent}}
		cmds, _, _ := NodeLoss(w.snap(), obs, Guard{}, w.now, Options{})
		if len(cmds) != c.want {
			t.Errorf("boot %d: %d commands, want %d", c.boot, len(cmds), c.want)
		}
		if c.want == 1 {
			ch := cmds[0].(state.SetNodeStatus).Changes
			if len(ch) != 1 || ch[0].Boot != 2 || ch[0].Status != state.NodeStatusDown {
				t.Errorf("boot %d: %+v", c.boot, ch)
			}
		}
	}
}

func TestNothingIsKnownOfANodeWithoutEvidence(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 5 {
		w.node(fmt.Sprint("n", i))
	}
	if cmds, next, wake := NodeLoss(w.snap(), nil, Guard{}, w.now, Options{}); len(cmds) != 0 || wake != 0 || len(next.View().Pools) != 0 {
		t.Errorf("got %v, %+v, wake %d", cmds, next.View(), wake)
	}
}

// TestALostNetworkFitsIntoTheLog: the judgement of thousands of nodes at once goes in commands that one entry can hold.
func TestALostNetworkFitsIntoTheLog(t *testing.T) {
	w := fleetWorld(t, 2500)
	var obs []Observation
	for n := range w.snap().Nodes() {
		obs = append(obs, Observation{NodeID: n.ID, Evidence: EvidenceSilent})
	}
	cmds, next, _ := NodeLoss(w.snap(), obs, Guard{}, w.now, Options{})
	if len(cmds) != 3 {
		t.Fatalf("%d commands", len(cmds))
	}
	for _, cmd := range cmds {
		w.must(cmd)
	}
	for n := range w.snap().Nodes() {
		if n.Status != state.NodeStatusDisconnected {
			t.Fatalf("%s is %s", n.ID, n.Status)
		}
	}
	if p := next.View().Pools; len(p) != 1 || p[0].State != GuardHolding || p[0].Waiting != 2500 {
		t.Fatalf("the guard says %+v", p)
	}
}
