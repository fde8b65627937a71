package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// maxForwarded bounds the connections that one command forwards at a time.
const maxForwarded = 100

func newAllocForward(a *app) *cobra.Command {
	var bind string
	cmd := &cobra.Command{
		Use:   "port-forward <alloc|job> [local:]<port>...",
		Short: "Reach a port of one copy from this machine",
		Long: `Listen on this machine and connect what comes there to a port of one copy, through the agent that is asked. The port is named by its
label or by its number; before it, with a colon, the local port may stand: 0 for any that is free. It goes on until interrupted.`,
		Example:    "  drover alloc port-forward hello http\n  drover alloc port-forward 8f3c 8080:http 9000:9090",
		SuggestFor: []string{"forward", "proxy", "tunnel"},
		Args:       arguments(2, 20),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			x, err := a.pickAlloc(cmd.Context(), c, args[0], false)
			if err != nil {
				return err
			}
			err = a.forward(cmd.Context(), c, x, bind, args[1:])
			if cmd.Context().Err() != nil {
				return nil // interrupted: that is how it ends
			}
			return err
		},
		ValidArgsFunction: a.completeAllocs,
	}
	cmd.Flags().StringVar(&bind, "bind", "127.0.0.1", "`address` to listen on")
	return cmd
}

// forwarding is one port that is listened on.
type forwarding struct {
	l    net.Listener
	port string
}

// forward listens on every port and forwards until ctx ends.
func (a *app) forward(ctx context.Context, c *api.Client, x api.AllocListItem, bind string, words []string) error {
	var all []forwarding
	defer func() {
		for _, f := range all {
			_ = f.l.Close() // closed already when ctx has ended
		}
	}()
	for _, word := range words {
		local, port, err := splitPorts(x, word)
		if err != nil {
			return err
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(bind, local))
		if err != nil {
			return fmt.Errorf("listen: %w; choose another local port: drover alloc port-forward %s 0:%s", err, shortID(x.ID, false), port)
		}
		all = append(all, forwarding{l, port})
		fmt.Fprintf(a.out, "Forwarding %s to port %q of %s (%s) on %s\n", l.Addr(), port, shortID(x.ID, false), x.Name, x.NodeName)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, maxForwarded)
	var wg sync.WaitGroup
	for _, f := range all {
		stop := context.AfterFunc(ctx, func() { _ = f.l.Close() }) // wakes Accept
		defer stop()
		wg.Go(func() { cancel(a.acceptForwarded(ctx, c, x.ID, f, slots, &wg)) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// acceptForwarded forwards what connects to one port.
func (a *app) acceptForwarded(ctx context.Context, c *api.Client, id string, f forwarding, slots chan struct{}, wg *sync.WaitGroup) error {
	var said sync.Mutex
	for {
		conn, err := f.l.Accept()
		if err != nil {
			return fmt.Errorf("accept a connection on %s: %w", f.l.Addr(), err)
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = conn.Close() // whoever it was sees that it is refused
			fmt.Fprintf(a.err, "Warning: %d connections are forwarded already; one more was refused.\n", maxForwarded)
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := c.ForwardPort(ctx, id, f.port, conn); err != nil && ctx.Err() == nil {
				said.Lock()
				defer said.Unlock()
				fmt.Fprintln(a.err, "Warning:", explain(a, err))
			}
		})
	}
}

// splitPorts reads "port" or "local:port". The port must be one of the allocation's.
func splitPorts(x api.AllocListItem, word string) (local, port string, err error) {
	local, port, both := strings.Cut(word, ":")
	if !both {
		local, port = "", word
	}
	var known *state.AllocPort
	var names []string
	for i, p := range x.Ports {
		if p.Label == port || strconv.Itoa(p.HostPort) == port || strconv.Itoa(p.To) == port {
			known = &x.Ports[i]
		}
		names = append(names, fmt.Sprintf("%s (%d)", p.Label, p.To))
	}
	switch {
	case len(x.Ports) == 0:
		return "", "", errors.New("the allocation has no ports; give its group a network block with a port")
	case known == nil:
		return "", "", fmt.Errorf("the allocation has no port %q, it has %s", port, strings.Join(names, ", "))
	case both && local == "":
		local = "0"
	case !both:
		local = strconv.Itoa(known.To)
	}
	if _, err := strconv.ParseUint(local, 10, 16); err != nil {
		return "", "", fmt.Errorf("%q is no local port: a number up to 65535, 0 for any that is free", local)
	}
	return local, port, nil
}
