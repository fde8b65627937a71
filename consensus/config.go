package consensus

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// MaxProposal is the largest command in bytes. Larger ones are refused before they are proposed: one entry that takes long to
// replicate holds up all that come after it.
const MaxProposal = 1 << 20

// FSM is what the log is applied to. Every server applies the same entries in the same order.
type FSM interface {
	// Apply applies committed entries in their order and returns the result of each, which may be an error value. Entries that were
	// applied together on one server may come apart on another. It must not keep or change their data.
	Apply(entries []Committed) []any
	// Snapshot returns a function that writes the state as it is at the moment of the call. The call itself costs nothing and
	// may come from any goroutine; the function may run long, beside Apply.
	Snapshot() (save func(io.Writer) error)
	// Restore replaces the whole state by what r holds. On an error the old state stays.
	Restore(r io.Reader) error
}

// Committed is one committed command of the log. Commands that share an entry, see ProposeShared, have the same index and come right
// behind each other in one call of FSM.Apply: what they lead to is to be seen all at once.
type Committed struct {
	Index uint64
	Term  uint64
	Data  []byte
}

// Config says who a server is and what it works with. Durations must be the same on all servers of a cluster.
type Config struct {
	NodeID    string           // this server's ID; never changes, whatever its address
	Dir       string           // directory of the log and the snapshots; created when missing, mode 0700
	Transport raft.StreamLayer // listens for the other servers and dials them; Close closes it
	Address   string           // host:port at which the others reach Transport; default Transport.Addr()
	FSM       FSM

	// AddressOf returns the present address of a server by its ID, from gossip. When it does not know, or is nil, the address
	// in raft's configuration is used, which may be old.
	AddressOf func(id string) (addr string, ok bool)

	HeartbeatTimeout time.Duration // a follower that hears nothing for this long asks for an election
	ElectionTimeout  time.Duration // a candidate that has not won after this long tries again; not below HeartbeatTimeout
	LeaderLease      time.Duration // a leader that reaches no majority for this long steps down; not above HeartbeatTimeout
	CommitTimeout    time.Duration // how soon followers hear what is committed when neither an entry nor a notice tells them
	RPCTimeout       time.Duration // limit of one exchange with another server; snapshots get more by their size
	ProposeTimeout   time.Duration // longest wait of Propose, Barrier, VerifyLeader and membership changes
	LockTimeout      time.Duration // how long Open waits for another process to let go of the log

	SnapshotInterval time.Duration // how often to look whether a snapshot is due
	SnapshotBytes    int64         // of entries applied since the last snapshot that make one due, see growth; each counts for 512 more
	TrailingLogs     uint64        // entries kept behind a snapshot for followers that are a little late, and at most
	TrailingBytes    int           // so many bytes of them
	SnapshotsKept    int           // snapshot files kept

	// StallAfter is how long one write to the log may hang before the server gives itself up.
	StallAfter time.Duration
	// OnStall is called once, with the transport closed already, when a write hung (ErrStalled) or the server could not save
	// its vote or term. The process must exit: it can neither lead nor follow.
	OnStall func(error)

	// CheckSnapshot reads a snapshot that an operator wants restored and says whether it is whole. Without it a damaged file
	// takes down every server, because raft cannot refuse a snapshot once it is in the log.
	CheckSnapshot func(io.Reader) error

	// NoSync leaves flushing the log to the kernel: for tests only, as a power cut then loses acknowledged writes.
	NoSync bool

	Logger hclog.Logger

	maxAppend   int                     // entries that one write and one message carry
	compactFrom int64                   // bytes from which a log that is mostly empty is rewritten by Open
	wrapStore   func(logStore) logStore // tests put a failing disk here
}

// DefaultConfig returns the settings of a cluster on a local network. A leader whose process died is replaced within about 0.2 s, one
// that fell silent (its machine is gone, its network cut) within 1.5 to 4 s.
//
// The lease is as long as the others' patience, and both are long, because a busy machine makes everything late: with 2,400 goroutines
// ready to run on two cores that three servers and 5,000 agents shared, those of a leader waited up to 0.54 s for their turn, twice for
// each heartbeat, and a lease of 0.25 s was lost 2 to 20 times a run. See succession for why a dead leader is replaced sooner.
func DefaultConfig() Config {
	return Config{
		HeartbeatTimeout: 1500 * time.Millisecond,
		ElectionTimeout:  1500 * time.Millisecond,
		LeaderLease:      1500 * time.Millisecond,
		CommitTimeout:    50 * time.Millisecond, // each is a wake-up of an idle leader's processor; see quietPipeline for what tells sooner
		RPCTimeout:       5 * time.Second,
		ProposeTimeout:   5 * time.Second,
		LockTimeout:      2 * time.Second,
		SnapshotInterval: 5 * time.Second, // to look costs nothing
		SnapshotBytes:    32 << 20,
		TrailingLogs:     10240,
		TrailingBytes:    64 << 20,
		SnapshotsKept:    2,
		StallAfter:       5 * time.Second,
		maxAppend:        64,
		compactFrom:      64 << 20,
		Logger:           hclog.NewNullLogger(),
	}
}

// DevConfig returns the settings of a single server on a developer's machine: it leads within about 0.3 s.
func DevConfig() Config {
	c := DefaultConfig()
	c.HeartbeatTimeout = 200 * time.Millisecond
	c.ElectionTimeout = 200 * time.Millisecond
	c.LeaderLease = 200 * time.Millisecond
	return c
}

// Validate says what is missing or contradictory.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	need(c.NodeID != "", "NodeID is empty")
	need(c.Dir != "", "Dir is empty")
	need(c.Transport != nil, "Transport is nil")
	need(c.FSM != nil, "FSM is nil")
	need(c.Logger != nil, "Logger is nil; start from DefaultConfig")
	need(c.ElectionTimeout >= c.HeartbeatTimeout, "ElectionTimeout %s is below HeartbeatTimeout %s", c.ElectionTimeout, c.HeartbeatTimeout)
	need(c.LeaderLease <= c.HeartbeatTimeout, "LeaderLease %s is above HeartbeatTimeout %s", c.LeaderLease, c.HeartbeatTimeout)
	for name, d := range map[string]time.Duration{
		"HeartbeatTimeout": c.HeartbeatTimeout, "LeaderLease": c.LeaderLease, "CommitTimeout": c.CommitTimeout, "RPCTimeout": c.RPCTimeout,
		"ProposeTimeout": c.ProposeTimeout, "LockTimeout": c.LockTimeout, "SnapshotInterval": c.SnapshotInterval, "StallAfter": c.StallAfter,
	} {
		need(d > 0, "%s must be above 0", name)
	}
	need(c.SnapshotBytes > 0, "SnapshotBytes must be above 0")
	need(c.SnapshotsKept > 0, "SnapshotsKept must be above 0")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check consensus configuration: %w", err)
	}
	return nil
}

// raftConfig is the library's view of c.
func (c Config) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.HeartbeatTimeout = c.HeartbeatTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	rc.LeaderLeaseTimeout = c.LeaderLease
	rc.CommitTimeout = c.CommitTimeout
	rc.SnapshotInterval, rc.SnapshotThreshold = 24*time.Hour, math.MaxUint64 // growth tells when
	rc.TrailingLogs = c.TrailingLogs
	// How many proposals share one write to the disk, and one message to each follower (of maxAppendBytes at most). BenchmarkMaxAppend, 256
	// proposers of 1 KB, three servers of one process on two cores, flushed: 16 give 2,700 proposals/s, 64 give 12,600, 128 give 10,500,
	// 256 give 8,900, 512 give 8,300 (a larger write keeps the followers idle meanwhile).
	rc.MaxAppendEntries = c.maxAppend
	// Proposals wait in a queue of that length, so that those that came meanwhile share the next write. Without it each is a write.
	rc.BatchApplyCh = true
	// A removed server stays up and answers; its agent decides what to do.
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	rc.Logger = c.Logger
	return rc
}
