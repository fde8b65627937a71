package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/state"
)

const (
	minRegistrations = 300 // a second
	users            = 32
	registerFor      = 10 * time.Second
	readFor          = 5 * time.Second
	warmUp           = 2 * time.Second
)

// measureRegistrations registers jobs of no copies through all three servers of a cluster, from many users at the same time, and
// then reads them, stale and through the leader.
func measureRegistrations(ctx context.Context, o options) ([]figure, error) {
	writes := figure{bench: "registrations", unit: "1/s", sense: atLeast, bound: minRegistrations}
	latency := figure{bench: "registration-latency", unit: "ms"}
	stale := figure{bench: "stale-reads", unit: "1/s"}
	fresh := figure{bench: "default-reads", unit: "1/s"}
	// The work of these machines is of no interest, so no containerd on them either.
	cluster := herd.Options{Servers: 3, Config: "drivers {\n  enabled = [\"exec\"]\n}"}
	err := withHerd(ctx, o, cluster, func(h *herd.Herd) error {
		leader, err := h.Leader(ctx)
		if err != nil {
			return err
		}
		l := &load1{h: h, leader: leader}
		if _, err := l.run(ctx, warmUp, l.register); err != nil {
			return err
		}
		var share []float64
		for range o.runs {
			r, err := l.run(ctx, registerFor, l.register)
			if err != nil {
				return err
			}
			writes.values, latency.values = append(writes.values, r.rate()), append(latency.values, r.median())
			share = append(share, 100*float64(r.forwarded)/float64(r.done))
		}
		writes.add("forwarded_percent", round(median(share)))
		for f, do := range map[*figure]action{&stale: l.readStale, &fresh: l.readFresh} {
			for range o.runs {
				r, err := l.run(ctx, readFor, do)
				if err != nil {
					return err
				}
				f.values = append(f.values, r.rate())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	disk, fileSystem := diskOf(filepathDir(o.dir))
	writes.add("servers", 3)
	writes.add("users", users)
	writes.add("fsync", "every entry, on each server, before it is acknowledged")
	writes.add("disk", disk)
	writes.add("file_system", fileSystem)
	return []figure{writes, latency, stale, fresh}, nil
}
