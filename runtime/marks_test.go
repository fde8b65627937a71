package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// log opens the standard error of task a. The marks know its times, not the file system, whose clock is another in a bubble.
func (g *rig) log() *runtime.LogReader {
	g.t.Helper()
	l, err := g.r.OpenLog(allocID, "a", runtime.Stderr)
	if err != nil {
		g.t.Fatal(err)
	}
	return l
}

// between reads a log from one offset to another.
func between(t *testing.T, l *runtime.LogReader, from, to int64) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.ReadUntil(context.Background(), from, to, false, func(_ int64, p []byte) error { b.Write(p); return nil }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// written is how long the log was at a time.
type written struct {
	at   time.Time
	size int64
}

// wantSince checks that nothing written since a time is left out, and little that was written long before is not.
func (g *rig) wantSince(history []written, slack time.Duration) {
	g.t.Helper()
	l := g.log()
	for i, w := range history {
		got, err := l.Since(w.at)
		if err != nil || got > w.size {
			g.t.Fatalf("what was written since %s begins at %d, %v; want at most %d", w.at.Format(time.TimeOnly), got, err, w.size)
		}
		for _, old := range history[:i] {
			if w.at.Sub(old.at) > slack && got < old.size {
				g.t.Fatalf("since %s: offset %d, which is of before %s", w.at.Format(time.TimeOnly), got, old.at.Format(time.TimeOnly))
			}
		}
	}
}

// TestSince: log files have no times; how long they were at which time is known also after a restart of the agent, and after its
// memory of it was damaged.
func TestSince(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", nil)))
		var history []written
		var size int64
		write := func(n int, pause time.Duration) {
			for range n {
				g.sleep(pause)
				history = append(history, written{time.Now(), size})
				line := fmt.Sprintln("line", len(history))
				g.write("a", runtime.Stderr, line)
				size += int64(len(line))
				g.sleep(10 * time.Millisecond)
			}
		}
		g.sleep(30 * time.Second)
		write(20, 3*time.Second)
		g.wantSince(history, 15*time.Second)
		g.reopen()
		g.wantSince(history, 15*time.Second)
		marks := filepath.Join(g.dir, "allocs", allocID, ".marks/a")
		data, err := os.ReadFile(marks)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{string(data) + "12 x", string(data) + "99999999999999999999 1 1 0\n", string(data) + "1 -5 -5 0\n", strings.Repeat("x", 1<<20), ""} {
			g.kill()
			if err := os.WriteFile(marks, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			g.open()
			g.sleep(time.Second)
			g.wantSince(history, time.Hour)
		}
		write(1200, time.Second) // more than are kept: older ones become sparser
		g.wantSince(history[len(history)-100:], 15*time.Second)
		g.wantSince(history, time.Hour)
		if info, err := os.Stat(marks); err != nil || info.Size() > 64<<10 {
			t.Errorf("the marks take %d bytes, %v", info.Size(), err)
		}
		if err := os.Chtimes(filepath.Join(g.dir, "allocs", allocID, "alloc/logs/a.stderr"), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got, err := g.log().Since(time.Now()); err != nil || got != size {
			t.Errorf("nothing was written since: %d, %v, want the end %d", got, err, size)
		}
	})
}

// TestPreviousRun: the output of the run before the latest, of silent runs too, and what is left when there are many.
func TestPreviousRun(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		as := service(task("a", nil))
		as.Job.TaskGroups[1].Tasks[0].RestartPolicy = state.RestartPolicy{Attempts: 100, Interval: time.Hour, Delay: time.Second, Mode: state.RestartModeFail}
		g.run(as)
		if from, to, err := g.log().Previous(); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("there was no run before: %d to %d, %v", from, to, err)
		}
		check := func(want string) {
			t.Helper()
			from, to, err := g.log().Previous()
			if got := between(t, g.log(), from, to); err != nil || got != want {
				t.Errorf("the run before wrote %q, %v; want %q", got, err, want)
			}
		}
		for i := range 40 {
			text := fmt.Sprintln("of run", i)
			g.write("a", runtime.Stderr, text)
			g.exit("a", runtime.Exit{Code: 1})
			g.sleep(5 * time.Second)
			g.wantRunning(1)
			if i%8 == 0 {
				g.reopen()
				g.sleep(time.Second)
			}
			check(text)
		}
		g.exit("a", runtime.Exit{Code: 1}) // a run that wrote nothing is none that anybody looks for
		g.sleep(5 * time.Second)
		check("of run 39\n")
	})
}
