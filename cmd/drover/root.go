package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

// Groups of commands in the first help page.
const (
	groupNouns = "nouns"
	groupShort = "short"
	groupOther = "other"
)

// Annotations of commands.
const (
	offline = "offline" // it asks no agent: the global flags are none of its
	holder  = "holder"  // it only holds other commands
)

// newRoot is the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "drover",
		Short: "Run work on a herd of machines",
		Long: `Drover runs containers and programs on a herd of machines. Every machine runs the same agent; a few of them keep the
cluster's state among themselves; what runs on a machine that dies runs elsewhere.`,
		Example: `  drover agent --dev               # a cluster of one, nothing to configure
  drover job init                  # an example job file
  drover job run hello.nomad.hcl
  drover job status hello`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args:          cobra.ArbitraryArgs,
		RunE:          helpOrUnknown,
		Annotations:   map[string]string{holder: "true"},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)
	root.SetVersionTemplate("Drover {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(usageTemplate)
	a.addGlobalFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("context", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeContexts(cmd, nil, word)
	})
	_ = root.RegisterFlagCompletionFunc("namespace", a.completeNamespaces)
	root.AddGroup(&cobra.Group{ID: groupNouns, Title: "Commands:"}, &cobra.Group{ID: groupShort, Title: "Short forms:"},
		&cobra.Group{ID: groupOther, Title: "Other commands:"})
	root.AddCommand(commands(a)...)
	root.SetHelpCommand(newHelp(a))
	root.InitDefaultHelpCmd()
	finish(root)
	return root
}

// finish gives every command what none should lack.
func finish(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && !strings.Contains(cmd.Use, "file") && !strings.Contains(cmd.Use, "path") && !cmd.HasSubCommands() && len(cmd.ValidArgs) == 0 {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.InitDefaultHelpFlag()
	if f := cmd.Flags().Lookup("help"); f != nil {
		f.Usage = "explain this command"
	}
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
}

// usageTemplate is the part of a help page behind the description. Global flags are explained once, on the first page; other pages
// only name them.
const usageTemplate = `Usage:{{if .Runnable}}{{if index .Annotations "holder"}}
  {{.CommandPath}} <command>{{else}}
  {{.UseLine}}{{end}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }}  {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{$group.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding }}  {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if and .HasAvailableLocalFlags .HasParent}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if not .HasParent}}

Flags of every command that asks an agent:
{{.PersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{else if not (index .Annotations "offline")}}

Global flags, explained by ` + "`drover --help`" + `:
  --address --namespace -A --region --token --context --no-color --force-color{{end}}{{if .HasAvailableSubCommands}}

` + "`{{.CommandPath}} <command> --help`" + ` explains a command. Long flags take one dash or two.{{end}}
`

// helpOrUnknown is what a command does that only holds others.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownVerb(cmd, args[0])
}

func newHelp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "help [command]",
		Short:       "Explain a command",
		Example:     "  drover help job run",
		GroupID:     groupOther,
		Annotations: map[string]string{offline: "true"},
		Args:        cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			for _, word := range args {
				sub := subCommand(about, word)
				if sub == nil {
					return unknownVerb(about, word)
				}
				about = sub
			}
			about.SetOut(a.out)
			return about.Help()
		},
	}
}

// versionView is what `version` says.
type versionView struct {
	Version string
	Go      string
	OS      string
	Arch    string
}

func newVersionCommand(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:         "version",
		Short:       "Print the version",
		Example:     "  drover version\n  drover version --json",
		GroupID:     groupOther,
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := versionView{version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return s.print(a.out, v, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "Drover", v.Version)
				return err
			})
		},
	}
	s.addFlags(cmd)
	return cmd
}

// noun is a command that only holds verbs.
func noun(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs, RunE: helpOrUnknown, Annotations: map[string]string{holder: "true"},
	}
	cmd.AddCommand(verbs...)
	return cmd
}
