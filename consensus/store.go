package consensus

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// logFile is the name of the log in Config.Dir.
const logFile = "raft.db"

// stallSteps is in how many steps StallAfter is counted. A process that was frozen or a machine that slept misses steps together
// and is not mistaken for a hung disk.
const stallSteps = 5

// trimAtOnce is how many entries one write removes from the beginning of the log.
const trimAtOnce = 512

// logStore is raft's log and its vote in one file.
type logStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// openStore opens the log behind its watchdog.
func openStore(cfg Config, stalled func(error)) (logStore, error) {
	path := filepath.Join(cfg.Dir, logFile)
	if err := compactLog(path, cfg); err != nil {
		return nil, err
	}
	bolt, err := openBolt(path, cfg.LockTimeout, cfg.NoSync)
	if err != nil {
		return nil, err
	}
	var s logStore = bolt
	if cfg.wrapStore != nil {
		s = cfg.wrapStore(s)
	}
	return &watchedStore{logStore: s, limit: cfg.StallAfter, stalled: stalled}, nil
}

func openBolt(path string, wait time.Duration, noSync bool) (*raftboltdb.BoltStore, error) {
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(wait), NoSync: noSync})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("open raft log %s: %w: is an agent running with this data directory?", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", path, err)
	}
	return bolt, nil
}

func boltOptions(wait time.Duration) *bbolt.Options {
	return &bbolt.Options{
		Timeout: wait, // without it a locked file is waited for for ever
		// A log that was trimmed has a long list of free pages; writing it with every entry costs ten times the entry.
		// Pages of 4, 16 or 64 KiB, a file mapped whole from the start and another kind of list made no difference to BenchmarkPropose/64
		// beyond that between two runs (4,100 to 6,300 proposals/s), so bbolt's own values stay.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
	}
}

// watchedStore notices writes that hang or fail.
type watchedStore struct {
	logStore
	limit   time.Duration
	stalled func(error)

	mu  sync.Mutex
	err error
}

// watch runs one write and barks when it takes longer than the limit.
func (w *watchedStore) watch(what string, write func() error) error {
	// The timer's own goroutine barks, because this one hangs.
	var mu sync.Mutex
	done, steps := false, 0
	var timer *time.Timer
	hangs := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return false
		}
		if steps++; steps < stallSteps {
			timer.Reset(w.limit / stallSteps)
			return false
		}
		return true
	}
	mu.Lock()
	timer = time.AfterFunc(w.limit/stallSteps, func() {
		if hangs() {
			w.stalled(fmt.Errorf("%s: %w: no answer from the disk after %s", what, ErrStalled, w.limit))
		}
	})
	mu.Unlock()

	err := write()
	timer.Stop()
	w.mu.Lock()
	w.err = err
	w.mu.Unlock()
	mu.Lock()
	done = true
	mu.Unlock()
	return err
}

func (w *watchedStore) lastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// StoreLog writes one entry.
func (w *watchedStore) StoreLog(l *raft.Log) error {
	return w.watch("append to raft log", func() error { return w.logStore.StoreLog(l) })
}

// StoreLogs writes entries.
func (w *watchedStore) StoreLogs(l []*raft.Log) error {
	return w.watch("append to raft log", func() error { return w.logStore.StoreLogs(l) })
}

// DeleteRange trims the log. Its beginning goes a piece at a time, so that new entries do not wait for thousands of old ones; what is
// left after a crash in between is a log that begins earlier. Its end goes at once: half of that would be a log with a hole.
func (w *watchedStore) DeleteRange(from, to uint64) error {
	first, err := w.FirstIndex()
	if err != nil {
		return err
	}
	for from <= first && to-from >= trimAtOnce {
		piece := from + trimAtOnce - 1
		if err := w.deleteRange(from, piece); err != nil {
			return err
		}
		from, first = piece+1, piece+1
	}
	return w.deleteRange(from, to)
}

func (w *watchedStore) deleteRange(from, to uint64) error {
	return w.watch("trim raft log", func() error { return w.logStore.DeleteRange(from, to) })
}

// Set saves a part of the vote.
func (w *watchedStore) Set(key, value []byte) error {
	return w.vote(func() error { return w.logStore.Set(key, value) })
}

// SetUint64 saves the term or a part of the vote.
func (w *watchedStore) SetUint64(key []byte, value uint64) error {
	return w.vote(func() error { return w.logStore.SetUint64(key, value) })
}

// vote saves what raft panics about when it cannot: the agent hears of it first and can exit in order.
func (w *watchedStore) vote(write func() error) error {
	err := w.watch("save raft term or vote", write)
	if err != nil {
		w.stalled(fmt.Errorf("save raft term or vote: %w", err))
	}
	return err
}
