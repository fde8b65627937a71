package runtime_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

var testNode = &state.Node{
	ID: "node-id", Name: "n1", Datacenter: "dc1", Region: "global", NodePool: "default", NodeClass: "big",
	Attributes: map[string]string{"kernel.name": "linux", "cpu.arch": "amd64", "unique.hostname": "box"},
	Meta:       map[string]string{"rack": "r7", "with-dash": "d"},
}

func TestInterpolation(t *testing.T) {
	env := map[string]string{"NOMAD_PORT_http": "8080", "DROVER_PORT_http": "8080", "NOMAD_PORT_a_b": "1", "PATH": "/bin", "A": "1"}
	for in, want := range map[string]string{
		"plain":                                  "plain",
		"${attr.kernel.name}":                    "linux",
		"x${attr.cpu.arch}y${attr.cpu.arch}":     "xamd64yamd64",
		"${attr.unique.hostname}":                "box",
		"${node.unique.id}/${node.unique.name}":  "node-id/n1",
		"${node.datacenter}${node.class}":        "dc1big",
		"${node.pool} ${node.region}":            "default global",
		"${meta.rack}":                           "r7",
		`${meta["with-dash"]} ${meta.with-dash}`: "d d",
		"${NOMAD_PORT_http}":                     "8080",
		"${DROVER_PORT_http}":                    "8080",
		"${NOMAD_PORT_a-b}":                      "1",
		`${env["PATH"]}:${env.A}`:                "/bin:1",
		`${ env["PATH"] }`:                       "/bin",
		"${FOO}":                                 "${FOO}",                 // the shell's
		"${NOMAD_PORT_http:-80}":                 "${NOMAD_PORT_http:-80}", // the shell's too
		"$HOME $${FOO} ${}":                      "$HOME $${FOO} ${}",
		"$${attr.kernel.name}":                   "${attr.kernel.name}",
		"${other.thing}":                         "${other.thing}",
		"${meta}":                                "${meta}",
		"${unclosed":                             "${unclosed",
	} {
		got, err := runtime.Expand(testNode, env, in)
		if err != nil || got != want {
			t.Errorf("%s becomes %v, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"${attr.kernel.nam}":  "${attr.kernel.nam} is not known on this node, did you mean ${attr.kernel.name}",
		"${NOMAD_PORT_htp}":   "did you mean ${NOMAD_PORT_http}",
		"${meta.rak}":         "did you mean ${meta.rack}",
		`${env["NO_SUCH"]}`:   "${env.NO_SUCH} is not known on this node",
		"a ${node.unique.ip}": "did you mean ${node.unique.id}",
	} {
		_, err := runtime.Expand(testNode, env, in)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, runtime.ErrNotRetryable) {
			t.Errorf("%s gives %v, want %s", in, err, want)
		}
	}
}

func TestInterpolationOfConfig(t *testing.T) {
	in := map[string]any{
		"image": "app:${meta.rack}", "n": 3.0, "b": true, "nothing": nil,
		"args":  []any{"-p", "${NOMAD_PORT_http}", []any{"${meta.rack}"}},
		"list":  []string{"${meta.rack}"},
		"mount": []map[string]any{{"source": "${attr.kernel.name}"}},
		"deep":  map[string]any{"k": map[string]string{"v": "${meta.rack}"}},
	}
	want := map[string]any{
		"image": "app:r7", "n": 3.0, "b": true, "nothing": nil,
		"args":  []any{"-p", "80", []any{"r7"}},
		"list":  []string{"r7"},
		"mount": []map[string]any{{"source": "linux"}},
		"deep":  map[string]any{"k": map[string]string{"v": "r7"}},
	}
	got, err := runtime.Expand(testNode, map[string]string{"NOMAD_PORT_http": "80"}, in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if in["image"] != "app:${meta.rack}" {
		t.Error("the job itself was changed")
	}
	_, err = runtime.Expand(testNode, nil, map[string]any{"args": []any{"x", "${meta.nope}"}})
	if err == nil || !strings.HasPrefix(err.Error(), "config.args[1]: ") {
		t.Errorf("the error does not say where: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		a := task("a", conf{"stdout": "${NOMAD_ADDR_http} ${GREETING} ${env[\"GREETING\"]}"})
		a.Env = map[string]string{"GREETING": "from ${node.unique.name}", "FOR_SHELL": "${HOME}"}
		a.Meta = map[string]string{"color": "red", "with-dash": "x"}
		a.Resources = state.Resources{CPU: 500, MemoryMB: 256}
		as := service(a)
		as.Job.Meta = map[string]string{"color": "blue", "team": "t1"}
		as.Job.TaskGroups[1].Meta = map[string]string{"team": "t2"}
		as.Alloc.Ports = []state.AllocPort{
			{Label: "http", HostIP: "10.0.0.5", HostPort: 21000, To: 8080},
			{Label: "admin-ui", HostIP: "fd00::5", HostPort: 21001, To: 21001},
		}
		as.Alloc.Index = 2
		g.change = func(c *runtime.Config) { c.Cgroup = "/drover/node-1" }
		g.reopen()
		g.run(as)
		spec, ok := g.m.Spec(taskA)
		if !ok {
			t.Fatalf("%s", describe(g.view(allocID)))
		}
		for name, want := range map[string]string{
			"ALLOC_ID": allocID, "SHORT_ALLOC_ID": "a1b2c3d4", "ALLOC_NAME": "web.g[0]", "ALLOC_INDEX": "2",
			"TASK_NAME": "a", "GROUP_NAME": "g", "JOB_ID": "web", "JOB_NAME": "web", "NAMESPACE": "default", "REGION": "global",
			"DC": "dc1", "ALLOC_DIR": "/alloc", "TASK_DIR": "/local", "SECRETS_DIR": "/secrets",
			"CPU_LIMIT": "500", "MEMORY_LIMIT": "256", "PARENT_CGROUP": "/drover/node-1/" + allocID,
			"IP_http": "10.0.0.5", "PORT_http": "8080", "ADDR_http": "10.0.0.5:21000",
			"HOST_IP_http": "10.0.0.5", "HOST_PORT_http": "21000", "HOST_ADDR_http": "10.0.0.5:21000",
			"ALLOC_IP_http": "10.0.0.5", "ALLOC_PORT_http": "8080", "ALLOC_ADDR_http": "10.0.0.5:8080",
			"ADDR_admin_ui": "[fd00::5]:21001", "PORT_admin_ui": "21001",
			"META_color": "red", "META_COLOR": "red", "META_team": "t2", "META_TEAM": "t2", "META_with_dash": "x",
		} {
			for _, prefix := range []string{"NOMAD_", "DROVER_"} {
				if got := spec.Env[prefix+name]; got != want {
					t.Errorf("%s%s is %q, want %q", prefix, name, got, want)
				}
			}
		}
		if spec.Env["GREETING"] != "from n1" || spec.Env["FOR_SHELL"] != "${HOME}" {
			t.Errorf("env block: %q %q", spec.Env["GREETING"], spec.Env["FOR_SHELL"])
		}
		if _, ok := spec.Env["PATH"]; ok {
			t.Error("the agent's PATH leaked into a container")
		}
		if want := "10.0.0.5:21000 ${GREETING} from n1"; spec.Config["stdout"] != want {
			t.Errorf("config: %q, want %q", spec.Config["stdout"], want)
		}
		if !reflect.DeepEqual(spec.Limits, runtime.Limits{CPUShares: 256, MemoryMB: 256}) { // 500 of 2000 MHz per core
			t.Errorf("limits %+v", spec.Limits)
		}
		if spec.Cgroup != "/drover/node-1/"+allocID+"/a" || spec.Labels[runtime.LabelJob] != "web" || spec.Labels[runtime.LabelNode] != "node-1" {
			t.Errorf("cgroup %q, labels %v", spec.Cgroup, spec.Labels)
		}
	})
}

// outside is a driver whose tasks see the host's paths.
type outside struct{ *fake.Driver }

func (outside) InContainer() bool { return false }

func TestEnvironmentOutsideContainers(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.change = func(c *runtime.Config) {
			c.Drivers = map[string]runtime.Driver{"exec": outside{g.d}}
			c.HostEnv = map[string]string{"PATH": "/usr/bin"}
		}
		g.reopen()
		a := task("a", nil)
		a.Driver = "raw_exec"
		a.LogConfig.Disabled = true
		g.run(service(a))
		spec, _ := g.m.Spec(taskA)
		want := filepath.Join(g.dir, "allocs", allocID)
		if spec.Env["NOMAD_ALLOC_DIR"] != want+"/alloc" || spec.Env["NOMAD_TASK_DIR"] != want+"/a/local" ||
			spec.Env["NOMAD_SECRETS_DIR"] != want+"/a/secrets" || spec.Env["PATH"] != "/usr/bin" {
			t.Errorf("%v", spec.Env)
		}
	})
}

func TestUnresolvedIsASetupFailure(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.run(service(task("a", conf{"stdout": "${attr.kernel.nam}"})))
		a := g.wantStatus(allocID, state.ClientFailed)
		g.wantEvents(allocID, "a", runtime.EventReceived, runtime.EventSetup, runtime.EventSetupFailure, runtime.EventNotRestarting)
		if !strings.Contains(a.Description, "did you mean ${attr.kernel.name}") {
			t.Errorf("%s", a.Description)
		}
	})
}

func TestJudgeRestart(t *testing.T) {
	now := time.Unix(1e9, 0)
	fail := state.RestartPolicy{Attempts: 2, Interval: time.Minute, Delay: 8 * time.Second, Mode: state.RestartModeFail}
	delay := fail
	delay.Mode = state.RestartModeDelay
	never := state.RestartPolicy{Interval: time.Minute, Mode: state.RestartModeFail}
	for _, c := range []struct {
		name    string
		policy  state.RestartPolicy
		since   time.Duration // before now
		count   int
		restart bool
		min     time.Duration
		left    int
	}{
		{"first", fail, 0, 0, true, 8 * time.Second, 1},
		{"second", fail, 30 * time.Second, 1, true, 8 * time.Second, 2},
		{"used up", fail, 30 * time.Second, 2, false, 0, 2},
		{"used up at the end of the interval", fail, 59 * time.Second, 2, false, 0, 2},
		{"a new interval", fail, 60 * time.Second, 2, true, 8 * time.Second, 1},
		{"a clock that was set back", fail, -time.Hour, 2, true, 8 * time.Second, 1},
		{"used up, mode delay", delay, 45 * time.Second, 2, true, 23 * time.Second, 1},
		{"no attempts", never, 0, 0, false, 0, 0},
	} {
		restart, d, reason, left := runtime.JudgeRestart(c.policy, now.Add(-c.since), c.count, now, taskA, 1)
		if restart != c.restart || left != c.left || reason == "" {
			t.Errorf("%s: restart %v, count %d (%s), want %v, %d", c.name, restart, left, reason, c.restart, c.left)
		}
		if restart && (d < c.min || d > c.min+c.policy.Delay/4) {
			t.Errorf("%s: delay %s, want %s and up to a quarter of %s", c.name, d, c.min, c.policy.Delay)
		}
		if _, again, _, _ := runtime.JudgeRestart(c.policy, now.Add(-c.since), c.count, now, taskA, 1); again != d {
			t.Errorf("%s: delay %s, then %s", c.name, d, again)
		}
	}
	low, high := time.Duration(math.MaxInt64), time.Duration(0)
	for run := range 200 {
		_, d, _, _ := runtime.JudgeRestart(fail, now, 0, now, taskA, run)
		low, high = min(low, d), max(high, d)
	}
	if low > 8100*time.Millisecond || high < 9900*time.Millisecond || high > 10*time.Second {
		t.Errorf("jitter spreads delays over %s..%s", low, high)
	}
}

func TestDirectories(t *testing.T) {
	old := unix.Umask(0o077) // modes do not depend on it
	defer unix.Umask(old)
	dir := t.TempDir()
	tasks := []state.Task{{Name: "web"}, {Name: "db", User: "1000:1001"}}
	for range 2 {
		if err := runtime.MakeTaskDirs(dir, tasks); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]os.FileMode{
		"alloc": 0o777 | os.ModeSticky, "alloc/data": 0o777, "alloc/logs": 0o755, "alloc/tmp": 0o777 | os.ModeSticky,
		"web": 0o711, "web/local": 0o777, "web/secrets": 0o700, "web/tmp": 0o777 | os.ModeSticky, "db/secrets": 0o700,
	} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode() &^ os.ModeDir; got != want {
			t.Errorf("mode of %s is %v, want %v", path, got, want)
		}
	}
}

// TestGiveSecrets: the directory and what the agent put there belong to the task's user, nothing else does.
func TestGiveSecrets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	dir := filepath.Join(t.TempDir(), "secrets")
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{os.Mkdir(dir, 0o755), os.Mkdir(filepath.Join(dir, "sub"), 0o700), os.WriteFile(outside, nil, 0o600),
		os.WriteFile(filepath.Join(dir, "sub/token"), nil, 0o400), os.WriteFile(filepath.Join(dir, "other"), nil, 0o400),
		os.Chown(filepath.Join(dir, "other"), 7, 7), os.Symlink(outside, filepath.Join(dir, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := runtime.GiveSecrets(dir, 1000, 1001); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][2]uint32{dir: {1000, 1001}, dir + "/sub": {1000, 1001}, dir + "/sub/token": {1000, 1001}, dir + "/other": {7, 7}, outside: {0, 0}} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d, %v; want %v", path, st.Uid, st.Gid, err, want)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := runtime.GiveSecrets(filepath.Join(dir, "nothere"), 1, 1); err == nil {
		t.Error("a directory that is not there was given away")
	}
}

// TestHostileLinks: a task is root in its container and may replace what is below /alloc.
func TestHostileLinks(t *testing.T) {
	dir, host := t.TempDir(), t.TempDir()
	tasks := []state.Task{{Name: "web"}}
	if err := runtime.MakeTaskDirs(dir, tasks); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(host, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := runtime.TaskSpec{Stdout: filepath.Join(dir, "alloc/logs/web.stdout"), Stderr: filepath.Join(dir, "alloc/logs/web.stderr")}

	if err := os.Symlink(victim, spec.Stdout); err != nil {
		t.Fatal(err)
	}
	if err := runtime.MakeLogs(dir, spec); err == nil {
		t.Error("a link as log file was followed")
	}
	if err := runtime.FileReader(dir, "alloc/logs/web.stdout", nil2).Read(t.Context(), 0, false, func(int64, []byte) error {
		t.Error("read through a link")
		return nil
	}); err == nil {
		t.Error("no error")
	}
	if err := os.RemoveAll(filepath.Join(dir, "alloc/logs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(host, filepath.Join(dir, "alloc/logs")); err != nil {
		t.Fatal(err)
	}
	if err := runtime.MakeLogs(dir, spec); err == nil {
		t.Error("a link as log directory was followed")
	}
	if err := runtime.MakeTaskDirs(dir, tasks); err == nil {
		t.Error("a link as log directory was accepted")
	}
	if _, err := runtime.TrimFile(dir, "alloc/logs/victim", 1, 0, true); err == nil {
		t.Error("a file outside was trimmed")
	}
	if err := runtime.RemoveTree(dir); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the host's file: %q, %v", data, err)
	}
}

func TestRemoveUnmounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir, host := t.TempDir(), t.TempDir()
	victim := filepath.Join(host, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "web/local/with space")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(host, inner, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("cannot mount here: %v", err)
	}
	if err := runtime.RemoveTree(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(victim); err != nil {
		t.Errorf("what was mounted was emptied: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}
