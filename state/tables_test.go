package state

import "testing"

func TestTablesSayWhatHashSays(t *testing.T) {
	s := NewStore()
	s.ApplyCommand(1, 1, InitCluster{ClusterID: "c", Time: 1})
	snap := s.Snapshot()
	for i, table := range snap.Tables() {
		if table.Table != Table(i) || table.Hash != snap.Hash()[i] {
			t.Errorf("table %d: got %+v, want the hash %x", i, table, snap.Hash()[i])
		}
	}
	if got := snap.Tables()[TableMeta].Rows; got != 1 {
		t.Errorf("rows of meta: got %d, want 1", got)
	}
}

func TestKindOf(t *testing.T) {
	data, err := Encode(Lead{NodeID: "n", Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ data, want string }{
		{string(data), "Lead"}, {"", ""}, {`{"Kind":"Lead`, ""}, {`{"Kind":"Nonsense","Level":1}`, ""}, {"noise", ""},
	} {
		if got := KindOf([]byte(tc.data)); got != tc.want {
			t.Errorf("kind of %q: got %q, want %q", tc.data, got, tc.want)
		}
	}
	for _, kind := range Kinds() {
		if KindOf([]byte(`{"Kind":"`+kind+`"`)) != kind {
			t.Errorf("kind %s is not found", kind)
		}
	}
}
