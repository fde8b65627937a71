package consensus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/raft"
)

// ErrHasLeader: Recover on a server that knows a leader.
var ErrHasLeader = errors.New("there is a leader")

// Standing is how far a server's log goes, and how much of it the server knows to be committed.
type Standing struct {
	Term      uint64 // newest term seen
	LastIndex uint64 // newest entry in the log or the snapshot
	LastTerm  uint64 // that entry's term: of two servers the one with the higher (LastTerm, LastIndex) has the newer log
	Commit    uint64 // newest entry known to be committed; 0 when the server has heard of no leader since it was opened
	Snapshot  uint64 // newest entry in the newest snapshot: all up to here is committed whatever Commit says
}

// Standing returns how this server's log stands.
func (c *Consensus) Standing() Standing {
	stats := c.raft().Stats()
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(stats[name], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	s := Standing{Term: number("term"), Commit: number("commit_index"), Snapshot: number("last_snapshot_index")}
	s.LastIndex, s.LastTerm = number("last_log_index"), number("last_log_term")
	if s.Snapshot > s.LastIndex {
		s.LastIndex, s.LastTerm = s.Snapshot, number("last_snapshot_term")
	}
	return s
}

// Entry is a command in the log.
type Entry struct {
	Index uint64
	Data  []byte
}

// Entries returns the commands in the log with indexes above after, those of at most limit entries.
func (c *Consensus) Entries(after uint64, limit int) ([]Entry, error) {
	first, err := c.logs.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read raft log: %w", err)
	}
	last, err := c.logs.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read raft log: %w", err)
	}
	var out []Entry
	for i := max(first, after+1); i > 0 && i <= last && limit > 0; i++ {
		var l raft.Log
		if err := c.logs.GetLog(i, &l); err != nil {
			return nil, fmt.Errorf("read entry %d of the raft log: %w", i, err)
		}
		if l.Type == raft.LogCommand {
			limit--
			for _, data := range commands(&l) {
				out = append(out, Entry{Index: i, Data: data})
			}
		}
	}
	return out, nil
}

// Recover makes this server, alone, the configuration of its cluster: for the day when the majority is gone for good. Everything in
// its log counts as committed; what other servers had beyond it is lost. The log is replayed into fresh, whose snapshot becomes the
// beginning of the new log; Config.FSM is then restored from it. Raft is down for that long, and leads a moment later. After an
// error that is not ErrHasLeader, ErrHasState or ErrClosed raft is not running: close and open again.
func (c *Consensus) Recover(ctx context.Context, fresh FSM) error {
	if id, _ := c.Leader(); id != "" {
		return fmt.Errorf("recover: %w: server %s", ErrHasLeader, id)
	}
	done := make(chan error, 1)
	// Not to be interrupted: half a recovery is none.
	if err := c.spawn(&c.wg, func() { done <- c.recover(fresh) }); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := <-done; err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return context.Cause(ctx)
}

func (c *Consensus) recover(fresh FSM) error {
	if !c.trans.keep.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: a recovery is under way", ErrBusy)
	}
	defer c.trans.keep.Store(false)
	ended := c.raft().Shutdown()
	c.trans.streams.drop() // exchanges with servers that do not answer would hold it up
	if err := ended.Error(); err != nil {
		return err
	}
	c.trans.CloseStreams()
	alone := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(c.cfg.NodeID), Address: raft.ServerAddress(c.trans.streams.Addr().String()),
	}}}
	err := raft.RecoverCluster(c.cfg.raftConfig(), &machine{fsm: fresh}, c.logs, c.store, c.snaps, c.trans, alone)
	if err != nil {
		err = fmt.Errorf("write the new configuration: %w", err)
	}
	// Also after an error: the log is as it was then, and the server goes on waiting for the others.
	if err := errors.Join(err, c.startRaft()); err != nil {
		return err
	}
	c.nudge()
	return nil
}
