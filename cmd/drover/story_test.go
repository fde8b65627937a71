package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/story"
)

var rewrite = flag.Bool("rewrite", false, "accept what commands print now as what they should print")

// Stories are files of command lines with what they print. In them
//
//	$ drover …       is a command line; behind it comes what it prints and, unless it is 0, its exit code
//	= job N status   waits until N copies of a job have a client status
//	# …              tells the reader something
//
// @name in a command line is the ID of the newest allocation of that name, @n1 that of the node, $TMP a directory.
func TestStories(t *testing.T) {
	for _, path := range storyFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := newHerd(t).ready().tell(string(text))
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("(-story +now; -rewrite accepts)\n%s", diff)
			}
		})
	}
}

func storyFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	return files
}

// tell runs the command lines of a story and returns it with what they print now.
func (h *herd) tell(text string) string {
	h.t.Helper()
	return story.Tell(text, h)
}

// Wait waits for copies of a job.
func (h *herd) Wait(line string) {
	h.t.Helper()
	f := strings.Fields(line)
	if len(f) != 3 {
		h.t.Fatalf("= %s: want = job N status", line)
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		h.t.Fatalf("= %s: want = job N status", line)
	}
	h.waitCopies(f[0], n, f[2])
}

// Type runs one command line of a story.
func (h *herd) Type(line string) string {
	h.t.Helper()
	args, in := h.words(line)
	x := h.runIn(h.t.Context(), in, args...)
	out := x.out
	if x.code == 0 && story.AsksJSON(args) {
		var err error
		if out, err = story.Outline(x.out); err != nil {
			h.t.Errorf("%s: %v in\n%s", line, err, x.out)
		}
	}
	return story.Printed(story.Normal(strings.ReplaceAll(out+x.err, h.tmp, "$TMP")), x.code)
}

var word = regexp.MustCompile(`'[^']*'|\S+`)

// words splits a command line as a shell would, as far as stories need it.
func (h *herd) words(line string) (args []string, in string) {
	for _, w := range word.FindAllString(strings.TrimPrefix(line, "drover"), -1) {
		w = strings.ReplaceAll(strings.Trim(w, "'"), "$TMP", h.tmp)
		if name, ok := strings.CutPrefix(w, "@"); ok {
			w = h.idOf(name)
		}
		if name, ok := strings.CutPrefix(w, "<"); ok {
			data, err := os.ReadFile(name)
			if err != nil {
				h.t.Fatal(err)
			}
			in = string(data)
			continue
		}
		args = append(args, w)
	}
	return args, in
}

func (h *herd) idOf(name string) string {
	h.t.Helper()
	if nodes, _, err := h.api.Nodes(h.t.Context(), api.QueryOptions{}); err == nil && len(nodes) > 0 && nodes[0].Name == name {
		return nodes[0].ID
	}
	allocs, _, err := h.api.Allocations(h.t.Context(), api.QueryOptions{Namespace: api.AllNamespaces})
	if err != nil {
		h.t.Fatal(err)
	}
	sort.Slice(allocs, func(i, j int) bool { return allocs[i].CreateIndex > allocs[j].CreateIndex })
	for _, x := range allocs {
		if x.Name == name {
			return x.ID
		}
	}
	h.t.Fatalf("no allocation %s", name)
	return ""
}

// provenElsewhere are commands that a story cannot tell, with the test that runs them.
var provenElsewhere = map[string]string{
	"drover agent": "TestAgentCommand",
	"drover operator raft transfer-leadership": "TestLeadershipMoves",
	"drover operator raft remove-peer":         "TestLeadershipMoves",
	"drover completion":                        "TestCompletion",
	"drover alloc port-forward":                "TestPortForward",
	"drover port-forward":                      "TestPortForward",
}

// TestEveryCommandIsProven walks the tree: every command has an example, a story in which it succeeds, one in which it is used
// wrongly and, where it answers programs, one with --json. Stories that `make test-cli` tells count too; it wants all there.
func TestEveryCommandIsProven(t *testing.T) {
	root := newRoot(newApp(nil, nil, nil))
	proofs := map[string]*story.Proof{}
	outside, err := filepath.Glob("../../e2e/cli/testdata/*.txt")
	if err != nil || len(outside) == 0 {
		t.Fatalf("no stories of make test-cli: %v", err)
	}
	for _, path := range append(storyFiles(t), outside...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		story.Prove(proofs, "drover", string(text), func(words []string) string { return named(root, words).CommandPath() })
	}
	walk(root, func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		if cmd.Example == "" || !strings.Contains(cmd.Example, name) {
			t.Errorf("%s: no example of it", name)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short description %q", name, cmd.Short)
		}
		p := proofs[name]
		if p == nil {
			p = &story.Proof{}
		}
		switch elsewhere := provenElsewhere[name] != ""; {
		case !p.Well && !elsewhere:
			t.Errorf("%s: no story in which it succeeds", name)
		case !p.Wrong:
			t.Errorf("%s: no story in which it is used wrongly", name)
		case cmd.Flags().Lookup("json") != nil && !p.JSON:
			t.Errorf("%s: no story with --json", name)
		}
	})
}

// walk visits a command and those below it that users are shown.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	if cmd.Hidden {
		return
	}
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

// named is the command that a command line names.
func named(root *cobra.Command, args []string) *cobra.Command {
	cmd := root
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			continue
		}
		sub := subCommand(cmd, a)
		if sub == nil {
			break
		}
		cmd = sub
	}
	return cmd
}
