package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
)

const (
	// tryFor is how long one server may take over a question before the next is asked: it waits for a leader for that long.
	tryFor = 5 * time.Second
	// avoidFor is how long a server that did not answer is asked only after the others.
	avoidFor = 10 * time.Second
)

// peers are the other agents' peer listeners, reached over the one dialer.
type peers struct {
	base *api.Client
	// servers lists the peer addresses to try for a question that any server may answer, the best first.
	servers func() []string

	mu     sync.Mutex
	failed map[string]time.Time // servers that did not answer, and when
}

func newPeers(network Network, nodeID string, servers func() []string) (*peers, error) {
	base, err := api.New(api.Config{
		Addr: "http://peer.invalid", NodeID: nodeID, Retries: -1,
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return network.Dial(ctx, addr) },
	})
	if err != nil {
		return nil, fmt.Errorf("make peer client: %w", err)
	}
	return &peers{base: base, servers: servers, failed: map[string]time.Time{}}, nil
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
	return p.eachWithin(ctx, tryFor, ask)
}

// eachWithin gives each server no longer than limit: of a machine that is gone nothing ever comes back, and the others must still
// have their turn before ctx ends.
func (p *peers) eachWithin(ctx context.Context, limit time.Duration, ask func(context.Context, *api.Client) error) error {
	return p.eachOf(ctx, p.servers(), limit, ask)
}

// eachOf is eachWithin for servers in another order.
func (p *peers) eachOf(ctx context.Context, servers []string, limit time.Duration, ask func(context.Context, *api.Client) error) error {
	var errs []error
	for _, addr := range p.order(servers) {
		try, cancel := context.WithTimeout(ctx, limit)
		err := ask(try, p.to(addr))
		silent := err != nil && (try.Err() != nil || errors.Is(err, api.ErrTimeout) || errors.Is(err, api.ErrUnreachable))
		cancel()
		p.note(addr, silent)
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

// order is the servers to ask, those that did not answer a moment ago last.
func (p *peers) order(servers []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var good, bad []string
	for _, addr := range servers {
		if at, ok := p.failed[addr]; ok && time.Since(at) < avoidFor {
			bad = append(bad, addr)
		} else {
			good = append(good, addr)
		}
	}
	return append(good, bad...)
}

// note remembers whether a server gave any answer at all.
func (p *peers) note(addr string, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for old, at := range p.failed {
		if old == addr || time.Since(at) >= avoidFor {
			delete(p.failed, old)
		}
	}
	if silent {
		p.failed[addr] = time.Now()
	}
}

// refused reports whether a server understood the question and said no for good.
func refused(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && slices.Contains([]string{
		api.CodeForbidden, api.CodeInvalid, api.CodeConflict, api.CodeNotFound, api.CodeTooLarge,
	}, e.Code)
}
