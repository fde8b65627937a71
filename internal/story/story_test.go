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
