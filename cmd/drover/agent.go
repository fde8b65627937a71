package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drover-io/drover/agent"
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
		Long: `Run an agent in the foreground until it is interrupted. Stopping an agent never stops what it runs.

With --dev it is a cluster of its own on this machine: nothing to configure, everything in a temporary directory.`,
		Example: `  drover agent --dev
  drover agent --config /etc/drover.d
  drover agent --server --client --data-dir /var/lib/drover --bootstrap-expect 3 --retry-join 10.0.0.1 --bind 10.0.0.2 --insecure`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAgent(cmd.Context(), a, f, givenKeys(cmd.Flags()))
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.dev, "dev", false, "a whole cluster of one on this machine, its data in a temporary directory")
	fs.StringArrayVar(&f.configs, "config", nil, "configuration file or directory (HCL or JSON); repeat for more, later ones win")
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

func runAgent(ctx context.Context, a *app, f agentFlags, given []agent.ConfigFlag) error {
	cfg, warnings, err := agent.LoadConfig(agent.ConfigSources{Dev: f.dev, Files: f.configs, Env: os.Getenv, Flags: given})
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(a.err, "Warning:", w)
	}
	if _, err := cfg.MakeDataDir(); err != nil {
		return err // a temporary directory is not removed at the end: what runs in it runs on
	}
	log := hclog.New(&hclog.LoggerOptions{
		Name: "drover", Level: hclog.LevelFromString(cfg.LogLevel), JSONFormat: cfg.LogJSON, Output: a.err,
	})
	ag, err := agent.Open(ctx, cfg, agent.Options{Version: version, Logger: log})
	if err != nil {
		return err
	}
	printScreen(a.out, cfg, ag)
	err = ag.Run(ctx)
	if cerr := ag.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		fmt.Fprintln(a.out, "\nAgent stopped. What it ran runs on; start the agent again on the same data directory to take it up:")
		fmt.Fprintln(a.out, "  ", cfg.DataDir)
	}
	return err
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

`, version, cfg.Name, ag.NodeID(), mode, http, peer, gossip, cfg.DataDir)
	if cfg.Dev {
		fmt.Fprint(w, `Next, in another terminal:
  drover job init && drover job run hello.nomad.hcl
  drover job status hello

`)
		return
	}
	fmt.Fprintf(w, "Next:\n  drover --address http://%s server members\n  drover --address http://%s node status\n\n", http, http)
}
