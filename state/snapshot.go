package state

import (
	"iter"
	"strings"
	"sync"

	"github.com/tidwall/btree"
)

// Snapshot is every table at one Raft index. It never changes: read it from any goroutine, without locks, for as long as you
// like. Rows that it hands out belong to it and must not be changed. Readers that find nothing return nil.
type Snapshot struct {
	index uint64
	meta  metaRow

	jobs     table[Job]
	versions table[Job]
	nodes    table[Node]
	allocs   allocTable
	requests table[requestRow]
	pools    table[NodePool]
	images   table[Image]
	imagesAt uint64 // index at which an image last changed; not saved

	poolsIndex    uint64 // of the last change of a pool: bookkeeping like the dirty indexes
	nodesIndex    uint64 // of the last change of a node's row: the same
	requestsByAge *btree.BTreeG[*requestRow]
	jobsDirty     dirtyIndex
	nodesDirty    nodeLog
	news          news
	shapes        *shapes // of task states, shared with every other snapshot

	cloning *sync.Mutex // taken while the trees are copied: a copy writes to bookkeeping of its original
}

// metaRow is what the cluster knows of itself.
type metaRow struct {
	ClusterID          string
	Level              int
	LeadTerm           uint64
	LeadIndex          uint64
	LeadNode           string
	Generation         uint64
	LatestTime         int64
	EvictionsAllowedAt int64
	Scheduler          *SchedulerConfig `json:",omitempty"`
	Epoch              string           `json:",omitempty"`
}

func newSnapshot() *Snapshot {
	opts := btree.Options{NoLocks: true, Degree: treeDegree}
	return &Snapshot{
		meta:          metaRow{Level: 1},
		jobs:          newTable[Job](),
		versions:      newTable[Job](),
		nodes:         newTable[Node](),
		allocs:        newAllocTable(),
		requests:      newTable[requestRow](),
		pools:         newTable[NodePool](),
		images:        newTable[Image](),
		requestsByAge: btree.NewBTreeGOptions(lessByAge, opts),
		jobsDirty:     newDirtyIndex(),
		nodesDirty:    nodeLog{newChangeLog()},
		news:          newNews(),
		shapes:        new(shapes),
		cloning:       new(sync.Mutex),
	}
}

// clone returns a snapshot that a transaction may write. It costs a few hundred bytes whatever the size of the tables.
func (s *Snapshot) clone() *Snapshot {
	s.cloning.Lock()
	defer s.cloning.Unlock()
	c := *s
	c.jobs, c.versions, c.nodes = s.jobs.clone(), s.versions.clone(), s.nodes.clone()
	c.allocs, c.requests, c.pools = s.allocs.clone(), s.requests.clone(), s.pools.clone()
	c.images = s.images.clone()
	c.requestsByAge = s.requestsByAge.Copy()
	c.jobsDirty, c.nodesDirty, c.news = s.jobsDirty.clone(), s.nodesDirty.clone(), s.news.clone()
	c.cloning = new(sync.Mutex)
	return &c
}

// newLine tells a copy of a snapshot from the one that the store goes on with.
func (s *Snapshot) newLine() {
	l := new(line)
	s.allocs.byJob.line, s.allocs.byNode.line = l, l
	s.jobsDirty.line, s.nodesDirty.line, s.news.jobs.line, s.news.nodes.line = l, l, l, l
}

// Index is the Raft index of the last entry applied.
func (s *Snapshot) Index() uint64 { return s.index }

// ClusterID is the cluster's name, "" until the first leader gave it one.
func (s *Snapshot) ClusterID() string { return s.meta.ClusterID }

// LeadTerm is the Raft term of the last Lead entry; only its leader's commands are applied.
func (s *Snapshot) LeadTerm() uint64 { return s.meta.LeadTerm }

// LeadIndex is the Raft index of the last Lead entry.
func (s *Snapshot) LeadIndex() uint64 { return s.meta.LeadIndex }

// LeadNode is the ID of the node that proposed the last Lead entry.
func (s *Snapshot) LeadNode() string { return s.meta.LeadNode }

// Level is the cluster's level: every server can apply commands up to it.
func (s *Snapshot) Level() int { return s.meta.Level }

// Generation is the restore generation: how often an operator has put an older state back. Whatever was remembered of another
// generation (cursors, indexes) is void.
func (s *Snapshot) Generation() uint64 { return s.meta.Generation }

// Epoch names this beginning of the cluster's history: minted when it was founded, and anew when it was recovered from one survivor.
// A cluster that begins again under its old name has another one. "" before the cluster's level is 2.
func (s *Snapshot) Epoch() string { return s.meta.Epoch }

// LatestTime is the largest stamp of any command, in nanoseconds since the Unix epoch: cluster time at the last change.
func (s *Snapshot) LatestTime() int64 { return s.meta.LatestTime }

// EvictionsAllowedAt is the cluster time at which an operator last told the eviction guard to let go; 0 for never.
func (s *Snapshot) EvictionsAllowedAt() int64 { return s.meta.EvictionsAllowedAt }

// Hash is the running hash of every table.
func (s *Snapshot) Hash() Hashes {
	return Hashes{
		TableMeta:        hashRow(&s.meta),
		TableJobs:        s.jobs.sum,
		TableJobVersions: s.versions.sum,
		TableNodes:       s.nodes.sum,
		TableAllocs:      s.allocs.sum,
		TableRequests:    s.requests.sum,
		TableNodePools:   s.pools.sum,
		TableImages:      s.images.sum,
	}
}

// Job returns a job's current row.
func (s *Snapshot) Job(namespace, id string) *Job { return s.jobs.get(rowKey(namespace, id)) }

// JobVersion returns a job as it was registered at a version. Versions stay while an allocation refers to them, also when the
// job's own row is gone.
func (s *Snapshot) JobVersion(namespace, id string, version uint64) *Job {
	return s.versions.get(versionKey(namespace, id, version))
}

// JobVersions returns the versions of a job that are kept, newest first.
func (s *Snapshot) JobVersions(namespace, id string) []*Job {
	var out []*Job
	prefix := rowKey(namespace, id) + "\x00"
	s.versions.rows.Descend(prefix+"g", func(key string, e entry[Job]) bool { // "g" sorts after every hexadecimal digit
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		out = append(out, e.row)
		return true
	})
	return out
}

// Jobs yields every job in order of namespace and ID.
func (s *Snapshot) Jobs() iter.Seq[*Job] { return s.jobs.all() }

// JobsByPrefix yields the jobs of a namespace ("*" means all) whose ID starts with prefix.
func (s *Snapshot) JobsByPrefix(namespace, prefix string) iter.Seq[*Job] {
	if namespace != "*" {
		return s.jobs.prefixed(rowKey(namespace, prefix))
	}
	return func(yield func(*Job) bool) {
		for j := range s.jobs.all() {
			if strings.HasPrefix(j.ID, prefix) && !yield(j) {
				return
			}
		}
	}
}

// JobCount is the number of jobs.
func (s *Snapshot) JobCount() int { return s.jobs.rows.Len() }

// Node returns a node.
func (s *Snapshot) Node(id string) *Node { return s.nodes.get(id) }

// Nodes yields every node in ID order.
func (s *Snapshot) Nodes() iter.Seq[*Node] { return s.nodes.all() }

// NodesByPrefix yields the nodes whose ID starts with prefix.
func (s *Snapshot) NodesByPrefix(prefix string) iter.Seq[*Node] { return s.nodes.prefixed(prefix) }

// NodesIndex is the Raft index at which a node's row last changed.
func (s *Snapshot) NodesIndex() uint64 { return s.nodesIndex }

// NodeCount is the number of nodes.
func (s *Snapshot) NodeCount() int { return s.nodes.rows.Len() }

// Alloc returns an allocation.
func (s *Snapshot) Alloc(id string) *Alloc { return s.allocs.get(id) }

// Allocs yields every allocation in ID order.
func (s *Snapshot) Allocs() iter.Seq[*Alloc] { return s.allocs.all() }

// AllocsByPrefix yields the allocations whose ID starts with prefix.
func (s *Snapshot) AllocsByPrefix(prefix string) iter.Seq[*Alloc] { return s.allocs.prefixed(prefix) }

// AllocsByPrefixFrom is AllocsByPrefix without the IDs before one, which a reader of pages has seen.
func (s *Snapshot) AllocsByPrefixFrom(prefix, id string) iter.Seq[*Alloc] {
	return s.allocs.prefixedFrom(prefix, id)
}

// AllocCount is the number of allocations.
func (s *Snapshot) AllocCount() int { return s.allocs.rows.Len() }

// AllocsByJob yields a job's allocations in the order in which they were placed, also those of a job whose row is gone.
func (s *Snapshot) AllocsByJob(namespace, id string) iter.Seq[*Alloc] {
	return s.allocs.these(s.allocs.byJob.listed(rowKey(namespace, id)))
}

// AllocsOver is how many of a job's allocations have ended or are to end, also of a job whose row is gone: those that may be garbage.
func (s *Snapshot) AllocsOver(k JobKey) int {
	if o := s.allocs.byJob.of(rowKey(k.Namespace, k.ID)); o != nil {
		return o.side.over
	}
	return 0
}

// JobsOfAllocs yields the jobs that have allocations, also those whose row is gone, in the order of their keys.
func (s *Snapshot) JobsOfAllocs() iter.Seq[JobKey] {
	return func(yield func(JobKey) bool) {
		s.allocs.byJob.byKey.Scan(func(key string, _ *owner[jobSide]) bool { return yield(splitKey(key)) })
	}
}

// AllocsByNode yields a node's allocations in the order in which they were placed.
func (s *Snapshot) AllocsByNode(id string) iter.Seq[*Alloc] {
	return s.allocs.these(s.allocs.byNode.listed(id))
}

// NewestByNode yields a node's allocations, the one placed last first.
func (s *Snapshot) NewestByNode(id string) iter.Seq[*Alloc] {
	return s.allocs.newest(s.allocs.byNode.listed(id))
}

// JobsDirtySince yields the jobs whose row, allocations or allocations' nodes changed after index, or that a dropped copy of a
// plan touched. Jobs that are gone come last; a job may come twice. It is complete for an index not below DirtyFloor.
func (s *Snapshot) JobsDirtySince(index uint64) iter.Seq[JobKey] {
	return func(yield func(JobKey) bool) {
		for key := range s.jobsDirty.since(index) {
			if !yield(splitKey(key)) {
				return
			}
		}
	}
}

// NodesDirtySince yields the nodes whose row or allocations changed after index. Nodes that are gone come last; a node may
// come twice. It is complete for an index not below DirtyFloor.
func (s *Snapshot) NodesDirtySince(index uint64) iter.Seq[string] {
	return s.nodesDirty.since(index)
}

// JobChangedSince reports whether JobsDirtySince yields a job.
func (s *Snapshot) JobChangedSince(namespace, id string, index uint64) bool {
	return s.jobsDirty.changed(rowKey(namespace, id), index)
}

// NodeChangedSince reports whether NodesDirtySince yields a node.
func (s *Snapshot) NodeChangedSince(id string, index uint64) bool {
	return s.nodesDirty.changed(id, index)
}

// DirtyFloor is the oldest index that JobsDirtySince and NodesDirtySince answer completely: whoever looked last at an older
// one starts from scratch. It rises when a snapshot is restored and when many rows are removed.
func (s *Snapshot) DirtyFloor() uint64 {
	return max(s.jobsDirty.floor, s.nodesDirty.floor, s.news.jobs.floor, s.news.nodes.floor)
}
