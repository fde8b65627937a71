package agent

import (
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

func TestRestAfterPassesInVain(t *testing.T) {
	d := &decider{}
	dropped := state.PlanResult{Dropped: []state.PlanDrop{{Reason: "no"}}}
	last := time.Duration(0)
	for i := range 20 {
		d.count([]any{dropped, dropped})
		rest := restAfter(d.vain)
		if i == 0 && rest != 0 || i > 0 && rest < vainRest || rest < last || rest > maxVainRest {
			t.Fatalf("pass %d in vain: rest of %s after one of %s", i+1, rest, last)
		}
		last = rest
	}
	if last != maxVainRest {
		t.Errorf("rests %s in the end, want %s", last, maxVainRest)
	}
	for what, result := range map[string]any{
		"a copy placed": state.PlanResult{Placed: 1, Dropped: dropped.Dropped}, "a node judged": state.SetNodeStatusResult{Changed: 1},
		"a job marked as blocked": state.PlanResult{},
	} {
		d.vain = 9
		d.count([]any{dropped, result})
		if restAfter(d.vain) != 0 {
			t.Errorf("%s: rests as if nothing had happened", what)
		}
	}
}

func TestWithPort(t *testing.T) {
	at := address("127.0.0.1:40123")
	if got := withPort("10.0.0.1:0", at); got != "10.0.0.1:40123" {
		t.Errorf("port 0 became %s", got)
	}
	if got := withPort("10.0.0.1:4647", at); got != "10.0.0.1:4647" {
		t.Errorf("a port that was told became %s", got)
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// TestGarbageIsLookedForAsItCosts: what is too much for one entry goes soon after, and a look that takes long is seldom.
func TestGarbageIsLookedForAsItCosts(t *testing.T) {
	for _, c := range []struct {
		took time.Duration
		more bool
		want time.Duration
	}{
		{time.Millisecond, false, garbageEvery},
		{time.Second, false, garbageRests * time.Second},
		{time.Millisecond, true, garbageRests * time.Millisecond},
	} {
		if got := restAfterLook(c.took, c.more); got != c.want {
			t.Errorf("after %s, more %v: rest %s, want %s", c.took, c.more, got, c.want)
		}
	}
}
