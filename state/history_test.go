package state

import (
	"slices"

	"pgregory.net/rapid"
)

func (g *history) int(label string, low, high int) int {
	return rapid.IntRange(low, high).Draw(g.T, label)
}
func (g *history) bool(label string) bool { return rapid.Bool().Draw(g.T, label) }

func (g *history) nodeID() string { return []string{"n1", "n2", "n3"}[g.int("node", 0, 2)] }
func (g *history) jobID() string  { return []string{"a", "b"}[g.int("job", 0, 1)] }

// requestID is empty, one of a few (so that retries and mistakes happen), or fresh.
func (g *history) requestID() string { return []string{"", "r1", "r2", "r3"}[g.int("request", 0, 3)] }

func (g *history) command() Command {
	at := int64(g.int("time", 0, 1000))
	switch g.int("kind", 0, 18) {
	case 0, 1:
		return g.registerJob(at)
	case 2:
		return StopJob{RequestID: g.requestID(), Namespace: "default", JobID: g.jobID(), Purge: g.bool("purge"), Time: at}
	case 3:
		a, _ := pick(g.T, "alloc", g.allocs())
		if a == nil {
			a = &Alloc{}
		}
		return StopAlloc{RequestID: g.requestID(), AllocID: a.ID, Time: at}
	case 4, 5:
		return g.registerNode(at)
	case 6:
		return g.setNodeStatus(at)
	case 7:
		return g.operator(at)
	case 8, 9, 10, 11:
		return g.plan(at)
	case 12, 13:
		return g.report(at)
	case 14:
		return RaiseLevel{Term: testTerm, Level: g.int("level", 1, 2), Time: at}
	case 15:
		return g.pool(at)
	case 16:
		return SetSchedulerConfig{RequestID: g.requestID(), Time: at, Config: SchedulerConfig{
			SchedulerAlgorithm:            []string{AlgorithmBinPack, AlgorithmSpread}[g.int("algorithm", 0, 1)],
			MemoryOversubscriptionEnabled: g.bool("oversubscription"),
		}}
	}
	return g.collect(at)
}

func (g *history) poolName() string { return []string{"default", "edge", "gpu"}[g.int("pool", 0, 2)] }

func (g *history) pool(at int64) Command {
	if g.bool("delete pool") {
		return DeleteNodePool{RequestID: g.requestID(), Name: g.poolName(), Time: at}
	}
	on := g.bool("pool's oversubscription")
	return UpsertNodePool{RequestID: g.requestID(), Time: at, Pool: &NodePool{
		Name: g.poolName(), SchedulerConfiguration: &NodePoolSchedulerConfig{MemoryOversubscriptionEnabled: &on},
	}}
}

// level is the cluster's.
func (g *history) level() int { return g.store.Snapshot().Level() }

func (g *history) registerJob(at int64) Command {
	j := testJob(g.jobID(), g.int("count", 0, 3))
	if j.ID == "b" {
		j.Type = JobTypeBatch
	}
	withPorts(j, []int{8080, 8081}[:g.int("static", 0, 2)], g.int("dynamic", 0, 2))
	j.TaskGroups[0].Tasks[0].Resources.CPU = 500 * g.int("cpu", 1, 4)
	if g.level() >= 2 && g.bool("rich") {
		j.NodePool = g.poolName()
		task(j).Resources = task(g.richJob(j.ID)).Resources
	}
	if old := g.store.Snapshot().Job("default", j.ID); old != nil && g.int("same", 0, 2) == 0 {
		j = old.spec()
	}
	return RegisterJob{RequestID: g.requestID(), Job: j, Time: at}
}

// registerNode never makes a node smaller: one that shrank may hold more than it has.
func (g *history) registerNode(at int64) Command {
	n := richNode(g.nodeID()).AtLevel(g.level())
	n.NodePool = g.poolName()
	n.Resources.MaxDynamicPort = 20005
	n.Boot = uint64(g.int("boot", 0, 4))
	if g.bool("moved") {
		n.PeerAddr = "elsewhere:4647"
	}
	n.Attributes["cpu.arch"] = []string{"amd64", "arm64"}[g.int("arch", 0, 1)]
	return RegisterNode{Node: n, Time: at}
}

func (g *history) setNodeStatus(at int64) Command {
	c := SetNodeStatus{Term: testTerm, Time: at}
	for range g.int("changes", 1, 3) {
		ch := NodeStatusChange{
			NodeID: g.nodeID(), Boot: 1,
			Status: []string{NodeStatusReady, NodeStatusDown, NodeStatusDown, NodeStatusDisconnected}[g.int("status", 0, 3)],
		}
		if n := g.store.Snapshot().Node(ch.NodeID); n != nil && g.int("stale", 0, 5) > 0 {
			ch.Boot = n.Boot
		}
		c.Changes = append(c.Changes, ch)
	}
	return c
}

func (g *history) operator(at int64) Command {
	switch g.int("operator", 0, 3) {
	case 0:
		return DeclareNodeLost{RequestID: g.requestID(), NodeID: g.nodeID(), Time: at}
	case 1:
		return AllowEvictions{RequestID: g.requestID(), Time: at}
	case 2:
		return InitCluster{ClusterID: "herd", Time: at}
	}
	e := []string{NodeEligible, NodeEligible, NodeIneligible}[g.int("eligibility", 0, 2)]
	return SetEligibility{RequestID: g.requestID(), NodeID: g.nodeID(), Eligibility: e, Time: at}
}

func (g *history) plan(at int64) Command {
	s := g.store.Snapshot()
	c := ApplyPlan{Term: testTerm, Time: at}
	c.Seed[0] = byte(g.index)
	if g.int("seed", 0, 9) == 0 {
		c.Seed[0] = 1
	}
	for n := range s.Nodes() {
		c.Nodes = append(c.Nodes, NodeRef{ID: n.ID, Generation: n.Generation})
	}
	for range g.int("records", 1, 3) {
		c.Records = append(c.Records, g.record(s, len(c.Nodes)))
	}
	if g.int("blocked", 0, 3) == 0 {
		if j, ok := pick(g.T, "blocked job", slices.Collect(s.Jobs())); ok {
			c.Blocked = []BlockedChange{{Namespace: j.Namespace, JobID: j.ID, JobModifyIndex: j.JobModifyIndex, Blocked: &Blocked{Since: at, Reason: "full"}}}
		}
	}
	return c
}

// record plans carelessly: it knows the job, not what is free.
func (g *history) record(s *Snapshot, nodes int) PlanRecord {
	rec := PlanRecord{Namespace: "default", JobID: g.jobID(), TaskGroup: "web", Atomic: g.int("atomic", 0, 3) == 0}
	j := s.Job("default", rec.JobID)
	var w columns
	if j != nil {
		rec.JobModifyIndex = j.JobModifyIndex
		w = columnsOf(&j.TaskGroups[0])
	}
	copies := g.int("copies", 1, 4)
	if g.bool("stops") {
		rec.Stop = make([]StopRef, copies)
	}
	if g.bool("reschedules") {
		rec.Reschedule = make([]RescheduleEvent, copies)
	}
	allocs := slices.Collect(s.AllocsByJob("default", rec.JobID))
	for i := range copies {
		index, node := g.int("index", -1, 3), g.int("position", -1, nodes)
		a, found := pick(g.T, "stopped", allocs)
		if found && g.int("same slot", 0, 2) > 0 {
			index = a.Index
		}
		rec.Index, rec.Node = append(rec.Index, index), append(rec.Node, node)
		if rec.Stop != nil && found {
			rec.Stop[i] = StopRef{AllocID: a.ID, ModifyIndex: a.ModifyIndex, Desired: []string{DesiredStop, DesiredEvict}[g.int("desired", 0, 1)]}
		}
		if rec.Reschedule != nil && found && a.TerminalClient() {
			rec.Reschedule[i] = RescheduleEvent{Time: 1, PrevAllocID: a.ID, PrevNodeID: a.NodeID}
		}
		if node >= 0 {
			rec.Ports = append(rec.Ports, repeat(w.ports, func(int) int { return g.int("port", 20000, 20006) })...)
			if w.cores > 0 {
				first := g.int("core", 0, 3)
				rec.Cores = append(rec.Cores, repeat(w.cores, func(i int) int { return (first + i) % 5 })...)
			}
			if w.devices > 0 {
				rec.Devices = append(rec.Devices, g.instances(j)...)
			}
		}
	}
	return rec
}

// instances are often what the job asks for.
func (g *history) instances(j *Job) []string {
	var out []string
	for _, rq := range j.TaskGroups[0].DeviceRequests() {
		ids := []string{"g0", "g1", "g2", "t0"}
		if rq.Name == "kvm" != (g.int("odd device", 0, 9) == 0) {
			ids = []string{"/dev/kvm"}
		}
		first := g.int("instance", 0, len(ids)-1)
		out = append(out, repeat(rq.Count, func(i int) string { return ids[(first+i)%len(ids)] })...)
	}
	return out
}

func (g *history) report(at int64) Command {
	c := Report{Time: at}
	statuses := []string{ClientPending, ClientRunning, ClientRunning, ClientComplete, ClientFailed, "odd"}
	for range g.int("reports", 1, 4) {
		a, ok := pick(g.T, "reported", g.allocs())
		if !ok {
			break
		}
		r := AllocReport{ID: a.ID, Status: statuses[g.int("client status", 0, 5)]}
		if g.bool("tasks") {
			ts := TaskState{State: TaskRunning, Restarts: g.int("restarts", 0, 3)}
			if g.level() >= 2 && g.bool("crash") {
				ts.Crash = testCrash()
			}
			r.Tasks = map[string]TaskState{"server": ts}
		}
		node := a.NodeID
		if g.int("liar", 0, 9) == 0 {
			node = g.nodeID()
		}
		c.Nodes = append(c.Nodes, NodeReport{NodeID: node, Boot: uint64(g.int("report boot", 0, 3)), Seq: uint64(g.int("seq", 0, 20)), Allocs: []AllocReport{r}})
	}
	return c
}

func (g *history) collect(at int64) Command {
	c := CollectGarbage{Term: testTerm, Time: at}
	for _, a := range g.allocs() {
		if g.bool("collect alloc") {
			c.Allocs = append(c.Allocs, a.ID)
		}
	}
	if g.bool("collect job") {
		c.Jobs = []JobKey{{"default", g.jobID()}}
	}
	if g.bool("collect node") {
		c.Nodes = []string{g.nodeID()}
	}
	return c
}
