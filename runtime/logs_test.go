package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

func line(i int) string { return fmt.Sprintf("line %07d %s\n", i, strings.Repeat("x", i%90)) }

// collect reads a log to its end and returns it with the offset of its first byte.
func collect(t *testing.T, l *runtime.LogReader, offset int64) (first int64, text string) {
	t.Helper()
	var b bytes.Buffer
	first = -1
	err := l.Read(context.Background(), offset, false, func(at int64, p []byte) error {
		if first < 0 {
			first = at
		}
		if len(p) > 64<<10 {
			t.Errorf("a piece of %d bytes", len(p))
		}
		b.Write(p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return first, b.String()
}

// wantLines checks that text is whole lines with consecutive numbers, the last being last.
func wantLines(t *testing.T, text string, last int) (lines int) {
	t.Helper()
	n := -1
	for l := range strings.Lines(text) {
		var i int
		if _, err := fmt.Sscanf(l, "line %d", &i); err != nil || l != line(i) {
			t.Fatalf("after line %d comes %.80q", n, l)
		}
		if n >= 0 && i != n+1 {
			t.Fatalf("after line %d comes line %d", n, i)
		}
		n = i
		lines++
	}
	if n != last {
		t.Fatalf("the last line is %d, want %d", n, last)
	}
	return lines
}

// TestTrimWhileItIsWritten: a writer appends, a reader follows, and the head is freed again and again. No line among those kept
// is lost, and offsets stay what they were.
func TestTrimWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	const rel, lines, keep = "out", 60000, 512 << 10
	w, err := os.OpenFile(filepath.Join(dir, rel), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	offsets := make([]int64, lines) // where each line begins
	var total int64
	for i := range lines {
		offsets[i] = total
		total += int64(len(line(i)))
	}
	done := make(chan struct{})
	over := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range lines {
			if _, err := w.WriteString(line(i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() { // follows; may be overtaken by the trimming, but never sees anything but lines
		var rest []byte
		var next int64
		err := runtime.FileReader(dir, rel, over).Read(context.Background(), 0, true, func(at int64, p []byte) error {
			if at != next {
				rest = nil // overtaken
			}
			next = at + int64(len(p))
			if bytes.IndexByte(p, 0) >= 0 {
				return errors.New("zeros were read")
			}
			rest = append(rest, p...)
			for {
				i := bytes.IndexByte(rest, '\n')
				if i < 0 {
					return nil
				}
				var n int
				if _, err := fmt.Sscanf(string(rest[:i]), "line %d", &n); err != nil || string(rest[:i+1]) != line(n) {
					return fmt.Errorf("not a line: %.80q", rest[:i])
				}
				rest = rest[i+1:]
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	trims := 0
	for !over() {
		if _, err := runtime.TrimFile(dir, rel, keep, keep/4, true); err != nil {
			t.Fatal(err)
		}
		trims++
	}
	if _, err := runtime.TrimFile(dir, rel, keep, keep/4, true); err != nil {
		t.Fatal(err)
	}
	wg.Wait()

	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != total {
		t.Errorf("size %d, want %d: offsets have moved", info.Size(), total)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, rel), &st); err != nil {
		t.Fatal(err)
	}
	if onDisk := st.Blocks * 512; onDisk > keep+64<<10 {
		t.Errorf("%d bytes on disk, want at most %d", onDisk, keep)
	}
	l := runtime.FileReader(dir, rel, over)
	first, text := collect(t, l, 0)
	n := wantLines(t, text, lines-1)
	if offsets[lines-n] != first {
		t.Errorf("line %d is at offset %d, want %d", lines-n, first, offsets[lines-n])
	}
	if kept := total - first; kept < keep/2 {
		t.Errorf("only %d bytes were kept of %d", kept, keep)
	}
	if at, err := l.Tail(10); err != nil || at != offsets[lines-10] {
		t.Errorf("the last 10 lines begin at %d, %v, want %d", at, err, offsets[lines-10])
	}
	if at, err := l.Tail(lines); err != nil || at != first {
		t.Errorf("more lines than were kept begin at %d, %v, want %d", at, err, first)
	}
	t.Logf("%d bytes written, %d lines kept, looked %d times", total, n, trims)
}

func TestTrimWithoutHoles(t *testing.T) {
	dir := t.TempDir()
	w, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 5000 {
		if _, err := w.WriteString(line(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := runtime.TrimFile(dir, "out", 64<<10, 16<<10, false); err == nil || !strings.Contains(err.Error(), "copied its tail") {
		t.Errorf("no warning: %v", err)
	}
	if _, err := w.WriteString(line(5000)); err != nil {
		t.Fatal(err)
	}
	info, err := w.Stat()
	if err != nil || info.Size() > 70<<10 {
		t.Fatalf("size %d, %v", info.Size(), err)
	}
	_, text := collect(t, runtime.FileReader(dir, "out", nil2), 1<<40) // an offset of before: behind the end
	_, text, _ = strings.Cut(text, "\n")
	wantLines(t, text, 5000)
}

func nil2() bool { return true }

func TestTail(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"", 5, ""},
		{"a\nb\nc\n", 0, ""},
		{"a\nb\nc\n", 1, "c\n"},
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc\n", 9, "a\nb\nc\n"},
		{"a\nb\nc", 2, "b\nc"},
		{"\n\n\n", 2, "\n\n"},
		{strings.Repeat("y", 200<<10) + "\nz\n", 1, "z\n"},
		{"a\n" + strings.Repeat("y", 200<<10) + "\n", 1, strings.Repeat("y", 200<<10) + "\n"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "out"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := runtime.FileReader(dir, "out", nil2)
		at, err := l.Tail(c.n)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.text[at:]; got != c.want {
			t.Errorf("tail %d of %.20q is %.20q, want %.20q", c.n, c.text, got, c.want)
		}
		if _, got := collect(t, l, at); got != c.want {
			t.Errorf("read %.20q, want %.20q", got, c.want)
		}
	}
}

func TestFollowEndsWithTheTask(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(batch(task("a", conf{"run_for": "5s", "stdout": "hello"})))
		l, err := g.r.OpenLog(allocID, "a", runtime.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		var got bytes.Buffer
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := l.Read(context.Background(), 0, true, func(_ int64, p []byte) error { got.Write(p); return nil }); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(2 * time.Second)
		f, err := os.OpenFile(filepath.Join(g.dir, "allocs", allocID, "alloc/logs/a.stdout"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("more\nand no newline"); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if want := "hello\nmore\nand no newline"; got.String() != want {
			t.Errorf("followed %q, want %q", got.String(), want)
		}
		if took := time.Since(begin); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("the end came after %s", took)
		}
		if _, err := g.r.OpenLog(allocID, "zzz", runtime.Stdout); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("unknown task: %v", err)
		}
		if _, err := g.r.OpenLog("zzz", "a", runtime.Stdout); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("unknown allocation: %v", err)
		}
		if _, err := g.r.OpenLog(allocID, "a", "stdin"); err == nil {
			t.Error("there is no stdin to read")
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"stdout": "hello"})))
		l, err := g.r.OpenLog(allocID, "a", runtime.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.Read(ctx, 0, true, func(int64, []byte) error { return nil }); err != nil {
			t.Error(err)
		}
		enough := errors.New("enough")
		if err := l.Read(context.Background(), 0, true, func(int64, []byte) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
	})
}

// TestLogsAreBoundedByTheRunner: the runner looks by itself, and looks often while a task floods.
func TestLogsAreBoundedByTheRunner(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		a := service(task("a", nil))
		a.Job.TaskGroups[1].Tasks[0].LogConfig.MaxFiles = 2
		a.Job.TaskGroups[1].Tasks[0].LogConfig.MaxFileSizeMB = 1
		g.run(a)
		path := filepath.Join(g.dir, "allocs", allocID, "alloc/logs/a.stdout")
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		chunk := bytes.Repeat([]byte(strings.Repeat("f", 1023)+"\n"), 256)
		var most int64
		for range 120 { // 30 MiB in a minute
			if _, err := f.Write(chunk); err != nil {
				t.Fatal(err)
			}
			g.sleep(500 * time.Millisecond)
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				t.Fatal(err)
			}
			most = max(most, st.Blocks*512)
		}
		if most > 8<<20 {
			t.Errorf("%d MiB on disk at most, the bound is 2 MiB", most>>20)
		}
		g.sleep(time.Minute)
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if kept := st.Blocks * 512; kept > 2<<20+64<<10 || kept < 1<<20 {
			t.Errorf("%d KiB on disk, the bound is 2 MiB", kept>>10)
		}
		synctest.Wait()
	})
}
