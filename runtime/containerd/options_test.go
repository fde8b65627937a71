package containerd

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

func TestDecodeOptions(t *testing.T) {
	text := `{"image": "nginx", "command": "/bin/x", "args": ["-p", 80, true], "entrypoint": ["a", "b"], "work_dir": "/srv",
		"hostname": "h", "labels": [{"a": "b", "n": 1}], "pids_limit": 7, "force_pull": true, "image_pull_timeout": "90s",
		"auth": [{"username": "u", "password": "p", "server_address": "x"}], "ports": ["http"], "network_mode": "host"}`
	var config map[string]any
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	got, err := decodeOptions(config)
	if err != nil {
		t.Fatal(err)
	}
	want := options{Image: "nginx", Command: "/bin/x", Args: []string{"-p", "80", "true"}, Entrypoint: []string{"a", "b"}, HasEntrypoint: true,
		WorkDir: "/srv", Hostname: "h", Labels: map[string]string{"a": "b", "n": "1"}, PidsLimit: 7, ForcePull: true,
		PullTimeout: 90 * time.Second, Auth: credentials{Username: "u", Password: "p"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeOptionsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		config map[string]any
		want   []string
	}{
		"no image":      {map[string]any{}, []string{"config.image is missing"}},
		"empty image":   {map[string]any{"image": ""}, []string{"config.image is empty"}},
		"not yet":       {map[string]any{"image": "x", "privileged": true}, []string{"config.privileged: not supported yet: privileged"}},
		"typo":          {map[string]any{"image": "x", "comand": "y"}, []string{`config.comand: unknown key; did you mean "command"?`}},
		"typo of other": {map[string]any{"image": "x", "privilegd": true}, []string{`did you mean "privileged"?`}},
		"far off":       {map[string]any{"image": "x", "zzzzzz": 1}, []string{"config.zzzzzz: unknown key; known are args, auth,"}},
		"two at once":   {map[string]any{"image": 3, "args": "x"}, []string{"config.image: want text, not int", "config.args: want a list of texts, not string"}},
		"fraction":      {map[string]any{"image": "x", "pids_limit": 1.5}, []string{"want a whole number, not 1.5"}},
		"timeout":       {map[string]any{"image": "x", "image_pull_timeout": "soon"}, []string{`"soon" is not a duration`}},
		"bridge":        {map[string]any{"image": "x", "network_mode": "bridge"}, []string{"not supported yet: network_mode"}},
		"auth":          {map[string]any{"image": "x", "auth": map[string]any{"user": "u"}}, []string{`unknown key "user"`}},
		"work_dir":      {map[string]any{"image": "x", "work_dir": "srv"}, []string{`"srv" is not an absolute path`}},
		"labels":        {map[string]any{"image": "x", "labels": map[string]any{"drover.node": "x"}}, []string{"not a job's to set"}},
		"nested args":   {map[string]any{"image": "x", "args": []any{[]any{}}}, []string{"element 1: want text"}},
	} {
		_, err := decodeOptions(c.config)
		if !errors.Is(err, runtime.ErrNotRetryable) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

func TestRefusedKeysAreNotDecoded(t *testing.T) {
	known := decoders()
	for _, k := range refusedKeys() {
		if known[k] != nil {
			t.Errorf("%s is both refused and decoded", k)
		}
	}
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

func TestContainerID(t *testing.T) {
	alloc := "8f14e45f-ceea-867a-9d5c-0123456789ab"
	valid := regexp.MustCompile(`^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$`) // containerd's pkg/identifiers
	seen := map[string]runtime.TaskID{}
	for _, id := range []runtime.TaskID{
		{AllocID: alloc, Task: "server"}, {AllocID: alloc, Task: "a-b_c.d"}, {AllocID: alloc, Task: "a--b"}, {AllocID: alloc, Task: "a-b"},
		{AllocID: alloc, Task: "-a-b"}, {AllocID: alloc, Task: "ü"}, {AllocID: alloc, Task: "ä"}, {AllocID: alloc, Task: "a b"},
		{AllocID: alloc, Task: strings.Repeat("x", 128)}, {AllocID: alloc, Task: strings.Repeat("x", 127)},
		{AllocID: "x", Task: "y-z"}, {AllocID: "x-y", Task: "z"}, {AllocID: "", Task: ""},
		{AllocID: alloc, Task: strings.Repeat("n", 39)}, {AllocID: alloc, Task: strings.Repeat("n", 40)},
	} {
		name := containerID(id)
		if !valid.MatchString(name) || len(name) > maxIdentifier {
			t.Errorf("%v: containerd refuses %q (%d)", id, name, len(name))
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%v and %v are both %q", id, other, name)
		}
		seen[name] = id
		if name != containerID(id) {
			t.Errorf("%v: not the same twice", id)
		}
	}
	if got, want := containerID(runtime.TaskID{AllocID: alloc, Task: "server"}), alloc+"-server"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseRunc(t *testing.T) {
	for out, want := range map[string]runcInfo{
		"runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\nspec: 1.0.2-dev\ngo: go1.19.8\nlibseccomp: 2.5.4\n": {version: "runc 1.1.5", seccomp: true},
		"runc version 1.5.2\nspec: 1.3.0\ngo: go1.26\n":                                                   {version: "runc 1.5.2"},
		"crun version 1.8.1\ncommit: f8a0\nspec: 1.0.0\n+SYSTEMD +SELINUX +SECCOMP +EBPF\n":               {version: "crun 1.8.1", seccomp: true},
	} {
		if got := parseRunc(out); got != want {
			t.Errorf("%q: %+v, want %+v", out, got, want)
		}
	}
	if got := parseRunc("nonsense"); got.err == nil {
		t.Error("nonsense is understood")
	}
}

func TestExitOf(t *testing.T) {
	now := time.Now()
	for code, want := range map[uint32]int{0: 0, 1: 0, 128: 0, 129: 1, 137: 9, 143: 15, 192: 64, 193: 0, 255: 0} {
		if got := exitOf(code, now); got.Signal != want || got.Code != int(code) {
			t.Errorf("code %d: %+v, want signal %d", code, got, want)
		}
	}
	if exitOf(0, time.Time{}).At.IsZero() {
		t.Error("no time")
	}
}

func TestVersions(t *testing.T) {
	for in, want := range map[string]string{"v2.4.2": "2.4.2", "1.6.20~ds1": "1.6.20", "1.7.1": "1.7.1", "v2.4.2+unknown": "2.4.2"} {
		if got := cleanVersion(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote(`a"b\c`), `"a\"b\\c"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
