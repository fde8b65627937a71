package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newSnapshotSave(a *app) *cobra.Command {
	var stale bool
	cmd := &cobra.Command{
		Use:     "save <file>",
		Short:   "Save the cluster's state to a file",
		Long:    "Save the cluster's state to a file. A file of that name is replaced once the new one is whole.",
		Example: "  drover operator snapshot save backup.snap",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, meta, err := c.SaveSnapshot(cmd.Context(), stale)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }() // read to its end
			n, err := saveTo(args[0], r)
			if err != nil {
				return fmt.Errorf("save snapshot: %w", err)
			}
			_, err = fmt.Fprintf(a.out, "State at index %d saved to %s, %d bytes.\n", meta.Index, args[0], n)
			return err
		},
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "let any server answer, also when there is no leader")
	return cmd
}

// saveTo writes a snapshot so that under its name there is a whole one or none.
func saveTo(path string, r io.Reader) (n int64, err error) {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) // it holds what jobs hold
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		_, err = inspect(part) // a stream that was cut off is no snapshot
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return n, errors.Join(err, os.Remove(part))
	}
	return n, nil
}

func newSnapshotRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "restore <file>",
		Short: "Replace the cluster's state with a saved one",
		Long: `Replace the cluster's state with a saved one. What the file does not know is forgotten; machines stop nothing until they have
reported what runs on them.`,
		Example: "  drover operator snapshot restore backup.snap",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := inspect(args[0]); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return restoreFrom(cmd.Context(), a, c, args[0])
		},
	}
}

func restoreFrom(ctx context.Context, a *app, c *api.Client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := c.RestoreSnapshot(ctx, f, info.Size()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "State restored from %s. Machines stop nothing until they have reported what runs on them.\n", path)
	return err
}

// snapshotView is what a saved state holds.
type snapshotView struct {
	ClusterID  string
	Index      uint64
	Level      int
	Generation uint64
	Jobs       int
	Nodes      int
	Allocs     int
	LatestTime int64 // newest stamp, nanoseconds since the Unix epoch
}

func newSnapshotInspect(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:         "inspect <file>",
		Short:       "Check a saved state, and say what it holds",
		Example:     "  drover operator snapshot inspect backup.snap",
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := inspect(args[0])
			if err != nil {
				return err
			}
			return s.print(a.out, v, func(w io.Writer) error {
				return facts(w, "Cluster ID", v.ClusterID, "Index", strconv.FormatUint(v.Index, 10), "Level", strconv.Itoa(v.Level),
					"Generation", strconv.FormatUint(v.Generation, 10), "Jobs", strconv.Itoa(v.Jobs), "Nodes", strconv.Itoa(v.Nodes),
					"Allocations", strconv.Itoa(v.Allocs), "Newest Change", when(v.LatestTime))
			})
		},
	}
	s.addFlags(cmd)
	return cmd
}

// inspect reads a saved state whole, as a server would.
func inspect(path string) (snapshotView, error) {
	f, err := os.Open(path)
	if err != nil {
		return snapshotView{}, err
	}
	defer func() { _ = f.Close() }() // only read
	store := state.NewStore()
	if err := store.Restore(f); err != nil {
		return snapshotView{}, fmt.Errorf("read snapshot %s: %w; it is damaged, or no snapshot of a cluster", path, err)
	}
	snap := store.Snapshot()
	return snapshotView{
		ClusterID: snap.ClusterID(), Index: snap.Index(), Level: snap.Level(), Generation: snap.Generation(),
		Jobs: snap.JobCount(), Nodes: snap.NodeCount(), Allocs: snap.AllocCount(), LatestTime: snap.LatestTime(),
	}, nil
}
