package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// backupLook is how often a server looks whether a snapshot is due, or the configuration has changed.
	backupLook = 10 * time.Second
	// backupAgain is how long a server waits after a snapshot that failed.
	backupAgain = time.Minute
	// inTouch is how lately a server must have heard of the leader for its state to be worth keeping: a snapshot of old state would
	// push out a newer one.
	inTouch = 10 * time.Second
	// backupTime is the time in a file's name, in UTC.
	backupTime = "20060102T150405Z"
)

// backupName is what scheduled snapshots are called: nothing else in the directory is ever counted or removed.
var backupName = regexp.MustCompile(`^drover-([0-9]{8}T[0-9]{6}Z)-([0-9]{1,20})\.snap$`)

// backups takes scheduled snapshots on one server. Every server takes its own, from what it has applied: they are there whichever
// server is lost, and whoever leads.
type backups struct {
	s *server

	mu       sync.Mutex
	failed   time.Time // last failure
	why      string    // of it; "" after a success
	failures int
}

// BackupDir is where this configuration keeps scheduled snapshots.
func (c Config) BackupDir() string {
	return cmp.Or(c.Server.Snapshots.Directory, filepath.Join(c.DataDir, "snapshots"))
}

// run takes a snapshot whenever one is due, until ctx ends. What goes wrong is said in the log and the metrics, and tried again.
func (b *backups) run(ctx context.Context) error {
	for {
		cfg := b.config()
		if due, err := b.due(cfg, time.Now()); err != nil {
			b.fail(err)
		} else if due && b.worthKeeping() {
			b.take(cfg)
		}
		if err := pause(ctx, backupLook); err != nil {
			return err
		}
	}
}

// config is the present configuration. The data directory's real name is the one that counts.
func (b *backups) config() Config {
	cfg := b.s.a.Config()
	cfg.DataDir = b.s.a.cfg.DataDir
	return cfg
}

// due reports whether the newest file is older than the interval. What counts is the files, so that an agent that is started again
// and again neither forgets nor multiplies them.
func (b *backups) due(cfg Config, now time.Time) (bool, error) {
	every := cfg.Server.Snapshots.Interval
	if every <= 0 {
		return false, nil
	}
	b.mu.Lock()
	wait := !b.failed.IsZero() && now.Sub(b.failed) < min(backupAgain, every)
	b.mu.Unlock()
	if wait {
		return false, nil
	}
	files, err := listBackups(cfg.BackupDir())
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(files, func(f api.SnapshotFile) bool {
		age := now.Sub(time.Unix(0, f.Confirmed))
		return 0 <= age && age < every // from the future it is when the clock was set back: that counts for nothing
	}), nil
}

// worthKeeping reports whether this server's state is of now.
func (b *backups) worthKeeping() bool {
	id, _ := b.s.raft.Leader()
	return id != "" && b.s.raft.LastContact() < inTouch && b.s.store.Snapshot().ClusterID() != ""
}

// take writes one snapshot and removes those too many.
func (b *backups) take(cfg Config) {
	dir := cfg.BackupDir()
	file, fresh, err := writeBackup(dir, b.s.store.Snapshot(), time.Now())
	if err == nil {
		err = pruneBackups(dir, cfg.Server.Snapshots.Retain, time.Now())
	}
	if err != nil {
		b.fail(err)
		return
	}
	b.mu.Lock()
	b.failed, b.why = time.Time{}, ""
	b.mu.Unlock()
	if fresh {
		b.s.log.Info("snapshot saved", "file", filepath.Join(dir, file.Name), "index", file.Index, "bytes", file.Bytes)
	} else {
		b.s.log.Debug("snapshot due, nothing has changed", "newest", filepath.Join(dir, file.Name))
	}
}

func (b *backups) fail(err error) {
	b.s.log.Error("scheduled snapshot failed", "error", err, "again_in", backupAgain)
	b.s.a.metrics.backupFailures.Inc()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed, b.why = time.Now(), err.Error()
	b.failures++
}

// writeBackup saves a state under a name of its own, whole or not at all. When the newest file is the same byte for byte it is
// confirmed instead, and fresh is false.
func writeBackup(dir string, snap *state.Snapshot, now time.Time) (file api.SnapshotFile, fresh bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return file, false, err
	}
	part := filepath.Join(dir, "drover.part") // one that a crash left is overwritten
	defer func() {
		if rerr := os.Remove(part); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	sum, index, err := writeChecked(part, snap)
	if err != nil {
		return file, false, err
	}
	files, err := listBackups(dir)
	if err != nil {
		return file, false, err
	}
	if len(files) > 0 {
		newest := filepath.Join(dir, files[0].Name)
		if have, err := sumOf(newest); err == nil && bytes.Equal(have, sum) {
			return files[0], false, os.Chtimes(newest, now, now)
		}
	}
	name := fmt.Sprintf("drover-%s-%d.snap", now.UTC().Format(backupTime), index)
	if err := errors.Join(os.Rename(part, filepath.Join(dir, name)), syncDir(dir)); err != nil {
		return file, false, err
	}
	file, err = statBackup(dir, name)
	return file, true, err
}

// writeChecked writes a state to a file that is on the disk when it returns, and reads it back as a restore would.
func writeChecked(path string, snap *state.Snapshot) (sum []byte, index uint64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) // it holds what jobs hold
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	if err := snap.Backup(io.MultiWriter(f, hash)); err != nil {
		return nil, 0, fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return nil, 0, fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	back, err := state.ReadSnapshot(f)
	if err != nil {
		return nil, 0, fmt.Errorf("check %s: %w", path, err)
	}
	return hash.Sum(nil), back.Index(), nil
}

func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return hash.Sum(nil), err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// listBackups are the scheduled snapshots in a directory, the newest first; none where there is no directory yet.
func listBackups(dir string) ([]api.SnapshotFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []api.SnapshotFile
	for _, e := range entries {
		if !e.Type().IsRegular() || !backupName.MatchString(e.Name()) {
			continue
		}
		file, err := statBackup(dir, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	slices.SortFunc(files, func(a, b api.SnapshotFile) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Index, a.Index))
	})
	return files, nil
}

func statBackup(dir, name string) (api.SnapshotFile, error) {
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return api.SnapshotFile{}, err
	}
	m := backupName.FindStringSubmatch(name)
	at, err := time.Parse(backupTime, m[1])
	if err != nil {
		return api.SnapshotFile{}, fmt.Errorf("snapshot %s: %w: remove it, or give it a name of its own", name, err)
	}
	index, err := strconv.ParseUint(m[2], 10, 64)
	if err != nil {
		return api.SnapshotFile{}, fmt.Errorf("snapshot %s: %w: remove it, or give it a name of its own", name, err)
	}
	return api.SnapshotFile{
		Name: name, Path: filepath.Join(dir, name), Index: index, Time: at.UnixNano(), Confirmed: max(at.UnixNano(), info.ModTime().UnixNano()), Bytes: info.Size(),
	}, nil
}

// pruneBackups removes all but the newest. Those of times that are yet to come, by a clock that was set back since, go first.
func pruneBackups(dir string, retain int, now time.Time) error {
	files, err := listBackups(dir)
	if err != nil {
		return err
	}
	slices.SortStableFunc(files, func(a, b api.SnapshotFile) int {
		return cmp.Compare(btoi(a.Time > now.UnixNano()), btoi(b.Time > now.UnixNano()))
	})
	var errs []error
	for _, f := range files[min(retain, len(files)):] {
		errs = append(errs, os.Remove(f.Path))
	}
	return errors.Join(errs...)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Snapshots lists the scheduled snapshots that this server has.
func (a *Agent) Snapshots(context.Context) (*api.SnapshotFiles, error) {
	if a.server == nil {
		return nil, api.NewError(api.CodeInvalid, "name a server; `drover server members` lists them", "agent %s is no server: it takes no snapshots", a.cfg.Name)
	}
	b := &a.server.backups
	cfg := b.config()
	files, err := listBackups(cfg.BackupDir())
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	v := &api.SnapshotFiles{
		NodeID: a.id.NodeID, Name: a.cfg.Name, Directory: cfg.BackupDir(), Interval: cfg.Server.Snapshots.Interval, Retain: cfg.Server.Snapshots.Retain, Files: files,
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v.LastError, v.Failures = b.why, b.failures
	return v, nil
}

// stats are what the metrics say of the files.
func (b *backups) stats() (newest time.Time, count int, size int64) {
	files, err := listBackups(b.config().BackupDir())
	if err != nil || len(files) == 0 {
		return newest, 0, 0
	}
	for _, f := range files {
		size += f.Bytes
	}
	return time.Unix(0, files[0].Confirmed), len(files), size
}
