package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/drover-io/drover/api"
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
		{"a live one of three", "B", "ABC", ""},
		{"the leader of three", "A", "ABC", ""},
		{"the last one", "A", "A", "A is the last one"},
		{"the dead one of two", "b", "Ab", ""},
		{"the live one of two", "A", "Ab", "without server A there would be 1 with a vote, of which 0 answer and 1 must"},
		{"a live one beside a dead one, of three", "B", "ABc", "without server B there would be 2 with a vote, of which 1 answers and 2 must"},
		{"one of two dead, of five", "d", "ABCde", ""},
		{"a live one beside two dead, of five", "C", "ABCde", "of which 2 answer and 3 must"},
		{"one of three dead, of five", "c", "ABcde", "of which 2 answer and 3 must"},
		{"one without a vote", "X", "Ab", ""},
	} {
		var peers []consensus.Peer
		for _, id := range strings.Split(tc.voters, "") {
			peers = append(peers, consensus.Peer{ID: id, Voter: true})
		}
		peers = append(peers, consensus.Peer{ID: "X"}) // without a vote it counts for nothing
		answers := func(p consensus.Peer) bool { return p.ID == strings.ToUpper(p.ID) }
		err := refuseRemoval(tc.remove, peers, answers, func(string) string { return "" })
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
		var e *api.Error
		if errors.As(err, &e) && e.Next == "" {
			t.Errorf("%s: %v says nothing about what to do", tc.name, err)
		}
	}
}
