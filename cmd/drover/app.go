package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
)

// app is what every command works with: the terminal and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer

	address    string
	region     string
	namespace  string
	token      string
	useContext string // --context
	everywhere bool   // --all-namespaces
	noColor    bool
	color      bool // --force-color

	saved savedContext // the context in use; the zero value where there is none
	asked *api.Client  // made when it is first needed

	getenv  func(name string) string
	notify  func(c chan<- os.Signal, signals ...os.Signal) // signal.Notify, for `agent`
	drivers map[string]runtime.Driver                      // of `agent`, for tests; nil means the machine's
}

func newApp(in io.Reader, out, errOut io.Writer) *app {
	return &app{in: in, out: out, err: errOut, getenv: os.Getenv, notify: signal.Notify}
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
	fs.BoolVarP(&a.everywhere, "all-namespaces", "A", false, "all namespaces, the same as --namespace '*'")
	fs.StringVar(&a.token, "token", "", "`token` to ask with (DROVER_TOKEN)")
	fs.StringVar(&a.useContext, "context", "", "saved `context` to take what is not said otherwise from (DROVER_CONTEXT; see drover context)")
	fs.BoolVar(&a.noColor, "no-color", false, "no colour (DROVER_CLI_NO_COLOR, NO_COLOR)")
	fs.BoolVar(&a.color, "force-color", false, "colour also where the output is no terminal (DROVER_CLI_FORCE_COLOR)")
}

func orElse(v, def string) string {
	if v != "" {
		return v
	}
	return def
}

// prepare makes ready what depends on the flags: the screen, and the context in use where the command asks an agent.
func (a *app) prepare(cmd *cobra.Command) error {
	if _, done := a.out.(*screen); !done {
		s := &screen{Writer: a.out, terminal: isTerminal(a.out), color: a.colored(a.out)}
		if s.terminal {
			s.width = a.columns()
		}
		a.out = s
	}
	if cmd.Annotations[offline] != "" {
		return nil
	}
	if a.everywhere && a.namespace != "" && a.namespace != api.AllNamespaces {
		return errors.New("--all-namespaces and --namespace exclude each other: give one of them")
	}
	var err error
	a.saved, err = a.contextInUse()
	return err
}

// agentAddr is the agent to ask.
func (a *app) agentAddr() string {
	return orElse(a.address, orElse(a.env("ADDR"), orElse(a.saved.Address, api.DefaultAddr)))
}

// inNamespace is the namespace that the user named, "" for none.
func (a *app) inNamespace() string {
	if a.everywhere {
		return api.AllNamespaces
	}
	return orElse(a.namespace, orElse(a.env("NAMESPACE"), a.saved.Namespace))
}

// askedToken is the token to ask with. A context's goes to no other agent than the context's.
func (a *app) askedToken() string {
	token := orElse(a.token, a.env("TOKEN"))
	if token == "" && (a.saved.Address == "" || a.agentAddr() == a.saved.Address) {
		return a.saved.Token
	}
	return token
}

// client talks to the agent that the flags name.
func (a *app) client() (*api.Client, error) {
	if a.asked != nil {
		return a.asked, nil
	}
	c, err := api.New(api.Config{
		Addr: a.agentAddr(), Token: a.askedToken(), Namespace: a.inNamespace(),
		Region: orElse(a.region, orElse(a.env("REGION"), a.saved.Region)),
	})
	a.asked = c
	return c, err
}

// terminal reports whether the output is one.
func (a *app) terminal() bool { return isTerminal(a.out) }

func isTerminal(stream any) bool {
	if s, ok := stream.(*screen); ok {
		return s.terminal
	}
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// columns is the width of the terminal; 80 where that cannot be known.
func (a *app) columns() int {
	out := a.out
	if s, ok := out.(*screen); ok {
		out = s.Writer
	}
	if f, ok := out.(*os.File); ok {
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
