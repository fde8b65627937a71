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
			if at.Sub(start) > period+2*late {
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
	if polls > nodes*10 {
		t.Errorf("%d polls in ten periods, want at most %d", polls, nodes*10)
	}
}

// TestRenewInIsBounded: a poll waits, and never longer than the lease period.
func TestRenewInIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		period := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "period"))
		now := time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, "now"))
		got := RenewIn(rapid.String().Draw(t, "node"), period, now)
		if got <= 0 || got > period {
			t.Errorf("waits %s of %s", got, period)
		}
	})
	if got := RenewIn("n", 0, time.Now()); got != 0 {
		t.Errorf("before the period is known: %s", got)
	}
}
