package api

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRenewalsSpread: agents that all ask at the same moment do not from the next poll on, and ask no oftener than once in a period.
func TestRenewalsSpread(t *testing.T) {
	const nodes, period, part = 5000, 5 * time.Second, 100 * time.Millisecond
	const late = 3 * time.Millisecond // an answer is on its way
	start := time.Unix(1_800_000_000, 123)
	busy, polls := map[time.Duration]int{}, 0
	for i := range nodes {
		id, at := fmt.Sprint("node-", i), start
		for {
			at = at.Add(RenewIn(id, period, at) + late)
			if at.Sub(start) > 11*period {
				break
			}
			if at.Sub(start) > 2*period {
				busy[at.Sub(start)/part]++
				polls++
			}
		}
	}
	mean := nodes / int(period/part)
	for when, n := range busy {
		if n > mean*3/2 {
			t.Errorf("%d renewals in the %s from %s on, want about %d", n, part, when*part, mean)
		}
	}
	if polls > nodes*9 {
		t.Errorf("%d polls in nine periods, want at most %d", polls, nodes*9)
	}
}

// TestRenewInIsBounded: a poll waits for half a lease period up to one and a half, less than a node may be silent, until the node's own moment.
func TestRenewInIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		period := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "period"))
		now := time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, "now"))
		node := rapid.String().Draw(t, "node")
		got := RenewIn(node, period, now)
		if got < period/2 || got >= period/2+period {
			t.Errorf("waits %s of %s", got, period)
		}
		if again := RenewIn(node, period, now.Add(got)); again != period && period > 1 {
			t.Errorf("from its own moment on it waits %s of %s", again, period)
		}
	})
	if got := RenewIn("n", 0, time.Now()); got != 0 {
		t.Errorf("before the period is known: %s", got)
	}
}
