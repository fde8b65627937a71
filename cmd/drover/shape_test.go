package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
)

func TestTablesFitTheTerminal(t *testing.T) {
	var b bytes.Buffer
	rows := [][]string{{"web", "running", strings.Repeat("long ", 30)}, {"a\x1b[2J\nb", "failed", "short"}}
	if err := table(&screen{Writer: &b, width: 40, color: true}, "ID|Status|Description", rows); err != nil {
		t.Fatal(err)
	}
	plain := b.String()
	for _, code := range []string{"\033[1m", "\033[0m", "\033[32m", "\033[31m"} {
		if !strings.Contains(plain, code) {
			t.Errorf("no %q in %q", code, plain)
		}
		plain = strings.ReplaceAll(plain, code, "")
	}
	want := "ID       Status   Description\nweb      running  long long long long l…\na\uFFFD[2J b  failed   short\n"
	if plain != want {
		t.Errorf("got %q, want %q", plain, want)
	}
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	var b bytes.Buffer
	v := map[string]any{"A": "yes", "B": []string{}, "C": 12345678901234567, "D": "two\nlines", "E": nil, "F": map[string]any{"G": "1.0", "H": true}}
	if err := writeYAML(&b, v); err != nil {
		t.Fatal(err)
	}
	want := "A: \"yes\"\nB: []\nC: 12345678901234567\nD: |-\n  two\n  lines\nE: null\nF:\n  G: \"1.0\"\n  H: true\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestWatchAppendsOnlyWhatIsNew(t *testing.T) {
	before := "ID   Status\nweb  running\nsum  dead\n"
	now := "ID         Status\nweb        running\nlong-name  pending\nsum        dead\n"
	if got, want := newLines(before, now), "long-name  pending\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRedrawStaysOnOneScreen(t *testing.T) {
	got := redraw("1\n2\n3\n4\n5\n6\n", 5)
	if want := "\033[H1\033[K\r\n2\033[K\r\n3\033[K\r\n… 3 lines more\033[K\r\n\033[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWatch lists jobs until it is interrupted while one is registered and stopped.
func TestWatch(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errOut lockedBuffer
	var code int
	var wg sync.WaitGroup
	wg.Go(func() { code = h.app(strings.NewReader(""), &out, &errOut).run(ctx, []string{"job", "status", "-w"}) })
	h.waitFor(&out, "No jobs.")
	h.must("job", "run", "testdata/web.hcl")
	h.waitFor(&out, "web")
	h.waitFor(&out, "running")
	h.must("job", "stop", "web")
	h.waitFor(&out, "dead (stopped)")
	cancel()
	wg.Wait()
	if code != 0 || errOut.String() != "" {
		t.Errorf("exit %d, %s", code, errOut.String())
	}
	if n := strings.Count(out.String(), "Submit Date"); n != 1 {
		t.Errorf("the header stands there %d times:\n%s", n, out.String())
	}
}
