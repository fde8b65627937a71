package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newRoot is the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "drover",
		Short: "Run work on a herd of machines",
		Long: `Drover runs containers and programs on a herd of machines. Every machine runs the same agent; a few of them keep the
cluster's state among themselves; what runs on a machine that dies runs elsewhere.`,
		Example: `  drover agent --dev          # a cluster of one, nothing to configure
  drover job init             # an example job file
  drover job run hello.nomad.hcl
  drover job status hello`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)
	root.SetVersionTemplate("Drover {{.Version}}\n")
	a.addGlobalFlags(root.PersistentFlags())
	root.AddCommand(newAgentCommand(a), newVersionCommand(a))
	root.AddCommand(commands(a)...)
	return root
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  drover version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.out, "Drover", version)
			return err
		},
	}
}

// noun is a command that only holds verbs.
func noun(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example}
	cmd.AddCommand(verbs...)
	return cmd
}
