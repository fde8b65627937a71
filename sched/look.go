package sched

import (
	"strconv"
)

// look is what one look at every node found for an ask, whatever job has it: the nodes that are open and fit, in buckets, the best of
// them first. Of every node there is a candidate that says what it scores for a job without copies, or it is among those that were
// not kept, or it has changed since: the next job that asks for the same looks again at those that changed only.
type look struct {
	view    *view
	queue   *queue
	table   *wishTable // nil for a group that wishes for nothing
	only    *bucket    // the bucket of such a group
	byWish  []*bucket  // the others, by the wish
	peers   map[string]*peers
	sharing []map[string][]*bucket // for each spread: the buckets that have a value
	unnamed []int                  // for each spread: values of nodes that are open, and that no target names

	key     string // by which other jobs find it, "" for one that is of no use to them
	fresh   bool   // nothing has been taken from it
	seen    uint64 // the changes that it knows of are not later
	pushed  int    // candidates added since every node was looked at
	touched []int  // nodes whose candidates say what only holds of the job that used it last
	used    uint64
}

// behind reports whether looking at every node anew costs no more than looking at what has changed: that costs about eight times as much
// for a node, of a group with wishes three times.
func (lk *look) behind(c *changes, nodes int) bool {
	most := nodes/8 + 16
	if lk.only == nil {
		most = nodes/3 + 16
	}
	news := len(lk.touched)
	for range c.since(lk.seen) {
		if news++; news > most {
			break
		}
	}
	return news > most || lk.pushed > nodes/2+1024
}

// lookKey names what a look depends on. It reports false for an ask whose look is of no use to others: of what only some nodes have,
// or what each must be asked for.
func (a *ask) lookKey(algorithm Algorithm) (string, bool) {
	if a.byNode || a.piecemeal() || len(a.static) > 0 || len(a.uniques) > 0 {
		return "", false
	}
	b := make([]byte, 0, 512)
	b = append(append(b, algorithm...), 0)
	b = append(append(b, a.job.Type...), 0)
	for _, n := range []int{a.group.Count, a.res.CPU, a.res.MemoryMB, a.res.DiskMB, a.dynamic} {
		b = append(strconv.AppendInt(b, int64(n), 10), 0)
	}
	b = append(append(b, a.terms...), 0)
	return string(append(b, a.nameWishes()...)), true
}

// lookFor returns a look at the fleet for an ask, and keeps it for others where it is of use to them.
func (l *ledger) lookFor(a *ask, copies int) *look {
	m := l.memory
	key, shared := a.lookKey(l.algorithm)
	m.uses++
	if lk := m.looks[key]; shared && lk != nil {
		if !lk.behind(&m.changes, len(l.rows)) {
			lk.used = m.uses
			lk.view.ledger, lk.view.ask = l, a
			l.view = lk.view
			return lk
		}
		delete(m.looks, key)
	}
	lk := &look{view: l.viewOf(a), queue: &queue{keep: l.firstLook + 1}, fresh: true, seen: m.changes.now, used: m.uses}
	for i := range lk.view.classes { // an ask that was placed before has its view still
		lk.view.classes[i].bucket = nil
	}
	if shared {
		lk.key, lk.queue.keep = key, max(l.firstLook, min(copies, lookMore*l.firstLook))+1
	} else {
		lk.queue.keep = min(copies, l.firstLook) + 1
	}
	if a.likes == nil && len(a.spreads) == 0 {
		lk.only = lk.add(0, nil)
	} else {
		lk.table = m.wishesOf(a, len(l.fleet.classes), len(l.fleet.nodes))
		if len(a.spreads) > 0 {
			lk.queue.keep = lookEach(lk.queue.keep, len(lk.table.byName))
		}
		lk.peers, lk.sharing = map[string]*peers{}, make([]map[string][]*bucket, len(a.spreads))
		for i := range lk.sharing {
			lk.sharing[i] = map[string][]*bucket{}
		}
	}
	return lk
}

// lookEach is how many candidates each of so many buckets of a group with spreads is filled with at first: fewer of many, for copies are
// spread over them.
func lookEach(keep, buckets int) int { return min(keep, max(16, 2*keep/max(1, buckets))) }

// keepFor is how many candidates a bucket is filled with at first: few where others are liked better, for copies go there first.
func (lk *look) keepFor(affinity float64) int {
	if lk.table != nil && affinity < lk.table.most {
		return min(lk.queue.keep, max(16, lk.queue.keep/lookMore))
	}
	return lk.queue.keep
}

// add makes a bucket.
func (lk *look) add(affinity float64, values []string) *bucket {
	b := &bucket{wish: wishScore{affinity: affinity}, values: values, best: candidate{score: none}, at: -1, kept: lk.view.ledger.memory.buffer()}
	b.keep = lk.keepFor(affinity)
	b.most = max(2*b.keep, leastCut*lk.view.ledger.firstLook)
	lk.queue.buckets = append(lk.queue.buckets, b)
	for i, v := range values {
		lk.sharing[i][v] = append(lk.sharing[i][v], b)
	}
	return b
}

// bucket is where a node's candidates go.
func (lk *look) bucket(pos int) *bucket {
	if lk.only != nil {
		return lk.only
	}
	if b := lk.view.classes[lk.view.ledger.rows[pos].classID()].bucket; b != nil {
		return b
	}
	w := lk.table.ask(lk.view.ask, lk.view.ledger, pos)
	for w.id >= len(lk.byWish) {
		lk.byWish = append(lk.byWish, nil)
	}
	b := lk.byWish[w.id]
	if b == nil {
		b = lk.add(w.affinity, w.values)
		if len(w.values) > 0 {
			if lk.peers[w.tuple] == nil {
				lk.peers[w.tuple] = &peers{}
			}
			b.peers = lk.peers[w.tuple]
		}
		lk.byWish[w.id] = b
	}
	return b
}
