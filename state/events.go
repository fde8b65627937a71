package state

import "slices"

// Topics of events: which table a row is of. Each row of a topic is one event per entry that changed it.
const (
	TopicAllocation = "Allocation"
	TopicCluster    = "Cluster"
	TopicImage      = "Image"
	TopicJob        = "Job"
	TopicNode       = "Node"
	TopicNodePool   = "NodePool"
)

// Topics returns the names of all topics, in order.
func Topics() []string {
	return []string{TopicAllocation, TopicCluster, TopicImage, TopicJob, TopicNode, TopicNodePool}
}

// Types of events: what happened to the row.
const (
	EventJobRegistered      = "JobRegistered"   // new, a new version, or started again
	EventJobUpdated         = "JobUpdated"      // the leader's word on it: blocked, or no longer
	EventJobDeregistered    = "JobDeregistered" // stopped by a user
	EventJobRemoved         = "JobRemoved"      // purged or collected; the payload is what it was
	EventNodeRegistration   = "NodeRegistration"
	EventNodeStatus         = "NodeStatus"
	EventNodeEligibility    = "NodeEligibility"
	EventNodeDeregistration = "NodeDeregistration" // the payload is what it was
	EventAllocCreated       = "AllocationCreated"
	EventAllocUpdated       = "AllocationUpdated" // what its node says of it, or whether its node can say anything
	EventAllocDesired       = "AllocationUpdateDesiredStatus"
	EventAllocRemoved       = "AllocationRemoved" // collected; the payload is what it was
	EventNodePoolUpserted   = "NodePoolUpserted"
	EventNodePoolDeleted    = "NodePoolDeleted" // the payload is what it was
	EventImageUpserted      = "ImageUpserted"   // imported, named, or held by another set of nodes
	EventImageRemoved       = "ImageRemoved"    // the payload is what it was
	EventClusterLeader      = "LeaderElected"
	EventClusterUpdated     = "ClusterUpdated" // its level, its restore generation, the eviction guard
)

const (
	maxEvents         = 10_000 // that a server keeps
	maxBatchesPerRead = 256
	noNamespace       = ""
)

// Event is one row that one entry changed, as the entry left it.
type Event struct {
	Topic      string
	Type       string
	Key        string   // the row's ID or name
	Namespace  string   // "" for rows that have none
	FilterKeys []string // other names by which a topic may be narrowed: an allocation's job and node, a node's name
	Index      uint64   // Raft index of the entry
	Payload    EventPayload
}

// EventPayload is the row: the field of the event's topic is set.
type EventPayload struct {
	Allocation *Alloc        `json:",omitempty"` // with its status as shown: lost and unknown derived
	Cluster    *ClusterState `json:",omitempty"`
	Image      *Image        `json:",omitempty"`
	Job        *Job          `json:",omitempty"`
	Node       *Node         `json:",omitempty"`
	NodePool   *NodePool     `json:",omitempty"`
}

// ClusterState is what the cluster knows of itself.
type ClusterState struct {
	ClusterID          string
	Level              int
	LeadTerm           uint64
	LeadNode           string
	Generation         uint64           // restore generation
	EvictionsAllowedAt int64            // cluster time, nanoseconds since the Unix epoch
	Scheduler          *SchedulerConfig `json:",omitempty"`
}

// EventBatch is every event of one entry. A batch is never divided: whoever has read one has seen all that the entry changed.
type EventBatch struct {
	Index  uint64
	Time   int64 // cluster time of the entry, nanoseconds since the Unix epoch
	Events []Event
}

// eventsBetween is what an entry changed, from its list of changes: rows in the order of their first change, each once.
func eventsBetween(prev *before, next *Snapshot, c *changes) []Event {
	b := eventBuilder{prev: prev, next: next}
	if c.rows() > 1 {
		b.seen = map[string]bool{}
	}
	if c.meta {
		b.cluster()
	}
	for _, k := range c.jobs {
		b.job(k)
	}
	for _, id := range c.nodes {
		b.node(id)
	}
	for _, name := range c.pools {
		b.pool(name)
	}
	for _, digest := range c.images {
		b.image(digest)
	}
	for _, a := range c.allocs {
		b.alloc(a.ID)
	}
	for _, id := range c.nodes {
		b.shown(id)
	}
	return b.events
}

type eventBuilder struct {
	prev   *before
	next   *Snapshot
	seen   map[string]bool // topic and key; nil when only one row changed
	events []Event
}

func (b *eventBuilder) add(topic, kind, namespace, key string, p EventPayload) {
	b.events = append(b.events, Event{Topic: topic, Type: kind, Key: key, Namespace: namespace, Index: b.next.index, Payload: p})
}

// first is false for a row that has an event of this entry already.
func (b *eventBuilder) first(topic, key string) bool {
	if b.seen == nil {
		return true
	}
	k := topic + "\x00" + key
	again := b.seen[k]
	b.seen[k] = true
	return !again
}

func (b *eventBuilder) cluster() {
	m, kind := b.next.meta, EventClusterUpdated
	if b.prev.meta.LeadTerm != m.LeadTerm {
		kind = EventClusterLeader
	}
	b.add(TopicCluster, kind, noNamespace, m.ClusterID, EventPayload{Cluster: &ClusterState{
		ClusterID: m.ClusterID, Level: m.Level, LeadTerm: m.LeadTerm, LeadNode: m.LeadNode, Generation: m.Generation,
		EvictionsAllowedAt: m.EvictionsAllowedAt, Scheduler: m.Scheduler,
	}})
}

func (b *eventBuilder) job(k JobKey) {
	was, is := b.prev.job(k.Namespace, k.ID), b.next.Job(k.Namespace, k.ID)
	if was == is || !b.first(TopicJob, rowKey(k.Namespace, k.ID)) {
		return
	}
	kind, row := EventJobUpdated, is
	switch {
	case is == nil:
		kind, row = EventJobRemoved, was
	case was != nil && was.JobModifyIndex == is.JobModifyIndex:
	case is.Stop:
		kind = EventJobDeregistered
	default:
		kind = EventJobRegistered
	}
	b.add(TopicJob, kind, k.Namespace, k.ID, EventPayload{Job: row})
}

func (b *eventBuilder) node(id string) {
	was, is := b.prev.node(id), b.next.Node(id)
	if was == is || !b.first(TopicNode, id) {
		return
	}
	kind, row := EventNodeRegistration, is
	switch {
	case is == nil:
		kind, row = EventNodeDeregistration, was
	case was == nil:
	case was.Status != is.Status:
		kind = EventNodeStatus
	case was.Eligibility != is.Eligibility:
		kind = EventNodeEligibility
	}
	b.add(TopicNode, kind, noNamespace, id, EventPayload{Node: row})
}

func (b *eventBuilder) pool(name string) {
	was, is := b.prev.nodePool(name), b.next.NodePool(name)
	if was == is || !b.first(TopicNodePool, name) {
		return
	}
	kind, row := EventNodePoolUpserted, is
	if is == nil {
		kind, row = EventNodePoolDeleted, was
	}
	b.add(TopicNodePool, kind, noNamespace, name, EventPayload{NodePool: row})
}

func (b *eventBuilder) image(digest string) {
	was, is := b.prev.image(digest), b.next.Image(digest)
	if was == is || !b.first(TopicImage, digest) {
		return
	}
	kind, row := EventImageUpserted, is
	if is == nil {
		kind, row = EventImageRemoved, was
	}
	b.add(TopicImage, kind, noNamespace, digest, EventPayload{Image: row})
}

func (b *eventBuilder) alloc(id string) {
	was, is := b.prev.alloc(id), b.next.Alloc(id)
	if was == is || !b.first(TopicAllocation, id) {
		return
	}
	kind, row, status := EventAllocUpdated, is, b.next.ClientStatus
	switch {
	case is == nil:
		kind, row, status = EventAllocRemoved, was, b.prev.clientStatus
	case was == nil:
		kind = EventAllocCreated
	case was.DesiredStatus != is.DesiredStatus:
		kind = EventAllocDesired
	}
	b.add(TopicAllocation, kind, row.Namespace, id, EventPayload{Allocation: row.as(status(row))})
}

// shown tells of allocations that became lost, unknown, or what they were, because their node's status changed.
func (b *eventBuilder) shown(nodeID string) {
	was, is := b.prev.node(nodeID), b.next.Node(nodeID)
	if was != nil && is != nil && was.Status == is.Status {
		return
	}
	for a := range b.next.AllocsByNode(nodeID) {
		old := b.prev.alloc(a.ID)
		if old == nil || b.prev.clientStatus(old) == b.next.ClientStatus(a) || !b.first(TopicAllocation, a.ID) {
			continue
		}
		b.add(TopicAllocation, EventAllocUpdated, a.Namespace, a.ID, EventPayload{Allocation: b.next.asShown(a)})
	}
}

// asShown is an allocation's row with its status derived.
func (s *Snapshot) asShown(a *Alloc) *Alloc { return a.as(s.ClientStatus(a)) }

func (a *Alloc) as(status string) *Alloc {
	if status == a.ClientStatus {
		return a
	}
	c := *a
	c.ClientStatus = status
	return &c
}

// filterKeys are the other names of an event's row.
func (e *Event) filterKeys() []string {
	switch {
	case e.Payload.Allocation != nil:
		return []string{e.Payload.Allocation.JobID, e.Payload.Allocation.NodeID}
	case e.Payload.Node != nil:
		return []string{e.Payload.Node.Name}
	case e.Payload.Image != nil:
		return slices.Concat([]string{}, e.Payload.Image.Names)
	}
	return []string{}
}

// Is reports whether the event's row has this name.
func (e *Event) Is(key string) bool { return e.Key == key || slices.Contains(e.FilterKeys, key) }
