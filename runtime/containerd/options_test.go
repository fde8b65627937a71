package containerd

import (
	"cmp"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

func parseConfig(t *testing.T, text string) map[string]any {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestDecodeOptions(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want options
	}{
		"program": {`"command": "/bin/x", "args": ["-p", 80, true], "entrypoint": ["a", "b"], "work_dir": "/srv", "hostname": "h",
			"labels": [{"a": "b", "n": 1}], "init": true`,
			options{Command: "/bin/x", Args: []string{"-p", "80", "true"}, Entrypoint: []string{"a", "b"}, HasEntrypoint: true,
				WorkDir: "/srv", Hostname: "h", Labels: map[string]string{"a": "b", "n": "1"}, Init: true}},
		"image": {`"force_pull": true, "image_pull_timeout": "90s", "auth": [{"username": "u", "password": "p", "server_address": "x"}]`,
			options{ForcePull: true, PullTimeout: 90 * time.Second, Auth: credentials{"u", "p", "x"}}},
		"volumes": {`"volumes": ["local/a:/a", "/srv/b:/b/:ro,rslave", "../alloc/data/c:/c:rw"]`,
			options{Volumes: []mountOption{{key: "volumes", Type: "bind", Source: "local/a", Target: "/a"},
				{key: "volumes", Type: "bind", Source: "/srv/b", Target: "/b", ReadOnly: true, Propagation: "rslave"},
				{key: "volumes", Type: "bind", Source: "../alloc/data/c", Target: "/c"}}}},
		"mounts": {`"mount": [{"type": "tmpfs", "target": "/t", "tmpfs_options": [{"size": "1m", "mode": "0700"}]},
			{"type": "bind", "source": "local/x", "target": "/x", "readonly": true, "bind_options": {"propagation": "rprivate"}}],
			"mounts": [{"source": "data", "target": "/v", "volume_options": [{"no_copy": true}]}]`,
			options{Mounts: []mountOption{{key: "mount", Type: "tmpfs", Target: "/t", Size: 1 << 20, Mode: 0o700, MustExist: true},
				{key: "mount", Type: "bind", Source: "local/x", Target: "/x", ReadOnly: true, Propagation: "rprivate", MustExist: true},
				{key: "mounts", Type: "volume", Source: "data", Target: "/v", NoCopy: true, MustExist: true}}}},
		"files": {`"devices": [{"host_path": "/dev/fuse"}], "shm_size": 1048576, "readonly_rootfs": "true"`,
			options{Devices: []deviceOption{{"/dev/fuse", "/dev/fuse", "rwm"}}, ShmSize: 1 << 20, ReadOnly: true}},
		"network": {`"ports": ["http"], "network_mode": "none", "extra_hosts": ["a:10.0.0.1", "b:[::1]", "c=host-gateway"],
			"dns_servers": ["10.0.0.53"], "dns_search_domains": ["x.y"], "dns_options": ["ndots:1"]`,
			options{Ports: []string{"http"}, NetworkMode: "none", ExtraHosts: []hostEntry{{"a", "10.0.0.1"}, {"b", "::1"}, {"c", "127.0.0.1"}},
				DNS: dnsOption{[]string{"10.0.0.53"}, []string{"x.y"}, []string{"ndots:1"}}}},
		"rights": {`"privileged": true, "cap_add": ["net_raw", "CAP_SYS_TIME"], "cap_drop": ["all"], "group_add": [5000, "disk"],
			"security_opt": ["no-new-privileges=false", "seccomp=unconfined", "apparmor=mine"], "pid_mode": "host", "ipc_mode": "private",
			"cgroupns": "private", "userns_mode": "host", "sysctl": [{"kernel.msgmax": 16384}]`,
			options{Privileged: true, CapAdd: []string{"CAP_NET_RAW", "CAP_SYS_TIME"}, CapDrop: []string{"ALL"}, GroupAdd: []string{"5000", "disk"},
				Security: securityOption{NewPrivileges: true, AnySyscall: true, AppArmor: "mine"}, PIDMode: "host", CgroupNS: "private",
				Sysctl: map[string]string{"kernel.msgmax": "16384"}}},
		"limits": {`"pids_limit": "7", "cpu_hard_limit": true, "cpu_cfs_period": 50000, "memory_hard_limit": 512, "oom_score_adj": 0,
			"ulimit": [{"nofile": "1:2", "core": "-1", "nproc": "unlimited"}]`,
			options{PidsLimit: 7, CPUHardLimit: true, CPUPeriod: 50000, MemoryHardMiB: 512, HasOOMScore: true,
				Ulimit: []ulimitOption{{"RLIMIT_CORE", unlimited, unlimited}, {"RLIMIT_NOFILE", 1, 2}, {"RLIMIT_NPROC", unlimited, unlimited}}}},
		"terminal": {`"tty": true, "interactive": true, "logging": {"type": "none"}`, options{TTY: true, Interactive: true, NoLogs: true}},
		"nothing asked": {`"advertise_ipv6_address": false, "network_aliases": [], "storage_opt": {}, "mac_address": "", "logging": [{"driver": "json-file"}]`,
			options{}},
	} {
		got, err := decodeOptions(parseConfig(t, `{"image": "nginx", `+c.text+`}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.want.Image, c.want.NetworkMode = "nginx", cmp.Or(c.want.NetworkMode, "host")
		if diff := gocmp.Diff(c.want, got, gocmp.AllowUnexported(mountOption{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDecodeOptionsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`"image": ""`:                                 "config.image is empty",
		`"image": "Not A Name"`:                       "config.image: read image name",
		`"image": "file://x.tar"`:                     "must be absolute",
		`"comand": "y"`:                               `config.comand: unknown key; did you mean "command"?`,
		`"privilegd": true`:                           `did you mean "privileged"?`,
		`"network_alias": 1`:                          `did you mean "network_aliases"?`,
		`"zzzzzz": 1`:                                 "config.zzzzzz: unknown key; known are command, args,",
		`"args": "x"`:                                 "config.args: want a list of texts, not text",
		`"args": [[]]`:                                "element 1: want text",
		`"pids_limit": 1.5`:                           "want a whole number, not 1.5",
		`"pids_limit": -1`:                            "want 0 to",
		`"image_pull_timeout": "soon"`:                `"soon" is not a duration`,
		`"network_mode": "bridge"`:                    `not supported: network_mode = "bridge"`,
		`"auth": {"user": "u"}`:                       `unknown key "user"; known are email, password`,
		`"auth": []`:                                  "want one block, not 0",
		`"work_dir": "srv"`:                           `"srv" is not an absolute path`,
		`"labels": {"drover.node": "x"}`:              "not a job's to set",
		`"volumes": ["x"]`:                            `config.volumes: "x": want source:target`,
		`"volumes": ["../../x:/x"]`:                   "leads out of the allocation's directory",
		`"volumes": ["../x:/x"]`:                      "is not a task's to mount",
		`"volumes": ["..:/x"]`:                        "leads out",
		`"volumes": ["../alloc:/x"]`:                  "is not a task's to mount",
		`"volumes": ["../alloc/logs:/x"]`:             "is not a task's to mount",
		`"volumes": ["../alloc/logs/y:/x"]`:           "is not a task's to mount",
		`"volumes": ["../alloc/data/../logs:/x"]`:     "is not a task's to mount",
		`"volumes": [".:/x"]`:                         "is not a task's to mount",
		`"volumes": ["local:/x:shared"]`:              "is for paths of the node",
		`"volumes": ["local:/x:Z"]`:                   "SELinux",
		`"volumes": ["local:/x:wr"]`:                  `unknown option "wr"`,
		`"volumes": ["local:/proc/sys"]`:              "nothing can be mounted below /proc",
		`"volumes": ["local:/alloc/logs/x"]`:          "cannot be changed by tasks",
		`"volumes": ["local:/secrets"]`:               "target /secrets is taken",
		`"volumes": ["local:/"]`:                      "target / is taken",
		`"volumes": ["local/a:/x", "local/b:/x/"]`:    "are both mounted at /x",
		`"mount": [{"type": "nfs", "target": "/"}]`:   `config.mount: number 1: type: want one of "bind", "tmpfs", "volume", not "nfs"`,
		`"mount": [{"type": "bind", "target": "/x"}]`: "source is missing",
		`"mount": [{"type": "volume", "target": "/x", "source": "../x"}]`:                                                    "is not the name of a volume",
		`"mount": [{"type": "volume", "target": "/x", "source": "v", "volume_options": {"driver_config": {"name": "nfs"}}}]`: "no volume plugins",
		`"mount": [{"type": "tmpfs", "target": "/x", "source": "y"}]`:                                                        "a tmpfs has no source",
		`"mount": [{"type": "tmpfs", "target": "/x", "tmpfs_options": {"mode": "rwx"}}]`:                                     "want a mode such as",
		`"mount": [{"type": "bind", "target": "/x", "source": "local", "tmpfs_options": {"size": 1}}]`:                       "tmpfs_options are for",
		`"mount": [{"tpe": "bind"}]`:                                      `unknown key "tpe"; did you mean "type"?`,
		`"devices": [{"container_path": "/dev/x"}]`:                       "host_path is missing",
		`"devices": [{"host_path": "/dev/x", "cgroup_permissions": "x"}]`: "some of the letters r, w and m",
		`"shm_size": "lots"`:                                              `"lots" is not a size`,
		`"extra_hosts": ["x"]`:                                            "want name:address",
		`"extra_hosts": ["x:nowhere"]`:                                    "want name:address",
		`"dns_servers": ["dns.example"]`:                                  "is not an IP address",
		`"dns_options": ["a b"]`:                                          "want a word",
		`"hostname": "a b"`:                                               "is not a host name",
		`"cap_add": ["net_everything"]`:                                   "is not a capability",
		`"security_opt": ["seccomp=/etc/x.json"]`:                         "profile of your own is not supported",
		`"security_opt": ["label=type:x"]`:                                "is not supported; known are",
		`"pid_mode": "container:x"`:                                       `not supported: "container:x"`,
		`"userns_mode": "auto"`:                                           `want one of "", "host"`,
		`"sysctl": {"vm.swappiness": 1}`:                                  "belongs to the whole machine",
		`"sysctl": {"net.core.somaxconn": 1}`:                             "would change the network of the whole machine",
		`"ulimit": {"files": "1"}`:                                        `unknown limit "files"`,
		`"ulimit": {"nofile": "2:1"}`:                                     "the soft limit is above the hard one",
		`"oom_score_adj": -5`:                                             "want 0 to 1000",
		`"cpu_cfs_period": 50000`:                                         "says nothing without cpu_hard_limit",
		`"logging": {"type": "syslog"}`:                                   `type "syslog" is not supported`,
		`"logging": {"config": {"max-size": "1m"}}`:                       "the logs block of the task",
		`"uts_mode": "host", "hostname": "x"`:                             "would rename the machine",
		`"ipc_mode": "host", "shm_size": 1024`:                            "/dev/shm is the machine's",
		`"runtime": "runsc"`:                                              "config.runtime: not supported: ",
		`"ipv4_address": "10.0.0.1"`:                                      "share the node's network",
	} {
		if !strings.Contains(text, `"image"`) {
			text = `"image": "nginx", ` + text
		}
		_, err := decodeOptions(parseConfig(t, "{"+text+"}"))
		if !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, err := decodeOptions(parseConfig(t, `{"image": 3, "args": "x"}`))
	for _, want := range []string{"config.image: want text, not a number", "config.args: want a list of texts"} { // all at once
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestCheckConfig(t *testing.T) {
	for text, want := range map[string][]string{
		`{"image": "nginx:${meta.tag}", "pids_limit": "${meta.pids}", "volumes": ["${meta.src}:/x"], "command": "${NOMAD_TASK_DIR}/x"}`: nil,
		`{"image": "nginx", "ports": ["http", "htp"]}`: {`config.ports: the group's network has no port "htp"; did you mean "http"?`},
		`{"image": "nginx", "ports": ["zzz"]}`:         {`config.ports: the group's network has no port "zzz"; add network`},
		`{}`:                                           {"config.image is missing"},
		`{"image": "nginx", "healthchecks": {"disable": true}}`:                  {"warning config.healthchecks: ignored: "},
		`{"image": "nginx", "auth": {"server_address": "registry.example"}}`:     {"warning config.auth: server_address is"},
		`{"image": "nginx", "auth": {"server_address": "hub.docker.com"}}`:       nil,
		`{"image": "nginx", "interactive": true}`:                                {"warning config.interactive: "},
		`{"image": "nginx", "mount": [{"target": "/x", "source": "${meta.v}"}]}`: nil,
	} {
		problems, warnings := CheckConfig(parseConfig(t, text), []string{"http"})
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		for _, w := range warnings {
			got = append(got, "warning "+w.Error())
		}
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", text, got, want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %q, want %q", text, got[i], want[i])
			}
		}
	}
}

func TestPolicy(t *testing.T) {
	all := Policy{Privileged: true, Caps: []string{"all"}, Devices: []string{"/dev/*"}, Unconfined: true, HostPaths: true}
	for text, want := range map[string]string{
		`"privileged": true`:                                          "config.privileged: this node does not allow privileged containers; its agent's configuration would have to say drivers { containerd { allow_privileged = true } }",
		`"pid_mode": "host"`:                                          "config.pid_mode: ",
		`"ipc_mode": "host"`:                                          "config.ipc_mode: ",
		`"uts_mode": "host"`:                                          "config.uts_mode: ",
		`"cgroupns": "host"`:                                          "config.cgroupns: ",
		`"cap_add": ["net_raw", "chown"]`:                             `does not allow net_raw; its agent's configuration would have to say drivers { containerd { allow_caps = [… "net_raw"] } }`,
		`"cap_add": ["all"]`:                                          "does not allow all;",
		`"devices": [{"host_path": "/dev/null"}]`:                     `config.devices: this node does not allow the device /dev/null`,
		`"security_opt": ["seccomp=unconfined"]`:                      "allow_unconfined = true",
		`"security_opt": ["apparmor=unconfined"]`:                     "allow_unconfined = true",
		`"volumes": ["/etc:/x"]`:                                      "config.volumes: this node does not allow the host path /etc",
		`"mount": {"type": "bind", "source": "/etc", "target": "/x"}`: "config.mount: this node does not allow the host path /etc",
	} {
		o, err := decodeOptions(parseConfig(t, `{"image": "x", `+text+"}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := (Policy{}).refuse(o); !errors.Is(err, runtime.ErrNotRetryable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err := all.refuse(o); err != nil {
			t.Errorf("%s, all allowed: %v", text, err)
		}
	}
	o, err := decodeOptions(parseConfig(t, `{"image": "x", "devices": [{"host_path": "/dev/../etc/x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if all.refuse(o) == nil {
		t.Error("a device that leads elsewhere is allowed")
	}
}

func TestCaps(t *testing.T) {
	for _, c := range []struct {
		policy    Policy
		add, drop []string
		want      string
	}{
		{Policy{}, nil, nil, "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"},
		{Policy{}, nil, []string{"ALL"}, ""},
		{Policy{}, []string{"CAP_KILL"}, []string{"ALL"}, "KILL"},
		{Policy{Caps: []string{"kill", "chown"}}, nil, []string{"CAP_KILL"}, "CHOWN"},
		{Policy{Caps: []string{"all"}}, []string{"CAP_NET_RAW"}, []string{"ALL"}, "NET_RAW"},
	} {
		got := strings.ReplaceAll(strings.Join(c.policy.caps(options{CapAdd: c.add, CapDrop: c.drop}), " "), "CAP_", "")
		if got != c.want {
			t.Errorf("%+v add %v drop %v: %s, want %s", c.policy, c.add, c.drop, got, c.want)
		}
	}
}

// TestTableIsSound: each example is what it says, no key is there twice, and no refused one is read.
func TestTableIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range optionTable() {
		if seen[e.key] || e.meaning == "" || e.takes == "" || e.preset == "" || e.example == "" {
			t.Errorf("%s is there twice or says nothing", e.key)
		}
		seen[e.key] = true
		if !strings.HasPrefix(e.example, e.key) {
			t.Errorf("%s: the example is of something else: %s", e.key, e.example)
		}
	}
	for _, r := range refusedOptions() {
		if seen[r.key] || r.why == "" {
			t.Errorf("%s is refused and read, or refused twice, or without a reason", r.key)
		}
		seen[r.key] = true
	}
}

func FuzzOptions(f *testing.F) {
	for _, s := range []string{`{"image": "x", "mount": [{"type": "tmpfs", "target": "/t", "tmpfs_options": [{"size": "1m"}]}]}`,
		`{"image": "x", "volumes": ["local/a:/a:ro", "../alloc/data:/b"]}`, `{"image": "x", "ulimit": [{"nofile": "1:2"}], "shm_size": "1.5GiB"}`,
		`{"image": "x", "devices": [{"host_path": "/dev/x"}], "sysctl": {"kernel.msgmax": 1}, "extra_hosts": ["a:::1"]}`,
		`{"image": "x", "labels": [{"a": 1}], "auth": [{"username": "${x}"}], "logging": {"type": "none"}, "cap_add": ["all"]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var config map[string]any
		if json.Unmarshal([]byte(text), &config) != nil {
			return
		}
		CheckConfig(config, nil)
		o, err := decodeOptions(config)
		if err != nil {
			if !errors.Is(err, runtime.ErrNotRetryable) {
				t.Errorf("%v can be tried again", err)
			}
			return
		}
		_ = Policy{}.refuse(o)
		for _, m := range o.allMounts() {
			if !strings.HasPrefix(m.Target, "/") || m.Target == "/" || strings.Contains(m.Target, "/../") {
				t.Errorf("a mount at %q", m.Target)
			}
			if m.Type != mountBind || m.ofHost() {
				continue
			}
			rel, err := allocPath("task", m.Source)
			if err != nil || !filepath.IsLocal(rel) || strings.HasPrefix(rel, "alloc/logs") || rel == "alloc" {
				t.Errorf("source %q is %q, %v", m.Source, rel, err)
			}
		}
	})
}

func TestProcessArgs(t *testing.T) {
	img := ocispec.ImageConfig{Entrypoint: []string{"E"}, Cmd: []string{"C", "D"}}
	for want, o := range map[string]options{
		"E C D": {},
		"E x":   {Command: "x"},
		"E x y": {Command: "x", Args: []string{"y"}},
		"E y":   {Args: []string{"y"}},
		"F":     {Entrypoint: []string{"F"}, HasEntrypoint: true},
		"F y":   {Entrypoint: []string{"F"}, HasEntrypoint: true, Args: []string{"y"}},
		"z":     {HasEntrypoint: true, Command: "z"},
	} {
		if got := strings.Join(processArgs(o, img), " "); got != want {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
}
