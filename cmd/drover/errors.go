package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/nearest"
)

// explain is an error as the user sees it: what went wrong, and below it what to do next.
func explain(a *app, err error) string {
	var e *api.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := strings.Replace(err.Error(), e.Error(), e.Message, 1) // with what was said around it, without the advice
	if next := advice(a, e); next != "" {
		text += "\n  " + sentence(next)
	}
	return text
}

// advice is what to do about an error of the API in terms of commands.
func advice(a *app, e *api.Error) string {
	switch {
	case e.Code == api.CodeUnreachable && strings.HasPrefix(e.Message, "cannot reach the agent"):
		return "is an agent running there? Start one with `drover agent --dev`, or name another with --address or DROVER_ADDR"
	case e.Code == api.CodeUnknownOutcome:
		return "look whether it happened, then run the same command again"
	case e.Code == api.CodeNotFound && a.inNamespace() != "" && a.inNamespace() != api.AllNamespaces:
		return strings.TrimSpace(e.Next + fmt.Sprintf(" (namespace %q was searched; --namespace '*' lists all)", a.inNamespace()))
	}
	next, _, _ := strings.Cut(e.Next, " or GET /v1/") // who has the command needs no path
	return next
}

// sentence gives a text a capital and a full stop, unless it ends in something to paste.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(r)) + s[n:]
	if last, _ := utf8.DecodeLastRuneInString(s); unicode.IsLetter(last) || unicode.IsDigit(last) || last == '`' || last == ')' {
		s += "."
	}
	return s
}

// unknownVerb is what a command that only holds others says to a word that is none of them.
func unknownVerb(cmd *cobra.Command, word string) error {
	var names []string
	means := map[string]string{}
	for _, sub := range cmd.Commands() {
		if sub.Hidden {
			continue
		}
		names = append(names, sub.Name())
		for _, habit := range sub.SuggestFor {
			means[habit] = sub.Name()
		}
	}
	near := orElse(means[word], nearest.Name(word, names))
	text := fmt.Sprintf("`%s` has no command %q", cmd.CommandPath(), word)
	if near != "" {
		text += fmt.Sprintf("; did you mean `%s %s`?", cmd.CommandPath(), near)
	}
	return coded{fmt.Errorf("%s\n  `%s --help` lists them", text, cmd.CommandPath()), exitUnknown}
}

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		want := map[string]string{
			"int": "a whole number", "int64": "a whole number", "uint64": "a whole number, 0 or more", "bool": "true or false",
			"duration": "a duration such as 30s or 5m",
		}[f.Value.Type()]
		if want != "" {
			return fmt.Errorf("flag --%s wants %s, not %q\n  `%s --help` explains the flags", f.Name, want, invalid.GetValue(), cmd.CommandPath())
		}
		err = fmt.Errorf("flag --%s: %w", f.Name, errors.Unwrap(err))
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return fmt.Errorf("%w\n  `%s --help` explains the flags", err, cmd.CommandPath())
	}
	name := unknown.GetSpecifiedName()
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	text := fmt.Sprintf("`%s` has no flag --%s", cmd.CommandPath(), name)
	if unknown.GetSpecifiedShortnames() != "" {
		text = fmt.Sprintf("`%s` has no flag -%s", cmd.CommandPath(), name)
	}
	if near := nearest.Name(name, names); near != "" {
		text += fmt.Sprintf("; did you mean --%s?", near)
	}
	return fmt.Errorf("%s\n  `%s --help` lists its flags", text, cmd.CommandPath())
}

// arguments bounds how many arguments a command takes, and says what is missing.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			line := strings.TrimSuffix(cmd.UseLine(), " [flags]")
			return fmt.Errorf("`%s` needs an argument: %s\n  `%s --help` has examples", cmd.CommandPath(), line, cmd.CommandPath())
		case len(args) > most && most == 0:
			return fmt.Errorf("`%s` takes no argument, not %q\n  `%s --help` has examples", cmd.CommandPath(), args[0], cmd.CommandPath())
		case len(args) > most:
			return fmt.Errorf("`%s` takes %s; %q is too much\n  `%s --help` has examples", cmd.CommandPath(), plural(most, "argument"), args[most], cmd.CommandPath())
		}
		return nil
	}
}
