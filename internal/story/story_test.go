package story

import (
	"strings"
	"testing"
)

// echo prints what it is told, and fails when told to.
type echo struct{ waited []string }

func (*echo) Type(line string) string {
	if line == "fail" {
		return Printed("Error: no", 3)
	}
	return Printed(Normal(line), 0)
}

func (e *echo) Wait(line string) { e.waited = append(e.waited, line) }

func TestTellAgainChangesNothing(t *testing.T) {
	e := &echo{}
	told := Tell("# About it.\n$ after 12.3 s\nold output\n= web 1 running\n$ fail\n$ drover job status --json\n", e)
	want := "# About it.\n\n$ after 12.3 s\nafter 0.0 s\n\n= web 1 running\n\n$ fail\nError: no\n[exit 3]\n\n$ drover job status --json\ndrover job status --json\n"
	if told != want {
		t.Fatalf("got\n%s\nwant\n%s", told, want)
	}
	if again := Tell(told, e); again != told {
		t.Errorf("told again:\n%s", again)
	}
	if got := strings.Join(e.waited, ","); got != "web 1 running,web 1 running" {
		t.Errorf("waited for %s", got)
	}
}

func TestLines(t *testing.T) {
	lines := Lines("# About it.\n\n$ drover one\nfine\n\n$ drover two -o json\nError: no\n[exit 1]\n")
	if len(lines) != 2 || lines[0].Failed() || !lines[1].Failed() || lines[1].Text != "drover two -o json" {
		t.Errorf("%+v", lines)
	}
	if !AsksJSON(strings.Fields(lines[1].Text)) || AsksJSON(strings.Fields(lines[0].Text)) {
		t.Error("who asks for JSON")
	}
}

func TestNormal(t *testing.T) {
	for text, want := range map[string]string{
		"web is 0f3c2a10 of 0f3c2a10-54d1-4b0e-9f2b-d4a7f0c2e811":                                                           "web is xxxxxxxx of xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
		"    0.4s  0f3c2a10  web.g[0]  running on m2\n    0.5s  0f3c2a10  web.g[0]  task \"t\": Downloading Image: app:1\n": "",
		"12 MiB used, 1.5 GiB of sha256:da23a06c8b5a":                                                                       "N MiB used, 1.5 GiB of sha256:da23a06c8b5a", // archives of the repository are the same everywhere
		"Modify Index = 17": "Modify Index = N",
		"score 0.123, 12 %": "score N.NNN, N %",
	} {
		if got := Normal(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestAnywhere(t *testing.T) {
	for text, want := range map[string]string{
		"drwx  4.0 KiB  60 B  2.1 GiB  data/":             "drwx  N B  N B  N B  data/",
		"Imported app:1 as sha256:da23a06c8b5a, 3.1 MiB.": "Imported app:1 as sha256:DIGEST, N B.",
		"ID        Name   Port\n0f3c2a10  web    20417":   "ID  Name  Port\nxxxxxxxx  web  PORT_",
		"web.g[0] on m3, Node m3 is eligible":             "web.g[0] on mN, Node m3 is eligible",
		"nearest miss: node m2 (0f3c2a10)":                "nearest miss: node mN (xxxxxxxx)",
		"app:1  12s ago  2m3s ago":                        "app:1  0s ago  0s ago",
		"containerd 2.4.2, runc 1.1.5, linux/amd64":       "containerd VERSION, runc VERSION, linux/ARCH",
		"  an indented line":                              "  an indented line",
		"version 2.10, 19999 and 32001 are no ports":      "version 2.10, 19999 and 32001 are no ports",
	} {
		if got := Anywhere(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOutline(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "JSON: an empty list\n", `[{"B":1,"A":2},{}]`: "JSON: a list of 2, each with A B\n", `{"X":[]}`: "JSON: X\n", `"x"`: "JSON: x\n",
	} {
		if got, err := Outline(text); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if _, err := Outline("no"); err == nil {
		t.Error("no error")
	}
}
