package consensus

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// entryWeight is what a command counts for beside its bytes: it takes room in the file and time to read, however small it is.
	entryWeight = 512
	// timesSnapshot is how many times the last snapshot's size the log grows by before the next one. Writing out a state of a million
	// allocations takes seconds of a processor: while a million were placed, with a fourth of the size instead of twice, that was a fifth to
	// a third of what each server did.
	timesSnapshot = 2
	// mostGrowth bounds it: what is behind the snapshot is replayed when the server starts, 64 MiB in some 5 s.
	mostGrowth = 64 << 20
	// mostDelayed bounds what a snapshot waits for while the log grows fast, a fourth of what makes one due between two looks: there is something more
	// urgent to do.
	mostDelayed = 2 * mostGrowth
)

// growth is how much was applied since the last snapshot. It is measured in bytes, because entries have between a hundred bytes and a
// megabyte. After a start raft applies what is behind the snapshot anew, and so it counts again.
type growth struct {
	mu    sync.Mutex
	sum   int64 // of all entries applied
	taken int64 // of those that are in the last snapshot
	size  int64 // bytes of that snapshot, 0 when it is not known
	seen  int64 // sum at the last look
}

func (g *growth) add(bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sum += int64(bytes) + entryWeight
}

func (g *growth) now() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sum
}

// saved notes a snapshot of the state as it was when so much had been applied.
func (g *growth) saved(upTo, size int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken, g.size = max(g.taken, upTo), size
}

// restored notes that the state is that of a snapshot.
func (g *growth) restored() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken = g.sum
}

// due looks whether it is time for a snapshot.
func (g *growth) due(least int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	enough, grown, fast := max(least, min(g.size*timesSnapshot, mostGrowth)), g.sum-g.taken, g.sum-g.seen
	g.seen = g.sum
	return grown >= enough && (fast < enough/4 || grown >= max(enough, mostDelayed))
}

// watchGrowth takes snapshots when they are due, until Close begins. Applying goes on meanwhile: the state is a value.
func (c *Consensus) watchGrowth() {
	tick := time.NewTicker(c.cfg.SnapshotInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.closing.Done():
			return
		}
		if !c.machine.growth.due(c.cfg.SnapshotBytes) {
			continue
		}
		done := make(chan error, 1)
		if c.spawn(&c.ops, func() { done <- c.snapshot().Error() }) != nil {
			return
		}
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
				c.log.Error("take a snapshot", "error", err)
			}
		case <-c.closing.Done():
			return
		}
	}
}

// snapshot has raft take a snapshot and trim the log behind it: to TrailingLogs entries, and fewer when those are large.
func (c *Consensus) snapshot() raft.SnapshotFuture {
	r := c.raft()
	rc := r.ReloadableConfig()
	rc.TrailingLogs = c.logs.newest(r.LastIndex(), c.cfg.TrailingLogs, c.cfg.TrailingBytes)
	if err := r.ReloadConfig(rc); err != nil {
		c.log.Warn("bound the entries kept behind a snapshot", "error", err)
	}
	return r.Snapshot()
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

// Write writes and counts.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

const (
	// restAfter is how long a snapshot is written before there is a rest of restTimes as long.
	restAfter = 5 * time.Millisecond
	restTimes = 2
)

// restful rests while a snapshot is written. Nobody waits for one, and a million rows keep a processor busy for seconds, on all servers at about
// the same time: requests stood in line behind that for up to two seconds.
type restful struct {
	w       io.Writer
	began   time.Time
	closing <-chan struct{} // when closed there is no more rest
}

// Write writes, and rests when it is time.
func (r *restful) Write(b []byte) (int, error) {
	n, err := r.w.Write(b)
	worked := time.Since(r.began)
	if err != nil || worked < restAfter {
		return n, err
	}
	rest := time.NewTimer(restTimes * worked)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-r.closing:
	}
	r.began = time.Now()
	return n, nil
}
