package exec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/runtime"
)

// helperEnv makes the test binary a program for tests to run.
const helperEnv = "EXEC_TEST_HELPER"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "exec-init" {
		syscall.Exit(InitMain(os.Args[2:])) // not os.Exit: the race detector sleeps for a second in it
	}
	switch os.Getenv(helperEnv) {
	case "eat":
		eatMemory()
	case "agent":
		dyingAgent()
	}
	os.Exit(m.Run())
}

// eatMemory touches memory until it is killed.
func eatMemory() {
	var held [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		held = append(held, b)
		if len(held) > 4096 {
			fmt.Println("nobody killed me")
			os.Exit(0)
		}
	}
}

// bench is a driver with a directory for its task.
type bench struct {
	*testing.T
	driver *Driver
	cfg    Config
	root   string
	cgroup string
}

func newBench(t *testing.T, edit ...func(*Config)) *bench {
	t.Helper()
	root := t.TempDir()
	b := &bench{T: t, root: root, cfg: Config{Dir: filepath.Join(root, "exec"), Logger: hclog.NewNullLogger()}}
	for _, f := range edit {
		f(&b.cfg)
	}
	b.cgroup = fmt.Sprintf("/drover-test-%d/%s", os.Getpid(), filepath.Base(filepath.Dir(root)))
	b.open()
	return b
}

// isolated runs a test at each isolation that works here.
func isolated(t *testing.T, f func(b *bench)) {
	for _, level := range []string{IsolationNamespaces, IsolationNone} {
		t.Run(level, func(t *testing.T) {
			if level == IsolationNamespaces {
				auto := newBench(t)
				if !auto.driver.mode.namespaces {
					t.Skip("namespaces do not work here")
				}
			}
			f(newBench(t, func(c *Config) { c.Isolation = level }))
		})
	}
}

// open makes a new driver over the same directory, as a new agent does.
func (b *bench) open() {
	b.Helper()
	var err error
	if b.driver, err = Open(b.cfg); err != nil {
		b.Fatal(err)
	}
}

// spec is a task that runs a script with sh.
func (b *bench) spec(script string) runtime.TaskSpec {
	b.Helper()
	id := runtime.TaskID{AllocID: "5d4ad3f6-0000-8000-8000-" + filepath.Base(filepath.Dir(b.root)), Task: "web"}
	if len(id.AllocID) > 100 {
		id.AllocID = id.AllocID[:100]
	}
	taskDir := filepath.Join(b.root, "web")
	s := runtime.TaskSpec{
		ID: id, Labels: map[string]string{runtime.LabelAlloc: id.AllocID, runtime.LabelTask: id.Task},
		Config: map[string]any{"command": "sh", "args": []any{"-c", script}},
		Env:    map[string]string{"GREETING": "moo"},
		Dirs: runtime.TaskDirs{Alloc: filepath.Join(b.root, "alloc"), Local: filepath.Join(taskDir, "local"),
			Secrets: filepath.Join(taskDir, "secrets")},
		Stdout: filepath.Join(b.root, "out"), Stderr: filepath.Join(b.root, "err"),
	}
	if b.driver.groups.version != CgroupsNone {
		s.Cgroup = b.cgroup
	}
	for _, dir := range []string{s.Dirs.Alloc, s.Dirs.Local, s.Dirs.Secrets} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// start starts the task, and removes it when the test ends.
func (b *bench) start(spec runtime.TaskSpec) runtime.Started {
	b.Helper()
	b.Cleanup(func() { b.remove(spec.ID) })
	started, err := b.driver.Start(b.ctx(), spec)
	if err != nil {
		b.Fatal(err)
	}
	return started
}

// remove removes the task and looks for what it left.
func (b *bench) remove(id runtime.TaskID) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.driver.Remove(ctx, id); err != nil {
		b.Error(err)
	}
	name, _ := taskName(id)
	if _, err := os.Stat(b.driver.dir(name)); err == nil {
		b.Errorf("%s is left", b.driver.dir(name))
	}
	if pids := marked(marker(name)); len(pids) > 0 {
		b.Errorf("processes %v are left", pids)
	}
	for _, root := range b.driver.groups.roots {
		if _, err := os.Stat(filepath.Join(root, filepath.Dir(b.cgroup))); err == nil && b.driver.groups.version != CgroupsNone {
			b.Errorf("cgroup %s is left in %s", filepath.Dir(b.cgroup), root)
		}
	}
}

func (b *bench) wait(id runtime.TaskID) runtime.Exit {
	b.Helper()
	x, err := b.driver.Wait(b.ctx(), id)
	if err != nil {
		b.Fatal(err)
	}
	return x
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	b.Cleanup(cancel)
	return ctx
}

func (b *bench) read(name string) string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(b.root, name))
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

// eventually polls until ok, or fails the test.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// printed waits until the task has written text to its standard output.
func (b *bench) printed(text string) {
	b.Helper()
	eventually(b.T, "the task prints "+text, func() bool { return strings.Contains(b.read("out"), text) })
}

func alive(pid int) bool {
	st, err := readStat(pid)
	if err != nil {
		return false
	}
	p := openProcess(pid, st.start)
	if p == nil {
		return false
	}
	p.close()
	return true
}

// as makes the attributes of a command that runs as another user.
func as(uid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}
