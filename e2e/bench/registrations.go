package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/e2e/herd"
)

const minRegistrations = 300 // a second

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
		t, err := newTraffic(ctx, h)
		if err != nil {
			return err
		}
		defer t.close()
		if err := t.writes(ctx, o, &writes, &latency); err != nil {
			return err
		}
		if err := t.reads(ctx, o, &stale, true); err != nil {
			return err
		}
		return t.reads(ctx, o, &fresh, false)
	})
	if err != nil {
		return nil, err
	}
	fresh.add("note", "the leader answers, also what others are asked")
	return []figure{writes, latency, stale, fresh}, nil
}

// writes measures registrations.
func (t *traffic) writes(ctx context.Context, o options, rate, latency *figure) error {
	if _, err := t.run(ctx, warmUp, t.register); err != nil {
		return err
	}
	var share, flushes []float64
	for range o.runs {
		before := flushesOf(o.dir)
		r, err := t.run(ctx, registerFor, t.register)
		if err != nil {
			return err
		}
		rate.values, latency.values = append(rate.values, r.rate()), append(latency.values, r.latency())
		share = append(share, 100*float64(r.forwarded)/float64(r.done))
		flushes = append(flushes, float64(flushesOf(o.dir)-before)/r.took.Seconds())
	}
	disk, fileSystem := gauge.DiskOf(o.dir)
	rate.add("servers", len(t.herd.Nodes))
	rate.add("users", users)
	rate.add("forwarded_percent", round(median(share))) // asked of a follower, which passed it to the leader
	rate.add("fsync", "each server syncs its log before it counts a write")
	rate.add("disk_flushes_per_s", round(median(flushes)))
	rate.add("disk", disk)
	rate.add("file_system", fileSystem)
	if fileSystem == "tmpfs" {
		rate.broken = "the disks are in memory: set TMPDIR to a directory on a disk"
	}
	return nil
}

// reads measures reads of one job.
func (t *traffic) reads(ctx context.Context, o options, rate *figure, stale bool) error {
	for range o.runs {
		r, err := t.run(ctx, readFor, t.read(stale))
		if err != nil {
			return err
		}
		rate.values = append(rate.values, r.rate())
	}
	rate.add("users", users)
	return nil
}

// flushesOf counts the flushes of the device below a directory since boot; 0 when the kernel does not say.
func flushesOf(dir string) int64 {
	var flushes int64
	disk, _ := gauge.DiskOf(dir)
	device, _, _ := strings.Cut(disk, " ")
	b, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 18 && f[2] == filepath.Base(device) {
			if _, err := fmt.Sscan(f[18], &flushes); err != nil {
				return 0
			}
		}
	}
	return flushes
}
