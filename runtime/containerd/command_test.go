package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
)

// inside runs a command in a task's container and returns what it wrote.
func inside(t *testing.T, d *Driver, spec runtime.TaskSpec, stdin string, args ...string) (code int, out, errOut string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr safeBuffer
	code, err = d.Exec(ctx, spec, runtime.Command{Args: args, Stdin: io.NopCloser(strings.NewReader(stdin)), Stdout: &stdout, Stderr: &stderr})
	return code, stdout.String(), stderr.String(), err
}

func testCommands(t *testing.T, h *host) {
	d := h.driver(t, "n-command")
	spec := h.task(t, d, "sleep")
	spec.Env = map[string]string{"GREETING": "moo"}
	start(t, d, spec)
	if code, out, errOut, err := inside(t, d, spec, "moo", "/bin/probe", "echo", "3"); code != 3 || out != "moo" || errOut != "done\n" || err != nil {
		t.Errorf("exit code %d, %q, %q, %v", code, out, errOut, err)
	}
	if _, out, _, err := inside(t, d, spec, "", "/bin/probe", "env"); !strings.Contains(out, "GREETING=moo\n") || !strings.Contains(out, "FROM=image\n") || err != nil {
		t.Errorf("environment %q, %v", out, err)
	}
	large := strings.Repeat("x", 1_000_000)
	if _, out, _, err := inside(t, d, spec, large, "/bin/probe", "echo", "0"); out != large || err != nil {
		t.Errorf("%d bytes of %d, %v", len(out), len(large), err)
	}
	if code, _, _, err := inside(t, d, spec, "", "no-such-program"); code != 127 || !errors.Is(err, runtime.ErrNoCommand) {
		t.Errorf("no such program: exit code %d, %v", code, err)
	}
	if code, _, _, err := inside(t, d, spec, "", "/etc/hosts"); code != 126 || !errors.Is(err, runtime.ErrBadCommand) {
		t.Errorf("no program: exit code %d, %v", code, err)
	}
	if _, _, _, err := inside(t, d, runtime.TaskSpec{ID: runtime.TaskID{AllocID: "none", Task: "none"}}, "", "true"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("no such container: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(d.fifoDir(), "*")); len(left) > 0 {
		t.Errorf("streams are left: %v", left)
	}
}

func testTerminal(t *testing.T, h *host) {
	d := h.driver(t, "n-terminal")
	spec := h.task(t, d, "sleep")
	start(t, d, spec)
	r, w := io.Pipe()
	var out safeBuffer
	sizes := make(chan runtime.TTYSize, 1)
	sizes <- runtime.TTYSize{Rows: 33, Columns: 77}
	var wg sync.WaitGroup
	wg.Go(func() {
		code, err := d.Exec(t.Context(), spec, runtime.Command{Args: []string{"/bin/probe", "sizes"}, TTY: true, Stdin: r, Stdout: &out, Stderr: &out, Resize: sizes})
		if code != 4 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
	})
	eventually(t, "it has the size", func() bool { return strings.Contains(out.String(), "size 33 77 xterm\r\n") })
	sizes <- runtime.TTYSize{Rows: 11, Columns: 22}
	eventually(t, "it has the new size", func() bool { return strings.Contains(out.String(), "size 11 22 xterm\r\n") })
	if _, err := w.Write([]byte("moo\r")); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if !strings.HasSuffix(out.String(), "read moo\r\n") {
		t.Errorf("%q", out.String())
	}
}

// testAbandonedCommand: a command whose user has gone is killed with all that came of it, and so is that of an agent that was killed.
func testAbandonedCommand(t *testing.T, h *host) {
	d := h.driver(t, "n-abandoned")
	spec := h.task(t, d, "sleep")
	start(t, d, spec)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		var out safeBuffer
		_, err := d.Exec(ctx, spec, runtime.Command{Args: []string{"/bin/probe", "hide"}, Stdout: &out, Stderr: &out})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	mark := runtime.CommandMark + d.cfg.NodeID + "/"
	eventually(t, "it runs", func() bool { return marked(mark) == 2 })
	cancel()
	wg.Wait()
	if n := marked(mark); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	for left := time.Duration(0); left < 200*time.Millisecond; left += 10 * time.Millisecond { // also one who goes while it is started
		brief, gone := context.WithTimeout(t.Context(), left)
		_, err := d.Exec(brief, spec, runtime.Command{Args: []string{"/bin/probe", "hide"}, Stdout: io.Discard, Stderr: io.Discard})
		gone()
		if n := marked(mark); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its user left after %s: %d processes are left, %v", left, n, err)
		}
	}
	wg.Go(func() {
		_, _ = d.Exec(t.Context(), spec, runtime.Command{Args: []string{"/bin/probe", "hide"}, Stdout: io.Discard, Stderr: io.Discard})
	})
	eventually(t, "it runs", func() bool { return marked(mark) == 2 })
	next := h.driver(t, "n-abandoned") // of the next life of the agent
	wg.Wait()
	if n := marked(mark); n != 0 {
		t.Errorf("%d processes are left of the earlier agent's command", n)
	}
	if found, err := next.List(t.Context()); err != nil || len(found) != 1 || !found[0].Running {
		t.Errorf("the task has suffered: %+v, %v", found, err)
	}
}

// marked counts the processes whose environment has an entry that begins with mark.
func marked(mark string) int {
	n := 0
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil && strings.Contains("\x00"+string(b), "\x00"+mark) {
			n++
		}
	}
	return n
}

func testStats(t *testing.T, h *host) {
	d := h.driver(t, "n-stats")
	spec := h.task(t, d, "sleep")
	start(t, d, spec)
	u, err := d.Stats(t.Context(), spec.ID)
	if err != nil {
		t.Fatal(err)
	}
	if u.CPUNanos == 0 || u.CPUNanos > uint64(time.Minute) || u.MemoryBytes == 0 || u.MemoryBytes > 64<<20 || u.MemoryLimit != 64<<20 || u.Pids == 0 {
		t.Errorf("%+v", u)
	}
	if _, err := d.Stats(t.Context(), runtime.TaskID{AllocID: "none", Task: "none"}); !errors.Is(err, runtime.ErrNotFound) {
		t.Error(err)
	}
}

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
