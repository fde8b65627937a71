package agent

import (
	"testing"
	"time"

	"github.com/drover-io/drover/sched"
)

// Machines that are cut off at the same moment have leases that run out one after the other. Those that are merely late are asked
// together with the first, and what was found of all is noted at once: the decider never sees one of them silent alone.
func TestSilenceIsNotedTogether(t *testing.T) {
	w := newWorld(t)
	ids := []string{nodeA, "bbbbbbbb-0000-4000-8000-000000000000", "cccccccc-0000-4000-8000-000000000000", "dddddddd-0000-4000-8000-000000000000"}
	began := time.Now()
	leases := newLeases(began)
	for i, id := range ids {
		w.register(id, 1)
		leases.Renew(id, 1, began.Add(time.Second+time.Duration(i)*300*time.Millisecond))
	}
	wk := newWatchkeeper(&term{s: &server{store: w.store}, leases: leases, clock: newClusterClock(w.store.Snapshot())})
	snap := w.store.Snapshot()

	found, ask, late := wk.sort(snap, nil, began.Add(2*time.Second), time.Second)
	if len(found) != 4 || len(ask) != 0 || len(late) != 0 {
		t.Errorf("all in time: %d found, %d asked, %d late", len(found), len(ask), len(late))
	}
	found, ask, late = wk.sort(snap, nil, began.Add(4*time.Second), time.Second)
	if len(found) != 0 || len(ask) != 1 || ask[0].NodeID != nodeA || len(late) != 3 {
		t.Errorf("the first is overdue: %d found, %v asked, %d late", len(found), ask, len(late))
	}

	changed := wk.changed()
	for range agreeing {
		found = nil
		for _, id := range ids {
			found = append(found, finding{snap.Node(id), sched.EvidenceSilent, 1})
		}
		wk.note(found...)
	}
	select {
	case <-changed:
	default:
		t.Fatal("nobody was told")
	}
	silent := 0
	for _, o := range wk.observations() {
		if o.Evidence == sched.EvidenceSilent {
			silent++
		}
	}
	if silent != len(ids) {
		t.Errorf("%d of %d nodes are silent when the decider is woken", silent, len(ids))
	}
}
