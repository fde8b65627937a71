package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
)

func wipedDrills() []drill {
	processes := drill{
		name: "node-wiped", driver: herd.DriverExec, servers: 3, clients: 2, lane: 3, each: 8 * time.Second,
		counts: []string{countOrphans, countDoubled}, bound: time.Minute, prepare: spread, run: wipe, finish: stillClean,
	}
	// The embedded daemon keeps its images and snapshots in the data directory: they go too.
	containers := processes
	containers.name, containers.driver = "node-wiped-containerd", herd.DriverContainerd
	return []drill{processes, containers}
}

// wipe kills the agent of a machine that only runs work, removes its data directory and starts it again. Measured is until each
// copy runs once and nothing runs that the cluster does not know.
func wipe(ctx context.Context, r *rig, run int) (time.Duration, error) {
	victim := r.herd.Nodes[r.drill.servers+run%r.drill.clients]
	if err := r.occupied(ctx, victim); err != nil {
		return 0, err
	}
	if err := victim.KillAgent(ctx); err != nil {
		return 0, err
	}
	if err := os.RemoveAll(filepath.Join(victim.Dir, "data")); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := victim.StartAgent(); err != nil {
		return 0, err
	}
	if _, err := waitfor.True(ctx, time.Minute, 20*time.Millisecond, wellAgain(victim)); err != nil {
		return 0, fmt.Errorf("%s wiped: %w", victim.Name, err)
	}
	if _, err := r.herd.WaitReady(ctx, time.Minute); err != nil {
		return 0, fmt.Errorf("%s wiped: %w", victim.Name, err)
	}
	if err := r.settled(ctx, calm); err != nil {
		return 0, err
	}
	took := time.Since(start) - calm
	if err := r.newContainer(ctx, victim, fmt.Sprintf("after-%d", run)); err != nil {
		return 0, fmt.Errorf("%s wiped: new work: %w", victim.Name, err)
	}
	return took, nil
}

// stillClean looks again a minute after the last run: a leftover may take its time to show.
func stillClean(ctx context.Context, r *rig) error {
	pause(ctx, time.Minute-calm)
	return r.settled(ctx, 0)
}
