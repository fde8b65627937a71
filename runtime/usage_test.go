package runtime_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
)

func TestMeter(t *testing.T) {
	const second = uint64(time.Second)
	var m runtime.Meter
	at := time.Now()
	for i, step := range []struct {
		passed  time.Duration
		counts  map[string]uint64
		unrated []string
		rates   map[string]float64
	}{
		{0, map[string]uint64{"a": 0, "b": 7 * second}, []string{"a", "b"}, map[string]float64{"a": 0, "b": 0}},
		{100 * time.Millisecond, map[string]uint64{"a": second, "b": 7 * second}, []string{"a", "b"}, nil}, // too soon for a rate
		{900 * time.Millisecond, map[string]uint64{"a": second / 2, "b": 9 * second}, nil, map[string]float64{"a": 50, "b": 200}},
		{100 * time.Millisecond, map[string]uint64{"a": second, "b": 9 * second}, nil, map[string]float64{"a": 50, "b": 200}}, // still that
		{900 * time.Millisecond, map[string]uint64{"a": second / 10}, []string{"a"}, map[string]float64{"a": 0, "b": 200}},    // another run
		{time.Minute, map[string]uint64{"a": second, "b": 9 * second}, []string{"a", "b"}, map[string]float64{"a": 0, "b": 0}},
	} {
		at = at.Add(step.passed)
		if got := m.Note(at, step.counts); !slices.Equal(got, step.unrated) {
			t.Errorf("step %d: without a rate: %v, want %v", i, got, step.unrated)
		}
		for k, want := range step.rates {
			if got := m.Rate(k); math.Abs(got-want) > 0.01 {
				t.Errorf("step %d: %s at %f %%, want %f", i, k, got, want)
			}
		}
	}
}

// TestUsage: who asks first waits a moment for a rate; who asks again gets that since.
func TestUsage(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil), task("b", nil)))
		g.sleep(time.Second)
		ids := []string{allocID, "none"}
		if got := g.r.Running(); !slices.Equal(got, ids[:1]) {
			t.Errorf("running: %v", got)
		}
		for _, wait := range []time.Duration{275 * time.Millisecond, 0} {
			begin := time.Now()
			used, err := g.r.Usage(t.Context(), ids)
			if err != nil || len(used) != 2 || time.Since(begin) != wait {
				t.Fatalf("%v, %v, after %s", used, err, time.Since(begin))
			}
			if u := used[runtime.TaskID{AllocID: allocID, Task: "b"}]; math.Abs(u.CPUPercent-10) > 0.1 || u.Pids != 1 || u.At.IsZero() {
				t.Errorf("%+v", u)
			}
			g.sleep(2 * time.Second)
		}
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errClosing)
		g.sleep(time.Minute)
		if used, err := g.r.Usage(ended, ids); !errors.Is(err, errClosing) {
			t.Errorf("for nobody: %v, %v", used, err)
		}
		g.stop(allocID)
		g.sleep(time.Second)
		if used, err := g.r.Usage(t.Context(), ids); err != nil || len(used) != 0 || len(g.r.Running()) != 0 {
			t.Errorf("of what has ended: %v, %v", used, err)
		}
	})
}

var errClosing = errors.New("closing")
