package containerd

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/runtime"
)

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
