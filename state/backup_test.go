package state

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rewriteSnapshot writes the golden snapshot of this version's format. Those of older versions stay as they are for ever.
var rewriteSnapshot = flag.Bool("rewrite-snapshot", false, "write testdata/snapshot-*.snap anew")

func backedUp(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readBackup(t testing.TB, data []byte) *Snapshot {
	t.Helper()
	s, err := ReadSnapshot(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// adopted restores a backup as a cluster does: through the file that the log gets.
func adopted(t testing.TB, store *Store, backup *Snapshot, generation uint64) *Snapshot {
	t.Helper()
	next, err := store.Snapshot().Adopt(backup, generation)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Restore(bytes.NewReader(saved(t, next))); err != nil {
		t.Fatal(err)
	}
	return store.Snapshot()
}

// TestBackupRestoreBackup: a backup of what was restored from a backup has the same bytes, whatever the log did meanwhile.
func TestBackupRestoreBackup(t *testing.T) {
	h := goldenHerd(t)
	h.must(InitCluster{ClusterID: "herd", Epoch: "e1"})
	first := backedUp(t, h.snap())
	if len(first) == len(saved(t, h.snap())) {
		t.Error("a backup is what the log's own snapshots are")
	}
	// Entries that change no row: they move index, time and term.
	h.must(Report{Time: 1 << 40, Nodes: []NodeReport{{NodeID: "n9", Boot: 1, Seq: 1}}})
	if later := backedUp(t, h.snap()); !bytes.Equal(first, later) {
		t.Errorf("the backup changed without a change:\n%s\n%s", first, later)
	}
	for generation := uint64(3); generation < 6; generation++ {
		s := adopted(t, h.store, readBackup(t, first), generation)
		if s.Generation() != generation || s.LeadTerm() != 0 || s.Epoch() != "e1" || s.LatestTime() < 1<<40 {
			t.Errorf("generation %d, term %d, epoch %q, time %d", s.Generation(), s.LeadTerm(), s.Epoch(), s.LatestTime())
		}
		h.index += 100
		h.store.ApplyCommand(h.index, testTerm+generation, Lead{NodeID: "n1", Time: 1 << 41})
		if again := backedUp(t, h.snap()); !bytes.Equal(first, again) {
			t.Fatalf("saved, restored and saved:\n%s\n%s", first, again)
		}
		checkInvariants(t, h.snap())
	}
}

// TestAdoptAnotherCluster: the jobs come, the machines stay who they are, and those of the other cluster are out of reach.
func TestAdoptAnotherCluster(t *testing.T) {
	theirs := grownHerd(t)
	ours := newHerd(t)
	ours.must(RaiseLevel{Term: testTerm, Level: 2})
	ours.node("m1")
	ours.node("n2") // a machine that was the other cluster's and is ours now
	ours.must(RegisterJob{Job: testJob("ours", 1)})
	ours.store.ApplyCommand(ours.index+1, testTerm, InitCluster{ClusterID: "herd", Epoch: "ours"})
	backup := readBackup(t, backedUp(t, theirs.snap()))
	backup.meta.ClusterID = "another"
	before := saved(t, backup)
	s := adopted(t, ours.store, backup, 7)
	if !bytes.Equal(before, saved(t, backup)) {
		t.Error("the backup itself was changed")
	}
	if s.ClusterID() != "herd" || s.Epoch() != "ours" || s.Generation() != 7 {
		t.Errorf("cluster %q, epoch %q, generation %d", s.ClusterID(), s.Epoch(), s.Generation())
	}
	if s.Job("default", "a") == nil || s.Job("default", "ours") != nil {
		t.Error("want the backup's jobs and no others")
	}
	foreign := s.Node("n1")
	if foreign == nil || foreign.Status != NodeStatusDown || foreign.PeerAddr+foreign.HTTPAddr+foreign.HostIP != "" ||
		foreign.Eligibility != NodeIneligible || !strings.Contains(foreign.StatusDescription, "another") {
		t.Errorf("the other cluster's machine: %+v", foreign)
	}
	for _, id := range []string{"m1", "n2"} {
		if n := s.Node(id); n == nil || n.Status != NodeStatusReady || n.PeerAddr == "" {
			t.Errorf("our machine %s: %+v", id, n)
		}
	}
	lost, kept := 0, 0
	for a := range s.Allocs() {
		switch {
		case a.NodeID == "n1" && s.ClientStatus(a) == ClientLost && !s.Holds(a):
			lost++
		case a.NodeID == "n2" && s.Live(a):
			kept++
		}
	}
	if lost != 1 || kept != 1 {
		t.Errorf("%d copies lost with their machine and %d kept, want one of each", lost, kept)
	}
	checkInvariants(t, s)
}

func TestAdoptRefuses(t *testing.T) {
	h := grownHerd(t)
	backup := func(change func(*metaRow, *Snapshot)) *Snapshot {
		b := readBackup(t, backedUp(t, h.snap()))
		change(&b.meta, b)
		return b
	}
	for name, tc := range map[string]struct {
		backup     *Snapshot
		generation uint64
		want       error
	}{
		"a generation that is not new":    {backup(func(*metaRow, *Snapshot) {}), 0, ErrInvalid},
		"a file of a later generation":    {backup(func(m *metaRow, _ *Snapshot) { m.Generation = 9 }), 9, ErrInvalid},
		"a level that nobody has reached": {backup(func(m *metaRow, _ *Snapshot) { m.Level = MaxLevel + 1 }), 10, ErrLevel},
		"an index that ends the log":      {backup(func(_ *metaRow, s *Snapshot) { s.index = 1 << 63 }), 10, ErrCorrupt},
		"a time that ends all":            {backup(func(m *metaRow, _ *Snapshot) { m.LatestTime = maxTime + 1 }), 10, ErrCorrupt},
	} {
		if _, err := h.snap().Adopt(tc.backup, tc.generation); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestEpochIsGivenOnce(t *testing.T) {
	h := newHerd(t)
	h.must(RaiseLevel{Term: testTerm, Level: 2})
	h.must(InitCluster{ClusterID: "other", Epoch: "first"})
	h.must(InitCluster{ClusterID: "other", Epoch: "second"})
	if s := h.snap(); s.ClusterID() != "herd" || s.Epoch() != "first" {
		t.Errorf("cluster %q, epoch %q", s.ClusterID(), s.Epoch())
	}
	young := NewStore()
	if err, failed := young.ApplyCommand(1, 1, InitCluster{ClusterID: "c", Epoch: "e"}).(error); !failed || !errors.Is(err, ErrLevel) {
		t.Errorf("an epoch in a cluster of level 1: %v", err)
	}
}

// TestGoldenSnapshots: files that earlier versions wrote are read, and written as they are.
func TestGoldenSnapshots(t *testing.T) {
	current := filepath.Join("testdata", "snapshot-format1-level2.snap")
	if *rewriteSnapshot {
		if err := os.WriteFile(current, backedUp(t, goldenHerd(t).snap()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "snapshot-*.snap"))
	if err != nil || len(files) < 2 {
		t.Fatalf("golden snapshots: %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		store := NewStore()
		if err := store.Restore(bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		s := store.Snapshot()
		if s.JobCount() == 0 || s.NodeCount() == 0 || s.AllocCount() == 0 {
			t.Errorf("%s: %d jobs, %d nodes, %d allocations", file, s.JobCount(), s.NodeCount(), s.AllocCount())
		}
		if again := saved(t, s); !bytes.Equal(data, again) {
			t.Errorf("%s is written as\n%s", file, again)
		}
		checkInvariants(t, s)
	}
	data, err := os.ReadFile(current)
	if err != nil {
		t.Fatal(err)
	}
	if now := backedUp(t, goldenHerd(t).snap()); !bytes.Equal(data, now) {
		t.Errorf("the same herd is written differently by this version; if the rows gained a field, keep the old file under another "+
			"name and run go test ./state -run GoldenSnapshots -rewrite-snapshot:\n%s", now)
	}
}

// goldenHerd is grownHerd at this version's level.
func goldenHerd(t testing.TB) *herd {
	h := grownHerd(t)
	h.must(RaiseLevel{Term: testTerm, Level: MaxLevel})
	return h
}

func TestBackupReportsAFullDisk(t *testing.T) {
	if err := grownHerd(t).snap().Backup(&fullDisk{left: 100}); err == nil {
		t.Error("no error")
	}
	if err := grownHerd(t).snap().Backup(io.Discard); err != nil {
		t.Error(err)
	}
}
