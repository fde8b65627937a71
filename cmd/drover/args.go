package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drover-io/drover/internal/nearest"
)

// doubleDashes rewrites -long to --long, as the field's users type it. Short flags (-f, -n20, -vf), values of flags, and
// everything behind -- stay. A word that is no flag of the command is rewritten too where it can be no short one: the error then
// names the whole word instead of its first letter.
func doubleDashes(root *cobra.Command, args []string) []string {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return args // the shell asks about a line that is being written
	}
	flags := flagsOf(root, args)
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" || i == flags.ends {
			return append(out, args[i:]...)
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || name == "" {
			out = append(out, arg)
			continue
		}
		if !strings.HasPrefix(arg, "--") && len(name) > 1 && flags.long(name) {
			arg = "-" + arg
		}
		out = append(out, arg)
		if f := flags.of(arg, name); f != nil && f.NoOptDefVal == "" && !hasValue && i+1 < len(args) {
			i++
			out = append(out, args[i]) // its value, whatever it looks like
		}
	}
	return out
}

// flagWords are the flags that a command line may have.
type flagWords struct {
	set  *pflag.FlagSet
	ends int // position of the argument that ends them; -1 for none
}

// flagsOf are the flags of the command that a command line names, with the global ones.
func flagsOf(root *cobra.Command, args []string) flagWords {
	cmd := root
	flags := flagWords{allFlags(root, cmd), -1}
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		if name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "="); strings.HasPrefix(args[i], "-") {
			f := flags.set.Lookup(name)
			if f == nil && len(name) == 1 {
				f = flags.set.ShorthandLookup(name)
			}
			if f != nil && f.NoOptDefVal == "" && !hasValue {
				i++
			}
			continue
		}
		sub := subCommand(cmd, args[i])
		if sub == nil {
			if cmd.Annotations[verbatim] != "" {
				flags.ends = i
			}
			break
		}
		cmd = sub
		flags = flagWords{allFlags(root, cmd), -1}
	}
	return flags
}

func allFlags(root, cmd *cobra.Command) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.BoolP("help", "h", false, "")
	set.Bool("version", false, "")
	set.AddFlagSet(cmd.Flags())
	set.AddFlagSet(root.PersistentFlags())
	return set
}

func subCommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return nil
}

// long reports whether a word behind one dash is meant as a long flag.
func (f flagWords) long(name string) bool {
	if f.set.Lookup(name) != nil {
		return true
	}
	if f.set.ShorthandLookup(name[:1]) == nil {
		return true // an unknown flag, whole
	}
	var names []string
	f.set.VisitAll(func(x *pflag.Flag) { names = append(names, x.Name) })
	return len(name) > 3 && nearest.Name(name, names) != "" // -tial is no template "ial"
}

// of is the flag that an argument of the rewritten command line is, nil for none. Short flags that come together have their value
// with them.
func (f flagWords) of(arg, name string) *pflag.Flag {
	switch {
	case strings.HasPrefix(arg, "--"):
		return f.set.Lookup(name)
	case len(name) == 1:
		return f.set.ShorthandLookup(name)
	}
	return nil
}
