package agent

import (
	"fmt"
	"slices"
	"testing"
)

// TestSpread: nodes are spread over the live servers, each keeps its choice while that server is well, whoever leads, and those that
// gossip has given up come last.
func TestSpread(t *testing.T) {
	live := map[string]bool{"a:1": true, "b:1": true, "c:1": true}
	first := map[string]int{}
	for i := range 3000 {
		node := fmt.Sprint("node ", i)
		addrs, other := []string{"a:1", "gone:1", "b:1", "c:1", "lost:1"}, []string{"c:1", "b:1", "gone:1", "a:1", "lost:1"}
		spread(addrs, node, live)
		spread(other, node, live)
		if !slices.Equal(addrs, other) || addrs[3] != "gone:1" || addrs[4] != "lost:1" {
			t.Fatalf("%s asks %v or %v", node, addrs, other)
		}
		first[addrs[0]]++
		less := []string{"a:1", "b:1", "c:1"}
		spread(less, node, map[string]bool{addrs[0]: true, addrs[1]: true})
		if less[0] != addrs[0] {
			t.Fatalf("%s asks %s first, and %s when another server is gone", node, addrs[0], less[0])
		}
	}
	for addr, n := range first {
		if n < 900 || n > 1100 {
			t.Errorf("%d of 3000 nodes ask %s first", n, addr)
		}
	}
}
