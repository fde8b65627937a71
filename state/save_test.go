package state

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
)

// grownHerd has rows in every table.
func grownHerd(t testing.TB) *herd {
	h := newHerd(t)
	h.node("n1")
	h.node("n2")
	j := h.job(withPorts(testJob("a", 4), []int{8080}, 1))
	h.must(RegisterJob{Job: testJob("b", 2), RequestID: "r1"})
	h.must(SetEligibility{NodeID: "n2", Eligibility: NodeEligible, RequestID: "r2"})
	a := h.place(j, 0, "n1", 20001)
	h.place(j, 1, "n2", 20001)
	h.must(Report{Time: 99, Nodes: []NodeReport{{NodeID: "n1", Boot: 1, Seq: 1, Allocs: []AllocReport{{
		ID: a.ID, Status: ClientRunning, Tasks: map[string]TaskState{"server": {State: TaskRunning, Events: []TaskEvent{{Type: "Started", Message: "<ok> & é\n"}}}},
	}}}}})
	return h
}

// richHerd has rows of level 2 too.
func richHerd(t testing.TB) *herd {
	h := grownHerd(t).raise()
	h.must(SetSchedulerConfig{Config: SchedulerConfig{SchedulerAlgorithm: AlgorithmSpread, MemoryOversubscriptionEnabled: true}})
	h.must(UpsertNodePool{Pool: &NodePool{Name: "gpu", Meta: map[string]string{"a": "b"}}})
	h.must(UpsertNodePool{Pool: &NodePool{Name: "edge", SchedulerConfiguration: &NodePoolSchedulerConfig{SchedulerAlgorithm: AlgorithmBinPack}}})
	n, j := richNode("n3"), richJob("rich", 1)
	n.NodePool, j.NodePool = "gpu", "gpu"
	h.must(RegisterNode{Node: n})
	j.Spreads = []Spread{{Attribute: "${node.datacenter}", Weight: 50, SpreadTarget: []SpreadTarget{{Value: "dc1", Percent: 10}}}}
	j.Affinities = []Affinity{like(-7)}
	task(j).Resources.MemoryMaxMB = 512
	j = h.job(j)
	c := h.planCommand(record(j, []int{0}, []int{0}), "n3")
	c.Records[0].Cores, c.Records[0].Devices = []int{3}, []string{"t0", "/dev/kvm"}
	if got := h.must(c).(PlanResult); got.Placed != 1 {
		t.Fatalf("plan: %+v", got)
	}
	h.must(Report{Time: 100, Nodes: []NodeReport{{NodeID: "n3", Boot: 1, Seq: 1, Allocs: []AllocReport{{
		ID: AllocID(c.Seed, 0), Status: ClientRunning, Tasks: map[string]TaskState{"server": {State: TaskRunning, Crash: testCrash()}},
	}}}}})
	return h
}

func TestSaveRestoreSave(t *testing.T) {
	for name, h := range map[string]*herd{"empty": {store: NewStore()}, "grown": grownHerd(t), "rich": richHerd(t)} {
		first := saved(t, h.snap())
		other := NewStore()
		if err := other.Restore(bytes.NewReader(first)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if second := saved(t, other.Snapshot()); !bytes.Equal(first, second) {
			t.Errorf("%s: saved again as\n%s\nfirst as\n%s", name, second, first)
		}
		if got, want := other.Snapshot().Hash(), h.snap().Hash(); got != want {
			t.Errorf("%s: hashes differ in %v", name, got.Diff(want))
		}
		checkInvariants(t, other.Snapshot())
	}
}

func TestReplayGivesTheSameBytes(t *testing.T) {
	h := richHerd(t)
	again := NewStore()
	for i, data := range h.log {
		again.Apply(uint64(i+1), testTerm, data)
	}
	if first, second := saved(t, h.snap()), saved(t, again.Snapshot()); !bytes.Equal(first, second) {
		t.Errorf("the log gives\n%s\nthen\n%s", first, second)
	}
}

func TestRestoredStoreGoesOn(t *testing.T) {
	h := grownHerd(t)
	other := NewStore()
	if err := other.Restore(bytes.NewReader(saved(t, h.snap()))); err != nil {
		t.Fatal(err)
	}
	for i, cmd := range everyCommand() {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		index := h.index + uint64(i) + 1
		a, b := h.store.Apply(index, testTerm, data), other.Apply(index, testTerm, data)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s: %v here, %v on the restored store", cmd.kind(), a, b)
		}
	}
	if !bytes.Equal(saved(t, h.snap()), saved(t, other.Snapshot())) {
		t.Error("the stores differ")
	}
	if r := other.ApplyCommand(h.index+99, testTerm, RegisterJob{Job: testJob("b", 2), RequestID: "r1"}).(RegisterJobResult); !r.Changed {
		t.Errorf("the result of a request was forgotten: %+v", r)
	}
}

func TestAlteredSnapshotIsRefused(t *testing.T) {
	data := saved(t, grownHerd(t).snap())
	store := NewStore()
	store.ApplyCommand(1, 1, InitCluster{ClusterID: "kept"})
	refuse := func(what string, altered []byte) {
		t.Helper()
		if err := store.Restore(bytes.NewReader(altered)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: %v, want %v", what, err, ErrCorrupt)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		at := rng.IntN(len(data))
		altered := bytes.Clone(data)
		altered[at] ^= 1 << rng.IntN(8)
		refuse(fmt.Sprintf("bit flipped at %d", at), altered)
		refuse(fmt.Sprintf("cut at %d", at), data[:at])
		gone := append(bytes.Clone(data[:at]), data[at+1:]...)
		refuse(fmt.Sprintf("byte removed at %d", at), gone)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i := range len(lines) - 1 {
		without := bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil)
		refuse(fmt.Sprintf("line %d removed", i), without)
		twice := bytes.Join(append(append([][]byte{}, lines[:i+1]...), lines[i:]...), nil)
		refuse(fmt.Sprintf("line %d doubled", i), twice)
	}
	last := len(data) - len(lines[len(lines)-2])
	for at := last; at < len(data); at++ {
		altered := bytes.Clone(data)
		altered[at] ^= 1
		refuse(fmt.Sprintf("byte %d of the trailer changed", at-last), altered)
	}
	refuse("length of the trailer with a zero before it", append(append(bytes.Clone(data[:last+9]), '0'), data[last+9:]...))
	for i := range len(lines) - 2 {
		_, row, _ := bytes.Cut(bytes.TrimSpace(lines[i]), []byte("{"))
		row = bytes.Replace(append([]byte("{"), row...), []byte("n1"), []byte("n9"), 1)
		line := fmt.Appendf(nil, "%08x %d %s\n", crc32.Checksum(row, castagnoli()), len(row), row)
		if !bytes.Equal(line, lines[i]) {
			swapped := bytes.Join(append(append(append([][]byte{}, lines[:i]...), line), lines[i+1:]...), nil)
			refuse(fmt.Sprintf("line %d replaced by a well-formed one", i), swapped)
		}
	}
	refuse("something appended", append(bytes.Clone(data), 'x'))
	refuse("two files in one", append(bytes.Clone(data), data...))
	if got := store.Snapshot(); got.ClusterID() != "kept" || got.Index() != 1 {
		t.Errorf("the old state did not stay: %q at %d", got.ClusterID(), got.Index())
	}
}

// forged frames records correctly, with a right trailer, whatever they say.
func forged(records ...string) []byte {
	var b bytes.Buffer
	line := func(data string) {
		fmt.Fprintf(&b, "%08x %d %s\n", crc32.Checksum([]byte(data), castagnoli()), len(data), data)
	}
	for _, r := range records {
		line(r)
	}
	line(fmt.Sprintf(`{"Kind":"trailer","Row":{"Records":%d,"CRC":"%08x"}}`, len(records), crc32.Checksum(b.Bytes(), castagnoli())))
	return b.Bytes()
}

func TestForgedSnapshotIsRefused(t *testing.T) {
	header := `{"Kind":"header","Row":{"Format":1,"Level":1,"Generation":0,"Index":5,"ClusterID":""}}`
	meta := `{"Kind":"meta","Row":{"Level":1}}`
	node := `{"Kind":"nodes","Row":{"ID":"n1"}}`
	for _, tc := range []struct {
		name    string
		records []string
		target  error
		says    string
	}{
		{"no header", []string{meta}, ErrCorrupt, "not a header"},
		{"unknown record", []string{header, meta, `{"Kind":"pods","Row":{}}`}, ErrCorrupt, `"pods" is not known`},
		{"unknown field", []string{header, meta, `{"Kind":"nodes","Row":{"Colour":"red"}}`}, ErrCorrupt, "Colour"},
		{"unknown format", []string{strings.Replace(header, `"Format":1`, `"Format":2`, 1), meta}, ErrCorrupt, "format 2"},
		{"later format with other fields", []string{`{"Kind":"header","Row":{"Format":3,"New":1}}`}, ErrCorrupt, "format 3"},
		{"later level", []string{strings.Replace(header, `"Level":1`, `"Level":9`, 1), meta}, ErrLevel, "level 9"},
		{"meta twice", []string{header, meta, meta}, ErrCorrupt, "second meta"},
		{"no meta", []string{header, node}, ErrCorrupt, "out of order"},
		{"tables out of order", []string{header, meta, node, `{"Kind":"jobs","Row":{}}`}, ErrCorrupt, "out of order"},
		{"row twice", []string{header, meta, node, node}, ErrCorrupt, "out of order"},
		{"header contradicts meta", []string{header, `{"Kind":"meta","Row":{"Level":1,"Generation":3}}`}, ErrCorrupt, "differ"},
	} {
		err := NewStore().Restore(bytes.NewReader(forged(tc.records...)))
		if !errors.Is(err, tc.target) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestRewriteGeneration(t *testing.T) {
	h := grownHerd(t)
	data := saved(t, h.snap())
	var out bytes.Buffer
	if err := RewriteGeneration(bytes.NewReader(data), &out, 4); err != nil {
		t.Fatal(err)
	}
	header, err := ReadHeader(bytes.NewReader(out.Bytes()))
	if want := (Header{Format: 1, Level: 1, Generation: 4, Index: h.index, ClusterID: "herd"}); err != nil || header != want {
		t.Errorf("header %+v, %v, want %+v", header, err, want)
	}
	store := NewStore()
	store.ApplyCommand(500, 1, Lead{NodeID: "s2"})
	if err := store.Restore(bytes.NewReader(out.Bytes())); err != nil {
		t.Fatal(err)
	}
	s := store.Snapshot()
	if s.Generation() != 4 || s.LeadTerm() != 0 || s.AllocCount() != h.snap().AllocCount() {
		t.Errorf("generation %d, term %d, %d allocations", s.Generation(), s.LeadTerm(), s.AllocCount())
	}
	if result := store.ApplyCommand(502, 1, Lead{NodeID: "s2"}); s.LeadTerm() != 0 || store.Snapshot().LeadTerm() != 1 {
		t.Errorf("a leader of a younger term than the backup's cannot lead: %v", result)
	}
	if floor := s.DirtyFloor(); floor <= 500 {
		t.Errorf("dirty floor %d: who has seen the state at 500 would miss the restore", floor)
	}
	if err := RewriteGeneration(bytes.NewReader(out.Bytes()), &bytes.Buffer{}, 4); !errors.Is(err, ErrInvalid) {
		t.Errorf("the same generation again: %v", err)
	}
	if err := RewriteGeneration(bytes.NewReader(data[:len(data)-1]), &bytes.Buffer{}, 9); !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut file: %v", err)
	}
	if _, err := ReadHeader(strings.NewReader("")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("header of an empty file: %v", err)
	}
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestSaveReportsAFullDisk(t *testing.T) {
	if err := grownHerd(t).snap().Save(&fullDisk{left: 100}); err == nil {
		t.Error("no error")
	}
}

// FuzzRestore feeds the snapshot reader: it may not panic, and what it accepts saves and restores to the same bytes.
func FuzzRestore(f *testing.F) {
	f.Add(saved(f, grownHerd(f).snap()))
	f.Add(saved(f, NewStore().Snapshot()))
	f.Add(forged(`{"Kind":"header","Row":{"Format":1}}`))
	f.Add(forged(`{"Kind":"header","Row":{"Format":1,"Level":1}}`, `{"Kind":"meta","Row":{"Level":1}}`, `{"Kind":"nodes","Row":{"ID":"n1"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewStore()
		if s.Restore(bytes.NewReader(data)) != nil {
			return
		}
		first, again := saved(t, s.Snapshot()), NewStore()
		if err := again.Restore(bytes.NewReader(first)); err != nil {
			t.Fatalf("saved what cannot be restored: %v\n%s", err, first)
		}
		if second := saved(t, again.Snapshot()); !bytes.Equal(first, second) {
			t.Fatalf("saved\n%s\nthen\n%s", first, second)
		}
	})
}
