package state

import (
	"testing"

	"pgregory.net/rapid"
)

// TestNoPlanOvercommits lets careless plans fight over two nodes with cores and devices: whatever they ask for, at no index does a
// node hold more than it has, or something twice.
func TestNoPlanOvercommits(t *testing.T) {
	rich := 0
	rapid.Check(t, func(rt *rapid.T) {
		g := &history{T: rt, store: NewStore(), twin: NewStore()}
		g.apply(Lead{NodeID: "s1"})
		g.apply(RaiseLevel{Term: testTerm, Level: 2})
		for _, id := range []string{"n1", "n2"} {
			g.apply(RegisterNode{Node: richNode(id)})
		}
		for _, id := range []string{"a", "b"} {
			g.apply(RegisterJob{Job: g.richJob(id)})
		}
		for range g.int("length", 1, 30) {
			var cmd Command
			switch g.int("what", 0, 9) {
			case 0, 1:
				cmd = g.report(0)
			case 2:
				cmd = g.setNodeStatus(0)
			case 3:
				cmd = RegisterNode{Node: richNode(g.nodeID())}
			case 4:
				cmd = RegisterJob{Job: g.richJob(g.jobID())}
			default:
				cmd = g.plan(0)
			}
			g.apply(cmd)
			checkInvariants(rt, g.store.Snapshot())
		}
		for a := range g.store.Snapshot().Allocs() {
			rich += len(a.Resources.Cores) + len(a.Resources.Devices)
		}
		g.finish()
	})
	if rich < 100 {
		t.Errorf("only %d cores and devices were given out: the test has lost its point", rich)
	}
}

// richJob asks for a little of everything.
func (g *history) richJob(id string) *Job {
	j := testJob(id, 4)
	r := &task(j).Resources
	*r = Resources{MemoryMB: 256, MemoryMaxMB: 512 * g.int("memory max", 0, 1), Cores: g.int("cores", 0, 2)}
	if r.Cores == 0 {
		r.MilliCores = 500
	}
	for range g.int("devices", 0, 2) {
		name := []string{"gpu", "nvidia/gpu", "kvm"}[g.int("device", 0, 2)]
		r.Devices = append(r.Devices, RequestedDevice{Name: name, Count: 1})
	}
	return j
}
