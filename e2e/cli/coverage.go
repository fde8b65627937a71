package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/story"
)

// command is one command of the binary, as it tells itself.
type command struct {
	Path   string
	JSON   bool
	Holder bool
}

// proof is how a command is proven.
type proof struct{ well, wrong, asJSON bool }

// unproven lists what the stories do not prove, one line each.
func unproven(ctx context.Context, o options) ([]string, error) {
	out, err := exec.CommandContext(ctx, o.drover, "docs", "tree", "--json").Output()
	if err != nil {
		return nil, fmt.Errorf("list the commands: %w", err)
	}
	var commands []command
	if err := json.Unmarshal(out, &commands); err != nil {
		return nil, fmt.Errorf("list the commands: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(o.stories, "*.txt"))
	if err != nil {
		return nil, err
	}
	proofs := map[string]*proof{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		prove(proofs, commands, string(text))
	}
	return missing(proofs, commands), nil
}

// prove notes what a story proves.
func prove(proofs map[string]*proof, commands []command, text string) {
	for _, line := range story.Lines(text) {
		for _, call := range calls(line.Text) {
			path := named(commands, call)
			p := proofs[path]
			if p == nil {
				p = &proof{}
				proofs[path] = p
			}
			p.well = p.well || !line.Failed()
			p.wrong = p.wrong || line.Failed()
			p.asJSON = p.asJSON || !line.Failed() && story.AsksJSON(call)
		}
	}
}

// calls are the words of each drover command of a shell line.
func calls(line string) [][]string {
	var out [][]string
	for _, m := range regexp.MustCompile(`(?:^|[\s'"|;&(])drover((?:\s+[^|;&()'"<>\s]+|\s+'[^']*'|\s+"[^"]*")*)`).FindAllStringSubmatch(line, -1) {
		out = append(out, strings.Fields(m[1]))
	}
	return out
}

// named is the path of the command that the words name.
func named(commands []command, words []string) string {
	path := "drover"
	for _, w := range words {
		if strings.HasPrefix(w, "-") {
			continue
		}
		if !slices.ContainsFunc(commands, func(c command) bool { return c.Path == path+" "+w }) {
			break
		}
		path += " " + w
	}
	return path
}

func missing(proofs map[string]*proof, commands []command) []string {
	var out []string
	for _, c := range commands {
		p := proofs[c.Path]
		if p == nil {
			p = &proof{}
		}
		if !p.well && !c.Holder {
			out = append(out, c.Path+": no story in which it succeeds")
		}
		if !p.wrong {
			out = append(out, c.Path+": no story in which it is used wrongly")
		}
		if c.JSON && !p.asJSON {
			out = append(out, c.Path+": no story with --json")
		}
	}
	return out
}

// difference shows where two texts differ, "" where they do not.
func difference(want, got string) string {
	if want == got {
		return ""
	}
	return cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n"))
}

// newest prints the ID of the newest allocation of a name, of a list as `alloc status -json` prints it.
func newest(in io.Reader, name string) error {
	var allocs []api.AllocListItem
	if err := json.NewDecoder(in).Decode(&allocs); err != nil {
		return err
	}
	var best *api.AllocListItem
	for i := range allocs {
		if allocs[i].Name == name && (best == nil || allocs[i].CreateIndex > best.CreateIndex) {
			best = &allocs[i]
		}
	}
	if best == nil {
		return fmt.Errorf("there is no allocation %s", name)
	}
	_, err := fmt.Println(best.ID)
	return err
}
