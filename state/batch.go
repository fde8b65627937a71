package state

import "fmt"

// Entry is a command of the Raft log. Commands that follow each other may share an entry of the log: then they have its index.
type Entry struct {
	Index uint64
	Term  uint64
	Data  []byte // an encoded command
}

// ShareKey names what a command changes when, in a cluster of a level, it may share an entry of the log with commands of other names; "" when it needs an index of
// its own. What a plan was made for, and what a user has seen, is told by index: of one job two registrations must not have the same.
func ShareKey(cmd Command, level int) string {
	if c, ok := cmd.(RegisterJob); ok && c.Job != nil && level >= 2 {
		return rowKey(c.Job.Namespace, c.Job.ID)
	}
	return ""
}

// ApplyAll applies entries in their order and returns their results: what Apply would have done and returned for one after the
// other. Small ones that follow each other share one transaction, so that the paths in the trees that they change are copied once;
// nobody sees the state between them. Those of one index always do.
func (s *Store) ApplyAll(entries []Entry) []any {
	s.writing.Lock()
	defer s.writing.Unlock()
	b := batch{s: s, results: make([]any, 0, len(entries))}
	for i, e := range entries {
		if b.careful && e.Index != b.next.index {
			b.commit() // of the others none is known to fail
		}
		shares := i > 0 && entries[i-1].Index == e.Index || i+1 < len(entries) && entries[i+1].Index == e.Index
		b.apply(e, shares)
	}
	b.commit()
	return b.results
}

// batch is some entries being applied. The store's lock is held.
type batch struct {
	s       *Store
	results []any // of every entry so far

	open    []Entry   // entries of the transaction that is open
	careful bool      // of which one is known to fail
	next    *Snapshot // what they lead to; nil while none is open
	before  before    // the state before the next entry
	changes changes   // of all of them
	logged  []loggedEntry
}

func (b *batch) apply(e Entry, shares bool) {
	cmd, err := Decode(e.Data)
	if err == nil && extent(cmd) > eagerRows && !shares {
		b.commit()
		b.results = append(b.results, b.s.applyDecoded(e, cmd, nil))
		return
	}
	if b.next == nil {
		base := b.s.Snapshot()
		b.next, b.before = base.clone(), before{base: base, meta: base.meta}
	}
	b.open = append(b.open, e)
	if err != nil {
		b.refuse(e, undecoded(e, err))
		return
	}
	t := &tx{next: b.next, index: e.Index, term: e.Term}
	if b.careful {
		t.next = b.next.clone()
	}
	t.next.index = e.Index
	result, err := t.run(cmd)
	switch {
	case err == nil:
		b.next, b.results = t.next, append(b.results, result)
		t.changes.meta = b.before.meta.announced() != b.next.meta.announced()
		b.note(&t.changes)
	case b.careful:
		b.refuse(e, err)
	default:
		b.redo()
	}
}

// refuse is what becomes of an entry that changed nothing.
func (b *batch) refuse(e Entry, err error) {
	b.next.index = e.Index
	b.results = append(b.results, err)
}

// redo throws the open transaction away, which its last entry may have written to before it failed, and applies its entries anew, each
// to a copy of its own. Commands are decoded anew: rows may share memory with the old ones.
func (b *batch) redo() {
	entries := b.open
	b.results = b.results[:len(b.results)-(len(entries)-1)]
	*b = batch{s: b.s, results: b.results, careful: true}
	for _, e := range entries {
		b.apply(e, true)
	}
}

// note keeps what one entry changed: its events, which need the rows as they were before, and whom to wake at the end.
func (b *batch) note(c *changes) {
	if c.any() {
		b.log(loggedEntry{index: b.next.index, size: c.rows(), batch: EventBatch{
			Index: b.next.index, Time: b.next.meta.LatestTime, Events: eventsBetween(&b.before, b.next, c),
		}})
	}
	b.before.pass(b.next, c)
	b.changes.add(c)
}

// log adds what a command changed to what those of the same index did: readers go on behind an index.
func (b *batch) log(e loggedEntry) {
	n := len(b.logged)
	if n == 0 || b.logged[n-1].index != e.index {
		b.logged = append(b.logged, e)
		return
	}
	last := &b.logged[n-1]
	if last.size += e.size; len(e.batch.Events) > 0 {
		last.batch.Time, last.batch.Events = e.batch.Time, append(last.batch.Events, e.batch.Events...)
	}
}

// commit makes the open transaction the current state.
func (b *batch) commit() {
	if b.next == nil {
		return
	}
	next, from := b.next, b.before.base.index
	b.changes.orders = func(nodeID string) bool { return next.OrdersOf(nodeID).At > from }
	b.s.current.Store(next)
	b.s.events.append(b.logged)
	b.s.watches.wake(&b.changes)
	*b = batch{s: b.s, results: b.results}
}

// applyDecoded applies one entry for itself. A command that could not be decoded only moves the index.
func (s *Store) applyDecoded(e Entry, cmd Command, err error) any {
	if err != nil {
		s.swap(s.Snapshot().at(e.Index), &changes{})
		return undecoded(e, err)
	}
	next, result, changed := s.Snapshot().apply(e.Index, e.Term, cmd)
	s.swap(next, changed)
	return result
}

func undecoded(e Entry, err error) error { return fmt.Errorf("decode entry %d: %w", e.Index, err) }

// extent is about how many rows a command changes. The events of larger ones are made when somebody reads them, from the states
// around the entry: they are applied for themselves, see eagerRows.
func extent(cmd Command) int {
	n := 1
	switch c := cmd.(type) {
	case ApplyPlan:
		for i := range c.Records {
			n += len(c.Records[i].Index) + len(c.Records[i].Stop)
		}
		n += len(c.Blocked)
	case Report:
		for i := range c.Nodes {
			n += len(c.Nodes[i].Allocs) + lengthOf(c.Nodes[i].Runs)
		}
		n += lengthOf(c.Runs)
	case CollectGarbage:
		n += len(c.Allocs) + len(c.Jobs) + len(c.Nodes)
	case SetNodeStatus:
		n += len(c.Changes)
	}
	return n
}

// lengthOf is how many allocations some runs have.
func lengthOf(runs []ReportRun) (n int) {
	for i := range runs {
		n += len(runs[i].IDs) / idBytes
	}
	return n
}

// before is the state before an entry: a snapshot, but for the rows that earlier entries of the same transaction have changed.
type before struct {
	base   *Snapshot
	meta   metaRow
	jobs   map[JobKey]*Job
	nodes  map[string]*Node
	pools  map[string]*NodePool
	images map[string]*Image
	allocs map[string]*Alloc
}

// pass moves on behind an entry that changed c and led to next.
func (p *before) pass(next *Snapshot, c *changes) {
	p.meta = next.meta
	for _, k := range c.jobs {
		keep(&p.jobs, k, next.Job(k.Namespace, k.ID))
	}
	for _, id := range c.nodes {
		keep(&p.nodes, id, next.Node(id))
	}
	for _, name := range c.pools {
		keep(&p.pools, name, next.NodePool(name))
	}
	for _, digest := range c.images {
		keep(&p.images, digest, next.Image(digest))
	}
	for _, a := range c.allocs {
		keep(&p.allocs, a.ID, next.Alloc(a.ID))
	}
}

func keep[K comparable, R any](rows *map[K]*R, key K, row *R) {
	if *rows == nil {
		*rows = map[K]*R{}
	}
	(*rows)[key] = row
}

// job is the job's row before the entry.
func (p *before) job(namespace, id string) *Job {
	if j, changed := p.jobs[JobKey{namespace, id}]; changed {
		return j
	}
	return p.base.Job(namespace, id)
}

// node is the node's row before the entry.
func (p *before) node(id string) *Node {
	if n, changed := p.nodes[id]; changed {
		return n
	}
	return p.base.Node(id)
}

// nodePool is the pool before the entry.
func (p *before) nodePool(name string) *NodePool {
	if n, changed := p.pools[name]; changed {
		return n
	}
	return p.base.NodePool(name)
}

// image is the image's row before the entry.
func (p *before) image(digest string) *Image {
	if i, changed := p.images[digest]; changed {
		return i
	}
	return p.base.Image(digest)
}

// alloc is the allocation's row before the entry.
func (p *before) alloc(id string) *Alloc {
	if a, changed := p.allocs[id]; changed {
		return a
	}
	return p.base.Alloc(id)
}

// clientStatus is the allocation's status as it was shown before the entry.
func (p *before) clientStatus(a *Alloc) string { return a.shownOn(p.node(a.NodeID)) }
