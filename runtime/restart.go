package runtime

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/drover-io/drover/state"
)

// restartWindow counts the restarts of the current interval of a restart policy.
type restartWindow struct {
	Since int64 `json:",omitempty"` // begin of the interval; the node's wall clock, nanoseconds
	Count int   `json:",omitempty"` // restarts since
}

// verdict is what a restart policy says of a task that has ended.
type verdict struct {
	restart bool
	delay   time.Duration // before the restart
	reason  string
	window  restartWindow // to be remembered
}

// judgeRestart decides whether a task that ended is started again. It is pure: the jitter comes from who and how often.
func judgeRestart(p state.RestartPolicy, w restartWindow, now time.Time, id TaskID, run int) verdict {
	since := time.Unix(0, w.Since)
	if w.Since == 0 || now.Before(since) || now.Sub(since) >= p.Interval { // before: somebody set the clock back
		w = restartWindow{Since: now.UnixNano()}
		since = now
	}
	delay := p.Delay + jitter(p.Delay, id, run)
	if w.Count < p.Attempts {
		w.Count++
		return verdict{restart: true, delay: delay, window: w,
			reason: fmt.Sprintf("waiting %s, then restart %d of %d in %s", short(delay), w.Count, p.Attempts, short(p.Interval))}
	}
	if p.Mode == state.RestartModeDelay {
		next := since.Add(p.Interval)
		return verdict{restart: true, delay: next.Sub(now) + delay, window: restartWindow{Since: next.UnixNano(), Count: 1},
			reason: fmt.Sprintf("waiting %s for the next interval: %d restarts in %s are used up",
				short(next.Sub(now)+delay), p.Attempts, short(p.Interval))}
	}
	if p.Attempts == 0 {
		return verdict{window: w, reason: `its restart policy allows no restart (attempts = 0, mode = "fail")`}
	}
	return verdict{window: w,
		reason: fmt.Sprintf(`%d restarts in %s are used up and mode is "fail"`, p.Attempts, short(p.Interval))}
}

// jitter is up to a quarter of d, the same for the same run of the same task, so that copies that fail together do not start
// together.
func jitter(d time.Duration, id TaskID, run int) time.Duration {
	if d < 4 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%d", id.AllocID, id.Task, run)
	sum := binary.BigEndian.Uint64(h.Sum(nil))
	return time.Duration(sum % uint64(d/4+1))
}

// short prints a duration without needless digits.
func short(d time.Duration) string {
	if d > time.Second {
		d = d.Round(100 * time.Millisecond)
	}
	s := d.String()
	for _, cut := range []string{"m0s", "h0m"} {
		if len(s) > len(cut) && s[len(s)-len(cut):] == cut {
			s = s[:len(s)-len(cut)+1]
		}
	}
	return s
}

// backoff is the wait before try n (from 0) of something that is not counted: 1 s, doubled, at most 30 s.
func backoff(n int) time.Duration {
	return min(time.Second<<min(n, 5), 30*time.Second)
}
