package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newRecover(a *app) *cobra.Command {
	var s shape
	var yes, force, dryRun bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Bring the cluster back after the majority of its servers was lost for good",
		Long: `Bring the cluster back after the majority of its servers was lost for good. Ask the surviving server itself, with --address; of several
the one with the newest log. Its agent must run. It is said first who is left, what the survivor's log holds and what is at risk; after
one confirmation the survivor alone is the cluster, and leads it. What runs goes on running, machines come back by themselves, and servers
with an empty log join again by themselves.

Servers that are only cut off or stopped bring the cluster back by coming back: nothing is lost then. Recovering is for those whose data
is gone. It is refused while there is a leader, and, unless forced, while a majority answers or another server has a newer log.`,
		Example: `  drover operator recover --address http://10.0.0.1:4646 --dry-run   # look only
  drover operator recover --address http://10.0.0.1:4646`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v, err := c.SurveyRecovery(cmd.Context())
			if err != nil {
				return err
			}
			if dryRun {
				return s.print(a.out, v, func(w io.Writer) error { return printSurvey(w, v) })
			}
			if !s.given() && v.Leader == "" {
				if err := printSurvey(a.out, v); err != nil {
					return err
				}
			}
			if v.Leader == "" && (len(v.Refusals) == 0 || force) && !yes {
				if err := a.confirm(bufio.NewReader(a.in), fmt.Sprintf("Recover the cluster from server %s alone?", orElse(v.Name, v.NodeID))); err != nil {
					return err
				}
			}
			resp, err := c.Recover(cmd.Context(), &api.RecoverRequest{NodeID: v.NodeID, LastIndex: v.LastIndex, LastTerm: v.LastTerm, Force: force})
			if err != nil {
				return err
			}
			return s.print(a.out, resp, func(w io.Writer) error { return printRecovered(w, resp, v) })
		},
	}
	s.addProgramFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "also while a majority answers or another server has a newer log: what that has and this one has not is lost")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what it would mean, and change nothing")
	return cmd
}

func printSurvey(w io.Writer, v *api.RecoveryView) error {
	if err := facts(w, "Server", fmt.Sprintf("%s (%s)", v.Name, v.NodeID), "Cluster ID", v.ClusterID, "Leader", orElse(v.Leader, "none"),
		"Newest Entry", fmt.Sprintf("%d (term %d)", v.LastIndex, v.LastTerm), "Known Committed", strconv.FormatUint(v.CommitIndex, 10),
		"In Touch", fmt.Sprintf("%s (%s)", ago(v.InTouch, time.Now()), when(v.InTouch))); err != nil {
		return err
	}
	var rows [][]string
	for _, p := range v.Servers {
		newest := "-"
		if p.LastIndex > 0 {
			newest = fmt.Sprintf("%d (term %d)", p.LastIndex, p.LastTerm)
		}
		rows = append(rows, []string{orDash(p.Name), p.ID, p.Address, strconv.FormatBool(p.Voter), p.State, newest})
	}
	fmt.Fprintln(w)
	if err := table(w, "Node|ID|Address|Voter|State|Newest Entry", rows); err != nil {
		return err
	}
	if len(v.InDoubt) > 0 {
		rows = nil
		for _, e := range v.InDoubt {
			rows = append(rows, []string{strconv.FormatUint(e.Index, 10), e.Description})
		}
		fmt.Fprintf(w, "\nIn doubt: not known to be committed (the newest %d of %d)\n", len(v.InDoubt), v.InDoubtAll)
		if err := table(w, "Entry|What it does", rows); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nWhat recovering from here means")
	for _, text := range v.Risks {
		fmt.Fprintf(w, "  * %s\n", oneLine(text))
	}
	if len(v.Refusals) > 0 {
		fmt.Fprintln(w, "\nWhy it is wrong")
		for _, text := range v.Refusals {
			fmt.Fprintf(w, "  * %s\n", oneLine(text))
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func printRecovered(w io.Writer, resp *api.RecoverResponse, v *api.RecoveryView) error {
	fmt.Fprintf(w, "The cluster goes on with server %s alone, at index %d, restore generation %d. Machines stop nothing until they have\n"+
		"reported what runs on them.\n\nNext\n  drover operator raft list-peers   # servers with an empty log join by themselves\n  drover node status\n",
		orElse(v.Name, v.NodeID), resp.Index, resp.Generation)
	_, err := fmt.Fprintln(w, "  start the other servers with an empty data directory, or move raft/ out of the one that they have; three bear the loss of one again")
	return err
}
