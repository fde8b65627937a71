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

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/drover-io/drover/runtime"
)

func TestDriver(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		cases(t, h, map[string]func(*testing.T, *host){
			"exit codes":          testExitCodes,
			"output":              testOutput,
			"signals":             testSignals,
			"out of memory":       testOutOfMemory,
			"pids limit":          testPidsLimit,
			"reserved":            testReserved,
			"environment":         testEnvironment,
			"directories":         testDirectories,
			"isolation":           testIsolation,
			"attach":              testAttach,
			"remove":              testRemove,
			"list":                testList,
			"bad commands":        testBadCommands,
			"left-overs":          testLeftOvers,
			"two tasks, one shim": testGroup,
			"concurrent starts":   testConcurrentStarts,
			"fingerprint":         testFingerprint,
			"commands":            testCommands,
			"terminal":            testTerminal,
			"abandoned command":   testAbandonedCommand,
			"stats":               testStats,
		})
	})
}

func testExitCodes(t *testing.T, h *host) {
	d := h.driver(t, "n-exit")
	for _, code := range []string{"0", "3"} {
		spec := h.task(t, d, "exit", code)
		exit, _ := run(t, d, spec)
		if got, want := exit.Code, int(code[0]-'0'); got != want || exit.Unknown || exit.Signal != 0 || exit.OOM || exit.At.IsZero() {
			t.Errorf("exit %s: %+v", code, exit)
		}
		if again := wait(t, d, spec.ID); again.Code != exit.Code {
			t.Errorf("waiting again says %+v, before %+v", again, exit)
		}
	}
	_, err := d.Wait(t.Context(), runtime.TaskID{AllocID: "none", Task: "none"})
	if !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("wait for a task that never was: %v", err)
	}
}

func testOutput(t *testing.T, h *host) {
	d := h.driver(t, "n-output")
	spec := h.task(t, d, "print", "to out", "to err")
	run(t, d, spec)
	h.remove(t, d, spec.ID)
	run(t, d, spec) // appends
	if got, want := read(t, spec.Stdout), "to out\nto out\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if got, want := read(t, spec.Stderr), "to err\nto err\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

func testSignals(t *testing.T, h *host) {
	d := h.driver(t, "n-signal")
	spec := h.task(t, d, "trap")
	start(t, d, spec)
	prints := func(text string) {
		eventually(t, "it prints "+text, func() bool { return strings.Contains(read(t, spec.Stdout), text) })
	}
	prints("ready")
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := d.Signal(t.Context(), spec.ID, s); err != nil {
			t.Fatal(err)
		}
		prints(s.String())
	}
	if exit := wait(t, d, spec.ID); exit.Code != 7 {
		t.Errorf("exit %+v, want code 7", exit)
	}
	if err := d.Signal(t.Context(), spec.ID, syscall.SIGTERM); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("signal to an ended task: %v", err)
	}
	killed := h.task(t, d, "sleep")
	start(t, d, killed)
	if err := d.Signal(t.Context(), killed.ID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, d, killed.ID); exit.Signal != 9 || exit.Code != 137 || exit.OOM || exit.Unknown {
		t.Errorf("exit after SIGKILL %+v", exit)
	}
}

func testOutOfMemory(t *testing.T, h *host) {
	d := h.driver(t, "n-oom")
	spec := h.task(t, d, "eat", "200")
	spec.Limits.MemoryMB = 32
	if exit, out := run(t, d, spec); !exit.OOM || exit.Signal != 9 {
		t.Errorf("exit %+v after %q, want an OOM kill", exit, out)
	}
	fits := h.task(t, d, "eat", "8")
	if exit, out := run(t, d, fits); exit.OOM || exit.Code != 0 {
		t.Errorf("exit %+v after %q, want success", exit, out)
	}
}

func testPidsLimit(t *testing.T, h *host) {
	d := h.driver(t, "n-pids")
	spec := h.task(t, d, "fork", "100")
	spec.Config["pids_limit"] = float64(40)
	start(t, d, spec)
	wait(t, d, spec.ID)
	if out := read(t, spec.Stdout); !strings.HasPrefix(out, "children ") || out == "children 100\n" {
		t.Errorf("with a limit of 40 it says %q", out)
	}
}

func testEnvironment(t *testing.T, h *host) {
	d := h.driver(t, "n-env")
	spec := h.task(t, d, "env")
	spec.Env = map[string]string{"BOTH": "task", "TASK": "a=b c"}
	_, out := run(t, d, spec)
	for _, want := range []string{"FROM=image\n", "BOTH=task\n", "TASK=a=b c\n", "PATH=/bin\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("environment lacks %q: %s", want, out)
		}
	}
	for name, c := range map[string]struct {
		config map[string]any
		want   string
	}{
		"image's own": {map[string]any{}, `["of" "image"]`},
		"command":     {map[string]any{"command": "args", "args": []any{"x"}}, `["x"]`},
		"entrypoint":  {map[string]any{"entrypoint": []any{"/bin/probe", "args"}}, `[]`},
		"both":        {map[string]any{"entrypoint": "/bin/probe", "command": "args", "args": []any{"y"}}, `["y"]`},
	} {
		spec := h.task(t, d)
		delete(spec.Config, "args")
		for k, v := range c.config {
			spec.Config[k] = v
		}
		if exit, out := run(t, d, spec); strings.TrimSpace(out) != c.want || exit.Code != 0 {
			t.Errorf("%s: printed %q and %+v, want %s", name, out, exit, c.want)
		}
		h.remove(t, d, spec.ID)
	}
}

func testDirectories(t *testing.T, h *host) {
	d := h.driver(t, "n-dirs")
	spec := h.task(t, d, "cat", "/secrets/s", "/local/l", "/alloc/a", "/etc/resolv.conf", "/etc/hosts")
	for path, text := range map[string]string{filepath.Join(spec.Dirs.Secrets, "s"): "one", filepath.Join(spec.Dirs.Local, "l"): "two", filepath.Join(spec.Dirs.Alloc, "a"): "three"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, out := run(t, d, spec)
	if want := "one\ntwo\nthree\n" + read(t, "/etc/resolv.conf") + "\n" + read(t, "/etc/hosts") + "\n"; out != want {
		t.Errorf("read %q, want %q; stderr %s", out, want, read(t, spec.Stderr))
	}
	writes := h.task(t, d, "write", "/local/new", "text")
	run(t, d, writes)
	if got := read(t, filepath.Join(writes.Dirs.Local, "new")); got != "text" {
		t.Errorf("written %q", got)
	}
	limit := h.task(t, d, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		limit = h.task(t, d, "cat", "/sys/fs/cgroup/memory.max")
	}
	if _, out := run(t, d, limit); strings.TrimSpace(out) != "67108864" {
		t.Errorf("the memory limit reads %q inside; stderr %s", out, read(t, limit.Stderr))
	}
}

func testIsolation(t *testing.T, h *host) {
	d := h.driver(t, "n-isolation")
	spec := h.task(t, d, "self")
	spec.User = "nobody"
	spec.Config["hostname"] = "box"
	spec.Config["work_dir"] = "/var"
	_, out := run(t, d, spec)
	net, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"uid 65534 gid 65534", "hostname box", "dir /var", "pid 1\n", "netns " + net, "NoNewPrivs: 1", "oom_score_adj 200"}
	if d.runc(t.Context()).seccomp {
		want = append(want, "Seccomp: 2")
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("lacks %q: %s", w, out)
		}
	}
	root := h.task(t, d, "self")
	_, out = run(t, d, root)
	const caps = "CapEff: 00000000a80405fb" // Docker's default without NET_RAW
	if !strings.Contains(out, caps) || strings.Contains(out, "proc is writable") {
		t.Errorf("as root, want %s: %s", caps, out)
	}
}

func testAttach(t *testing.T, h *host) {
	first := h.driver(t, "n-attach")
	spec := h.task(t, first, "trap")
	began := start(t, first, spec)
	second := h.driver(t, "n-attach") // the agent was killed and started again
	again := start(t, second, spec)
	if !again.Attached || again.PID != began.PID || began.PID == 0 {
		t.Errorf("started %+v, again %+v", began, again)
	}
	if diff := again.StartedAt.Sub(began.StartedAt).Abs().Seconds(); diff > 5 {
		t.Errorf("started at %s, again %s", began.StartedAt, again.StartedAt)
	}
	eventually(t, "it is ready", func() bool { return strings.Contains(read(t, spec.Stdout), "ready") })
	if err := second.Signal(t.Context(), spec.ID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, second, spec.ID); exit.Code != 7 {
		t.Errorf("exit %+v", exit)
	}
}

func testRemove(t *testing.T, h *host) {
	d := h.driver(t, "n-remove")
	spec := h.task(t, d, "sleep")
	start(t, d, spec)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		exit, err := d.Wait(ctx, spec.ID)
		if err != nil && !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("wait while it is removed: %v", err)
		}
		if err == nil && exit.Success() {
			t.Errorf("wait while it is removed says success: %+v", exit)
		}
	})
	for range 2 { // the second time there is nothing
		if err := d.Remove(t.Context(), spec.ID); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if _, err := d.Wait(t.Context(), spec.ID); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("wait after remove: %v", err)
	}
	for _, m := range cgroupMounts(cgroupRoot) {
		if _, err := os.Stat(filepath.Join(m, filepath.Dir(spec.Cgroup))); err == nil {
			t.Errorf("cgroup of the alloc is left under %s", m)
		}
	}
}

func testList(t *testing.T, h *host) {
	d, other := h.driver(t, "n-list"), h.driver(t, "n-list-other")
	runs, ended, foreign := h.task(t, d, "sleep"), h.task(t, d, "exit", "0"), h.task(t, other, "sleep")
	st := start(t, d, runs)
	start(t, other, foreign)
	run(t, d, ended)
	list, err := d.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("found %d tasks, %v; want the node's two", len(list), err)
	}
	for _, f := range list {
		want := f.ID == runs.ID
		if f.Running != want || f.ID != runs.ID && f.ID != ended.ID || want && f.PID != st.PID {
			t.Errorf("found %+v", f)
		}
		l := f.Labels
		if l[runtime.LabelNode] != "n-list" || l[runtime.LabelCluster] != "cluster-1" || l[runtime.LabelJob] != "example" || l[runtime.LabelAlloc] != f.ID.AllocID {
			t.Errorf("labels %v", l)
		}
	}
}

func testBadCommands(t *testing.T, h *host) {
	d := h.driver(t, "n-bad")
	for name, c := range map[string]struct {
		config map[string]any
		user   string
		want   string
	}{
		"command not there":  {map[string]any{"entrypoint": "nothere"}, "", `command "nothere" not found in image`},
		"path not there":     {map[string]any{"entrypoint": "/no/such"}, "", `command "/no/such" not found in image`},
		"not a program":      {map[string]any{"entrypoint": "/etc/passwd"}, "", "cannot be run"},
		"user not there":     {map[string]any{}, "ghost", `user "ghost" not found in image`},
		"image file missing": {map[string]any{"image": "file:///no/such.tar"}, "", "image file /no/such.tar is not on this node"},
		"relative file":      {map[string]any{"image": "file://x.tar"}, "", "must be absolute"},
		"bad name":           {map[string]any{"image": "Not A Name"}, "", "read image name"},
	} {
		spec := h.task(t, d, "exit", "0")
		spec.User = c.user
		for k, v := range c.config {
			spec.Config[k] = v
		}
		_, err := d.Start(t.Context(), spec)
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q and not retryable", name, err, c.want)
		}
	}
	list, err := d.List(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("failed starts left %v, %v", list, err)
	}
}

func testConcurrentStarts(t *testing.T, h *host) {
	d := h.driver(t, "n-many")
	same := h.task(t, d, "sleep")
	var wg sync.WaitGroup
	pids := make([]int, 4)
	for i := range pids {
		wg.Go(func() {
			st, err := d.Start(t.Context(), same)
			if err != nil {
				t.Error(err)
			}
			pids[i] = st.PID
		})
	}
	others := []runtime.TaskSpec{h.task(t, d, "exit", "0"), h.task(t, d, "exit", "0"), h.task(t, d, "exit", "0")}
	for _, spec := range others {
		wg.Go(func() {
			if _, err := d.Start(t.Context(), spec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range pids {
		if p != pids[0] || p == 0 {
			t.Errorf("one task, several processes: %v", pids)
		}
	}
	for _, spec := range others {
		if exit := wait(t, d, spec.ID); !exit.Success() {
			t.Errorf("exit %+v", exit)
		}
	}
}

func testFingerprint(t *testing.T, h *host) {
	d := h.driver(t, "n-fp")
	fp := d.Fingerprint(t.Context())
	if !fp.Info.Detected || !fp.Info.Healthy {
		t.Fatalf("fingerprint %+v", fp)
	}
	embedded := "false"
	if h.ownShim {
		embedded = "true"
	}
	a := fp.Attributes
	if a["driver.containerd"] != "1" || a["driver.docker"] != "1" || a["driver.containerd.embedded"] != embedded ||
		a["driver.containerd.version"] == "" || a["driver.docker.version"] == "" || !strings.HasPrefix(a["driver.containerd.runtime"], "runc ") {
		t.Errorf("attributes %v", a)
	}
	t.Log(a)
}

func snapshotsOf(t *testing.T, ctx context.Context, s *session) []string {
	t.Helper()
	var names []string
	err := s.SnapshotService(s.snapshotter).Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func itoa(n int) string { return strconv.Itoa(n) }
