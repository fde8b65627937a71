package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
)

// inside runs a command in the bench's task and returns what it wrote.
func (b *bench) inside(spec runtime.TaskSpec, stdin string, args ...string) (code int, out, errOut string, err error) {
	b.Helper()
	var stdout, stderr bytes.Buffer
	code, err = b.driver.Exec(b.ctx(), spec, runtime.Command{
		Args: args, Stdin: io.NopCloser(strings.NewReader(stdin)), Stdout: &stdout, Stderr: &stderr,
	})
	return code, stdout.String(), stderr.String(), err
}

func TestExec(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec("echo up; exec sleep 1000")
		spec.Labels[runtime.LabelNode] = "node-1"
		b.start(spec)
		b.printed("up")
		t := b.T
		if code, out, errOut, err := b.inside(spec, "moo", "sh", "-c", "cat; echo oops >&2; exit 3"); code != 3 || out != "moo" || errOut != "oops\n" || err != nil {
			t.Errorf("exit code %d, %q, %q, %v", code, out, errOut, err)
		}
		if _, out, _, err := b.inside(spec, "", "sh", "-c", "echo $GREETING $DROVER_COMMAND; pwd"); !strings.HasPrefix(out, "moo node-1/") || !strings.Contains(out, b.root) || err != nil {
			t.Errorf("environment and directory: %q, %v", out, err)
		}
		if b.driver.mode.namespaces {
			if _, out, _, err := b.inside(spec, "", "sh", "-c", "cat /proc/1/comm"); out != "drover-init\n" || err != nil {
				t.Errorf("first process of its namespace: %q, %v", out, err)
			}
		}
		if code, _, _, err := b.inside(spec, "", "no-such-program"); code != 127 || !errors.Is(err, runtime.ErrNoCommand) {
			t.Errorf("no such program: exit code %d, %v", code, err)
		}
		if code, _, _, err := b.inside(spec, "", "/etc/passwd"); code != 126 || !errors.Is(err, runtime.ErrBadCommand) {
			t.Errorf("no program: exit code %d, %v", code, err)
		}
		if code, _, _, err := b.inside(spec, "", "sh", "-c", "kill -KILL $$"); code != 137 || err != nil {
			t.Errorf("killed: exit code %d, %v", code, err)
		}
		began := time.Now()
		if _, out, _, err := b.inside(spec, "", "sh", "-c", "sleep 1000 & echo $!"); out == "" || err != nil || time.Since(began) > 10*time.Second {
			t.Errorf("what it leaves running holds it up: %q, %v, %s", out, err, time.Since(began))
		}
		if _, out, _, err := b.inside(spec, "", "sh", "-c", "head -c 1000000 /dev/zero"); len(out) != 1_000_000 || err != nil {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	})
}

// TestExecTerminal: a command gets a terminal of its own, of the size that its user's has.
func TestExecTerminal(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec("exec sleep 1000")
		b.start(spec)
		r, w := io.Pipe()
		var out lockedBuffer
		sizes := make(chan runtime.TTYSize, 1)
		sizes <- runtime.TTYSize{Rows: 33, Columns: 77}
		var wg sync.WaitGroup
		wg.Go(func() {
			code, err := b.driver.Exec(b.ctx(), spec, runtime.Command{Args: []string{"sh"}, TTY: true, Stdin: r, Stdout: &out, Resize: sizes})
			if code != 5 || err != nil {
				b.Errorf("exit code %d, %v, %q", code, err, out.String())
			}
		})
		typed := func(line, want string) {
			b.Helper()
			if _, err := fmt.Fprintln(w, line); err != nil {
				b.Fatal(err)
			}
			eventually(b.T, "the terminal shows "+want, func() bool { return strings.Contains(out.String(), want) })
		}
		typed("until stty size | grep 33; do sleep 0.01; done", "33 77\r\n")
		sizes <- runtime.TTYSize{Rows: 11, Columns: 22}
		typed("until stty size | grep 11; do sleep 0.01; done", "11 22\r\n")
		typed("tty; echo $TERM", "/dev/pts/")
		typed("echo $TERM", "xterm\r\n")
		typed("cat", "cat")
		typed("moo", "moo\r\n")
		eventually(b.T, "cat repeats it", func() bool { return strings.Count(out.String(), "moo\r\n") == 2 })
		if _, err := w.Write([]byte("\x03")); err != nil { // ^C goes to what runs there
			b.Fatal(err)
		}
		for n := 0; !strings.Contains(out.String(), "alive-2"); n++ { // a shell drops what was typed before it noticed
			typed("echo alive-$((1+1)) "+strings.Repeat("x", n), "\r\n")
			if n > 1000 {
				b.Fatalf("^C does not end what runs: %q", out.String())
			}
			<-time.After(10 * time.Millisecond)
		}
		if _, err := fmt.Fprintln(w, "exit 5"); err != nil {
			b.Fatal(err)
		}
		wg.Wait()
	})
}

// TestExecDies: a command whose user has gone is killed, with all that came of it, also what hides.
func TestExecDies(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec("echo up; exec sleep 1000")
		spec.Labels[runtime.LabelNode] = "node-1"
		b.start(spec)
		b.printed("up")
		ctx, cancel := context.WithCancel(b.ctx())
		var out lockedBuffer
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.driver.Exec(ctx, spec, runtime.Command{
				Args: []string{"sh", "-c", "setsid sleep 2000 & (sleep 2000 &) ; trap '' TERM HUP; echo $$ ready; sleep 2000"}, Stdout: &out, Stderr: &out,
			})
			if !errors.Is(err, context.Canceled) {
				b.Error(err)
			}
		})
		eventually(b.T, "the command runs", func() bool { return strings.Contains(out.String(), "ready") })
		mark := runtime.CommandMark + "node-1/"
		eventually(b.T, "its children run", func() bool { return len(markedWith(mark)) >= 4 })
		cancel()
		wg.Wait()
		if left := markedWith(mark); len(left) > 0 {
			b.Errorf("processes %v are left", left)
		}
		if code, _, _, err := b.inside(spec, "", "true"); code != 0 || err != nil {
			b.Errorf("the task has suffered: %d, %v", code, err)
		}
	})
}

// TestExecEndsWithTheTask: the end of the task ends its commands.
func TestExecEndsWithTheTask(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec("echo up; exec sleep 1000")
		b.start(spec)
		b.printed("up")
		var out lockedBuffer
		var wg sync.WaitGroup
		wg.Go(func() {
			code, err := b.driver.Exec(b.ctx(), spec, runtime.Command{Args: []string{"sh", "-c", "echo ready; sleep 1000"}, Stdout: &out, Stderr: &out})
			if code != 137 && !errors.Is(err, runtime.ErrNotRunning) {
				b.Errorf("exit code %d, %v, %q", code, err, out.String())
			}
		})
		eventually(b.T, "the command runs", func() bool { return strings.Contains(out.String(), "ready") })
		if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		wg.Wait()
		b.wait(spec.ID)
		if _, _, _, err := b.inside(spec, "", "true"); err == nil {
			b.Error("a command runs in a task that has ended")
		}
	})
}

func TestStats(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec("echo up; while :; do :; done")
		spec.Limits = runtime.Limits{CPUShares: 512, MemoryMB: 64}
		b.start(spec)
		b.printed("up")
		var u runtime.Usage
		eventually(b.T, "it has used processor time", func() bool {
			var err error
			if u, err = b.driver.Stats(b.ctx(), spec.ID); err != nil {
				b.Fatal(err)
			}
			return u.CPUNanos > uint64(50*time.Millisecond)
		})
		if u.MemoryBytes == 0 || u.MemoryBytes > 64<<20 || u.Pids == 0 || u.Pids > 5 {
			b.Errorf("%+v", u)
		}
		if b.driver.groups.version != CgroupsNone && u.MemoryLimit != 64<<20 {
			b.Errorf("limit %d", u.MemoryLimit)
		}
		if plain := processUsage(b.load(spec.ID).rec.PID); plain.CPUNanos == 0 || plain.MemoryBytes == 0 || plain.Pids != 1 {
			b.Errorf("of its processes: %+v", plain)
		}
		b.remove(spec.ID)
		if _, err := b.driver.Stats(b.ctx(), spec.ID); !errors.Is(err, runtime.ErrNotFound) {
			b.Error(err)
		}
	})
}

func (b *bench) load(id runtime.TaskID) *task {
	b.Helper()
	name, err := taskName(id)
	if err != nil {
		b.Fatal(err)
	}
	t, err := b.driver.load(name)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// markedWith lists the processes whose environment has an entry that begins with mark.
func markedWith(mark string) []int {
	var pids []int
	for _, pid := range processes() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && strings.Contains("\x00"+string(data), "\x00"+mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
