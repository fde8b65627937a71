package exec

import (
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/runtime"
)

const nobody = 65534

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		block map[string]any
		want  string
	}{
		"nothing":    {nil, "command is required"},
		"blank":      {map[string]any{"command": " "}, "command is required"},
		"typing":     {map[string]any{"comand": "x"}, `unknown key "comand": did you mean "command"?`},
		"stranger":   {map[string]any{"command": "x", "image": "y"}, `unknown key "image": the exec driver knows args and command`},
		"later":      {map[string]any{"command": "x", "cap_add": []any{"net_raw"}}, "cap_add is not supported by the exec driver yet"},
		"number":     {map[string]any{"command": 5}, "command must be a string, not int"},
		"args":       {map[string]any{"command": "x", "args": "y"}, "args must be a list of strings, not string"},
		"arg":        {map[string]any{"command": "x", "args": []any{"a", []any{}}}, "args[1] must be a string"},
		"zero byte":  {map[string]any{"command": "x", "args": []any{"a\x00b"}}, "zero byte"},
		"zero bytes": {map[string]any{"command": "\x00"}, "zero byte"},
	} {
		err := CheckConfig(c.block)
		if err == nil || !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	got, err := parseConfig(map[string]any{"command": "x", "args": []any{"a", 1, int64(2), 1e6, 0.5, true}})
	if diff := cmp.Diff([]string{"a", "1", "2", "1000000", "0.5", "true"}, got.args); err != nil || diff != "" {
		t.Errorf("got %v %s", err, diff)
	}
}

func TestFindCommand(t *testing.T) {
	dir := t.TempDir()
	local := filepath.Join(dir, "local")
	for path, mode := range map[string]os.FileMode{"local/tool": 0o755, "local/both": 0o755, "bin/both": 0o755, "bin/plain": 0o644,
		"top": 0o755, "local/shadow": 0o644, "bin/shadow": 0o755} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"A=b", "PATH=relative:" + filepath.Join(dir, "bin")}
	for command, want := range map[string]string{
		"tool":            "local/tool",
		"both":            "local/both",
		"shadow":          "bin/shadow",
		"top":             "top",
		"./top":           "top",
		"local/tool":      "local/tool",
		"bin/both":        "bin/both",
		dir + "/bin/both": "bin/both",
	} {
		got, err := findCommand(command, dir, local, env)
		if err != nil || got != filepath.Join(dir, want) {
			t.Errorf("%s: got %s, %v, want %s", command, got, err, want)
		}
	}
	for command, want := range map[string]string{
		"plain":         "plain is not executable (mode -rw-r--r--): chmod +x it",
		"absent":        `command "absent" not found in the task's directories nor its PATH ` + filepath.Join(dir, "bin"),
		"./absent":      `command "./absent" not found in the task's directories:`,
		dir:             "is a directory",
		"/dev/null":     "not a regular file",
		dir + "/absent": "does not exist",
	} {
		_, err := findCommand(command, dir, local, env)
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", command, err, want)
		}
	}
}

func TestWhatCannotBeExecuted(t *testing.T) {
	isolated(t, func(b *bench) {
		spec := b.spec("")
		for name, c := range map[string]struct{ text, want string }{
			"no-format":      {"\x7fELF nonsense", "not a program of this machine"},
			"no-interpreter": {"#!/no/such/shell\n", "its interpreter"},
		} {
			if err := os.WriteFile(filepath.Join(spec.Dirs.Local, name), []byte(c.text), 0o755); err != nil {
				b.Fatal(err)
			}
			spec.Config = map[string]any{"command": name}
			_, err := b.driver.Start(b.ctx(), spec)
			if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), c.want) {
				b.Errorf("%s: got %v, want %s", name, err, c.want)
			}
			b.remove(spec.ID) // looks for what is left; Start had to clear up itself:
			if left, err := os.ReadDir(b.cfg.Dir); err != nil || len(left) > 0 {
				b.Errorf("left: %v, %v", left, err)
			}
		}
	})
}

func TestRunAsUser(t *testing.T) {
	b := newBench(t)
	spec := b.spec(`echo "$(id -u):$(id -g):$(id -G)" >> /dev/stdout; exec sleep 1000`)
	spec.User = "nobody"
	if os.Geteuid() != 0 {
		spec.User = "root"
		if _, err := b.driver.Start(b.ctx(), spec); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "not root") {
			t.Errorf("got %v", err)
		}
		return
	}
	openPath(t, b.root)
	b.start(spec)
	b.printed("65534:65534:65534\n")
	if err := b.driver.Signal(b.ctx(), spec.ID, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	b.wait(spec.ID)
	spec.User = "1234:5678"
	b.start(spec)
	b.printed("1234:5678:5678\n")
	for _, user := range []string{"no-such-user", "nobody:no-such-group", "-1", "4294967296"} {
		b.remove(spec.ID)
		spec.User = user
		if _, err := b.driver.Start(b.ctx(), spec); !errors.Is(err, runtime.ErrNotRetryable) {
			t.Errorf("%s: got %v", user, err)
		}
	}
}

// openPath lets other users into a test's directory.
func openPath(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// Below the agent's data directory a task sees its own directories only, and reaches them as any user.
func TestDataDirIsHidden(t *testing.T) {
	var data string
	b := newBench(t, func(c *Config) { data = filepath.Dir(c.Dir); c.DataDir = data })
	if !b.driver.mode.namespaces {
		t.Skip("needs namespaces")
	}
	if err := os.WriteFile(filepath.Join(data, "node.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	spec := b.spec(`cd ` + data + ` && ls; pwd; echo mine > web/local/mine && echo shared > alloc/shared; ls web; touch x 2>/dev/null || echo sealed`)
	if os.Geteuid() == 0 {
		spec.User = "nobody"
		openPath(t, filepath.Dir(data))
		if err := os.Chmod(data, 0o700); err != nil { // as the agent keeps it
			t.Fatal(err)
		}
		for _, dir := range []string{spec.Dirs.Alloc, spec.Dirs.Local, spec.Dirs.Secrets} {
			if err := os.Chown(dir, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.start(spec)
	if x := b.wait(spec.ID); !x.Success() {
		t.Errorf("got %+v, %s", x, b.read("err"))
	}
	want := data + "\nlocal\nsecrets\nsealed\n"
	if os.Geteuid() != 0 {
		want = "alloc\nweb\n" + want
	}
	if got := b.read("out"); got != want {
		t.Errorf("got %q, want %q, errors %q", got, want, b.read("err"))
	}
	if err := os.WriteFile(filepath.Join(data, "tool"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	spec.Config = map[string]any{"command": filepath.Join(data, "tool")}
	if _, err := b.driver.Start(b.ctx(), spec); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "do not see") {
		t.Errorf("a command in the hidden directory: got %v", err)
	}
	for _, file := range []string{"web/local/mine", "alloc/shared", "node.json"} {
		if _, err := os.Stat(filepath.Join(data, file)); err != nil {
			t.Error(err)
		}
	}
}

// TestSecretsOfAUser: what the agent put into a task's secrets is for the user that the task runs as, and for nobody else.
func TestSecretsOfAUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to run tasks as another user")
	}
	b := newBench(t)
	spec := b.spec(`cat "$1/s" && echo own > "$1/own" && stat -c '%a %u' "$1" "$1/s"`)
	spec.Config["args"] = append(spec.Config["args"].([]any), "sh", spec.Dirs.Secrets)
	spec.User = "nobody"
	openPath(t, spec.Dirs.Secrets)
	if err := os.WriteFile(filepath.Join(spec.Dirs.Secrets, "s"), []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(spec)
	if x := b.wait(spec.ID); !x.Success() {
		t.Errorf("got %+v, %s", x, b.read("err"))
	}
	if got, want := b.read("out"), "a secret\n700 65534\n600 65534\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	other := b.spec(`cat "$1/s"`)
	other.ID.Task, other.User = "other", "65533"
	other.Config["args"] = append(other.Config["args"].([]any), "sh", spec.Dirs.Secrets)
	other.Dirs.Secrets = t.TempDir()
	openPath(t, other.Dirs.Secrets)
	b.start(other)
	if x := b.wait(other.ID); x.Success() || !strings.Contains(b.read("err"), "ermission denied") {
		t.Errorf("another user got %+v, %s %s", x, b.read("out"), b.read("err"))
	}
}

func TestWithin(t *testing.T) {
	got := within("/data", "/data/a/web", "/data/a/alloc", "/data/a/web/local", "", "/data/a/web", "/elsewhere/x", "/data", "/database/y")
	if diff := cmp.Diff([]string{"/data/a/web", "/data/a/alloc"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestJoinsNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	isolated(t, func(b *bench) {
		other := osexec.Command("sleep", "1000")
		other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if err := other.Start(); err != nil {
			b.Skip("cannot make a network namespace: ", err)
		}
		defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
		path := "/proc/" + strconv.Itoa(other.Process.Pid) + "/ns/net"
		want, err := os.Readlink(path)
		if err != nil {
			b.Fatal(err)
		}
		spec := b.spec(`readlink /proc/self/ns/net`)
		spec.NetNS = path
		b.start(spec)
		b.wait(spec.ID)
		if got := strings.TrimSpace(b.read("out")); got != want {
			b.Errorf("got %s, want %s", got, want)
		}
		spec.NetNS = "/no/such/netns"
		if _, err := b.driver.Start(b.ctx(), spec); err == nil || errors.Is(err, runtime.ErrNotRetryable) {
			b.Errorf("got %v, want an error that may pass", err)
		}
	})
}

func TestNamespacesAreItsOwn(t *testing.T) {
	b := newBench(t)
	if !b.driver.mode.namespaces {
		t.Skip("needs namespaces")
	}
	spec := b.spec(`for n in mnt pid uts ipc net; do readlink /proc/self/ns/$n; done; echo $$; ls -d /proc/[0-9]* | wc -l; grep CapAmb /proc/self/status`)
	b.start(spec)
	b.wait(spec.ID)
	out := strings.Split(b.read("out"), "\n")
	for i, n := range []string{"mnt", "pid", "uts", "ipc"} {
		if host, _ := os.Readlink("/proc/self/ns/" + n); host == out[i] || out[i] == "" {
			t.Errorf("%s: got %q, the host's is %q", n, out[i], host)
		}
	}
	if host, _ := os.Readlink("/proc/self/ns/net"); host != out[4] {
		t.Errorf("net: got %q, want the host's", out[4])
	}
	if n, err := strconv.Atoi(strings.TrimSpace(out[6])); err != nil || n < 2 || n > 5 { // init, sh, and what that has just started
		t.Errorf("it sees %d processes, %v", n, err)
	}
	if got := strings.Fields(out[7]); got[1] != strings.Repeat("0", 16) {
		t.Errorf("it has capabilities %v", got)
	}
}

// Everything again as a user without rights: with the namespaces that such a user may have, and without any.
func TestAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("is one already")
	}
	dir, err := os.MkdirTemp("", "drover-exec")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "exec.test")
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.skip", "TestAsNobody", "-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	again := osexec.Command(program, args...)
	again.Dir, again.SysProcAttr = dir, as(nobody)
	again.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "GOCOVERDIR="+dir)
	out, err := again.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- SKIP") || strings.Contains(line, "needs ") || strings.Contains(line, "do not work") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
