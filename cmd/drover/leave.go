package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// drainEvery is how often a drain looks at what is still there.
const drainEvery = 500 * time.Millisecond

// leaving are the flags of a departure.
type leaving struct {
	shape    shape
	drain    bool
	force    bool
	deadline time.Duration
}

func (l *leaving) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&l.drain, "drain", false, "first have what runs on its machine placed elsewhere, and wait until it is gone from there")
	fs.DurationVar(&l.deadline, "deadline", time.Hour, "give up, and stay, when the drain takes longer")
	fs.BoolVar(&l.force, "force", false, "also while allocations run on its machine: they run on, unsupervised")
	l.shape.addProgramFlags(cmd)
}

const leaveLong = `A server hands over leadership where it leads, gives up its vote, and is not
waited for any more; it is refused, and stays as it is, when the others could not go on without it. A machine on which nothing runs is
down at once; one on which something runs has to be drained or forced. Leaving stops no container. An agent that is started again, with
its data directory, comes back.

To end an agent for a restart do not let it leave: stop its process.`

func newAgentLeave(a *app) *cobra.Command {
	var l leaving
	var ref agentRef
	cmd := &cobra.Command{
		Use:     "leave",
		Short:   "Let an agent leave the cluster for good, and end",
		Long:    "Let an agent leave the cluster for good, and end: the one asked, or the one named. " + leaveLong,
		Example: "  drover agent leave\n  drover agent leave --drain --node m3",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			who, err := ref.ref()
			if err != nil {
				return err
			}
			return l.leave(cmd.Context(), a, who)
		},
	}
	ref.addFlags(cmd, a)
	l.addFlags(cmd)
	return cmd
}

func newServerLeave(a *app) *cobra.Command {
	var l leaving
	cmd := &cobra.Command{
		Use:               "leave <server>",
		Short:             "Let a server leave the cluster for good, and end",
		Long:              "Let a server leave the cluster for good, and end. It is named by its name, its node ID, or the beginning of one. " + leaveLong,
		Example:           "  drover server leave s3",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.leave(cmd.Context(), a, api.AgentRef{Server: args[0]})
		},
	}
	l.addFlags(cmd)
	return cmd
}

func (l *leaving) leave(ctx context.Context, a *app, who api.AgentRef) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if l.drain {
		self, err := c.SelfOf(ctx, who)
		if err != nil {
			return err
		}
		if self.Client {
			if err := l.empty(ctx, a, c, self); err != nil {
				return err
			}
		}
	}
	v, err := c.LeaveAgent(ctx, who, l.force)
	if err != nil {
		return err
	}
	return l.shape.print(a.out, v, func(w io.Writer) error { return printLeft(w, v) })
}

func printLeft(w io.Writer, v *api.LeaveResponse) error {
	fmt.Fprintf(w, "Agent %s (%s) has left the cluster, and ends.\n", v.Name, shortID(v.NodeID, false))
	if v.Server {
		fmt.Fprintln(w, "It has no vote any more.")
	}
	switch {
	case v.Down:
		fmt.Fprintln(w, "Its machine is down; nothing ran there.")
	case v.Allocations > 0:
		fmt.Fprintf(w, "%s on its machine run on; they are placed elsewhere once it has been out of touch for lost_after.\n", plural(v.Allocations, "allocation"))
	}
	return nil
}

// empty takes a machine out of service and has what runs there placed elsewhere, until nothing is left.
func (l *leaving) empty(ctx context.Context, a *app, c *api.Client, self *api.AgentSelf) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.deadline, fmt.Errorf("the drain takes longer than %s", l.deadline))
	defer cancel()
	if _, err := c.SetEligibility(ctx, self.NodeID, state.NodeIneligible, api.WriteOptions{}); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "Machine %s takes no new work.\n", self.Name)
	asked, left, said := map[string]bool{}, []string(nil), -1
	for {
		allocs, _, err := c.NodeAllocations(ctx, self.NodeID, api.QueryOptions{})
		if err == nil {
			left, err = stopEach(ctx, c, allocs, asked)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("drain %s: %w; still there: %s; the agent stays, and its machine takes no new work until `drover node eligibility --enable %s`",
				self.Name, context.Cause(ctx), orElse(strings.Join(left, ", "), "unknown"), self.Name)
		}
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) != said {
			said = len(left)
			fmt.Fprintf(a.err, "%s still there.\n", plural(said, "allocation"))
		}
		select {
		case <-ctx.Done():
		case <-time.After(drainEvery):
		}
	}
}

// stopEach asks once for each allocation that it be stopped and placed again, and names those that have not ended.
func stopEach(ctx context.Context, c *api.Client, allocs []api.AllocListItem, asked map[string]bool) ([]string, error) {
	var left []string
	for _, x := range allocs {
		if ended(x) {
			continue
		}
		left = append(left, x.Name)
		if asked[x.ID] || x.DesiredStatus != state.DesiredRun {
			continue
		}
		if _, err := c.StopAllocation(ctx, x.ID, api.WriteOptions{}); err != nil {
			return left, err
		}
		asked[x.ID] = true
	}
	return left, nil
}
