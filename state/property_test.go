package state

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkInvariants holds at every index of every history.
func checkInvariants(t rapid.TB, s *Snapshot) {
	t.Helper()
	checkRoom(t, s)
	checkHeld(t, s)
	checkSlots(t, s)
	checkDerivedTables(t, s)
	if got, want := s.Hash(), scratchHash(s); got != want {
		t.Fatalf("running hashes differ from those computed anew in %v", got.Diff(want))
	}
}

// checkRoom: no node holds more than it has, unless it has shrunk, and no port is held twice.
func checkRoom(t rapid.TB, s *Snapshot) {
	for n := range s.Nodes() {
		var used AllocResources
		ports, given := map[int]string{}, map[string]string{}
		for a := range s.AllocsByNode(n.ID) {
			if !s.Holds(a) {
				continue
			}
			used.CPU += a.Resources.CPU
			used.MemoryMB += a.Resources.MemoryMB
			used.DiskMB += a.Resources.DiskMB
			checkReserved(t, n, a, given)
			for _, p := range a.Ports {
				if other := ports[p.HostPort]; other != "" {
					t.Fatalf("port %d of node %s is held by %s and %s", p.HostPort, n.ID, other, a.ID)
				}
				ports[p.HostPort] = a.ID
			}
		}
		if r := n.Resources; used.CPU > r.CPU || used.MemoryMB > r.MemoryMB || used.DiskMB > r.DiskMB {
			t.Fatalf("node %s holds %+v of %+v", n.ID, used, r)
		}
	}
}

// checkHeld: what is kept beside the rows is what they add up to.
func checkHeld(t rapid.TB, s *Snapshot) {
	want := map[string]Held{}
	over := map[JobKey]int{}
	for a := range s.Allocs() {
		if a.TerminalClient() || a.TerminalDesired() {
			over[JobKey{a.Namespace, a.JobID}]++
		}
		if a.TerminalClient() {
			continue
		}
		h := want[a.NodeID]
		h.Allocs, h.CPU, h.MemoryMB, h.DiskMB = h.Allocs+1, h.CPU+a.Resources.CPU, h.MemoryMB+a.Resources.MemoryMB, h.DiskMB+a.Resources.DiskMB
		if len(a.Resources.Cores)+len(a.Resources.Devices) > 0 {
			h.Named++
		}
		for _, p := range a.Ports {
			h.Ports = h.Ports.With(p.HostPort)
		}
		if a.IsToRun() {
			h.Orders.Run = h.Orders.Run.With(a.ID)
		}
		want[a.NodeID] = h
	}
	counts := map[string]int{}
	for a := range s.Allocs() {
		counts[s.ClientStatus(a)]++
	}
	if got := s.CountByStatus(); !maps.Equal(got, counts) {
		t.Fatalf("allocations by status: %v, one by one %v", got, counts)
	}
	for k := range s.JobsOfAllocs() {
		if got := s.AllocsOver(k); got != over[k] {
			t.Fatalf("of job %v %d allocations are over, its rows say %d", k, got, over[k])
		}
	}
	s.allocs.byNode.byKey.Scan(func(id string, o *owner[nodeSide]) bool {
		h := o.side.held
		if o.side.row != nil && o.side.seen == s.nodesIndex && o.side.row != s.Node(id) {
			t.Fatalf("of node %s an old row is kept", id)
		}
		if _, some := want[id]; !some && (h.Allocs != 0 || s.Node(id) == nil) {
			t.Fatalf("of node %s, which holds nothing, is kept %+v", id, h)
		}
		return true
	})
	for id, h := range want {
		got := s.HeldOn(id)
		if !got.Ports.Covers(h.Ports) || !h.Ports.Covers(got.Ports) {
			t.Fatalf("ports of node %s: kept are others than its allocations have", id)
		}
		got.Ports, h.Ports, got.Orders = nil, nil, Orders{Run: got.Orders.Run}
		if got != h {
			t.Fatalf("node %s: kept is %+v, its allocations add up to %+v", id, got, h)
		}
	}
}

// checkReserved: cores and devices are the node's and held once, but for devices that are shared, and as many as the group asks for.
func checkReserved(t rapid.TB, n *Node, a *Alloc, given map[string]string) {
	take := func(what string) {
		if other := given[what]; other != "" {
			t.Fatalf("%s of node %s is held by %s and %s", what, n.ID, other, a.ID)
		}
		given[what] = a.ID
	}
	for _, core := range a.Resources.Cores {
		if !slices.Contains(n.Resources.Cores, core) {
			t.Fatalf("core %d of allocation %s is not one of node %s", core, a.ID, n.ID)
		}
		take(fmt.Sprint("core ", core))
	}
	for _, d := range a.Resources.Devices {
		for _, id := range d.IDs {
			kind, instance := n.Resources.Device(id)
			if kind == nil || kind.ID() != d.ID() || !instance.Healthy {
				t.Fatalf("device %s %q of allocation %s on node %s is %+v %+v", d.ID(), id, a.ID, n.ID, kind, instance)
			}
			if !kind.Shared {
				take("device " + id)
			}
		}
	}
}

// checkSlots: at most one live copy per slot, and every allocation's version is there.
func checkSlots(t rapid.TB, s *Snapshot) {
	live := map[string]string{}
	for a := range s.Allocs() {
		key := fmt.Sprint(a.Namespace, "/", a.JobID, "/", a.TaskGroup, "/", a.Index)
		if s.Live(a) {
			if live[key] != "" {
				t.Fatalf("slot %s has the live copies %s and %s", key, live[key], a.ID)
			}
			live[key] = a.ID
		}
		j := s.JobVersion(a.Namespace, a.JobID, a.JobVersion)
		if j == nil {
			t.Fatalf("allocation %s refers to version %d of %s, which is gone", a.ID, a.JobVersion, a.JobID)
		}
		if g := j.Group(a.TaskGroup); len(a.Resources.Cores) != g.CoreCount() || len(a.Resources.Devices) != len(g.DeviceRequests()) {
			t.Fatalf("allocation %s holds %+v", a.ID, a.Resources)
		}
		if len(a.RescheduleEvents) > maxRescheduleEvents {
			t.Fatalf("allocation %s has %d reschedule events", a.ID, len(a.RescheduleEvents))
		}
	}
}

func checkDerivedTables(t rapid.TB, s *Snapshot) {
	byJob, byNode := 0, 0
	seen := map[JobKey]bool{}
	for a := range s.Allocs() {
		seen[JobKey{a.Namespace, a.JobID}] = true
	}
	for k := range seen {
		for a := range s.AllocsByJob(k.Namespace, k.ID) {
			if s.Alloc(a.ID) != a {
				t.Fatalf("the index by job holds an old row of %s", a.ID)
			}
			byJob++
		}
	}
	for n := range s.Nodes() {
		for a := range s.AllocsByNode(n.ID) {
			if s.Alloc(a.ID) != a {
				t.Fatalf("the index by node holds an old row of %s", a.ID)
			}
			byNode++
		}
	}
	if byJob != s.AllocCount() || byNode != s.AllocCount() {
		t.Fatalf("%d allocations, %d by job, %d by node", s.AllocCount(), byJob, byNode)
	}
	for j := range s.Jobs() {
		if s.JobVersion(j.Namespace, j.ID, j.Version) == nil {
			t.Fatalf("the current version %d of %s is gone", j.Version, j.ID)
		}
		if j.Purge && !s.jobAlive(j) {
			t.Fatalf("job %s is purged, nothing of it is alive, and it is still there", j.ID)
		}
	}
	if s.requests.rows.Len() != s.requestsByAge.Len() {
		t.Fatalf("%d requests, %d by age", s.requests.rows.Len(), s.requestsByAge.Len())
	}
}

func scratchHash(s *Snapshot) Hashes {
	h := Hashes{TableMeta: hashRow(&s.meta)}
	for j := range s.jobs.all() {
		h[TableJobs] += hashRow(j)
	}
	for j := range s.versions.all() {
		h[TableJobVersions] += hashRow(j)
	}
	for n := range s.nodes.all() {
		h[TableNodes] += hashRow(n)
	}
	for a := range s.allocs.all() {
		h[TableAllocs] += a.hash()
	}
	for i := range s.images.all() {
		h[TableImages] += hashRow(i)
	}
	for r := range s.requests.all() {
		h[TableRequests] += r.hash()
	}
	for p := range s.pools.all() {
		h[TableNodePools] += hashRow(p)
	}
	return h
}

// checkDirty compares the dirty indexes with the difference of two snapshots. jobs and nodes dirty without a difference are
// allowed for dropped copies only, which the caller names.
func checkDirty(t rapid.TB, old, now *Snapshot, dropped map[JobKey]bool) {
	jobs, nodes := dropped, map[string]bool{}
	for id := range rowsDiffer(rowsOf(old.nodes), rowsOf(now.nodes)) {
		nodes[id] = true
		for _, s := range []*Snapshot{old, now} {
			for a := range s.AllocsByNode(id) {
				jobs[JobKey{a.Namespace, a.JobID}] = true
			}
		}
	}
	for key := range rowsDiffer(rowsOf(old.jobs), rowsOf(now.jobs)) {
		jobs[splitKey(key)] = true
	}
	for id := range rowsDiffer(allocsOf(old), allocsOf(now)) {
		a := now.Alloc(id)
		if a == nil {
			a = old.Alloc(id)
		}
		jobs[JobKey{a.Namespace, a.JobID}] = true
		nodes[a.NodeID] = true
	}
	gotJobs, gotNodes := map[JobKey]bool{}, map[string]bool{}
	for k := range now.JobsDirtySince(old.Index()) {
		gotJobs[k] = true
	}
	for id := range now.NodesDirtySince(old.Index()) {
		gotNodes[id] = true
	}
	checkNews(t, old, now, jobs, nodes)
	if !maps.Equal(gotJobs, jobs) {
		t.Fatalf("jobs dirty since %d: %v, want %v", old.Index(), gotJobs, jobs)
	}
	if !maps.Equal(gotNodes, nodes) {
		t.Fatalf("nodes dirty since %d: %v, want %v", old.Index(), gotNodes, nodes)
	}
}

func allocsOf(s *Snapshot) map[string]*Alloc {
	out := map[string]*Alloc{}
	for a := range s.Allocs() {
		out[a.ID] = a
	}
	return out
}

func rowsOf[R any](t table[R]) map[string]*R {
	out := map[string]*R{}
	t.rows.Scan(func(key string, e entry[R]) bool { out[key] = e.row; return true })
	return out
}

func rowsDiffer[R any](a, b map[string]*R) map[string]bool {
	out := map[string]bool{}
	for k, row := range a {
		if b[k] != row {
			out[k] = true
		}
	}
	for k := range b {
		if a[k] == nil {
			out[k] = true
		}
	}
	return out
}

// checkTerminal: what has ended stays as its node said, and desired statuses never go back to run.
func checkTerminal(t rapid.TB, old, now *Snapshot) {
	for a := range old.Allocs() {
		b := now.Alloc(a.ID)
		if b == nil {
			continue
		}
		if a.TerminalClient() && (b.ClientStatus != a.ClientStatus || !a.TaskStates.Equal(b.TaskStates)) {
			t.Fatalf("allocation %s was %s and is %s", a.ID, a.ClientStatus, b.ClientStatus)
		}
		if a.TerminalDesired() && b.DesiredStatus != a.DesiredStatus {
			t.Fatalf("allocation %s was to %s and is to %s", a.ID, a.DesiredStatus, b.DesiredStatus)
		}
	}
	if now.LatestTime() < old.LatestTime() {
		t.Fatal("cluster time went back")
	}
}

func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &history{T: rt, store: NewStore(), twin: NewStore()}
		g.apply(Lead{NodeID: "s1"})
		if g.int("raised", 0, 3) > 0 {
			g.apply(RaiseLevel{Term: testTerm, Level: 2})
		}
		start, dropped := g.store.Snapshot(), map[JobKey]bool{}
		for range rapid.IntRange(1, 60).Draw(rt, "length") {
			old := g.store.Snapshot()
			before := saved(rt, old)
			result := g.apply(g.command())
			now := g.store.Snapshot()
			if !bytes.Equal(before, saved(rt, old)) {
				rt.Fatalf("a stored row was changed")
			}
			checkInvariants(rt, now)
			checkTerminal(rt, old, now)
			step := g.dropped(result)
			maps.Copy(dropped, step)
			checkDirty(rt, old, now, step)
			checkOrders(rt, old, now)
		}
		// Over the whole history what came and went in between is dirty too.
		for k := range g.store.Snapshot().JobsDirtySince(start.Index()) {
			delete(dropped, k)
		}
		if len(dropped) > 0 {
			rt.Fatalf("jobs of dropped copies are not dirty: %v", dropped)
		}
		g.finish()
	})
}

// history makes commands that are likely to mean something in the state at hand, and keeps a twin that applies the same log.
type history struct {
	*rapid.T
	store, twin *Store
	index       uint64
	last        Command
}

func (g *history) apply(cmd Command) any {
	g.last = cmd
	data, err := Encode(cmd)
	if err != nil {
		g.Fatalf("encode: %v", err)
	}
	g.index++
	a, b := g.store.Apply(g.index, testTerm, data), g.twin.Apply(g.index, testTerm, data)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		g.Fatalf("%s: %v on one store, %v on the other", cmd.kind(), a, b)
	}
	if g.index%7 == 0 { // the twin falls behind and catches up from a snapshot
		twin := NewStore()
		if err := twin.Restore(bytes.NewReader(saved(g.T, g.twin.Snapshot()))); err != nil {
			g.Fatalf("restore: %v", err)
		}
		g.twin = twin
	}
	return a
}

func (g *history) finish() {
	first := saved(g.T, g.store.Snapshot())
	if !bytes.Equal(first, saved(g.T, g.twin.Snapshot())) {
		g.Fatalf("two stores that applied the same log differ")
	}
	again := NewStore()
	if err := again.Restore(bytes.NewReader(first)); err != nil {
		g.Fatalf("restore: %v", err)
	}
	if !bytes.Equal(first, saved(g.T, again.Snapshot())) {
		g.Fatalf("saving, restoring and saving gives other bytes")
	}
	checkInvariants(g.T, again.Snapshot())
}

// dropped are the jobs that a plan's result makes dirty: those of which something exists.
func (g *history) dropped(result any) map[JobKey]bool {
	out := map[JobKey]bool{}
	r, ok := result.(PlanResult)
	if !ok {
		return out
	}
	for _, d := range r.Dropped {
		rec := g.last.(ApplyPlan).Records[d.Record]
		t := tx{next: g.store.Snapshot()}
		if t.anyLeft(rec.Namespace, rec.JobID) {
			out[JobKey{rec.Namespace, rec.JobID}] = true
		}
	}
	return out
}

func pick[E any](t *rapid.T, label string, s []E) (e E, ok bool) {
	if len(s) == 0 {
		return e, false
	}
	return s[rapid.IntRange(0, len(s)-1).Draw(t, label)], true
}

func (g *history) allocs() []*Alloc { return slices.Collect(g.store.Snapshot().Allocs()) }
