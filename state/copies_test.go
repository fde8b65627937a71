package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCopiesInColumns: copies that are alike take a hundred bytes each, come back as they were, and whatever differs between them does.
func TestCopiesInColumns(t *testing.T) {
	h := runningHerd(t, 20, 3000)
	rng := rand.New(rand.NewPCG(1, 2))
	checkColumns(t, h.snap(), 150)
	// Now some of them end, lose a task's state, are to stop, or hold a port.
	for a := range h.snap().Allocs() {
		c := *a
		switch rng.IntN(40) {
		case 0:
			c.ClientStatus = ClientFailed
		case 1:
			c.TaskStates = TaskStates{}
		case 2:
			c.DesiredStatus, c.DesiredDescription = DesiredStop, "job stopped"
		case 3:
			c.Ports = []AllocPort{{Label: "http", HostPort: 20000 + a.Index, To: 1}}
		case 4:
			c.Name = "odd"
		case 5:
			c.PreviousAllocation = a.ID
		case 6:
			c.CreateTime, c.ClientModifyTime, c.ReportSeq = -1<<63, 1<<63-1, 1<<64-1
		case 7:
			g := *a.AllocGroup
			c.AllocGroup = &g // the same, said by another
		case 8:
			n := *a.AllocNode
			n.NodeName = "renamed"
			c.AllocNode = &n
		default:
			continue
		}
		tr := &tx{next: h.snap().clone(), index: h.index}
		tr.putAlloc(&c)
		h.store.swap(tr.next, &tr.changes)
	}
	checkColumns(t, h.snap(), 1000)
}

func checkColumns(t *testing.T, s *Snapshot, most int) {
	t.Helper()
	data := saved(t, s)
	if per := len(data) / s.AllocCount(); per > most {
		t.Errorf("%d bytes an allocation, want %d at most", per, most)
	}
	records, err := CountRecords(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Kind == TableAllocs.String() && r.Count != s.AllocCount() {
			t.Errorf("the file is said to have %d allocations, want %d", r.Count, s.AllocCount())
		}
	}
	store := NewStore()
	if err := store.Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	back := store.Snapshot()
	if got, want := back.Hash(), s.Hash(); got != want {
		t.Errorf("hashes differ in %v", got.Diff(want))
	}
	for a := range s.Allocs() {
		if got, want := marshal(back.Alloc(a.ID)), marshal(a); !bytes.Equal(got, want) {
			t.Fatalf("came back as\n%s\nwas\n%s", got, want)
		}
	}
	for n := range s.Nodes() {
		got, want := back.HeldOn(n.ID), s.HeldOn(n.ID)
		if got.Orders.Run != want.Orders.Run || got.CPU != want.CPU || got.Allocs != want.Allocs {
			t.Fatalf("node %s holds %+v, want %+v", n.ID, got, want)
		}
	}
	if again := saved(t, back); !bytes.Equal(data, again) {
		t.Error("saved again, the file is another one")
	}
	checkInvariants(t, back)
}

// TestForgedCopiesAreRefused: columns that cannot be right are refused, whatever their checksum says.
func TestForgedCopiesAreRefused(t *testing.T) {
	var records []string
	at := -1
	for i, line := range strings.Split(strings.TrimSpace(string(saved(t, runningHerd(t, 3, 1000).snap()))), "\n") {
		_, record, _ := strings.Cut(line, " {")
		records = append(records, "{"+record)
		if strings.HasPrefix(record, `"Kind":"copies"`) {
			at = i
		}
	}
	records = records[:len(records)-1] // without its trailer
	refused := func(name, says string, records ...string) {
		t.Helper()
		err := NewStore().Restore(bytes.NewReader(forged(records...)))
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := NewStore().Restore(bytes.NewReader(forged(records...))); err != nil {
		t.Fatal(err)
	}
	var good struct{ Row copies }
	for name, tc := range map[string]struct {
		spoil func(*copies)
		says  string
	}{
		"none":              {func(c *copies) { *c = copies{} }, "number of rows"},
		"too many":          {func(c *copies) { c.Count = maxCopies + 1 }, "number of rows"},
		"one more":          {func(c *copies) { c.Count++ }, "IDs"},
		"a short column":    {func(c *copies) { c.Index = c.Index[1:] }, "column"},
		"a short time":      {func(c *copies) { c.Times[0] = c.Times[0][1:] }, "column"},
		"a time missing":    {func(c *copies) { c.Times = c.Times[1:] }, "times"},
		"no such node":      {func(c *copies) { c.Node[0] = 9 }, "node"},
		"a negative node":   {func(c *copies) { c.Node[0] = -1 }, "node"},
		"a node twice":      {func(c *copies) { c.Nodes = append(c.Nodes, c.Nodes[0]) }, "named before"},
		"an ID that is not": {func(c *copies) { c.IDs = "x" + c.IDs[1:] }, "ID"},
		"an ID twice":       {func(c *copies) { c.IDs = c.IDs[36:72] + c.IDs[36:] }, "twice"},
	} {
		if err := json.Unmarshal([]byte(records[at]), &good); err != nil {
			t.Fatal(err)
		}
		tc.spoil(&good.Row)
		spoilt := append([]string{}, records...)
		spoilt[at] = string(marshal(outRecord{Kind: recordCopies, Row: &good.Row}))
		refused(name, tc.says, spoilt...)
		good.Row = copies{}
	}
	refused("twice", "follow no row", append(append(append([]string{}, records[:at+1]...), records[at]), records[at+1:]...)...)
	refused("behind no row", "out of order", append(append([]string{}, records[:2]...), records[at])...)
	odd := append([]string{}, records...)
	odd[at-1] = strings.Replace(odd[at-1], `[0]"`, `[7]"`, 1)
	refused("behind a row that is not ordinary", "follow no row", odd...)
}
