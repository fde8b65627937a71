package state

import "fmt"

func (c SetSchedulerConfig) apply(t *tx) (any, error) {
	meta := &t.next.meta
	if err := checkAlgorithm(c.Config.SchedulerAlgorithm); err != nil {
		return nil, fmt.Errorf("set the scheduler configuration: scheduler_algorithm: %w: %w", err, ErrInvalid)
	}
	var old SchedulerConfig
	if meta.Scheduler != nil {
		old = *meta.Scheduler
	}
	if c.EnforceIndex && c.ModifyIndex != old.ModifyIndex {
		return nil, fmt.Errorf("set the scheduler configuration: check index is %d, its modify index %d; read it again: %w",
			c.ModifyIndex, old.ModifyIndex, ErrIndexMismatch)
	}
	next := c.Config
	next.CreateIndex, next.ModifyIndex = old.CreateIndex, old.ModifyIndex
	if meta.Scheduler != nil && next == old {
		return Done{Index: t.index}, nil
	}
	next.ModifyIndex = t.index
	if next.CreateIndex == 0 {
		next.CreateIndex = t.index
	}
	meta.Scheduler = &next
	return Done{Index: t.index}, nil
}

// checkAlgorithm reports why the state machine cannot store an algorithm.
func checkAlgorithm(name string) error {
	if name != AlgorithmBinPack && name != AlgorithmSpread {
		return fmt.Errorf("must be %q or %q, is %q", AlgorithmBinPack, AlgorithmSpread, truncate(name, maxNameBytes))
	}
	return nil
}

func (c UpsertNodePool) apply(t *tx) (any, error) {
	if c.Pool == nil {
		return nil, fmt.Errorf("write a node pool: there is none: %w", ErrInvalid)
	}
	name := truncate(c.Pool.Name, maxNameBytes)
	if err := checkName(c.Pool.Name); err != nil {
		return nil, fmt.Errorf("write node pool %q: %w: %w", name, err, ErrInvalid)
	}
	if c.Pool.BuiltIn() {
		return nil, fmt.Errorf("write node pool %q: it is built in and cannot be changed: %w", name, ErrConflict)
	}
	old := t.next.pools.get(c.Pool.Name)
	p := *c.Pool
	p.CreateIndex, p.ModifyIndex = 0, 0
	if old != nil {
		p.CreateIndex, p.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if sameJSON(&p, old) {
			return Done{Index: t.index}, nil
		}
	}
	t.putPool(&p)
	return Done{Index: t.index}, nil
}

func (c DeleteNodePool) apply(t *tx) (any, error) {
	name := truncate(c.Name, maxNameBytes)
	p := t.next.NodePool(c.Name)
	switch {
	case p == nil:
		return nil, fmt.Errorf("delete node pool %q: %w", name, ErrNotFound)
	case p.BuiltIn():
		return nil, fmt.Errorf("delete node pool %q: it is built in: %w", name, ErrConflict)
	}
	for n := range t.next.Nodes() {
		if n.NodePool == c.Name {
			return nil, fmt.Errorf("delete node pool %q: node %s (%s) is in it; give it another pool, or wait until it is collected: %w",
				name, n.Name, n.ID, ErrConflict)
		}
	}
	for j := range t.next.Jobs() {
		if j.NodePool == c.Name && t.next.JobStatus(j) != JobStatusDead {
			return nil, fmt.Errorf("delete node pool %q: job %q in namespace %q uses it; stop it or give it another pool: %w",
				name, j.ID, j.Namespace, ErrConflict)
		}
	}
	t.removePool(c.Name)
	return Done{Index: t.index}, nil
}

// wantPool creates the pool that a node belongs to when nobody has: the machine's own configuration decides where it belongs.
func (t *tx) wantPool(name string) {
	if name == "" || t.next.meta.Level < 2 || t.next.NodePool(name) != nil {
		return
	}
	t.putPool(&NodePool{Name: name})
}

// adoptPools creates the pools that nodes and jobs of a level-1 cluster named without there being any.
func (t *tx) adoptPools() {
	for n := range t.next.Nodes() {
		t.wantPool(n.NodePool)
	}
	for j := range t.next.Jobs() {
		t.wantPool(j.NodePool)
	}
}

// checkPool refuses a job in a pool that does not exist: it would wait for ever for a node, most likely because of a typing error.
func (t *tx) checkPool(j *Job) error {
	if t.next.meta.Level < 2 || t.next.NodePool(PoolOf(j.NodePool)) != nil {
		return nil
	}
	return fmt.Errorf("register job %q: node pool %q does not exist; create it, or correct node_pool: %w",
		j.ID, truncate(j.NodePool, maxNameBytes), ErrInvalid)
}

func (t *tx) putPool(p *NodePool) {
	p.ModifyIndex = t.index
	if p.CreateIndex == 0 {
		p.CreateIndex = t.index
	}
	t.next.pools.put(p.Name, p)
	t.next.poolsIndex = t.index
	t.changes.pools = append(t.changes.pools, p.Name)
}

func (t *tx) removePool(name string) {
	t.next.pools.remove(name)
	t.next.poolsIndex = t.index
	t.changes.pools = append(t.changes.pools, name)
}
