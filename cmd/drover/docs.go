package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newDocs holds what packagers and tests ask about the command line itself.
func newDocs(a *app) *cobra.Command {
	cmd := noun("docs", "Write about the command line itself", "  drover docs man dist/man", newDocsMan(a), newDocsTree(a))
	cmd.Hidden = true
	return cmd
}

func newDocsMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "man <path>",
		Short:       "Write a manual page for every command into a directory",
		Example:     "  drover docs man dist/man && man -l dist/man/drover-job-run.1",
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // pages of one version are the same wherever they are made
			epoch := time.Unix(0, 0).UTC()
			header := &doc.GenManHeader{Title: "DROVER", Section: "1", Source: "Drover " + version, Manual: "Drover", Date: &epoch}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "drover*.1"))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "Wrote %s to %s.\n", plural(len(pages), "page"), args[0])
			return err
		},
	}
}

// commandView is a command as `docs tree` lists it.
type commandView struct {
	Path   string
	JSON   bool // it answers programs
	Holder bool // it only holds other commands
}

func newDocsTree(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:         "tree",
		Short:       "List every command",
		Example:     "  drover docs tree -o name",
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printList(a.out, s, list[commandView]{
				items: commandTree(cmd.Root()), name: func(c commandView) string { return c.Path },
				columns: []column[commandView]{
					{head: "Command", cell: func(c commandView) string { return c.Path }},
					{head: "JSON", cell: func(c commandView) string { return yesNo(c.JSON) }},
				},
			})
		},
	}
	s.addFlags(cmd)
	return cmd
}

// commandTree lists a command and those below it that users are shown.
func commandTree(cmd *cobra.Command) []commandView {
	if cmd.Hidden {
		return nil
	}
	out := []commandView{{Path: cmd.CommandPath(), JSON: cmd.Flags().Lookup("json") != nil, Holder: cmd.Annotations[holder] != ""}}
	for _, sub := range cmd.Commands() {
		out = append(out, commandTree(sub)...)
	}
	return out
}
