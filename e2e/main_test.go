package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/state"
)

// binaries are what the tests run.
type binaries struct{ drover, hello, refusal string }

// env is set once by TestMain, before any test.
var env binaries

func TestMain(m *testing.M) {
	if err := herd.Main(true); err != nil {
		env.refusal = err.Error()
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "drover-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	env.drover, env.hello = os.Getenv("DROVER_BIN"), os.Getenv("HELLO_BIN")
	for path, pkg := range map[*string]string{&env.drover: "../cmd/drover", &env.hello: "../examples/hello"} {
		if *path != "" || env.refusal != "" {
			continue
		}
		*path = filepath.Join(dir, filepath.Base(pkg))
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *path, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// form makes a herd and waits until it is whole. The test's end ends it and fails when something of it is left.
func form(t *testing.T, o herd.Options) *herd.Herd {
	t.Helper()
	if !herd.Inside() {
		t.Skip("needs the right to make namespaces (root, or user namespaces):", env.refusal)
	}
	if o.Driver == herd.DriverContainerd && herd.OuterUID() != 0 {
		t.Skip("containers need root")
	}
	dir, err := os.MkdirTemp("", "drover-e2e-") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Drover = dir, env.drover
	h, err := herd.New(o)
	if err != nil {
		t.Fatal(errors.Join(err, herd.RemoveTraces(dir), os.RemoveAll(dir)))
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, dir)
		}
		if err := h.Destroy(); err != nil {
			t.Error("destroy the herd:", err)
		}
		for _, left := range h.Leftovers() {
			t.Error("left behind:", left)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if _, err := h.WaitReady(t.Context(), time.Minute); err != nil {
		t.Fatal("form a cluster:", err)
	}
	return h
}

// showLogs quotes what the agents said last.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*", "agent.log"))
	if err != nil {
		return
	}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var lines []string
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "[WARN]") || strings.Contains(line, "[ERROR]") || strings.Contains(line, "[INFO]  drover.client") {
				lines = append(lines, line)
			}
		}
		t.Logf("the end of what %s warns of:\n%s", path, strings.Join(lines[max(0, len(lines)-15):], ""))
	}
}

// eventually waits for a condition of the real world.
func eventually(t *testing.T, timeout time.Duration, what string, check func(context.Context) error) time.Duration {
	t.Helper()
	took, err := waitfor.True(t.Context(), timeout, 25*time.Millisecond, check)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return took
}

// command runs the command line against a node and checks its exit code.
func command(t *testing.T, n *herd.Node, wantCode int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := n.Drover(ctx, args...)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("drover %s: %v", strings.Join(args, " "), err)
	}
	if code != wantCode {
		t.Fatalf("drover %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, wantCode, out)
	}
	return out
}

// says fails unless a text has all the words, in any case.
func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(w)) {
			t.Errorf("%q is not said in:\n%s", w, text)
		}
	}
}

// explained has a test that fails say how the job's copies are.
func explained(t *testing.T, n *herd.Node, job string) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		status, err := n.Drover(ctx, "job", "status", job)
		t.Logf("%s (%v)", status, err)
		copies, err := allocations(ctx, n, job)
		if err != nil {
			t.Log(err)
			return
		}
		for _, a := range copies {
			if a.ClientStatus != state.ClientRunning {
				text, err := n.Drover(ctx, "alloc", "status", a.ID)
				t.Logf("%s (%v)", text, err)
			}
		}
	})
}

// jobFile writes a job file beside the herd's disks.
func jobFile(t *testing.T, text string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.nomad.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// work describes a job of copies of hello.
type work struct {
	id     string
	kind   string // "" means service
	copies int
	image  string // "" runs the plain program
	node   string // where all copies must be; "" for anywhere
	group  string // further text of the group
	task   string // further text of the task
	config string // further text of the task's config; with one, the plain program is not named
	env    map[string]string
}

func (w work) file(t *testing.T) string {
	t.Helper()
	if w.kind == "" {
		w.kind = "service"
	}
	driver, config := "exec", w.config
	switch {
	case w.image != "":
		driver, config = "docker", fmt.Sprintf("image = %q\n%s", "file://"+w.image, w.config)
	case w.config == "":
		config = fmt.Sprintf("command = %q", env.hello)
	}
	if w.node != "" {
		w.group += fmt.Sprintf("constraint {\n      attribute = \"${node.unique.name}\"\n      value     = %q\n    }\n", w.node)
	}
	vars := ""
	for k, v := range w.env {
		vars += fmt.Sprintf("%s = %q\n", k, v)
	}
	return jobFile(t, fmt.Sprintf(`job %q {
  type = %q
  group "g" {
    count = %d
    network {
      port "http" {}
    }
    %s
    task "t" {
      driver = %q
      config {
        %s
      }
      env {
        HELLO_NODE = "${node.unique.name}"
        %s
      }
      resources {
        cpu    = 20
        memory = 48
      }
      %s
    }
  }
}
`, w.id, w.kind, w.copies, w.group, driver, config, vars, w.task))
}

// never is the text of a group whose tasks are started once and placed once.
const never = `restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    `

// helloImage builds the image of hello.
func helloImage(t *testing.T) string {
	t.Helper()
	img, err := image.Build(env.hello, image.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(t.TempDir(), "hello.tar")
	if err := image.WriteTar(img, tar, "example.test/hello:1"); err != nil {
		t.Fatal(err)
	}
	return tar
}
