package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestDocs keeps docs/cli.md as the tree of commands is.
func TestDocs(t *testing.T) {
	const path = "../../docs/cli.md"
	want := manual()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/cli.md is stale: go test ./cmd/drover -run TestDocs -rewrite\n%s", diff)
	}
}

// manual writes one page about all commands.
func manual() string {
	root := newRoot(newApp(nil, nil, nil))
	var b strings.Builder
	b.WriteString("# The command line\n\nWritten by `go test ./cmd/drover -run TestDocs -rewrite` from the commands themselves.\n\n")
	b.WriteString(root.Long + "\n\n")
	b.WriteString("Long flags take one dash or two. IDs may be shortened to any beginning that only one has. Exit codes: 0 done, 1 an error, 127 no such\ncommand, 130 interrupted; commands with others say so below.\n\n")
	b.WriteString("```\n" + root.Example + "\n```\n\nFlags of every command that asks an agent:\n\n```\n" + strings.TrimRight(root.PersistentFlags().FlagUsages(), "\n ") + "\n```\n\n")
	b.WriteString("| Command | |\n|---|---|\n")
	walk(root, func(c *cobra.Command) {
		if c.Annotations[holder] == "" {
			anchor := strings.ReplaceAll(c.CommandPath(), " ", "-")
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), anchor, c.Short)
		}
	})
	walk(root, func(c *cobra.Command) {
		if c.Annotations[holder] != "" {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n\n```\n%s\n```\n", c.CommandPath(), orElse(c.Long, c.Short+"."), c.UseLine(), c.Example)
		fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.TrimRight(c.LocalNonPersistentFlags().FlagUsages(), "\n "))
	})
	return b.String()
}
