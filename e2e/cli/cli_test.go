package main

import (
	"reflect"
	"testing"

	"github.com/drover-io/drover/internal/story"
)

func TestCallsOfALine(t *testing.T) {
	commands := []command{{Path: "drover"}, {Path: "drover job"}, {Path: "drover job status"}, {Path: "drover version"}, {Path: "drover alloc"}, {Path: "drover alloc logs"}}
	for line, want := range map[string][]string{
		"drover job status -o json web":                  {"drover job status"},
		"drover job status | by 2":                       {"drover job status"},
		"timeout 3 drover job status -w > $TMP/x; cat x": {"drover job status"},
		"script -qec 'drover alloc logs -f x' /dev/null": {"drover alloc logs"},
		"drover alloc logs $(drover job status -o name)": {"drover alloc logs", "drover job status"},
		"cat x.hcl | drover -namespace=team job stat -":  {"drover job"},
		"drover":                              {"drover"},
		"echo no-drover-here $TMP/drover.hcl": nil,
	} {
		var got []string
		for _, c := range story.Calls("drover", line) {
			got = append(got, named(commands, c))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestACommandWithoutACaseIsMissing(t *testing.T) {
	commands := []command{{Path: "drover", Holder: true}, {Path: "drover version", JSON: true}, {Path: "drover run"}}
	proofs := map[string]*story.Proof{}
	story.Prove(proofs, "drover", "$ drover version\nDrover 1\n\n$ drover version x\nError: no\n[exit 1]\n\n$ drover nope\nError: no\n[exit 127]\n\n$ drover run | tail -1\nError: no\n",
		func(words []string) string { return named(commands, words) })
	want := []string{"drover version: no story with --json", "drover run: no story in which it succeeds", "drover run: no story in which it is used wrongly"}
	if got := missing(proofs, commands); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
