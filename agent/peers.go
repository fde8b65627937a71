package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/drover-io/drover/api"
)

// peers are the other agents' peer listeners, reached over the one dialer.
type peers struct {
	base *api.Client
	// servers lists the peer addresses to try for a question that any server may answer, the best first.
	servers func() []string
}

func newPeers(network Network, nodeID string, servers func() []string) (*peers, error) {
	base, err := api.New(api.Config{
		Addr: "http://peer.invalid", NodeID: nodeID, Retries: -1,
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return network.Dial(ctx, addr) },
	})
	if err != nil {
		return nil, fmt.Errorf("make peer client: %w", err)
	}
	return &peers{base: base, servers: servers}, nil
}

// to is a client of the agent whose peer listener has that address.
func (p *peers) to(addr string) *api.Client {
	c, err := p.base.At("http://" + addr)
	if err != nil {
		return p.base // the address of nobody: every call on it fails and says so
	}
	return c
}

// each asks one server after the other until one answers. A refusal that another server would repeat ends the round.
func (p *peers) each(ctx context.Context, ask func(context.Context, *api.Client) error) error {
	var errs []error
	for _, addr := range p.servers() {
		err := ask(ctx, p.to(addr))
		if err == nil || refused(err) || ctx.Err() != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
	}
	if len(errs) == 0 {
		return errors.New("no server is known; set retry_join, or servers in client{}, to the address of one")
	}
	return errors.Join(errs...)
}

// refused reports whether a server understood the question and said no for good.
func refused(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && slices.Contains([]string{
		api.CodeForbidden, api.CodeInvalid, api.CodeConflict, api.CodeNotFound, api.CodeTooLarge,
	}, e.Code)
}
