package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// addFilterFlag gives a command that only lists --filter. It comes after addFlags.
func (r *reader) addFilterFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.filter, "filter", "", "list only what an `expression` over the fields of --json holds for: 'Status == \"running\" and Meta.team == \"x\"'")
}

// addFilter is addFilterFlag for a command that shows what is named. A name beside the filter is refused: what is named is not looked
// for.
func (r *reader) addFilter(cmd *cobra.Command) {
	r.addFilterFlag(cmd)
	show := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.filter != "" && len(args) > 0 {
			return fmt.Errorf("--filter chooses from a list, and %q names one: leave one of them out", args[0])
		}
		return show(cmd, args)
	}
}

// listed are the options of a list that obeys --filter.
func (r *reader) listed() api.QueryOptions { return api.QueryOptions{Filter: r.filter} }
