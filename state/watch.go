package state

import "sync"

// Key names something that can be watched: a table, a row, one node's allocations. Make one with the Key functions.
type Key struct {
	kind keyKind
	a, b string
}

type keyKind uint8

const (
	keyIndex keyKind = iota
	keyAll
	keyMeta
	keyJobs
	keyJob
	keyNodes
	keyNode
	keyAllocs
	keyAlloc
	keyNodeAllocs
	keyNodeOrders
	keyJobAllocs
	keyNodePools
	keyNodePool
	keyImages
	numKinds
)

// KeyIndex changes with every entry, also with those that change nothing.
func KeyIndex() Key { return Key{kind: keyIndex} }

// KeyAll changes with every row, and when a copy of a plan is dropped.
func KeyAll() Key { return Key{kind: keyAll} }

// KeyMeta changes with everything that the cluster knows of itself but its time: leader, level, generation, evictions, the
// scheduler's configuration.
func KeyMeta() Key { return Key{kind: keyMeta} }

// KeyJobs changes with every job.
func KeyJobs() Key { return Key{kind: keyJobs} }

// KeyJob changes with one job's row.
func KeyJob(namespace, id string) Key { return Key{kind: keyJob, a: namespace, b: id} }

// KeyNodes changes with every node.
func KeyNodes() Key { return Key{kind: keyNodes} }

// KeyNode changes with one node's row.
func KeyNode(id string) Key { return Key{kind: keyNode, a: id} }

// KeyAllocs changes with every allocation.
func KeyAllocs() Key { return Key{kind: keyAllocs} }

// KeyAlloc changes with one allocation.
func KeyAlloc(id string) Key { return Key{kind: keyAlloc, a: id} }

// KeyNodeAllocs changes with every allocation of one node.
func KeyNodeAllocs(nodeID string) Key { return Key{kind: keyNodeAllocs, a: nodeID} }

// KeyNodeOrders changes when a node is to be told something about its allocations: one more is to run there, or one no longer. What
// the node itself says does not change it.
func KeyNodeOrders(nodeID string) Key { return Key{kind: keyNodeOrders, a: nodeID} }

// KeyJobAllocs changes with every allocation of one job.
func KeyJobAllocs(namespace, id string) Key { return Key{kind: keyJobAllocs, a: namespace, b: id} }

// KeyNodePools changes with every node pool. The built-in ones never change.
func KeyNodePools() Key { return Key{kind: keyNodePools} }

// KeyNodePool changes with one node pool.
func KeyNodePool(name string) Key { return Key{kind: keyNodePool, a: name} }

// KeyImages changes with every image.
func KeyImages() Key { return Key{kind: keyImages} }

// Watch fires once, at the first commit after Store.Watch that changes one of its keys. To miss nothing, watch first, then
// load the snapshot, then wait.
type Watch struct {
	c    chan struct{}
	keys []Key
	from *watchers
}

// C is closed when the watch fires.
func (w *Watch) C() <-chan struct{} { return w.c }

// Stop forgets the watch. It need not be called after the watch has fired; calling it again does nothing.
func (w *Watch) Stop() {
	w.from.mu.Lock()
	defer w.from.mu.Unlock()
	w.from.forget(w)
}

// watchers holds the watches by key, so that a commit looks only at those whose key changed and idle ones cost nothing.
type watchers struct {
	mu    sync.Mutex
	byKey map[Key]map[*Watch]struct{}
	kinds [numKinds]int // watches of each kind of key: what nobody watches is not looked up
}

// Watch waits for the next change of any of keys.
func (s *Store) Watch(keys ...Key) *Watch {
	w := &Watch{c: make(chan struct{}), keys: keys, from: &s.watches}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	for _, k := range keys {
		if s.watches.byKey[k] == nil {
			s.watches.byKey[k] = map[*Watch]struct{}{}
		}
		if _, twice := s.watches.byKey[k][w]; !twice {
			s.watches.byKey[k][w] = struct{}{}
			s.watches.kinds[k.kind]++
		}
	}
	return w
}

func (ws *watchers) forget(w *Watch) {
	for _, k := range w.keys {
		if _, waits := ws.byKey[k][w]; !waits {
			continue
		}
		delete(ws.byKey[k], w)
		ws.kinds[k.kind]--
		if len(ws.byKey[k]) == 0 {
			delete(ws.byKey, k)
		}
	}
}

func (ws *watchers) fire(k Key) {
	for w := range ws.byKey[k] {
		close(w.c)
		ws.forget(w)
	}
}

// changes is what one transaction changed.
type changes struct {
	meta   bool
	dirty  bool // a dropped copy made a job dirty
	jobs   []JobKey
	nodes  []string
	pools  []string
	images []string // digests
	allocs []*Alloc
	orders func(nodeID string) bool // reports whether the node's Orders changed; asked about nodes of allocs only
}

func (c *changes) any() bool {
	return c.meta || c.dirty || len(c.jobs) > 0 || len(c.nodes) > 0 || len(c.pools) > 0 || len(c.allocs) > 0 || len(c.images) > 0
}

// add adds what another transaction changed, but for the nodes' orders.
func (c *changes) add(o *changes) {
	c.meta, c.dirty = c.meta || o.meta, c.dirty || o.dirty
	c.jobs, c.nodes, c.pools = append(c.jobs, o.jobs...), append(c.nodes, o.nodes...), append(c.pools, o.pools...)
	c.images, c.allocs = append(c.images, o.images...), append(c.allocs, o.allocs...)
}

// rows is how many rows changed, at least 1: each counts as often as it changed.
func (c *changes) rows() int {
	return max(1, len(c.jobs)+len(c.nodes)+len(c.pools)+len(c.images)+len(c.allocs))
}

func (ws *watchers) wake(c *changes) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.fire(KeyIndex())
	if len(ws.byKey) == 0 || !c.any() {
		return
	}
	ws.fire(KeyAll())
	if c.meta {
		ws.fire(KeyMeta())
	}
	if len(c.jobs) > 0 {
		ws.fire(KeyJobs())
	}
	for _, k := range c.jobs {
		ws.fire(KeyJob(k.Namespace, k.ID))
	}
	if len(c.nodes) > 0 {
		ws.fire(KeyNodes())
	}
	for _, id := range c.nodes {
		ws.fire(KeyNode(id))
	}
	if len(c.images) > 0 {
		ws.fire(KeyImages())
	}
	if len(c.pools) > 0 {
		ws.fire(KeyNodePools())
	}
	for _, name := range c.pools {
		ws.fire(KeyNodePool(name))
	}
	ws.wakeAllocs(c)
}

// wakeAllocs looks up what is watched only.
func (ws *watchers) wakeAllocs(c *changes) {
	if len(c.allocs) > 0 {
		ws.fire(KeyAllocs())
	}
	for _, a := range c.allocs {
		if ws.kinds[keyAlloc] > 0 {
			ws.fire(KeyAlloc(a.ID))
		}
		if ws.kinds[keyNodeAllocs] > 0 {
			ws.fire(KeyNodeAllocs(a.NodeID))
		}
		if ws.kinds[keyNodeOrders] > 0 {
			if k := KeyNodeOrders(a.NodeID); len(ws.byKey[k]) > 0 && c.orders(a.NodeID) {
				ws.fire(k)
			}
		}
		if ws.kinds[keyJobAllocs] > 0 {
			ws.fire(KeyJobAllocs(a.Namespace, a.JobID))
		}
	}
}

func (ws *watchers) wakeAll() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for k := range ws.byKey {
		ws.fire(k)
	}
}
