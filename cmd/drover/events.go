package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// eventsRetry is how long a follower waits before it asks again after the stream broke off.
const eventsRetry = time.Second

// eventOptions are the flags of `events`.
type eventOptions struct {
	follow, json bool
	topics       []string
	index        uint64
}

func newEvents(a *app) *cobra.Command {
	var o eventOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what changed in the cluster, and with -f what changes",
		Long: `Show what changed in the cluster: jobs, allocations, nodes, node pools, images and the leader, one line for each row that changed.

Without -f the changes that the server asked still keeps (the last 10,000) are shown. With -f those from now on, or from --index
on; when the connection breaks it is opened again where it ended. A server that no longer keeps what was asked for says so.

A topic is ` + strings.Join(state.Topics(), ", ") + ` or *, and may name one row by its ID: Job:web, Node:m2, Allocation:web
(those of a job).`,
		Example: "  drover events\n  drover events -f --topic Job:web --topic Allocation:web\n  drover events -f --json | jq .",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return showEvents(cmd.Context(), a, c, o)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.follow, "follow", "f", false, "go on with what changes, until interrupted")
	fs.StringArrayVar(&o.topics, "topic", nil, "only these: a `topic` or topic:name, may be given several times")
	fs.Uint64Var(&o.index, "index", 0, "from the changes of this Raft `index` on")
	fs.BoolVar(&o.json, "json", false, "one JSON object for each log entry that changed something, as the API answers them")
	_ = cmd.RegisterFlagCompletionFunc("topic", cobra.FixedCompletions(state.Topics(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// showEvents prints events until there are no more. A follower asks again when the stream breaks off.
func showEvents(ctx context.Context, a *app, c *api.Client, o eventOptions) error {
	for {
		next, err := readEvents(ctx, a, c, o)
		switch {
		case ctx.Err() != nil:
			return nil // interrupted: that is how following ends
		case err == nil, !o.follow, next == 0:
			return err
		}
		fmt.Fprintf(a.err, "Warning: %s; asking again from index %d\n", err, next)
		o.index = next
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(eventsRetry):
		}
	}
}

// readEvents prints one stream. next is the index to go on from; 0 when the stream never began.
func readEvents(ctx context.Context, a *app, c *api.Client, o eventOptions) (next uint64, err error) {
	s, err := c.Events(ctx, api.EventsRequest{Topics: o.topics, Index: o.index, Follow: o.follow})
	if err != nil {
		var refused *api.Error
		if errors.As(err, &refused) && refused.Status() < 500 {
			return 0, err // asking again would be refused again
		}
		return o.index, err
	}
	defer func() { _ = s.Close() }() // read to its end, or given up
	next = max(o.index, s.Meta.Index+1)
	if o.index > 0 {
		next = o.index
	}
	for {
		line, err := s.Next()
		if errors.Is(err, io.EOF) && !o.follow {
			return next, nil
		}
		if errors.Is(err, io.EOF) {
			return next, errors.New("the stream of events ended")
		}
		if err != nil {
			return next, err
		}
		if err := printEvents(a, o, line); err != nil {
			return 0, err
		}
		next = line.Index + 1
	}
}

func printEvents(a *app, o eventOptions, line api.EventLine) error {
	if o.json {
		data, err := json.Marshal(line)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s\n", data)
		return err
	}
	if line.Gap != nil {
		fmt.Fprintf(a.err, "Warning: the changes %d to %d are missing: %s\n", line.Gap.From, line.Gap.To, line.Gap.Reason)
		return nil
	}
	for _, e := range line.Events {
		if _, err := fmt.Fprintf(a.out, "%s  #%-7d %-29s %s\n", when(line.Time), e.Index, e.Type, eventWords(e)); err != nil {
			return err
		}
	}
	return nil
}

// eventWords says in a few words what a row is now.
func eventWords(e state.Event) string {
	switch p := e.Payload; {
	case p.Allocation != nil:
		x := p.Allocation
		words := fmt.Sprintf("%s %s is %s on %s", shortID(x.ID, false), x.Name, x.ClientStatus, orElse(x.NodeName, shortID(x.NodeID, false)))
		if x.DesiredStatus != state.DesiredRun {
			words += ", wanted: " + x.DesiredStatus
		}
		return words + reasonOf(orElse(x.ClientDescription, x.DesiredDescription))
	case p.Job != nil:
		words := fmt.Sprintf("%s version %d", p.Job.ID, p.Job.Version)
		if p.Job.Namespace != api.DefaultNamespace {
			words = p.Job.Namespace + "/" + words
		}
		if p.Job.Blocked != nil && !p.Job.Stop {
			words += reasonOf(p.Job.Blocked.Reason)
		}
		return words
	case p.Node != nil:
		return fmt.Sprintf("%s %s is %s, %s", shortID(p.Node.ID, false), p.Node.Name, p.Node.Status, p.Node.Eligibility) + reasonOf(p.Node.StatusDescription)
	case p.Image != nil:
		return fmt.Sprintf("%s %s held by %s", p.Image.Digest[:min(len(p.Image.Digest), 19)], strings.Join(p.Image.Names, ", "), plural(len(p.Image.Holders), "node"))
	case p.Cluster != nil:
		return fmt.Sprintf("term %d led by %s, level %d", p.Cluster.LeadTerm, orDash(shortID(p.Cluster.LeadNode, false)), p.Cluster.Level)
	}
	return e.Key
}

func reasonOf(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
