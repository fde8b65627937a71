package agent

import (
	"strings"
	"testing"

	"github.com/drover-io/drover/consensus"
)

func TestRefuseRemoval(t *testing.T) {
	for _, tc := range []struct {
		name   string
		remove string
		voters string // those in capitals answer
		says   string // "" when it may be removed
	}{
		{"a dead one of three", "c", "ABc", ""},
		{"a live one", "B", "ABC", "alive"},
		{"the last one", "A", "A", "last one"},
		{"the dead one of two", "b", "Ab", ""},
		{"one of two dead, of three", "b", "Abc", "no majority"},
		{"one of two dead, of five", "d", "ABCde", ""},
		{"one of three dead, of five", "c", "ABcde", "no majority"},
	} {
		var peers []consensus.Peer
		for _, id := range strings.Split(tc.voters, "") {
			peers = append(peers, consensus.Peer{ID: id, Voter: true})
		}
		peers = append(peers, consensus.Peer{ID: "X"}) // without a vote it counts for nothing
		err := refuseRemoval(tc.remove, peers, func(id string) bool { return id == strings.ToUpper(id) }, func(string) string { return "" })
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
	}
}
