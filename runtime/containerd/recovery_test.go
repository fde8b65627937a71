package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/exitnote"
)

// TestRecovery kills daemons and shims, so its cases run one after the other.
func TestRecovery(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		t.Run("daemon killed while tasks run", func(t *testing.T) { testDaemonKilled(t, h) })
		t.Run("exits while the daemon is away", func(t *testing.T) { testExitsMissed(t, h) })
		t.Run("daemon away", func(t *testing.T) { testDaemonAway(t, h) })
		t.Run("shim killed", func(t *testing.T) { testShimKilled(t, h) })
		t.Run("machine rebooted", func(t *testing.T) { testRebooted(t, h) })
	})
}

// testDaemonKilled: the task runs on, its output is whole, and who waits does not notice.
func testDaemonKilled(t *testing.T, h *host) {
	d := h.driver(t, "n-killed")
	spec := h.task(t, d, "trap")
	st := start(t, d, spec)
	var wg sync.WaitGroup
	var exit runtime.Exit
	wg.Go(func() { exit = wait(t, d, spec.ID) })
	h.kill(t)
	h.start(t)
	eventually(t, "the task is signalled through the new daemon", func() bool {
		return d.Signal(t.Context(), spec.ID, syscall.SIGHUP) == nil
	})
	eventually(t, "it says so", func() bool { return strings.Contains(read(t, spec.Stdout), "hangup") })
	var found []runtime.Found
	eventually(t, "it is listed", func() bool {
		var err error
		found, err = d.List(t.Context())
		return err == nil && len(found) == 1
	})
	if !found[0].Running || found[0].PID != st.PID {
		t.Errorf("started %+v, found %+v", st, found[0])
	}
	if err := d.Signal(t.Context(), spec.ID, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if exit.Code != 7 || exit.Unknown {
		t.Errorf("exit %+v", exit)
	}
	if out := read(t, spec.Stdout); out != "ready\nhangup\nterminated\n" {
		t.Errorf("output %q", out)
	}
}

// testExitsMissed: containerd 2.x forgets such exits, 1.6 does not. Our own shim notes them. The other task of the alloc runs on.
func testExitsMissed(t *testing.T, h *host) {
	d := h.driver(t, "n-missed")
	gate := func(spec runtime.TaskSpec) string { return filepath.Join(spec.Dirs.Local, "gate") }
	stays := h.task(t, d, "trap")
	ends := h.task(t, d, "after", "/local/gate", "9")
	ends.Group = stays.Group
	alone := h.task(t, d, "after", "/local/gate", "11")
	var pids []int
	for _, spec := range []runtime.TaskSpec{stays, ends, alone} {
		pids = append(pids, start(t, d, spec).PID)
	}
	h.kill(t)
	for _, spec := range []runtime.TaskSpec{ends, alone} {
		if err := os.WriteFile(gate(spec), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range pids[1:] {
		eventually(t, "the process ended", func() bool {
			_, state, err := processStart(pid)
			return err != nil || state == 'Z'
		})
	}
	h.start(t)
	for spec, want := range map[*runtime.TaskSpec]int{&ends: 9, &alone: 11} {
		if exit := wait(t, d, spec.ID); exit.Code != want || exit.Unknown || exit.At.IsZero() {
			t.Errorf("exit %+v, want code %d", exit, want)
		}
	}
	if err := d.Signal(t.Context(), stays.ID, syscall.SIGTERM); err != nil {
		t.Errorf("the task that stayed: %v", err)
	}
	if exit := wait(t, d, stays.ID); exit.Code != 7 && exit.Signal != int(syscall.SIGTERM) {
		t.Errorf("exit of the task that stayed %+v", exit)
	}
}

// testDaemonAway: a daemon of the host's is not ours to start.
func testDaemonAway(t *testing.T, h *host) {
	d := h.driver(t, "n-away")
	spec := h.task(t, d, "sleep")
	st := start(t, d, spec)
	h.kill(t)
	_, err := d.List(t.Context())
	if h.ownShim {
		if err != nil {
			t.Errorf("our own daemon was not started again: %v", err)
		}
		return
	}
	if !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("list without a daemon: %v", err)
	}
	if _, err := d.Start(t.Context(), h.task(t, d, "sleep")); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("start without a daemon: %v", err)
	}
	if fp := d.Fingerprint(t.Context()); fp.Info.Healthy || fp.Info.HealthDescription == "" {
		t.Errorf("fingerprint without a daemon: %+v", fp)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := d.Wait(ctx, spec.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait without a daemon: %v", err)
	}
	h.start(t)
	eventually(t, "the driver connects again", func() bool { _, err := d.List(t.Context()); return err == nil })
	if again := start(t, d, spec); !again.Attached || again.PID != st.PID {
		t.Errorf("attached to %+v, want %+v", again, st)
	}
}

// testShimKilled: containerd takes the container down, and the code is not the program's.
func testShimKilled(t *testing.T, h *host) {
	d := h.driver(t, "n-shim")
	spec := h.task(t, d, "sleep")
	st := start(t, d, spec)
	shim, err := strconv.Atoi(parentOf(t, st.PID))
	if err != nil || !strings.Contains(strings.Join(h.processes(), "\n"), "-namespace drover") {
		t.Fatalf("the parent of process %d is no shim: %v", st.PID, h.processes())
	}
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, d, spec.ID); exit.Success() {
		t.Errorf("exit %+v, want a failure", exit)
	}
	h.remove(t, d, spec.ID)
	eventually(t, "the process is gone", func() bool {
		_, state, err := processStart(st.PID)
		return err != nil || state == 'Z'
	})
	if again := start(t, d, spec); again.Attached {
		t.Error("attached to a dead task")
	}
}

// testRebooted: the container's boot ID is another one, and there is no task.
func testRebooted(t *testing.T, h *host) {
	d := h.driver(t, "n-boot")
	spec := h.task(t, d, "exit", "0")
	run(t, d, spec)
	s, ctx, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.ownShim { // its note follows the answer to whoever waits, and deleting the task ends the shim
		eventually(t, "the shim noted the exit", func() bool {
			_, ok, err := exitnote.Read(exitsDir(s.address), containerID(spec.ID))
			return ok && err == nil
		})
	}
	task, err := loadTask(ctx, s, containerID(spec.ID))
	if err == nil {
		_, err = task.Delete(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if h.ownShim {
		if exit := wait(t, d, spec.ID); exit.Unknown {
			t.Errorf("the shim noted nothing: %+v", exit)
		}
	} else if exit := wait(t, d, spec.ID); !exit.Unknown || exit.Success() {
		t.Errorf("no task, no note: %+v, want unknown", exit)
	}
	next := h.driver(t, "n-boot")
	next.bootID = "another"
	if _, err := next.Wait(t.Context(), spec.ID); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("wait after a reboot: %v", err)
	}
	if st := start(t, next, spec); st.Attached {
		t.Error("attached after a reboot")
	}
	if exit := wait(t, next, spec.ID); !exit.Success() {
		t.Errorf("exit %+v", exit)
	}
}
