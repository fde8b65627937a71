package consensus

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

func openTestLog(t *testing.T, path string) *boltLog {
	t.Helper()
	b, err := openBolt(path, time.Second, true)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBoltLogKeepsEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), logFile)
	b := openTestLog(t, path)
	now := time.Unix(1_700_000_000, 123456789)
	var want []*raft.Log
	for i := range uint64(200) {
		l := &raft.Log{Index: 7 + i, Term: 1 + i/50, Type: raft.LogType(i % 4), AppendedAt: now.Add(time.Duration(i))}
		if i%3 > 0 {
			l.Data = bytes.Repeat([]byte{byte(i)}, int(i*i))
		}
		if i%5 == 0 {
			l.Extensions, l.AppendedAt = []byte("more"), time.Time{}
		}
		want = append(want, l)
	}
	for i := 0; i < len(want); i += 40 {
		if err := b.StoreLogs(want[i : i+40]); err != nil {
			t.Fatal(err)
		}
	}
	check := func(first, last uint64) {
		t.Helper()
		if got, err := b.FirstIndex(); err != nil || got != first {
			t.Errorf("first %d, %v, want %d", got, err, first)
		}
		if got, err := b.LastIndex(); err != nil || got != last {
			t.Errorf("last %d, %v, want %d", got, err, last)
		}
		for _, w := range want {
			var got raft.Log
			err := b.GetLog(w.Index, &got)
			if w.Index < first || w.Index > last {
				if !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("entry %d outside: %v", w.Index, err)
				}
				continue
			}
			if err != nil || !got.AppendedAt.Equal(w.AppendedAt) {
				t.Fatalf("entry %d of %s: %v, %s", w.Index, w.AppendedAt, err, got.AppendedAt)
			}
			got.AppendedAt = w.AppendedAt
			if !reflect.DeepEqual(&got, w) {
				t.Fatalf("entry %d differs", w.Index)
			}
		}
	}
	check(7, 206)
	for _, gone := range [][2]uint64{{1, 30}, {150, 206}} {
		if err := b.DeleteRange(gone[0], gone[1]); err != nil {
			t.Fatal(err)
		}
	}
	check(31, 149)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openTestLog(t, path)
	check(31, 149)
	if err := errors.Join(b.DeleteRange(0, 1000), b.Close()); err != nil {
		t.Error(err)
	}
}

func TestBoltLogKeepsTheVote(t *testing.T) {
	b := openTestLog(t, filepath.Join(t.TempDir(), logFile))
	// Raft tells a server without a vote from one that cannot read it by these words.
	if _, err := b.GetUint64([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Errorf("no term: %v", err)
	}
	if err := errors.Join(b.SetUint64([]byte("CurrentTerm"), 5), b.Set([]byte("LastVoteCand"), []byte("n2"))); err != nil {
		t.Fatal(err)
	}
	term, err := b.GetUint64([]byte("CurrentTerm"))
	who, err2 := b.Get([]byte("LastVoteCand"))
	if term != 5 || string(who) != "n2" || errors.Join(err, err2) != nil {
		t.Errorf("term %d, vote %q, %v, %v", term, who, err, err2)
	}
	if _, err := b.GetUint64([]byte("LastVoteCand")); !errors.Is(err, errBadEntry) {
		t.Errorf("a vote read as a term: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestDamagedEntry(t *testing.T) {
	whole := appendEntry(nil, &raft.Log{Type: raft.LogCommand, Term: 300, Data: []byte("data"), Extensions: []byte("x"), AppendedAt: time.Unix(5, 0)})
	var l raft.Log
	if err := readEntry(whole, &l); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := readEntry(whole[:n], &l); !errors.Is(err, errBadEntry) {
			t.Errorf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
	if err := readEntry(append(whole, 0), &l); !errors.Is(err, errBadEntry) {
		t.Errorf("with a byte behind it: %v", err)
	}
}

func TestForeignLogIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), logFile)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte(foreignBucket))
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := openBolt(path, time.Second, true); err == nil || !strings.Contains(err.Error(), "raft-boltdb") {
		t.Errorf("opened: %v", err)
	}
}
