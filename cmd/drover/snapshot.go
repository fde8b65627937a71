package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newSnapshotSave(a *app) *cobra.Command {
	var stale bool
	cmd := &cobra.Command{
		Use:   "save <file>",
		Short: "Save the cluster's state to a file",
		Long: `Save the cluster's state to a file. A file of that name is replaced once the new one is whole; - is the standard output.

The file holds what the cluster knows and nothing of how it came to know it: as long as nothing changes, files are the same byte for byte.`,
		Example: `  drover operator snapshot save backup.snap
  drover operator snapshot save - | gzip > backup.snap.gz
  drover operator snapshot save --stale backup.snap   # no leader: what the server asked knows`,
		Args: arguments(1, 1),
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
			p := a.progress("saved", 0)
			if args[0] == "-" {
				return saveOut(a.out, p.reader(r))
			}
			n, err := saveTo(args[0], p.reader(r))
			p.done()
			if err != nil {
				return fmt.Errorf("save snapshot: %w", err)
			}
			if stale && meta.LastContact > 0 {
				fmt.Fprintf(a.err, "Warning: the server that answered last heard of a leader %s ago; what was written since is not in the file.\n",
					meta.LastContact.Round(time.Second))
			}
			_, err = fmt.Fprintf(a.out, "State at index %d saved to %s, %d bytes.\n", meta.Index, args[0], n)
			return err
		},
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "let any server answer, also when there is no leader")
	return cmd
}

// saveOut writes a snapshot to a stream, and fails when it was not whole: what reads the stream must not be the first to see that.
func saveOut(w io.Writer, r io.Reader) error {
	pr, pw := io.Pipe()
	checked := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := state.CountRecords(pr)
		_ = pr.CloseWithError(err) // the writer sees why
		checked <- err
	})
	_, err := io.Copy(w, io.TeeReader(r, pw))
	_ = pw.Close() // never fails
	wg.Wait()
	if checked := <-checked; err == nil && checked != nil {
		err = checked
	}
	if err != nil {
		return fmt.Errorf("save snapshot: %w; what was written is not whole", err)
	}
	return nil
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
reported what runs on them. A damaged file is refused, and nothing changes.

The file may be of another cluster: this cluster stays who it is, takes that one's jobs, and runs them on its own machines. The machines
of the other cluster are listed as down and never spoken to; what runs on them runs on.`,
		Example: `  drover operator snapshot restore backup.snap
  zcat backup.snap.gz > backup.snap && drover operator snapshot restore backup.snap`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := inspect(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return restoreFrom(cmd.Context(), a, c, args[0], v)
		},
	}
}

func restoreFrom(ctx context.Context, a *app, c *api.Client, path string, v snapshotView) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	p := a.progress("sent", v.Bytes)
	_, err = c.RestoreSnapshot(ctx, p.reader(f), v.Bytes)
	p.done()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "State at index %d restored from %s: %s, %s. Machines stop nothing until they have reported what runs on them.\n",
		v.Index, path, plural(v.Jobs, "job"), plural(v.Allocs, "allocation"))
	if self, err := c.AgentSelf(ctx); err == nil && self.ClusterID != v.ClusterID {
		_, err = fmt.Fprintf(a.out, "The file is of cluster %s; this cluster stays %s and runs the jobs on its own machines. The other cluster's are listed as down.\n",
			v.ClusterID, self.ClusterID)
		return err
	}
	return nil
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
	Bytes      int64 // size of the file
	Records    []state.RecordCount
	JobIDs     []state.JobKey
}

func newSnapshotInspect(a *app) *cobra.Command {
	var s shape
	var jobs bool
	cmd := &cobra.Command{
		Use:   "inspect <file>",
		Short: "Check a saved state, and say what it holds",
		Example: `  drover operator snapshot inspect backup.snap
  drover operator snapshot inspect --jobs backup.snap
  drover operator snapshot inspect --json backup.snap`,
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := inspect(args[0])
			if err != nil {
				return err
			}
			return s.print(a.out, v, func(w io.Writer) error { return printSnapshot(w, v, jobs) })
		},
	}
	s.addFlags(cmd)
	cmd.Flags().BoolVar(&jobs, "jobs", false, "name the jobs in it")
	return cmd
}

func printSnapshot(w io.Writer, v snapshotView, jobs bool) error {
	if err := facts(w, "Cluster ID", v.ClusterID, "Index", strconv.FormatUint(v.Index, 10), "Level", strconv.Itoa(v.Level),
		"Generation", strconv.FormatUint(v.Generation, 10), "Jobs", strconv.Itoa(v.Jobs), "Nodes", strconv.Itoa(v.Nodes),
		"Allocations", strconv.Itoa(v.Allocs), "Newest Change", when(v.LatestTime), "Size", fmt.Sprintf("%d bytes", v.Bytes)); err != nil {
		return err
	}
	var rows [][]string
	for _, r := range v.Records {
		rows = append(rows, []string{r.Kind, strconv.Itoa(r.Count), fmt.Sprintf("%d bytes", r.Bytes)})
	}
	fmt.Fprintln(w)
	if err := table(w, "Record|Count|Size", rows); err != nil || !jobs {
		return err
	}
	rows = nil
	for _, j := range v.JobIDs {
		rows = append(rows, []string{j.Namespace, j.ID})
	}
	fmt.Fprintln(w)
	return table(w, "Namespace|Job", rows)
}

// inspect reads a saved state whole, as a server would.
func inspect(path string) (snapshotView, error) {
	f, err := os.Open(path)
	if err != nil {
		return snapshotView{}, err
	}
	defer func() { _ = f.Close() }() // only read
	damaged := func(err error) error {
		return fmt.Errorf("read snapshot %s: %w; it is damaged, or no snapshot of a cluster", path, err)
	}
	snap, err := state.ReadSnapshot(f)
	if err != nil {
		return snapshotView{}, damaged(err)
	}
	v := snapshotView{
		ClusterID: snap.ClusterID(), Index: snap.Index(), Level: snap.Level(), Generation: snap.Generation(),
		Jobs: snap.JobCount(), Nodes: snap.NodeCount(), Allocs: snap.AllocCount(), LatestTime: snap.LatestTime(),
	}
	for j := range snap.Jobs() {
		v.JobIDs = append(v.JobIDs, state.JobKey{Namespace: j.Namespace, ID: j.ID})
	}
	if v.Bytes, err = f.Seek(0, io.SeekEnd); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return snapshotView{}, err
	}
	if v.Records, err = state.CountRecords(f); err != nil {
		return snapshotView{}, damaged(err)
	}
	return v, nil
}
