package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/agent"
)

func newConfigValidate(a *app) *cobra.Command {
	var dev bool
	cmd := &cobra.Command{
		Use:   "validate <path>...",
		Short: "Check configuration files and directories of an agent",
		Long: `Check what an agent would be told by configuration files and directories, later ones over earlier ones, and by this environment.
Nothing is started or made.`,
		Example:     "  drover config validate /etc/drover.d\n  drover config validate base.hcl machine.hcl",
		SuggestFor:  []string{"check", "test"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1000),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := loadConfig(a, agent.ConfigSources{Dev: dev, Files: args, Env: a.getenv}); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, "The configuration is valid.")
			return err
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "as an agent started with --dev would take it")
	return cmd
}
