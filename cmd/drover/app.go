package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
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

	getenv  func(name string) string
	drivers map[string]runtime.Driver // of `agent`, for tests; nil means the machine's
}

func newApp(in io.Reader, out, errOut io.Writer) *app {
	return &app{in: in, out: out, err: errOut, getenv: os.Getenv}
}

// env reads DROVER_<name>, and NOMAD_<name> where the first is not set.
func (a *app) env(name string) string {
	return orElse(a.getenv("DROVER_"+name), a.getenv("NOMAD_"+name))
}

// addGlobalFlags gives every command that talks to an agent the same flags. What the environment says is looked up when it is
// needed, so that help shows no token and is the same everywhere.
func (a *app) addGlobalFlags(fs *pflag.FlagSet) {
	fs.StringVar(&a.address, "address", "", "agent to ask, by its `URL`: http://host:port or unix:///path (DROVER_ADDR; default "+api.DefaultAddr+")")
	fs.StringVar(&a.region, "region", "", "`region` to ask (DROVER_REGION; default: the agent's)")
	fs.StringVar(&a.namespace, "namespace", "", "`namespace` of jobs, * for all in lists (DROVER_NAMESPACE; default: default)")
	fs.StringVar(&a.token, "token", "", "`token` to ask with (DROVER_TOKEN)")
	fs.BoolVar(&a.noColor, "no-color", false, "no colour (DROVER_CLI_NO_COLOR, NO_COLOR)")
	fs.BoolVar(&a.color, "force-color", false, "colour also where the output is no terminal (DROVER_CLI_FORCE_COLOR)")
}

func orElse(v, def string) string {
	if v != "" {
		return v
	}
	return def
}

// agentAddr is the agent to ask.
func (a *app) agentAddr() string { return orElse(a.address, orElse(a.env("ADDR"), api.DefaultAddr)) }

// inNamespace is the namespace that the user named, "" for none.
func (a *app) inNamespace() string { return orElse(a.namespace, a.env("NAMESPACE")) }

// client talks to the agent that the flags name.
func (a *app) client() (*api.Client, error) {
	return api.New(api.Config{
		Addr: a.agentAddr(), Token: orElse(a.token, a.env("TOKEN")), Namespace: a.inNamespace(), Region: orElse(a.region, a.env("REGION")),
	})
}

// terminal reports whether the output is one.
func (a *app) terminal() bool { return isTerminal(a.out) }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// columns is the width of the terminal; 80 where that cannot be known.
func (a *app) columns() int {
	if f, ok := a.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// colored reports whether what goes to a stream may have colour.
func (a *app) colored(stream io.Writer) bool {
	if a.color || a.env("CLI_FORCE_COLOR") != "" {
		return true
	}
	return isTerminal(stream) && !a.noColor && a.env("CLI_NO_COLOR") == "" && a.getenv("NO_COLOR") == ""
}

// marked says on the error stream what makes an answer less than current.
func (a *app) marked(meta api.QueryMeta) {
	fmt.Fprintf(a.err, "Warning: no leader answers. This is what the agent at %s knew %s ago; it may be old.\n",
		a.agentAddr(), meta.LastContact.Round(time.Second))
}
