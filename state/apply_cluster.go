package state

import "fmt"

func (c InitCluster) apply(t *tx) (any, error) {
	meta := &t.next.meta
	if meta.ClusterID != "" {
		return Done{Index: t.index}, nil
	}
	if err := checkName(c.ClusterID); err != nil {
		return nil, fmt.Errorf("name the cluster %q: %w: %w", c.ClusterID, err, ErrInvalid)
	}
	meta.ClusterID = c.ClusterID
	return Done{Index: t.index}, nil
}

func (c Lead) apply(t *tx) (any, error) {
	meta := &t.next.meta
	if t.term < meta.LeadTerm {
		return nil, fmt.Errorf("lead term %d: term %d has led: %w", t.term, meta.LeadTerm, ErrStaleTerm)
	}
	if t.term == meta.LeadTerm { // proposed twice
		return Done{Index: meta.LeadIndex}, nil
	}
	meta.LeadTerm, meta.LeadIndex, meta.LeadNode = t.term, t.index, c.NodeID
	return Done{Index: t.index}, nil
}

func (c RaiseLevel) apply(t *tx) (any, error) {
	meta := &t.next.meta
	if c.Level > MaxLevel {
		return nil, fmt.Errorf("raise the level to %d: this version knows %d: %w", c.Level, MaxLevel, ErrOutgrown)
	}
	before := meta.Level
	meta.Level = max(meta.Level, c.Level)
	if before < 2 && meta.Level >= 2 {
		t.adoptPools()
	}
	return Done{Index: t.index}, nil
}

func (c AllowEvictions) apply(t *tx) (any, error) {
	t.next.meta.EvictionsAllowedAt = t.now
	return Done{Index: t.index}, nil
}
