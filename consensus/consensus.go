package consensus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// closeTimeout bounds Close when the disk hangs and raft cannot end.
	closeTimeout = 10 * time.Second
	// answerGrace is how long Close lets raft answer what it was asked.
	answerGrace = time.Second
)

// Consensus is one server's part in the replicated log.
type Consensus struct {
	cfg     Config
	log     hclog.Logger
	current atomic.Pointer[raft.Raft] // replaced by Recover alone
	machine *machine
	store   logStore
	logs    *recentLogs
	snaps   *snapshotStore
	trans   *transport
	opened  time.Time
	founded chan struct{} // has something in it after Bootstrap
	alone   gatherer      // small proposals that have an entry of their own
	shared  gatherer      // small proposals that may share one

	closing context.Context // ends when Close begins
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup // every goroutine that this type started

	mu     sync.Mutex
	closed bool
	ops    sync.WaitGroup // calls into raft that wait for its answer
	leads  sync.WaitGroup // running WhileLeader
	subs   map[chan struct{}]struct{}

	stallOnce sync.Once
}

// Open opens the log and the snapshots under cfg.Dir, restores the newest snapshot into cfg.FSM and starts raft. A server
// without state waits for Bootstrap or for another server to add it. cfg.Transport is taken over: it is closed by Close, and by
// Open when it fails.
func Open(cfg Config) (*Consensus, error) {
	c, err := open(cfg)
	if err != nil && cfg.Transport != nil {
		err = errors.Join(err, cfg.Transport.Close())
	}
	return c, err
}

func open(cfg Config) (*Consensus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create raft directory: %w", err)
	}
	log := cfg.Logger.Named("raft")
	cfg.Logger = log
	c := &Consensus{cfg: cfg, log: log, machine: &machine{fsm: cfg.FSM}, opened: time.Now(), subs: map[chan struct{}]struct{}{}}
	c.founded = make(chan struct{}, 1)
	spawn := func(f func()) error { return c.spawn(&c.ops, f) }
	c.alone = gatherer{few: gatherFew, full: max(1, cfg.maxAppend), spawn: spawn}
	c.shared = gatherer{few: gatherShared, full: max(1, cfg.maxAppend), pause: gatherPause, spawn: spawn}
	c.closing, c.cancel = context.WithCancelCause(context.Background())
	c.machine.closing = c.closing.Done()

	store, err := openStore(cfg, c.stalled)
	if err != nil {
		return nil, err
	}
	c.store = store
	if err := c.start(); err != nil {
		c.cancel(ErrClosed)
		return nil, errors.Join(err, store.Close())
	}
	return c, nil
}

func (c *Consensus) start() error {
	c.logs = newRecentLogs(c.store, c.cfg.TrailingLogs)
	files, err := raft.NewFileSnapshotStoreWithLogger(c.cfg.Dir, c.cfg.SnapshotsKept, c.log)
	if err != nil {
		return fmt.Errorf("open raft snapshots in %s: %w", c.cfg.Dir, err)
	}
	c.snaps = &snapshotStore{files}
	c.trans = newTransport(c.cfg)
	c.machine.committed = c.trans.committed
	if err := c.startRaft(); err != nil {
		return errors.Join(err, c.trans.abandon())
	}
	c.watchSuccession()
	c.wg.Go(c.watchGrowth)
	return nil
}

// startRaft starts raft on the open store, snapshots and transport.
func (c *Consensus) startRaft() error {
	r, err := raft.NewRaft(c.cfg.raftConfig(), c.machine, c.logs, c.store, c.snaps, c.trans)
	if err != nil {
		return fmt.Errorf("start raft in %s: %w", c.cfg.Dir, err)
	}
	c.current.Store(r)
	c.trans.raft.Store(r)
	c.watchLeadership()
	return nil
}

// raft is the library's part. It changes when the server is recovered: take it anew for each question.
func (c *Consensus) raft() *raft.Raft { return c.current.Load() }

// Close ends raft, waits for everything it started and closes the transport and the log. Leadership is not handed over first;
// see Transfer.
func (c *Consensus) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.cancel(ErrClosed)

	done := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { done <- c.end() })
	select {
	case err := <-done:
		wg.Wait()
		return errors.Join(err, c.store.Close())
	case <-time.After(closeTimeout):
		return fmt.Errorf("close consensus: not ended after %s; the log in %s stays open: %w", closeTimeout, c.cfg.Dir, ErrStalled)
	}
}

// end stops everything but the store, in order.
func (c *Consensus) end() error {
	c.leads.Wait()
	c.wg.Wait()
	// A proposal that raft has not looked at when it shuts down is never answered, so it gets a moment to look. It answers the
	// others itself.
	answered := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		c.ops.Wait()
		close(answered)
	})
	select {
	case <-answered:
	case <-time.After(answerGrace):
	}
	ended := c.raft().Shutdown()
	err := c.trans.streams.closeAll() // exchanges with servers that do not answer would hold it up
	err = errors.Join(err, ended.Error(), c.trans.abandon())
	wg.Wait()
	return err
}

// stalled is the watchdog's bark: this server must stop taking part at once.
func (c *Consensus) stalled(err error) {
	c.stallOnce.Do(func() {
		c.log.Error("give up: the raft log cannot be written", "error", err)
		if c.trans != nil {
			_ = c.trans.streams.closeAll() // about to exit
		}
		if c.cfg.OnStall != nil {
			c.cfg.OnStall(err)
		}
	})
}

// spawn runs f, which Close waits for with the rest of its group.
func (c *Consensus) spawn(group *sync.WaitGroup, f func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	group.Go(f)
	return nil
}

// ask runs f, which waits for raft's answer, and returns that answer or the end of ctx, whichever comes first.
func (c *Consensus) ask(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	answer := make(chan error, 1)
	if err := c.spawn(&c.ops, func() { answer <- f() }); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return outcome(ctx, err)
	case <-ctx.Done():
		return outcome(ctx, ctx.Err())
	}
}

// bounded is ctx with the limit on how long a caller waits.
func (c *Consensus) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.ProposeTimeout)
}

// HasState reports whether this server has a log or a snapshot: whether it belongs to a cluster already.
func (c *Consensus) HasState() (bool, error) {
	has, err := raft.HasExistingState(c.store, c.store, c.snaps)
	if err != nil {
		return false, fmt.Errorf("look for raft state in %s: %w", c.cfg.Dir, err)
	}
	return has, nil
}

// Term returns the newest term that this server has seen.
func (c *Consensus) Term() uint64 { return c.raft().CurrentTerm() }

// CommitIndex returns the newest index that this server knows to be committed.
func (c *Consensus) CommitIndex() uint64 { return c.raft().CommitIndex() }

// LastIndex returns the newest index in this server's log.
func (c *Consensus) LastIndex() uint64 { return c.raft().LastIndex() }

// LastContact returns how long ago this server heard from the leader: 0 on the leader itself, the time since Open when it never
// heard from one.
func (c *Consensus) LastContact() time.Duration {
	if c.IsLeader() {
		return 0
	}
	last := c.raft().LastContact()
	if last.IsZero() {
		last = c.opened
	}
	return max(0, time.Since(last))
}

// Stats returns raft's own figures and this package's, as text, for the operator and the metrics.
func (c *Consensus) Stats() map[string]string {
	s := c.raft().Stats()
	s["applied_index"] = strconv.FormatUint(c.AppliedIndex(), 10)
	s["last_contact_seconds"] = strconv.FormatFloat(math.Round(c.LastContact().Seconds()*1000)/1000, 'f', -1, 64)
	if err := c.StoreError(); err != nil {
		s["store_error"] = err.Error()
	}
	return s
}

// StoreError returns why the last write to the log failed (a full disk, an I/O error), or nil when it worked.
func (c *Consensus) StoreError() error {
	if w, ok := c.store.(*watchedStore); ok {
		return w.lastError()
	}
	return nil
}
