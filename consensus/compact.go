package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// compactBatch is how many bytes one transaction copies.
const compactBatch = 4 << 20

// compactLog rewrites a log file that is mostly free pages. bbolt never gives space back, so after a burst of writes the file
// would stay large for ever.
func compactLog(path string, cfg Config) error {
	before, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && before.Size() < cfg.compactFrom {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open raft log: %w", err)
	}
	bolt, err := openBolt(path, cfg.LockTimeout, false)
	if err != nil {
		return err
	}
	free := int64(bolt.Stats().FreeAlloc)
	if err := bolt.Close(); err != nil {
		return fmt.Errorf("close raft log %s: %w", path, err)
	}
	if free < before.Size()/2 {
		return nil
	}
	// Best effort: with no room for the copy the agent must still start.
	if err := rewriteLog(path, cfg.LockTimeout); err != nil {
		cfg.Logger.Warn("compact raft log", "path", path, "error", err)
		return nil
	}
	if after, err := os.Stat(path); err == nil {
		cfg.Logger.Info("compacted raft log", "path", path, "before", before.Size(), "after", after.Size())
	}
	return nil
}

// rewriteLog copies what is used into a new file and puts it in the old one's place.
func rewriteLog(path string, wait time.Duration) error {
	copied := path + ".compact"
	if err := os.Remove(copied); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := copyLog(copied, path, wait); err != nil {
		return errors.Join(err, os.Remove(copied))
	}
	if err := os.Rename(copied, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func copyLog(to, from string, wait time.Duration) error {
	src, err := bbolt.Open(from, 0o600, boltOptions(wait))
	if err != nil {
		return err
	}
	dst, err := bbolt.Open(to, 0o600, boltOptions(wait))
	if err != nil {
		return errors.Join(err, src.Close())
	}
	return errors.Join(bbolt.Compact(dst, src, compactBatch), dst.Sync(), dst.Close(), src.Close())
}
