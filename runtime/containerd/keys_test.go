package containerd

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

// keyCase proves what one key does by what a program in the container sees.
type keyCase struct {
	config string   // in JSON
	args   []string // of the probe
	want   []string // patterns of its output
	user   string
	setup  func(t *testing.T, spec *runtime.TaskSpec)
	check  func(t *testing.T, spec runtime.TaskSpec)
}

// flushed is how long after its exit the last that a program printed may take until it is in its file: the shim tells of the exit when it sees it,
// and copies what was printed beside that.
const flushed = 5 * time.Second

// generous is a node that allows everything.
func generous(c *Config) {
	c.Policy = Policy{Privileged: true, Caps: []string{"all"}, Devices: []string{"/dev/*"}, Unconfined: true, HostPaths: true}
}

func TestKeys(t *testing.T) {
	both(t, func(t *testing.T, h *host) {
		all := map[string]func(*testing.T, *host){"refused by the node": testRefusedByNode, "apparmor profiles": testAppArmorProfiles, "named volumes": testNamedVolumes, "hostile sources": testHostileSources}
		for _, part := range []map[string]keyCase{fileKeys(), networkKeys(), rightKeys(), limitKeys(), terminalKeys()} {
			for name, c := range part {
				all[name] = func(t *testing.T, h *host) { testKey(t, h, c) }
			}
		}
		cases(t, h, all)
	})
}

func testKey(t *testing.T, h *host, c keyCase) {
	d := h.driver(t, "n-keys-"+slug(t.Name(), 40), generous)
	spec := h.task(t, d, c.args...)
	for k, v := range parseConfig(t, "{"+c.config+"}") {
		spec.Config[k] = v
	}
	spec.User = c.user
	if c.setup != nil {
		c.setup(t, &spec)
	}
	exit, out := run(t, d, spec)
	for _, want := range c.want {
		for said := regexp.MustCompile(`(?m)` + want); !said.MatchString(out); out = read(t, spec.Stdout) {
			if time.Since(exit.At) > flushed || pause(t.Context(), 10*time.Millisecond) != nil {
				t.Errorf("lacks %q (%+v): %s; stderr %s", want, exit, out, read(t, spec.Stderr))
				break
			}
		}
	}
	if c.check != nil {
		c.check(t, spec)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func fileKeys() map[string]keyCase {
	return map[string]keyCase{
		"volumes": {config: `"volumes": ["local/site:/srv/site:ro", "../alloc/data/new:/new", "local/file:/etc/one"]`,
			args: []string{"cat", "/srv/site/index", "/etc/one", "/proc/mounts"},
			want: []string{`^hello$`, `^single$`, ` /srv/site \S+ ro`, ` /new \S+ rw`},
			setup: func(t *testing.T, spec *runtime.TaskSpec) {
				put(t, filepath.Join(spec.Dirs.Local, "site", "index"), "hello")
				put(t, filepath.Join(spec.Dirs.Local, "file"), "single")
			},
			check: func(t *testing.T, spec runtime.TaskSpec) {
				if fi, err := os.Stat(filepath.Join(spec.Dirs.Alloc, "data/new")); err != nil || fi.Mode().Perm() != 0o777 {
					t.Errorf("a source that was missing: %v, %v", fi, err)
				}
			}},
		"volumes of the node": {config: `"volumes": ["/etc/os-release:/os"]`, args: []string{"cat", "/os"}, want: []string{`^ID=`}},
		"mount bind": {config: `"mount": [{"type": "bind", "source": "local/in", "target": "/in", "readonly": true}]`, args: []string{"try", "/in/x"},
			want:  []string{"write /in/x .*read-only file system"},
			setup: func(t *testing.T, spec *runtime.TaskSpec) { put(t, filepath.Join(spec.Dirs.Local, "in", "x"), "") }},
		"mount tmpfs": {config: `"mount": [{"type": "tmpfs", "target": "/scratch", "tmpfs_options": [{"size": "1m", "mode": "0750"}]}]`,
			args: []string{"cat", "/proc/mounts"}, want: []string{`^tmpfs /scratch tmpfs rw,nosuid,nodev,noexec\S*size=1024k,mode=750`}},
		"devices": {config: `"devices": [{"host_path": "/dev/null", "container_path": "/dev/mine", "cgroup_permissions": "rw"}]`,
			args: []string{"stat", "/dev/mine"}, want: []string{`^/dev/mine \d+ 0:0 103$`}},
		"shm_size":        {config: `"shm_size": "8m"`, args: []string{"cat", "/proc/mounts"}, want: []string{`^shm /dev/shm tmpfs \S*size=8192k`}},
		"readonly_rootfs": {config: `"readonly_rootfs": true`, args: []string{"try", "/etc/x"}, want: []string{"read-only file system"}},
		"files of a user": {args: []string{"stat", "/secrets", "/secrets/s", "/local", "/alloc", "/alloc/data"}, user: "nobody",
			want: []string{`^/secrets 700 65534:65534`, `^/secrets/s 600 65534:65534`, `^/local \d+`},
			setup: func(t *testing.T, spec *runtime.TaskSpec) {
				put(t, filepath.Join(spec.Dirs.Secrets, "s"), "x")
				_ = os.Chmod(filepath.Join(spec.Dirs.Secrets, "s"), 0o600)
			}},
		"secrets are writable": {args: []string{"try", "/secrets/own"}, user: "nobody", want: []string{`write /secrets/own <nil>`}},
	}
}

func networkKeys() map[string]keyCase {
	return map[string]keyCase{
		"network_mode": {config: `"network_mode": "none", "sysctl": {"net.core.somaxconn": "77"}`, args: []string{"cat", "/proc/net/dev", "/proc/sys/net/core/somaxconn"},
			want: []string{`(?s)\A[^:]*lo:[^:]*$`, `^77$`}},
		"hostname": {config: `"hostname": "box"`, args: []string{"cat", "/etc/hostname", "/etc/hosts", "/proc/sys/kernel/hostname"},
			want: []string{`(?s)\Abox\n.*127\.0\.1\.1\tbox\n.*box\n`}},
		"extra_hosts": {config: `"extra_hosts": ["db:10.0.0.7", "six:fd00::7"]`, args: []string{"cat", "/etc/hosts"},
			want: []string{`^10\.0\.0\.7\tdb$`, `^fd00::7\tsix$`, `localhost`}},
		"dns": {config: `"dns_servers": ["10.0.0.53"], "dns_search_domains": ["a.b", "c.d"], "dns_options": ["ndots:1"]`, args: []string{"cat", "/etc/resolv.conf"},
			want: []string{`^nameserver 10\.0\.0\.53$`, `^search a\.b c\.d$`, `^options ndots:1$`}},
	}
}

func rightKeys() map[string]keyCase {
	return map[string]keyCase{
		"privileged":   {config: `"privileged": true`, args: []string{"self"}, want: []string{`CapEff: 0000(01ff|003f)f.f{6}`, `NoNewPrivs: 0`, `Seccomp: 0`}},
		"cap_add":      {config: `"cap_add": ["net_raw"], "cap_drop": ["chown"]`, args: []string{"self"}, want: []string{`CapEff: 00000000a80425fa`}},
		"cap_drop":     {config: `"cap_drop": ["all"]`, args: []string{"self"}, want: []string{`CapEff: 0000000000000000`}},
		"security_opt": {config: `"security_opt": ["no-new-privileges=false", "seccomp=unconfined"]`, args: []string{"self"}, want: []string{`NoNewPrivs: 0`, `Seccomp: 0`}},
		"systempaths": {config: `"security_opt": ["systempaths=unconfined"]`, args: []string{"cat", "/proc/mounts"},
			check: func(t *testing.T, spec runtime.TaskSpec) {
				if out := read(t, spec.Stdout); strings.Contains(out, " /proc/sys ") || strings.Contains(out, " /proc/kcore ") {
					t.Errorf("something of /proc is masked: %s", out)
				}
			}},
		"userns_mode":   {config: `"userns_mode": "host"`, args: []string{"cat", "/proc/self/uid_map"}, want: []string{`^\s+0\s+0\s+4294967295$`}},
		"apparmor":      {config: `"security_opt": ["apparmor=unconfined"]`, args: []string{"print", "runs", ""}, want: []string{`^runs$`}},
		"group_add":     {config: `"group_add": ["5000"]`, args: []string{"self"}, user: "nobody", want: []string{`^uid 65534`, `groups \[.*5000`}},
		"pid_mode":      {config: `"pid_mode": "host"`, args: []string{"self"}, want: []string{`^pid \d{2,}`}},
		"ipc_mode":      {config: `"ipc_mode": "none"`, args: []string{"stat", "/dev/shm"}, want: []string{`no such file`}},
		"ipc_mode host": {config: `"ipc_mode": "host"`, args: []string{"cat", "/proc/mounts"}, want: []string{` /dev/shm tmpfs`}},
		"uts_mode":      {config: `"uts_mode": "host"`, args: []string{"self"}, want: []string{`^hostname ` + regexp.QuoteMeta(ownName()) + `$`}},
		"cgroupns":      {config: `"cgroupns": "private"`, args: []string{"cat", "/proc/self/cgroup"}, want: []string{`:/$`}},
		"sysctl":        {config: `"sysctl": {"kernel.msgmax": "16384"}`, args: []string{"cat", "/proc/sys/kernel/msgmax"}, want: []string{`^16384$`}},
	}
}

func ownName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func limitKeys() map[string]keyCase {
	memory, quota := []string{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.soft_limit_in_bytes"}, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		memory, quota = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.low"}, "/sys/fs/cgroup/cpu.max"
	}
	return map[string]keyCase{
		"memory_hard_limit": {config: `"memory_hard_limit": 96`, args: append([]string{"cat"}, memory...), want: []string{`^100663296$`, `^67108864$`}},
		"cpu_hard_limit": {config: `"cpu_hard_limit": true, "cpu_cfs_period": 50000`, args: []string{"cat", quota}, want: []string{`^25000\b`},
			setup: func(_ *testing.T, spec *runtime.TaskSpec) { spec.Limits.CPUShares = 512 }},
		"cpu_hard_limit is felt": {config: `"cpu_hard_limit": true`, args: []string{"burn", "600"}, want: []string{`^cpu \d{1,2}$|^cpu 1\d\d$`},
			setup: func(_ *testing.T, spec *runtime.TaskSpec) { spec.Limits.CPUShares = 102 }},
		"ulimit": {config: `"ulimit": [{"nofile": "100:200", "core": "0"}]`, args: []string{"cat", "/proc/self/limits"},
			want: []string{`Max open files +\d+ +200 `, `Max core file size +0 +0 `}},
		"oom_score_adj":  {config: `"oom_score_adj": 555`, args: []string{"self"}, want: []string{`oom_score_adj 555`}},
		"init":           {config: `"init": true`, args: []string{"orphan"}, want: []string{`^parent 1 pid \d+ children 1$`, `^reaped$`}},
		"init of a user": {config: `"init": true, "readonly_rootfs": true`, args: []string{"self"}, user: "nobody", want: []string{`^uid 65534`}},
	}
}

func terminalKeys() map[string]keyCase {
	return map[string]keyCase{
		"tty":             {config: `"tty": true`, args: []string{"term"}, want: []string{`terminal 0 true`, `terminal 1 true`, `terminal 2 true`, `on stderr xterm`}},
		"tty and init":    {config: `"tty": true, "init": true`, args: []string{"term"}, want: []string{`terminal 0 true`}},
		"not tty":         {args: []string{"term"}, want: []string{`terminal 0 false`}},
		"interactive":     {config: `"interactive": true`, args: []string{"stdin"}, want: []string{`stdin is open`}},
		"not interactive": {args: []string{"stdin"}, want: []string{`stdin ended 0`}},
		"tty interactive": {config: `"tty": true, "interactive": true`, args: []string{"stdin"}, want: []string{`stdin is open`}},
		"logging": {config: `"logging": {"type": "none"}`, args: []string{"print", "a", "b"}, check: func(t *testing.T, spec runtime.TaskSpec) {
			if out := read(t, spec.Stdout) + read(t, spec.Stderr); out != "" {
				t.Errorf("it is written down: %q", out)
			}
		}},
		"tty appends": {config: `"tty": true`, args: []string{"print", "second", ""}, want: []string{`\Afirst\nsecond`},
			setup: func(t *testing.T, spec *runtime.TaskSpec) { put(t, spec.Stdout, "first\n") }},
	}
}

// testRefusedByNode: what a node does not allow does not start there, and says which setting would.
func testRefusedByNode(t *testing.T, h *host) {
	d := h.driver(t, "n-strict")
	for _, config := range []string{`"privileged": true`, `"cap_add": ["sys_admin"]`, `"volumes": ["/etc:/x"]`, `"pid_mode": "host"`,
		`"devices": [{"host_path": "/dev/null"}]`, `"security_opt": ["seccomp=unconfined"]`} {
		spec := h.task(t, d, "exit", "0")
		for k, v := range parseConfig(t, "{"+config+"}") {
			spec.Config[k] = v
		}
		_, err := d.Start(t.Context(), spec)
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "this node does not allow") {
			t.Errorf("%s: %v", config, err)
		}
	}
	list, err := d.List(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("refused starts left %v, %v", list, err)
	}
	if a := h.driver(t, "n-strict").Fingerprint(t.Context()).Attributes; a["driver.docker.privileged.enabled"] != "false" || a["driver.docker.volumes.enabled"] != "false" {
		t.Errorf("attributes %v", a)
	}
}

// testAppArmorProfiles: a profile that is not there is said before anything is made, by what is wrong: the kernel, or the name.
func testAppArmorProfiles(t *testing.T, h *host) {
	d := h.driver(t, "n-apparmor")
	spec := h.task(t, d, "exit", "0")
	spec.Config["security_opt"] = []any{"apparmor=drover-nobody-has-this"}
	want := "the node has not loaded a profile of that name"
	if _, err := os.Stat("/sys/kernel/security/apparmor/profiles"); err != nil {
		want = "AppArmor is not enabled on this node"
	}
	_, err := d.Start(t.Context(), spec)
	if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "config.security_opt: apparmor=drover-nobody-has-this: "+want) {
		t.Errorf("%v, want %q", err, want)
	}
	if list, err := d.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("a refused start left %v, %v", list, err)
	}
}

// testNamedVolumes: a volume outlives its tasks and begins with what the image has there, owners included.
func testNamedVolumes(t *testing.T, h *host) {
	d := h.driver(t, "n-volumes")
	name := "v-" + slug(t.Name(), 40)
	mount := func(target string, extra string) []any {
		return parseConfig(t, `{"mount": [{"type": "volume", "source": "`+name+extra+`", "target": "`+target+`"}]}`)["mount"].([]any)
	}
	first := h.task(t, d, "try", "/etc/kept")
	first.Config["mount"] = mount("/etc", "")
	if _, out := run(t, d, first); !strings.Contains(out, "<nil>") {
		t.Errorf("printed %q", out)
	}
	second := h.task(t, d, "ls", "/data")
	second.Config["mount"] = mount("/data", "")
	if _, out := run(t, d, second); !strings.Contains(out, "kept\n") || !strings.Contains(out, "passwd\n") {
		t.Errorf("the volume holds %q", out)
	}
	empty := h.task(t, d, "ls", "/etc")
	empty.Config["mount"] = mount("/etc", "-empty")
	empty.Config["mount"].([]any)[0].(map[string]any)["volume_options"] = []any{map[string]any{"no_copy": true}}
	if _, out := run(t, d, empty); strings.Contains(out, "passwd\n") {
		t.Errorf("an empty volume holds %q", out)
	}
	readOnly := h.task(t, d, "try", "/data/x")
	readOnly.Config["mount"] = mount("/data", "")
	readOnly.Config["mount"].([]any)[0].(map[string]any)["readonly"] = true
	if _, out := run(t, d, readOnly); !strings.Contains(out, "read-only file system") {
		t.Errorf("printed %q", out)
	}
}

// testHostileSources: a task may put links where a mount of another task, or its own next run, is to begin.
func testHostileSources(t *testing.T, h *host) {
	d := h.driver(t, "n-hostile", generous)
	victim := filepath.Join(h.dir, "victim")
	put(t, filepath.Join(victim, "secret"), "secret")
	for _, config := range []string{`"volumes": ["local/link:/x"]`, `"volumes": ["local/link/secret:/x"]`, `"volumes": ["local/link/new:/x"]`,
		`"mount": [{"type": "bind", "source": "local/link", "target": "/x"}]`, `"volumes": ["../alloc/data/link:/x"]`} {
		spec := h.task(t, d, "ls", "/x")
		for k, v := range parseConfig(t, "{"+config+"}") {
			spec.Config[k] = v
		}
		for _, link := range []string{filepath.Join(spec.Dirs.Local, "link"), filepath.Join(spec.Dirs.Alloc, "data", "link")} {
			if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, link); err != nil {
				t.Fatal(err)
			}
		}
		_, err := d.Start(t.Context(), spec)
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "symbolic links are not followed") {
			t.Errorf("%s: %v", config, err)
		}
		if _, err := os.Stat(d.filesDir(containerID(spec.ID))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: files are left: %v", config, err)
		}
	}
	if entries, err := os.ReadDir(victim); err != nil || len(entries) != 1 {
		t.Errorf("the victim holds %v, %v", entries, err)
	}
	missing := h.task(t, d, "ls", "/x")
	missing.Config["mount"] = parseConfig(t, `{"m": {"type": "bind", "source": "local/none", "target": "/x"}}`)["m"]
	if _, err := d.Start(t.Context(), missing); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a source that is missing: %v", err)
	}
}

// TestStagedMountsAreNotEmptied: removing what a dead agent left staged must not reach into the source.
func TestStagedMountsAreNotEmptied(t *testing.T) {
	needRoot(t)
	h := embeddedHost(t)
	d := h.driver(t, "n-staged")
	spec := h.task(t, d, "exit", "0")
	put(t, filepath.Join(spec.Dirs.Local, "data", "precious"), "x")
	s, _, err := d.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := containerID(spec.ID)
	m := mountOption{Type: mountBind, Source: "local/data", Target: "/x"}
	for i := range 2 {
		if _, err := d.stage(s, id, i, spec.Dirs, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(filepath.Join(spec.Dirs.Local, "data"), filepath.Join(d.filesDir(id), "m0"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err) // twice over
	}
	if err := d.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(spec.Dirs.Local, "data", "precious")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.filesDir(id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files are left: %v", err)
	}
	noMounts(t, h)
}
