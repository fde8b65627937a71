package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/e2e/gauge"
)

// warmUp comes before what is measured: connections are made, and nothing is counted.
const warmUp = time.Second

// client does one thing after the other.
type client interface {
	do(ctx context.Context) error
	close()
}

// result is what a while of load came to.
type result struct {
	done  int
	took  time.Duration
	times []float64 // milliseconds
	cpu   time.Duration
	own   time.Duration // processor time of this program
}

// more takes in another while of the same load.
func (r *result) more(other result, err error) error {
	r.done, r.took, r.times = r.done+other.done, r.took+other.took, append(r.times, other.times...)
	r.cpu, r.own = r.cpu+other.cpu, r.own+other.own
	return err
}

func (r result) rate() float64 { return float64(r.done) / r.took.Seconds() }

// perUnit is processor time in µs for each thing done.
func (r result) perUnit(cpu time.Duration) float64 {
	return float64(cpu.Microseconds()) / float64(max(r.done, 1))
}

// load has n clients do what they do for a while, each with a connection of its own, and counts the processor time of some processes.
// What fails ends it: there is nothing here that may.
func load(ctx context.Context, n int, d time.Duration, open func(ctx context.Context, i int) (client, error), used func() (time.Duration, error)) (result, error) {
	clients := make([]client, 0, n)
	defer func() {
		for _, c := range clients {
			c.close()
		}
	}()
	for i := range n {
		c, err := open(ctx, i)
		if err != nil {
			return result{}, fmt.Errorf("client %d: %w", i, err)
		}
		clients = append(clients, c)
	}
	if _, err := rush(ctx, clients, warmUp); err != nil {
		return result{}, err
	}
	before, err := used()
	if err != nil {
		return result{}, err
	}
	own, err := ownTime()
	if err != nil {
		return result{}, err
	}
	r, err := rush(ctx, clients, d)
	if err != nil {
		return r, err
	}
	after, err := used()
	if err != nil {
		return r, err
	}
	ownAfter, err := ownTime()
	r.cpu, r.own = after-before, ownAfter-own
	return r, err
}

// rush has all clients do what they do for a while. What is under way at the end is waited for.
func rush(ctx context.Context, clients []client, d time.Duration) (result, error) {
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	times, errs := make([][]float64, len(clients)), make([]error, len(clients))
	began := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for until.Err() == nil && errs[i] == nil {
				at := time.Now()
				if err := c.do(ctx); err != nil {
					errs[i] = fmt.Errorf("client %d: %w", i, err)
					cancel()
				}
				times[i] = append(times[i], time.Since(at).Seconds()*1e3)
			}
		})
	}
	wg.Wait()
	r := result{took: time.Since(began)}
	for _, t := range times {
		r.done += len(t)
		r.times = append(r.times, t...)
	}
	return r, errors.Join(append(errs, ctx.Err())...)
}

// ownTime is this program's processor time.
func ownTime() (time.Duration, error) {
	u, err := gauge.ReadUsage(os.Getpid())
	return u.CPU, err
}

// timeOf sums the processor time of the servers.
func timeOf(servers fleet.Servers) func() (time.Duration, error) {
	return func() (sum time.Duration, err error) {
		for _, s := range servers {
			u, err := s.Usage()
			if err != nil {
				return 0, err
			}
			sum += u.CPU
		}
		return sum, nil
	}
}
