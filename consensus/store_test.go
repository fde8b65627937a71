package consensus

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func size(t *testing.T, s *server) int64 {
	t.Helper()
	fi, err := os.Stat(filepath.Join(s.dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// badDisk hangs or fails on demand.
type badDisk struct {
	logStore
	hang  atomic.Pointer[chan struct{}] // writes wait until it is closed
	fault atomic.Pointer[error]
}

func (b *badDisk) StoreLogs(l []*raft.Log) error {
	if ch := b.hang.Load(); ch != nil {
		<-*ch
	}
	if err := b.fault.Load(); err != nil {
		return *err
	}
	return b.logStore.StoreLogs(l)
}

func (b *badDisk) SetUint64(key []byte, v uint64) error {
	if err := b.fault.Load(); err != nil {
		return *err
	}
	return b.logStore.SetUint64(key, v)
}

// badDisks gives every server of a cluster a disk that can go bad, and records the barks.
type badDisks struct {
	mu     sync.Mutex
	disks  map[string]*badDisk
	stalls map[string][]error
}

func (b *badDisks) tune(c *Config) {
	id := c.NodeID
	c.wrapStore = func(s logStore) logStore {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.disks[id] = &badDisk{logStore: s}
		return b.disks[id]
	}
	c.OnStall = func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.stalls[id] = append(b.stalls[id], err)
	}
}

func (b *badDisks) barks(id string) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.stalls[id])
}

func newBadDisks() *badDisks {
	return &badDisks{disks: map[string]*badDisk{}, stalls: map[string][]error{}}
}

func TestHungDiskOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := newBadDisks()
		cl := bootstrapped(t, 3, bad.tune)
		old := cl.leader()
		cl.propose(old, "before")
		release := make(chan struct{})
		bad.disks[old.id].hang.Store(&release)
		start := time.Now()
		_, err := old.Propose(t.Context(), []byte("hangs"))
		if !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("propose to a hung disk: %v", err)
		}
		for len(bad.barks(old.id)) == 0 && time.Since(start) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("watchdog after %s", took)
		}
		// The transport is closed: the others elect a leader although this one still believes that it leads.
		cl.mu.Lock()
		delete(cl.servers, old.id)
		cl.mu.Unlock()
		fresh := cl.leader()
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("new leader after %s", took)
		}
		cl.propose(fresh, "after")
		barks := bad.barks(old.id)
		if len(barks) != 1 || !errors.Is(barks[0], ErrStalled) {
			t.Errorf("barks %v", barks)
		}
		if err := old.Close(); !errors.Is(err, ErrStalled) {
			t.Errorf("close over a hung disk: %v", err)
		}
		close(release)
		time.Sleep(time.Minute)
	})
}

func TestSlowDiskIsNotHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := newBadDisks()
		cl := bootstrapped(t, 1, bad.tune)
		s := cl.leader()
		for range 5 {
			release := make(chan struct{})
			bad.disks[s.id].hang.Store(&release)
			time.AfterFunc(4900*time.Millisecond, func() {
				bad.disks[s.id].hang.Store(nil)
				close(release)
			})
			cl.propose(s, "slow")
		}
		time.Sleep(time.Minute)
		if barks := bad.barks(s.id); len(barks) != 0 {
			t.Errorf("barks %v", barks)
		}
	})
}

func TestFullDiskOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := newBadDisks()
		cl := bootstrapped(t, 3, bad.tune)
		old := cl.leader()
		full := error(&os.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC})
		bad.disks[old.id].fault.Store(&full)
		_, err := old.Propose(t.Context(), []byte("x"))
		if !errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("propose to a full disk: %v", err)
		}
		if !errors.Is(old.StoreError(), syscall.ENOSPC) || !strings.Contains(old.Stats()["store_error"], "no space left") {
			t.Errorf("store error %v", old.StoreError())
		}
		bad.disks[old.id].fault.Store(nil) // before it must save a vote
		time.Sleep(5 * time.Second)
		cl.propose(cl.leader(), "y")
		cl.same()
		if err := old.StoreError(); err != nil {
			t.Errorf("store error after it works again: %v", err)
		}
	})
}

func TestUnsavedVoteBarks(t *testing.T) {
	var heard error
	w := &watchedStore{logStore: &badDisk{}, limit: time.Second, stalled: func(err error) { heard = err }}
	fault := error(syscall.EIO)
	w.logStore.(*badDisk).fault.Store(&fault)
	if err := w.SetUint64([]byte("CurrentTerm"), 2); !errors.Is(err, syscall.EIO) || !errors.Is(heard, syscall.EIO) {
		t.Errorf("got %v, heard %v", err, heard)
	}
}

func TestSnapshotRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, func(c *Config) {
			c.SnapshotInterval, c.SnapshotBytes, c.TrailingLogs = 100*time.Millisecond, 20*entryWeight, 5
		})
		l := cl.leader()
		for range 100 {
			cl.propose(l, "line")
		}
		time.Sleep(time.Second)
		if l.Stats()["last_snapshot_index"] == "0" {
			t.Fatal("no snapshot was taken")
		}
		want := cl.same()
		// A server that comes back restores; one that is new gets the snapshot from the leader.
		f := cl.follower()
		applied := f.AppliedIndex()
		cl.stop(f)
		back := cl.open(f.id, f.host.IP())
		if got := back.fsm.all(); len(got) < 80 {
			t.Errorf("%d lines restored", len(got))
		}
		n4 := cl.open("n4", "10.0.0.4")
		if err := cl.leader().AddNonvoter(t.Context(), n4.id, n4.addr); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := cl.same(); !slices.Equal(got, want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
		if back.AppliedIndex() < applied || n4.AppliedIndex() < applied {
			t.Errorf("applied %d and %d, before %d", back.AppliedIndex(), n4.AppliedIndex(), applied)
		}
	})
}

func TestOperatorSavesAndRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		if _, err := l.Propose(t.Context(), []byte("a")); err != nil {
			t.Fatal(err)
		}
		cl.propose(l, "b")
		var saved string
		for range 2 { // the second time there is nothing new
			rc, info, err := l.SaveSnapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(rc)
			if err := errors.Join(err, rc.Close()); err != nil {
				t.Fatal(err)
			}
			if saved = string(b); saved != "a\nb\n" || info.Size != 4 || info.Index == 0 || info.Term == 0 {
				t.Errorf("saved %q, %+v", saved, info)
			}
		}
		index := cl.propose(l, "c")
		for what, err := range map[string]error{
			"damaged":  l.RestoreSnapshot(t.Context(), 0, written("damaged\n")),
			"unsaved":  l.RestoreSnapshot(t.Context(), 0, func(io.Writer) error { return io.ErrUnexpectedEOF }),
			"follower": cl.follower().RestoreSnapshot(t.Context(), 0, written(saved)),
		} {
			if err == nil {
				t.Errorf("%s: restored", what)
			}
		}
		ahead := index + 5000 // the file is of a cluster whose log was longer
		if err := l.RestoreSnapshot(t.Context(), ahead, written(saved)); err != nil {
			t.Fatal(err)
		}
		if got := cl.propose(l, "d"); got <= ahead {
			t.Errorf("index went from %d to %d, want more than the file's %d", index, got, ahead)
		}
		if got := cl.same(); !slices.Equal(got, []string{"a", "b", "d"}) {
			t.Errorf("got %q", got)
		}
		left, err := filepath.Glob(filepath.Join(l.dir, "restore-*"))
		if err != nil || len(left) != 0 {
			t.Errorf("left behind %v, %v", left, err)
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := l.SaveSnapshot(done); !errors.Is(err, context.Canceled) {
			t.Errorf("save with a context that is over: %v", err)
		}
	})
}

// written writes a snapshot.
func written(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// A transport that is no ContextDialer works too, and closing forgets nothing.
func TestStreamsCloseEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, nil)
		cfg, s := cl.config("n1", "10.0.0.1")
		cfg.Transport = struct{ raft.StreamLayer }{cfg.Transport}
		cfg.Address = "n1.example:4647"
		st := newStreams(cfg)
		if st.Addr().String() != "n1.example:4647" || st.Addr().Network() != "tcp" {
			t.Errorf("address %s", st.Addr())
		}
		other := cl.net.Host("10.0.0.2")
		ln, err := other.Listen(t.Context(), ":4647")
		if err != nil {
			t.Fatal(err)
		}
		out, err := st.Dial("10.0.0.2:4647", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Dial("10.0.0.9:4647", time.Second); err == nil {
			t.Error("dialled nobody")
		}
		theirs, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		in, err := other.Dial(t.Context(), s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Accept(); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{theirs, in} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("read: %v", err)
			}
		}
		if _, err := out.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		if _, err := st.Dial("10.0.0.2:4647", time.Second); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial after close: %v", err)
		}
	})
}
