package state

import (
	"iter"
	"slices"
	"strings"
)

// Placement algorithms: which of several fitting nodes is the best.
const (
	AlgorithmBinPack = "binpack" // fill nodes one after the other, so that large asks still find room
	AlgorithmSpread  = "spread"  // keep all nodes equally free
)

// Node pools that exist in every cluster and cannot be changed.
const (
	NodePoolDefault = "default" // of nodes and jobs that name none
	NodePoolAll     = "all"     // every node; jobs may name it, nodes may not
)

// SchedulerConfig is how the cluster places, set by an operator. JSON names are those of Nomad's API.
type SchedulerConfig struct {
	SchedulerAlgorithm            string // AlgorithmBinPack or AlgorithmSpread
	MemoryOversubscriptionEnabled bool   // grants tasks their memory_max
	RejectJobRegistration         bool   // refuses new and changed jobs
	CreateIndex                   uint64 // Raft index of the first setting
	ModifyIndex                   uint64 // Raft index of the last one; what --check-index compares
}

// NodePool is a set of nodes that jobs name.
type NodePool struct {
	Name                   string
	Description            string                   `json:",omitempty"`
	Meta                   map[string]string        `json:",omitempty"`
	SchedulerConfiguration *NodePoolSchedulerConfig `json:",omitempty"` // nil: the cluster's
	CreateIndex            uint64
	ModifyIndex            uint64
}

// NodePoolSchedulerConfig is what a pool's jobs are placed by instead of the cluster's SchedulerConfig.
type NodePoolSchedulerConfig struct {
	SchedulerAlgorithm            string `json:",omitempty"` // "": the cluster's
	MemoryOversubscriptionEnabled *bool  `json:",omitempty"` // nil: the cluster's
}

// BuiltIn reports whether the pool exists in every cluster and cannot be changed.
func (p *NodePool) BuiltIn() bool { return p.Name == NodePoolDefault || p.Name == NodePoolAll }

// PoolOf is the node pool that a job's or a node's name of it means.
func PoolOf(name string) string {
	if name == "" {
		return NodePoolDefault
	}
	return name
}

func builtInPool(name string) *NodePool {
	switch name {
	case NodePoolDefault:
		return &NodePool{Name: name, Description: "nodes and jobs that name no pool"}
	case NodePoolAll:
		return &NodePool{Name: name, Description: "every node of the cluster"}
	}
	return nil
}

// NodePool returns a node pool, also a built-in one.
func (s *Snapshot) NodePool(name string) *NodePool {
	if p := builtInPool(name); p != nil {
		return p
	}
	return s.pools.get(name)
}

// NodePools yields every node pool in order of its name.
func (s *Snapshot) NodePools() iter.Seq[*NodePool] {
	all := slices.Collect(s.pools.all())
	all = append(all, builtInPool(NodePoolAll), builtInPool(NodePoolDefault))
	slices.SortFunc(all, func(a, b *NodePool) int { return strings.Compare(a.Name, b.Name) })
	return slices.Values(all)
}

// NodePoolsIndex is the Raft index at which a node pool last came, changed or went, or a later one: that of the last restore.
func (s *Snapshot) NodePoolsIndex() uint64 { return s.poolsIndex }

// SchedulerConfig is how an operator told the cluster to place, nil until then.
func (s *Snapshot) SchedulerConfig() *SchedulerConfig { return s.meta.Scheduler }

// SchedulerAlgorithm is the algorithm that jobs of a pool are placed by: the pool's, else the cluster's, else fallback.
func (s *Snapshot) SchedulerAlgorithm(pool, fallback string) string {
	if p := s.pools.get(pool); p != nil && p.SchedulerConfiguration != nil && p.SchedulerConfiguration.SchedulerAlgorithm != "" {
		return p.SchedulerConfiguration.SchedulerAlgorithm
	}
	if c := s.meta.Scheduler; c != nil {
		return c.SchedulerAlgorithm
	}
	return fallback
}

// MemoryOversubscription reports whether jobs of a pool are granted their memory_max.
func (s *Snapshot) MemoryOversubscription(pool string) bool {
	if p := s.pools.get(pool); p != nil && p.SchedulerConfiguration != nil && p.SchedulerConfiguration.MemoryOversubscriptionEnabled != nil {
		return *p.SchedulerConfiguration.MemoryOversubscriptionEnabled
	}
	return s.meta.Scheduler != nil && s.meta.Scheduler.MemoryOversubscriptionEnabled
}
