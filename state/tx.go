package state

import "fmt"

// tx is one entry being applied to a private copy of the snapshot. All writes go through its put and remove methods, which keep
// indexes, hashes and dirty marks in step.
type tx struct {
	next    *Snapshot
	index   uint64
	term    uint64
	now     int64               // cluster time of the entry: never before an earlier entry's
	purging map[string]struct{} // purged jobs of which this entry touched something
	marked  marked
	changes changes
}

// marked is of which allocations it is known that their jobs and nodes are marked as dirty. The zero value is always right.
type marked struct {
	groups map[*AllocGroup]struct{}
	node   string // the last one
}

// maxTime keeps a mad clock from poisoning cluster time for ever: the year 2116.
const maxTime = int64(1) << 62

// termed commands are the leader's own and are refused from any other term than its.
type termed interface{ leaderTerm() uint64 }

// requested commands are a user's. A retry with the same request ID returns the first result.
type requested interface {
	request() (id, object string)
}

// Done is the result of a user's command that has nothing else to say.
type Done struct {
	Index uint64 // the Raft index at which it was done; an earlier one for a retry
}

// run applies cmd. After an error the transaction is thrown away.
func (t *tx) run(cmd Command) (any, error) {
	if cmd == nil {
		return nil, fmt.Errorf("apply nothing: %w", ErrInvalid)
	}
	if err := t.admit(cmd); err != nil {
		return nil, fmt.Errorf("apply %s: %w", cmd.kind(), err)
	}
	req, isRequest := cmd.(requested)
	if isRequest {
		if result, known, err := t.recall(cmd.kind(), req); known || err != nil {
			return result, err
		}
	}
	result, err := cmd.apply(t)
	if err != nil {
		return nil, err
	}
	if isRequest {
		t.remember(cmd.kind(), req, result)
	}
	t.settlePurged()
	return result, nil
}

// admit checks what all commands have in common, and moves cluster time.
func (t *tx) admit(cmd Command) error {
	meta := &t.next.meta
	if l := levelOf(cmd); l > meta.Level {
		return fmt.Errorf("needs level %d, the cluster is at %d: %w", l, meta.Level, ErrLevel)
	}
	if lt, ok := cmd.(termed); ok {
		if lt.leaderTerm() != meta.LeadTerm {
			return fmt.Errorf("sent by the leader of term %d, term %d leads: %w", lt.leaderTerm(), meta.LeadTerm, ErrStaleTerm)
		}
		// A server that lost the lead and won it again may still propose what it decided before. The servers of level 1 applied that.
		if meta.Level >= 2 && lt.leaderTerm() != t.term {
			return fmt.Errorf("sent by the leader of term %d in an entry of term %d: %w", lt.leaderTerm(), t.term, ErrStaleTerm)
		}
	}
	at := cmd.at()
	if at < 0 || at > maxTime {
		return fmt.Errorf("time %d is out of range: %w", at, ErrInvalid)
	}
	t.now = max(at, meta.LatestTime)
	meta.LatestTime = t.now
	return nil
}

func (t *tx) putJob(j *Job) {
	j.ModifyIndex = t.index
	if j.CreateIndex == 0 {
		j.CreateIndex = t.index
	}
	key := rowKey(j.Namespace, j.ID)
	t.next.jobs.put(key, j)
	t.markJob(key)
	t.changes.jobs = append(t.changes.jobs, JobKey{j.Namespace, j.ID})
}

func (t *tx) removeJob(j *Job) {
	t.next.jobs.remove(rowKey(j.Namespace, j.ID))
	t.changes.jobs = append(t.changes.jobs, JobKey{j.Namespace, j.ID})
	t.touchJob(j.Namespace, j.ID)
	t.pruneVersions(j.Namespace, j.ID)
}

// touchJob marks a job dirty, or forgets it when nothing of it is left.
func (t *tx) touchJob(namespace, id string) {
	key := rowKey(namespace, id)
	if t.anyLeft(namespace, id) {
		t.markJob(key)
	} else {
		t.next.jobsDirty.retire(key, t.index)
		t.next.news.jobs.retire(key, t.index)
		t.marked = marked{}
	}
}

// anyLeft reports whether a job has a row or allocations.
func (t *tx) anyLeft(namespace, id string) bool {
	if t.next.Job(namespace, id) != nil {
		return true
	}
	for range t.next.AllocsByJob(namespace, id) {
		return true
	}
	return false
}

func (t *tx) markJob(key string) {
	t.next.news.jobs.mark(key, t.index)
	t.markJobQuietly(key)
}

// markJobQuietly is markJob for a change that may be no news.
func (t *tx) markJobQuietly(key string) {
	t.next.jobsDirty.mark(key, t.index)
	if j := t.next.jobs.get(key); j != nil && j.Purge {
		if t.purging == nil {
			t.purging = map[string]struct{}{}
		}
		t.purging[key] = struct{}{}
	}
}

func (t *tx) putNode(n *Node) {
	n.ModifyIndex = t.index
	if n.CreateIndex == 0 {
		n.CreateIndex = t.index
	}
	t.next.nodes.put(n.ID, n)
	t.next.nodesIndex = t.index
	t.markNode(n.ID)
	t.next.news.nodes.mark(n.ID, t.index)
	t.changes.nodes = append(t.changes.nodes, n.ID)
	for a := range t.next.AllocsByNode(n.ID) {
		t.markJob(rowKey(a.Namespace, a.JobID))
	}
}

func (t *tx) removeNode(n *Node) {
	t.next.nodes.remove(n.ID)
	t.next.nodesIndex = t.index
	t.hold(n.ID, nil)
	t.next.allocs.byNode.byKey.Delete(n.ID)
	t.next.nodesDirty.retire(n.ID, t.index)
	t.next.news.nodes.retire(n.ID, t.index)
	t.marked = marked{}
	t.changes.nodes = append(t.changes.nodes, n.ID)
}

// putAlloc puts a changed copy of an allocation's row.
func (t *tx) putAlloc(a *Alloc) {
	id, _ := parseID(a.ID)
	serial, old := t.next.allocs.find(id)
	t.replaceAlloc(serial, old, a)
}

// replaceAlloc is putAlloc for those who know the row's serial and the row.
func (t *tx) replaceAlloc(serial uint64, old, a *Alloc) {
	a.ModifyIndex = t.index
	t.next.account(old, a)
	t.next.allocs.put(serial, a)
	t.changedAlloc(a)
	t.noteAlloc(old, a)
}

// addAlloc puts the row of a new allocation, whose ID is free. job and node are its owners.
func (t *tx) addAlloc(id idKey, a *Alloc, job *owner[jobSide], node *owner[nodeSide]) (serial uint64) {
	a.CreateIndex, a.ModifyIndex = t.index, t.index
	node.side.held = node.side.held.moved(t.index, nil, a)
	serial = t.next.allocs.add(id, a, job, node)
	t.changedAlloc(a)
	return serial
}

// changedAlloc marks what a change of an allocation makes dirty.
func (t *tx) changedAlloc(a *Alloc) {
	t.changes.allocs = append(t.changes.allocs, a)
	if _, known := t.marked.groups[a.AllocGroup]; !known {
		if t.marked.groups == nil {
			t.marked.groups = map[*AllocGroup]struct{}{}
		}
		t.marked.groups[a.AllocGroup] = struct{}{}
		t.markJobQuietly(rowKey(a.Namespace, a.JobID))
	}
	if t.marked.node != a.NodeID {
		t.marked.node = a.NodeID
		t.markNode(a.NodeID)
	}
}

func (t *tx) removeAlloc(a *Alloc) {
	t.next.account(a, nil)
	t.next.allocs.remove(a)
	t.markNode(a.NodeID)
	t.next.news.nodes.mark(a.NodeID, t.index)
	t.touchJob(a.Namespace, a.JobID)
	t.changes.allocs = append(t.changes.allocs, a)
}

// settlePurged removes the rows of purged jobs of which nothing is alive any more, among those that this entry touched.
func (t *tx) settlePurged() {
	for _, key := range sortedKeys(t.purging) {
		if j := t.next.jobs.get(key); j != nil && j.Purge && !t.next.jobAlive(j) {
			t.removeJob(j)
		}
	}
}
