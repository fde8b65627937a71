package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
)

// agentFlags are the flags of `drover agent`; those that were given override the configuration files.
type agentFlags struct {
	dev     bool
	configs []string
}

func newAgentCommand(a *app) *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent: a server, a client, or both",
		Long: `Run an agent in the foreground until it is interrupted (SIGINT, SIGTERM). Stopping an agent never stops what it runs. SIGHUP
has it read its configuration anew: the log says which changes took effect and which need a restart, and a bad one changes nothing. Where the
agent runs on a terminal, closing that ends it. With leave_on_interrupt or leave_on_terminate it leaves the cluster before it ends.

With --dev it is a cluster of its own on this machine: nothing to configure, everything in a temporary directory.

What files, environment and flags say is checked by ` + "`drover config validate`" + `, too. The log goes to the standard error.`,
		Example: `  drover agent --dev
  drover agent --config /etc/drover.d
  drover agent --server --client --data-dir /var/lib/drover --bootstrap-expect 3 --retry-join 10.0.0.1 --bind 10.0.0.2 --insecure`,
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAgent(cmd.Context(), a, f, givenKeys(cmd.Flags()))
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.dev, "dev", false, "a whole cluster of one on this machine, its data in a temporary directory")
	fs.StringArrayVar(&f.configs, "config", nil, "configuration `file` or directory (HCL or JSON); repeat for more, later ones win")
	for _, k := range agent.ConfigKeys() {
		switch {
		case k.Flag == "":
		case k.IsBool():
			fs.Bool(k.Flag, false, k.Meaning)
		case k.IsList():
			fs.StringArray(k.Flag, nil, k.Meaning+" (repeat for more)")
		default:
			fs.String(k.Flag, "", k.Meaning)
		}
	}
	cmd.AddCommand(newAgentLeave(a))
	return cmd
}

// givenKeys are the flags of the configuration's table that the command line has.
func givenKeys(fs *pflag.FlagSet) []agent.ConfigFlag {
	var out []agent.ConfigFlag
	for _, k := range agent.ConfigKeys() {
		f := fs.Lookup(k.Flag)
		if k.Flag == "" || f == nil || !f.Changed {
			continue
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				out = append(out, agent.ConfigFlag{Name: k.Flag, Value: v})
			}
			continue
		}
		out = append(out, agent.ConfigFlag{Name: k.Flag, Value: f.Value.String()})
	}
	return out
}

// loadConfig reads and checks a configuration, and prints its warnings.
func loadConfig(a *app, src agent.ConfigSources) (agent.Config, error) {
	cfg, warnings, err := agent.LoadConfig(src)
	for _, w := range warnings {
		fmt.Fprintln(a.err, "Warning:", w)
	}
	if err != nil {
		return cfg, err
	}
	if err := cfg.Validate(); err != nil {
		return cfg, err
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintln(a.err, "Warning:", w)
	}
	return cfg, nil
}

// printScreen says in one screen what was started, where it answers, and what to do next.
func printScreen(w io.Writer, cfg agent.Config, ag *agent.Agent) {
	http, peer, gossip := ag.Addrs()
	var roles []string
	if cfg.Server.Enabled {
		roles = append(roles, "server")
	}
	if cfg.Client.Enabled {
		roles = append(roles, "client")
	}
	mode := strings.Join(roles, " and ")
	if cfg.Dev {
		mode += " (development)"
	}
	fmt.Fprintf(w, `Drover %s

        Node  %s  (%s)
        Mode  %s
         API  http://%s
       Peers  %s
      Gossip  %s
        Data  %s

Next, in another terminal:
`, version, cfg.Name, ag.NodeID(), mode, http, peer, gossip, cfg.DataDir)
	if addr := "http://" + http; addr != api.DefaultAddr {
		fmt.Fprintf(w, "  export DROVER_ADDR=%s\n", addr)
	}
	if cfg.Dev {
		fmt.Fprint(w, "  drover job init && drover job run hello.nomad.hcl\n  drover job status hello\n\n")
		return
	}
	fmt.Fprint(w, "  drover server members\n  drover node status\n\n")
}
