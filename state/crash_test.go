package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func testCrash() *CrashTail {
	return &CrashTail{Time: 7, Reason: "exit code 3", ExitCode: 3, Stderr: []string{"no <database> & no luck"}, Stdout: []string{"begun"}}
}

// checkCrash fails when a tail is beyond its bounds or could do harm.
func checkCrash(t fataler, c *CrashTail) {
	lines, size := 0, 0
	for _, line := range slices.Concat(c.Stderr, c.Stdout) {
		lines, size = lines+1, size+len(line)+1
		if !utf8.ValidString(line) || strings.ContainsFunc(line, isHarmful) || len(line) > maxCrashLine {
			t.Fatalf("line %q", line)
		}
	}
	if lines > MaxCrashLines || size > MaxCrashBytes || len(c.Reason) > maxCrashReason || strings.ContainsFunc(c.Reason, isHarmful) {
		t.Fatalf("%d lines, %d bytes, reason %q", lines, size, c.Reason)
	}
	if diff := cmp.Diff(c, c.Bound()); diff != "" {
		t.Fatalf("bounded again it is another (-once +twice):\n%s", diff)
	}
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// TestCrashTailBounds: whatever a node says, what is stored is small, is text, and stays the same when it is bounded again.
func TestCrashTailBounds(t *testing.T) {
	piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\x1b[31m", "\x1b]0;title\a", "\x1b", "\xff\xfe", "\u202e", "<&>", strings.Repeat("long ", 300)}))
	line := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "pieces"), "") })
	lines := rapid.SliceOfN(line, 0, 40)
	rapid.Check(t, func(t *rapid.T) {
		in := &CrashTail{Reason: line.Draw(t, "reason"), Stderr: lines.Draw(t, "stderr"), Stdout: lines.Draw(t, "stdout")}
		before := slices.Clone(in.Stderr)
		checkCrash(t, in.Bound())
		if !slices.Equal(before, in.Stderr) {
			t.Fatal("what was given is altered")
		}
	})
	if (*CrashTail)(nil).Bound() != nil {
		t.Error("nothing became something")
	}
}

func TestCrashTailKeepsTheLastLines(t *testing.T) {
	numbered := func(n, from int) (out []string) {
		for i := from; i < n; i++ {
			out = append(out, fmt.Sprint(i))
		}
		return out
	}
	long := strings.Repeat("é", 1000)
	for name, tc := range map[string]struct{ stderr, stdout, wantErr, wantOut []string }{
		"only one stream":          {numbered(30, 0), nil, numbered(30, 10), nil},
		"the other one":            {nil, numbered(30, 0), nil, numbered(30, 10)},
		"both are long":            {numbered(30, 0), numbered(30, 0), numbered(30, 15), numbered(30, 25)},
		"little output":            {numbered(30, 0), numbered(2, 0), numbered(30, 12), numbered(2, 0)},
		"few errors":               {numbered(2, 0), numbered(30, 0), numbered(2, 0), numbered(30, 12)},
		"colours and a title":      {[]string{"\x1b[1;31merror\x1b[0m: \x1b]0;x\x07no"}, nil, []string{"error: no"}, nil},
		"an escape without an end": {[]string{"a\x1b[12", "b\x1b]zz", "\x1b\x1b[0mc"}, nil, []string{"a\ufffd[12", "b\ufffd]zz", "\ufffdc"}, nil},
		"a long line":              {[]string{long}, nil, []string{strings.Repeat("é", 254) + "…"}, nil},
	} {
		got := (&CrashTail{Stderr: tc.stderr, Stdout: tc.stdout}).Bound()
		if diff := cmp.Diff(&CrashTail{Stderr: tc.wantErr, Stdout: tc.wantOut}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestReportedCrashTail: it needs level 2, is bounded when it is applied, stays when the task is started again, and is left out of
// what a cluster of level 1 is told.
func TestReportedCrashTail(t *testing.T) {
	h := newHerd(t)
	a := h.place(h.job(testJob("a", 1)), 0, h.node("n1").ID)
	big := testCrash()
	for i := range 100 {
		big.Stderr = append(big.Stderr, strings.Repeat("<\x00", i))
	}
	tasks := map[string]TaskState{}
	for i := range 8 {
		c := *big
		c.Time = int64(i % 6)
		tasks[fmt.Sprint("task-", i)] = TaskState{State: TaskRunning, Crash: &c}
	}
	nr := NodeReport{NodeID: "n1", Boot: 1, Seq: 1, Allocs: []AllocReport{{ID: a.ID, Status: ClientRunning, Tasks: tasks}}}
	if got := levelOf(Report{Nodes: []NodeReport{nr}}); got != 2 {
		t.Errorf("level %d", got)
	}
	h.refuse(Report{Time: 1, Nodes: []NodeReport{nr}}, ErrLevel)
	old := nr.AtLevel(1)
	if got := levelOf(Report{Nodes: []NodeReport{old}}); got != 1 || nr.Allocs[0].Tasks["task-5"].Crash == nil {
		t.Errorf("level %d, or what was given is altered", got)
	}
	h.must(Report{Time: 1, Nodes: []NodeReport{old}})
	if got := h.snap().Alloc(a.ID).TaskStates.Len(); got != 8 {
		t.Errorf("%d tasks", got)
	}
	h.raise()
	nr.Seq = 2
	h.must(Report{Time: 2, Nodes: []NodeReport{nr.AtLevel(2)}})
	var kept []string
	for name, ts := range h.snap().Alloc(a.ID).TaskStates.Map() {
		if ts.Crash != nil {
			kept = append(kept, name)
			checkCrash(t, ts.Crash)
		}
	}
	slices.Sort(kept)
	if want := []string{"task-2", "task-3", "task-4", "task-5"}; !slices.Equal(kept, want) {
		t.Errorf("tails of %v, want those that failed last: %v", kept, want)
	}
	checkInvariants(t, h.snap())
	if plain := map[string]TaskState{"x": {State: TaskDead}}; len(WithoutCrashTails(plain)) != 1 || len(WithoutCrashTails(nil)) != 0 {
		t.Error("states without tails are to stay")
	}
}
