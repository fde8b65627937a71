package consensus

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestGrowthIsOfBytes: few large entries make a snapshot due as many small ones do, and a large state makes it due later.
func TestGrowthIsOfBytes(t *testing.T) {
	var g growth
	apply := func(n, size int) {
		for range n {
			g.add(size)
		}
	}
	const least = 1 << 20
	apply(1000, 100)
	if g.due(least) {
		t.Error("due after a thousand small entries")
	}
	apply(1, 1<<20)
	if g.due(least) || !g.due(least) {
		t.Error("not due once it is calm after a large one")
	}
	upTo := g.now()
	apply(10, 100)
	g.saved(upTo, 12<<20)
	if g.due(1) {
		t.Error("due again right after a snapshot of 12 MiB")
	}
	apply(23, 1<<20)
	if g.due(least) {
		t.Error("due after less than twice the last snapshot")
	}
	apply(2, 1<<20)
	if !g.due(least) {
		t.Error("not due after twice the last snapshot, a little at a time")
	}
	g.restored()
	if g.due(least) {
		t.Error("due right after a restore")
	}
	g.saved(g.now(), 1<<40)
	apply(mostGrowth>>20, 1<<20)
	if g.due(least) || !g.due(least) {
		t.Error("not due once it is calm after the most that there may be")
	}
	for n := mostGrowth; n < mostDelayed; n += 32 << 20 {
		if apply(31, 1<<20); g.due(least) {
			t.Errorf("due after %d MiB, while the log grows by 31 MiB from one look to the next", n>>20)
		}
	}
	if apply(4, 1<<20); !g.due(least) {
		t.Error("delayed without end")
	}
}

// memoryLog is a log without a disk.
type memoryLog struct {
	*raft.InmemStore
	deletes [][2]uint64
	fail    error
}

func (m *memoryLog) DeleteRange(from, to uint64) error {
	m.deletes = append(m.deletes, [2]uint64{from, to})
	return m.InmemStore.DeleteRange(from, to)
}

func (m *memoryLog) StoreLogs(l []*raft.Log) error {
	if m.fail != nil {
		return m.fail
	}
	return m.InmemStore.StoreLogs(l)
}

func (m *memoryLog) Close() error { return nil }

// TestRecentLogsAgainstThePlainLog: what is kept in memory answers as the log does, and is bounded in entries and bytes.
func TestRecentLogsAgainstThePlainLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	plain := &memoryLog{InmemStore: raft.NewInmemStore()}
	r := newRecentLogs(plain, 100)
	first, last := uint64(1), uint64(0)
	data := make([]byte, 1<<20)
	for step := range 3000 {
		switch k := rng.IntN(20); {
		case k < 14: // append
			var logs []*raft.Log
			for range 1 + rng.IntN(20) {
				last++
				size := rng.IntN(100)
				if rng.IntN(50) == 0 {
					size = len(data)
				}
				logs = append(logs, &raft.Log{Index: last, Term: uint64(step), Data: data[:size]})
			}
			if err := r.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
		case k < 17 && last > first: // another leader's entries take the place of the newest
			from := last - uint64(rng.IntN(int(min(30, last-first))))
			if err := r.DeleteRange(from, last); err != nil {
				t.Fatal(err)
			}
			last = from - 1
		case k < 19 && last > first+10: // trimmed
			to := first + uint64(rng.IntN(int(last-first)/2+1))
			if err := r.DeleteRange(first, to); err != nil {
				t.Fatal(err)
			}
			first = to + 1
		case last > 0: // a snapshot from the leader: a gap
			if err := r.DeleteRange(first, last); err != nil {
				t.Fatal(err)
			}
			first = last + 1 + uint64(rng.IntN(9))
			last = first - 1
		}
		for range 20 {
			i := uint64(rng.IntN(int(last + 10)))
			var got, want raft.Log
			gotErr, wantErr := r.GetLog(i, &got), plain.GetLog(i, &want)
			if !errors.Is(gotErr, wantErr) || got.Index != want.Index || got.Term != want.Term || len(got.Data) != len(want.Data) {
				t.Fatalf("entry %d: %v %d of term %d, want %v %d of term %d", i, gotErr, got.Index, got.Term, wantErr, want.Index, want.Term)
			}
		}
		kept, bytes := 0, 0
		for _, l := range r.ring {
			if l != nil {
				kept, bytes = kept+1, bytes+len(l.Data)
			}
		}
		if kept > recentEntries || bytes > recentBytes || bytes != r.bytes {
			t.Fatalf("%d entries of %d bytes are kept, counted %d", kept, bytes, r.bytes)
		}
	}
	plain.fail = errors.New("full")
	if err := r.StoreLog(&raft.Log{Index: last + 1}); err == nil || r.GetLog(last+1, &raft.Log{}) == nil {
		t.Error("what could not be stored is kept")
	}
}

// TestTrailingIsOfBytes: large entries are kept behind a snapshot in smaller numbers.
func TestTrailingIsOfBytes(t *testing.T) {
	r := newRecentLogs(&memoryLog{InmemStore: raft.NewInmemStore()}, 1000)
	for i := range uint64(3000) {
		size := 10
		if i >= 2000 {
			size = 1000
		}
		if err := r.StoreLog(&raft.Log{Index: i + 1, Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	for want, bytes := range map[uint64]int{0: 999, 1: 1000, 50: 50_500, 1000: 1 << 30} {
		if got := r.newest(3000, 1000, bytes); got != want {
			t.Errorf("%d entries in %d bytes, want %d", got, bytes, want)
		}
	}
	if got := r.newest(5, 1000, 1<<30); got != 5 {
		t.Errorf("%d entries of a log of 5", got)
	}
}

// TestTrimIsInPieces: the beginning of a log goes a piece at a time, its end at once.
func TestTrimIsInPieces(t *testing.T) {
	m := &memoryLog{InmemStore: raft.NewInmemStore()}
	w := &watchedStore{logStore: struct {
		*memoryLog
		raft.StableStore
	}{m, nil}, limit: time.Second}
	for i := range uint64(2000) {
		if err := w.StoreLog(&raft.Log{Index: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.DeleteRange(1, trimAtOnce+10); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteRange(600, 2000); err != nil {
		t.Fatal(err)
	}
	want := [][2]uint64{{1, trimAtOnce}, {trimAtOnce + 1, trimAtOnce + 10}, {600, 2000}}
	if len(m.deletes) != 3 || m.deletes[0] != want[0] || m.deletes[1] != want[1] || m.deletes[2] != want[2] {
		t.Errorf("deleted %v, want %v", m.deletes, want)
	}
}

// TestLargeEntriesTravel: messages are bounded in bytes, and everything arrives.
func TestLargeEntriesTravel(t *testing.T) {
	if n := fitting([]*raft.Log{{Data: make([]byte, maxAppendBytes+1)}, {}}); n != 1 {
		t.Errorf("%d entries in the first message, want the large one alone", n)
	}
	synctest.Test(t, func(t *testing.T) {
		cl := bootstrapped(t, 3, nil)
		l := cl.leader()
		f := cl.follower()
		cl.stop(f) // so that it has a lot to be sent
		big := string(bytes.Repeat([]byte("x"), 600_000))
		for range 40 {
			cl.propose(l, big)
		}
		cl.open(f.id, f.host.IP())
		if got := cl.same(); len(got) != 40 {
			t.Errorf("%d lines, want 40", len(got))
		}
	})
}

// TestSnapshotsRest: whoever writes one for a while rests for twice as long, unless there is a hurry.
func TestSnapshotsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		var out bytes.Buffer
		r := &restful{w: &out, began: time.Now(), closing: closing}
		write := func(work time.Duration) (rested time.Duration) {
			time.Sleep(work)
			began := time.Now()
			if _, err := r.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		for i, want := range []time.Duration{0, 0, restTimes * 6 * time.Millisecond, 0, 0, restTimes * 6 * time.Millisecond} {
			if got := write(2 * time.Millisecond); got != want {
				t.Errorf("write %d: rested for %s, want %s", i, got, want)
			}
		}
		close(closing)
		if got := write(time.Second); got != 0 {
			t.Errorf("rested for %s in a hurry", got)
		}
		if out.String() != "xxxxxxx" {
			t.Errorf("wrote %q", out.String())
		}
	})
}
