package sched

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Numbers of the eviction guard, see ARCHITECTURE.md §6.
const (
	guardWindow = 60 * time.Second // in which the first few nodes of a pool go at once
	guardAtOnce = 10               // percent of a pool, at least one node
	guardSlow   = 10 * time.Second // between nodes beyond that
	guardPool   = 4                // a smaller pool is silent as a whole only when all of it is

)

// States of the guard over one pool.
const (
	GuardFree    = "free"    // nodes that die are declared down
	GuardSlow    = "slow"    // more wait to be declared down than may go at once
	GuardHolding = "holding" // so much is silent at once that it must be the network: nobody is declared down
)

// Guard keeps the herd from stampeding: it is what the leader remembers of the nodes that it declared down lately, and of the
// pools that went silent. The zero Guard has seen nothing. Its content is never changed after it was returned.
type Guard struct {
	pools map[string]poolGuard
}

// poolGuard is the guard over one pool.
type poolGuard struct {
	gone      []letGo  // declared down within the window, oldest first
	holdSince int64    // since when all evictions are held; 0 for not
	held      []string // the silent nodes while it holds
	slow      bool     // a hold has ended: go on, but slowly, until nobody is silent any more
	slowSince int64    // the first goes one step later: when the network heals, those that live have come back by then
	silent    int      // for display
	size      int
	nextAt    int64 // when the guard will allow something again
	waiting   int   // nodes that wait for it
}

// letGo is one node declared down.
type letGo struct {
	node string
	at   int64
}

// GuardView is the guard as shown in the node status and the metrics.
type GuardView struct {
	Pools []PoolGuardView
}

// PoolGuardView is the guard over one node pool as shown.
type PoolGuardView struct {
	Pool    string
	State   string // GuardFree, GuardSlow or GuardHolding
	Since   int64  `json:",omitempty"` // cluster time since when it holds, nanoseconds since the Unix epoch
	Silent  int    // nodes of the pool that are silent, or were declared down a moment ago
	Nodes   int    // nodes of the pool
	Waiting int    // nodes that would be declared down if the guard let them
	NextAt  int64  `json:",omitempty"` // cluster time at which it will let the next node go
}

// View returns the guard's state for display, one row per pool that it has something to say about, in order of name.
func (g Guard) View() GuardView {
	var v GuardView
	for _, name := range slices.Sorted(maps.Keys(g.pools)) {
		p := g.pools[name]
		row := PoolGuardView{
			Pool: name, State: GuardFree, Since: p.holdSince,
			Silent: p.silent, Nodes: p.size, Waiting: p.waiting, NextAt: p.nextAt,
		}
		switch {
		case p.holdSince != 0:
			row.State = GuardHolding
		case p.slow || p.waiting > 0:
			row.State = GuardSlow
		}
		v.Pools = append(v.Pools, row)
	}
	return v
}

// letGo reports whether the guard let this node go within its window.
func (g Guard) letGo(pool, node string, now int64) bool {
	for _, l := range g.pools[pool].gone {
		if l.node == node && now-l.at < int64(guardWindow) {
			return true
		}
	}
	return false
}

// admit decides for every pool how many of its suspects are let go now.
func (g Guard) admit(j *judgement, allowedAt int64) Guard {
	next := Guard{pools: map[string]poolGuard{}}
	for _, name := range sortedPools(j.pools) {
		p := j.pools[name]
		slices.SortFunc(p.suspects, func(a, b suspect) int {
			if a.since != b.since {
				return sign(a.since < b.since, a.since > b.since)
			}
			return strings.Compare(a.node.ID, b.node.ID)
		})
		if pg, ok := g.pools[name].admit(p, j, allowedAt); ok {
			next.pools[name] = pg
		}
	}
	return next
}

// admit decides for one pool, and reports whether there is anything to remember.
func (g poolGuard) admit(p *poolView, j *judgement, allowedAt int64) (poolGuard, bool) {
	next := poolGuard{holdSince: g.holdSince, held: g.held, slow: g.slow, slowSince: g.slowSince, silent: p.silent, size: p.size}
	for _, l := range g.gone {
		if j.now-l.at < int64(guardWindow) {
			next.gone = append(next.gone, l)
		}
	}
	if len(p.suspects) == 0 {
		next.holdSince, next.held, next.slow, next.slowSince = 0, nil, false, 0
		return next, len(next.gone) > 0
	}
	next.hold(p, j, allowedAt)
	if next.holdSince != 0 {
		next.nextAt, next.waiting = next.holdSince+int64(j.opts.EvictionHold), len(p.suspects)
		return next, true
	}
	next.release(p, j.now)
	return next, true
}

// hold begins or ends the hold of all evictions.
func (g *poolGuard) hold(p *poolView, j *judgement, allowedAt int64) {
	switch {
	case g.slow:
		return
	case g.holdSince == 0:
		if !p.allSilent() {
			return
		}
		g.holdSince = j.now
	case allowedAt > g.holdSince || j.now-g.holdSince >= int64(j.opts.EvictionHold) || slices.ContainsFunc(g.held, p.heard):
		g.holdSince, g.held, g.slow, g.slowSince = 0, nil, true, j.now
		return
	}
	// Nodes that fell silent later count too when they return.
	held := slices.Clone(g.held)
	for _, s := range p.suspects {
		held = append(held, s.node.ID)
	}
	slices.Sort(held)
	g.held = slices.Compact(held)
}

func (p *poolView) heard(node string) bool { return p.fresh[node] }

// allSilent reports whether so much of a pool is silent that it must be the network.
func (p *poolView) allSilent() bool {
	if p.size < guardPool {
		return p.silent >= p.size
	}
	return 3*p.silent > p.size
}

// release lets suspects go: the first few of a window at once, unless a hold has just ended, then one at a time.
func (g *poolGuard) release(p *poolView, now int64) {
	quick := 0
	if !g.slow {
		quick = max(0, max(1, p.size*guardAtOnce/100)-len(g.gone))
	}
	n := min(quick, len(p.suspects))
	if n == 0 && now >= g.last()+int64(guardSlow) {
		n = 1
	}
	for _, s := range p.suspects[:n] {
		g.gone = append(g.gone, letGo{s.node.ID, now})
	}
	p.allowed = n
	if g.waiting = len(p.suspects) - n; g.waiting > 0 {
		g.nextAt = g.last() + int64(guardSlow)
	}
}

// last is when the last node was let go, or the slow rate began.
func (g *poolGuard) last() int64 {
	if len(g.gone) == 0 {
		return g.slowSince
	}
	return max(g.slowSince, g.gone[len(g.gone)-1].at)
}

func sortedPools(pools map[string]*poolView) []string { return slices.Sorted(maps.Keys(pools)) }
