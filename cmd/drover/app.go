package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drover-io/drover/api"
)

// app is what every command works with: the terminal and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer

	address   string
	region    string
	namespace string
	token     string
	noColor   bool
	color     bool // --force-color
}

func newApp(in io.Reader, out, errOut io.Writer) *app { return &app{in: in, out: out, err: errOut} }

// env reads DROVER_<name>, and NOMAD_<name> where the first is not set.
func env(name string) string {
	if v := os.Getenv("DROVER_" + name); v != "" {
		return v
	}
	return os.Getenv("NOMAD_" + name)
}

// addGlobalFlags gives every command that talks to an agent the same flags.
func (a *app) addGlobalFlags(fs *pflag.FlagSet) {
	fs.StringVar(&a.address, "address", orElse(env("ADDR"), api.DefaultAddr), "agent to ask: http://host:port or unix:///path (DROVER_ADDR)")
	fs.StringVar(&a.region, "region", env("REGION"), "region to ask (DROVER_REGION)")
	fs.StringVar(&a.namespace, "namespace", env("NAMESPACE"), "namespace, * for all (DROVER_NAMESPACE)")
	fs.StringVar(&a.token, "token", env("TOKEN"), "token to ask with (DROVER_TOKEN)")
	fs.BoolVar(&a.noColor, "no-color", env("CLI_NO_COLOR") != "" || os.Getenv("NO_COLOR") != "", "no colour")
	fs.BoolVar(&a.color, "force-color", env("CLI_FORCE_COLOR") != "", "colour also where the output is no terminal")
}

func orElse(v, def string) string {
	if v != "" {
		return v
	}
	return def
}

// client talks to the agent that the flags name.
func (a *app) client() (*api.Client, error) {
	return api.New(api.Config{Addr: a.address, Token: a.token, Namespace: a.namespace, Region: a.region})
}

// terminal reports whether the output is one.
func (a *app) terminal() bool {
	f, ok := a.out.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// colored reports whether the output may have colour.
func (a *app) colored() bool { return a.color || (a.terminal() && !a.noColor) }

// explain completes an error with what the user can do about it.
func explain(a *app, err error) string {
	if errors.Is(err, api.ErrUnreachable) && a.address != "" {
		return fmt.Sprintf("%s\nIs an agent running at %s? Start one with `drover agent --dev`, or name another with --address.", err, a.address)
	}
	return err.Error()
}

// doubleDashes rewrites -long to --long, as the field's users type it, for flags that the commands know. One-letter flags and
// everything behind -- stay.
func doubleDashes(root *cobra.Command, args []string) []string {
	known := map[string]bool{"help": true, "version": true}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		add := func(f *pflag.Flag) { known[f.Name] = true }
		c.Flags().VisitAll(add)
		c.PersistentFlags().VisitAll(add)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	out := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "="); strings.HasPrefix(arg, "-") && len(name) > 1 && known[name] {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out
}
