package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a CrashTail. What is longer is cut, like all that nodes report.
const (
	MaxCrashLines = 20      // of both streams together
	MaxCrashBytes = 2 << 10 // of both streams together, each line with its end
	MaxCrashTails = 4       // of the tasks of one allocation: those that failed last

	maxCrashLine   = 512 // bytes
	maxCrashReason = 256 // bytes
)

// CrashTail is how a task ended when it last failed, with the end of what that run wrote. It stays with the allocation when the
// task is started again, and when its node and its log files are gone.
type CrashTail struct {
	Time     int64 // of the end, the node's wall clock, nanoseconds; shown, never compared
	Reason   string
	ExitCode int      `json:",omitempty"`
	Signal   int      `json:",omitempty"`
	OOM      bool     `json:",omitempty"`
	Unknown  bool     `json:",omitempty"` // the exit code was lost
	Stderr   []string `json:",omitempty"` // its last lines, oldest first, as text that a terminal shows and does not obey
	Stdout   []string `json:",omitempty"`
}

// Bound is the tail within its bounds. Of the lines the last ones are kept; where there is more than room for, standard error has
// three quarters of it. What is bounded once stays as it is.
func (c *CrashTail) Bound() *CrashTail {
	if c == nil {
		return nil
	}
	out := *c
	out.Reason = truncate(harmless(c.Reason), maxCrashReason)
	lines, size := MaxCrashLines, MaxCrashBytes
	if len(c.Stdout) > 0 {
		_, spareLines, spareBytes := lastLines(c.Stdout, MaxCrashLines/4, MaxCrashBytes/4)
		lines, size = lines*3/4+spareLines, size*3/4+spareBytes
	}
	var restLines, restBytes int
	out.Stderr, restLines, restBytes = lastLines(c.Stderr, lines, size)
	if len(c.Stdout) > 0 {
		out.Stdout, _, _ = lastLines(c.Stdout, restLines+MaxCrashLines-lines, restBytes+MaxCrashBytes-size)
	}
	return &out
}

// lastLines are the last of some lines, each bounded and harmless, that fit into so many lines and bytes, and what room is left.
func lastLines(in []string, lines, size int) (out []string, restLines, restBytes int) {
	for _, line := range slices.Backward(in) {
		line = cutLine(harmless(line), maxCrashLine)
		if lines == 0 || len(line)+1 > size {
			break
		}
		lines, size = lines-1, size-len(line)-1
		out = append(out, line)
	}
	slices.Reverse(out)
	return out, lines, size
}

// cutLine cuts a line and marks that it was longer.
func cutLine(s string, most int) string {
	const more = "…"
	if len(s) <= most {
		return s
	}
	return truncate(s, most-len(more)) + more
}

// harmless is text without what a terminal would obey: colours and other sequences of control characters are left out, other
// control characters, those that turn the direction of writing or cannot be seen, and what is not UTF-8 become U+FFFD. The characters
// are listed here, not in a table of the library that grows with its version: every server must store the same.
func harmless(s string) string {
	if !strings.ContainsFunc(s, isHarmful) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		if n := sequence(s); n > 0 {
			s = s[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if isHarmful(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

func isHarmful(r rune) bool {
	switch {
	case r == '\t':
		return false
	case r < ' ', r >= 0x7f && r < 0xa0, r == 0xad, r == 0x61c, r == 0xfeff:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r >= 0xfff9 && r <= 0xfffb:
		return true
	case r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// sequence is the length of the control sequence of a terminal with which a text begins, see ECMA-48: ESC [ parameters and a letter,
// or ESC ] text and its end. 0: it begins with none.
func sequence(s string) int {
	if len(s) < 2 || s[0] != 0x1b {
		return 0
	}
	switch s[1] {
	case '[':
		n := 2
		for n < len(s) && s[n] >= 0x20 && s[n] <= 0x3f {
			n++
		}
		if n < len(s) && s[n] >= 0x40 && s[n] <= 0x7e {
			return n + 1
		}
	case ']':
		n := 2
		for n < len(s) && s[n] >= 0x20 {
			n++
		}
		switch {
		case strings.HasPrefix(s[n:], "\x07"):
			return n + 1
		case strings.HasPrefix(s[n:], "\x1b\\"):
			return n + 2
		}
	}
	return 0
}

// BoundCrashTails keeps, in a map that nobody else has, the tails of those tasks that failed last, at most MaxCrashTails, each within
// its bounds.
func BoundCrashTails(tasks map[string]TaskState) {
	var names []string
	for name, ts := range tasks {
		if ts.Crash != nil {
			ts.Crash = ts.Crash.Bound()
			tasks[name] = ts
			names = append(names, name)
		}
	}
	if len(names) <= MaxCrashTails {
		return
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(tasks[b].Crash.Time, tasks[a].Crash.Time), cmp.Compare(a, b))
	})
	for _, name := range names[MaxCrashTails:] {
		ts := tasks[name]
		ts.Crash = nil
		tasks[name] = ts
	}
}

// WithoutCrashTails are the same task states without the tails: a copy, unless there are none.
func WithoutCrashTails(tasks map[string]TaskState) map[string]TaskState {
	var out map[string]TaskState
	for name, ts := range tasks {
		if ts.Crash == nil {
			continue
		}
		if out == nil {
			out = maps.Clone(tasks)
		}
		ts.Crash = nil
		out[name] = ts
	}
	if out == nil {
		return tasks
	}
	return out
}

// AtLevel is the report without what a cluster of a level cannot store yet.
func (r NodeReport) AtLevel(level int) NodeReport {
	if level >= 2 || !r.needsLevel2() {
		return r
	}
	r = r.Unpacked()
	r.Allocs = slices.Clone(r.Allocs)
	for i := range r.Allocs {
		r.Allocs[i].Tasks = WithoutCrashTails(r.Allocs[i].Tasks)
	}
	return r
}

func (r NodeReport) needsLevel2() bool {
	return len(r.Runs) > 0 || slices.ContainsFunc(r.Allocs, func(a AllocReport) bool {
		for _, ts := range a.Tasks {
			if ts.Crash != nil {
				return true
			}
		}
		return false
	})
}

func (c Report) level() int {
	return levelIf(len(c.Runs) > 0 || slices.ContainsFunc(c.Nodes, NodeReport.needsLevel2))
}
