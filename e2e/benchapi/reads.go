package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/state"
)

const (
	// minStaleReads is how many stale reads a second 64 connections must get.
	minStaleReads = 20_000
	// readers is how many connections read.
	readers = 64
)

// heldJob is the i-th job of the state that is read and watched.
func heldJob(i int) *state.Job { return fleet.Job("held", "plain", i, heldCount) }

// reader reads one job after the other at one server.
type reader struct {
	w        *wire
	requests [][]byte
	ids      [][]byte
	next     int
}

func newReader(ctx context.Context, host, suffix string, first int) (*reader, error) {
	r := &reader{next: first}
	for i := range heldJobs {
		id := heldJob(i).ID
		r.requests = append(r.requests, get(host, "/v1/job/"+id+suffix))
		r.ids = append(r.ids, fmt.Appendf(nil, `"ID":%q`, id))
	}
	var err error
	r.w, err = dial(ctx, host, 4096)
	return r, err
}

func (r *reader) do(context.Context) error {
	i := r.next % len(r.requests)
	r.next++
	a, err := r.w.ask(r.requests[i])
	if err == nil && (a.index == 0 || !bytes.Contains(a.body, r.ids[i])) {
		err = fmt.Errorf("%s was asked for, and index %d with this was answered: %s", r.ids[i], a.index, a.body[:min(200, len(a.body))])
	}
	return err
}

func (r *reader) close() { r.w.close() }

// measureReads reads jobs from servers that hold 1,000 of them with 10,000 allocations.
func measureReads(ctx context.Context, o options) (out []*figure, err error) {
	err = withRig(ctx, o, func(r *rig) error {
		stale := &figure{name: "stale-reads", unit: "1/s", sense: atLeast, bound: minStaleReads}
		fresh := &figure{name: "default-reads", unit: "1/s"}
		for _, f := range []*figure{stale, fresh} {
			suffix := ""
			if f == stale {
				suffix = "?stale"
			}
			var runs []result
			for range o.runs {
				stop := o.profile(ctx, r.servers, f.name, warmUp+o.lasts)
				got, err := load(ctx, readers, o.lasts, func(ctx context.Context, i int) (client, error) {
					return newReader(ctx, r.servers[i%len(r.servers)].HTTP(), suffix, i*heldJobs/readers)
				}, timeOf(r.servers))
				if stopped := stop(); err == nil {
					err = stopped
				}
				if err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
				runs = append(runs, got)
				f.values = append(f.values, got.rate())
			}
			describe(f, readers, runs)
			f.add("jobs", heldJobs)
			f.add("allocs", heldJobs*heldCount)
		}
		fresh.add("note", "the leader answers, also what the others are asked")
		out = []*figure{stale, fresh}
		return nil
	})
	return out, err
}
