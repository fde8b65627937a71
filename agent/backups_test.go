package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

// TestPruneBackups: the newest stay, whatever else lies there stays, and files of a clock that ran ahead go first.
func TestPruneBackups(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, name := range []string{
		"drover-20260504T090000Z-5.snap", "drover-20260504T100000Z-6.snap", "drover-20260504T110000Z-7.snap", "drover-20310101T000000Z-4.snap",
		"drover-20260504T100000Z-6.snap.old", "backup.snap", "drover-2026-1.snap",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := pruneBackups(dir, 2, now); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	want := []string{"backup.snap", "drover-2026-1.snap", "drover-20260504T100000Z-6.snap", "drover-20260504T100000Z-6.snap.old", "drover-20260504T110000Z-7.snap"}
	if !slices.Equal(have, want) {
		t.Errorf("left:\n%v\nwant:\n%v", have, want)
	}
}

// TestWriteBackup: whole or not at all, and once for each state.
func TestWriteBackup(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "a", "b"), time.Now()
	snap := state.NewStore().Snapshot()
	first, fresh, err := writeBackup(dir, snap, now)
	if err != nil || !fresh || first.Bytes == 0 {
		t.Fatalf("%+v %v %v", first, fresh, err)
	}
	again, fresh, err := writeBackup(dir, snap, now.Add(time.Hour))
	if err != nil || fresh || again.Name != first.Name {
		t.Errorf("the same state again: %+v %v %v", again, fresh, err)
	}
	if files, err := listBackups(dir); err != nil || len(files) != 1 || files[0].Confirmed < now.Add(59*time.Minute).UnixNano() {
		t.Errorf("%+v, %v", files, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	// A newest file that was damaged is not taken for the state.
	if err := os.WriteFile(first.Path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if third, fresh, err := writeBackup(dir, snap, now.Add(2*time.Hour)); err != nil || !fresh || third.Name == first.Name {
		t.Errorf("%+v %v %v", third, fresh, err)
	}
	if info, err := os.Stat(dir); err != nil || fmt.Sprint(info.Mode().Perm()) != "-rwx------" {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
