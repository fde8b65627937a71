package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/internal/story"
)

// command is one command of the binary, as it tells itself.
type command struct {
	Path   string
	JSON   bool
	Holder bool
}

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
	proofs := map[string]*story.Proof{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		story.Prove(proofs, "drover", string(text), func(words []string) string { return named(commands, words) })
	}
	return missing(proofs, commands), nil
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

func missing(proofs map[string]*story.Proof, commands []command) []string {
	var out []string
	for _, c := range commands {
		p := proofs[c.Path]
		if p == nil {
			p = &story.Proof{}
		}
		if !p.Well && !c.Holder {
			out = append(out, c.Path+": no story in which it succeeds")
		}
		if !p.Wrong {
			out = append(out, c.Path+": no story in which it is used wrongly")
		}
		if c.JSON && !p.JSON {
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
