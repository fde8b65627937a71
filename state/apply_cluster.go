package state

import "fmt"

func (c InitCluster) apply(t *tx) (any, error) {
	meta := &t.next.meta
	for _, name := range []struct {
		kept *string
		word string
	}{{&meta.ClusterID, c.ClusterID}, {&meta.Epoch, c.Epoch}} {
		if *name.kept != "" || name.word == "" && name.kept == &meta.Epoch {
			continue
		}
		if err := checkName(name.word); err != nil {
			return nil, fmt.Errorf("name the cluster %q: %w: %w", name.word, err, ErrInvalid)
		}
		*name.kept = name.word
	}
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
