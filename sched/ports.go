package sched

import (
	"math/bits"

	"github.com/drover-io/drover/state"
)

const (
	portPages    = 16   // of portsPerPage ports each: all 65536
	portsPerPage = 4096 // one bit per port
)

// portSet is the host ports in use on one node, as a bitmap whose pages exist only where a port is taken. A portSet that has
// been handed out is never changed: with returns another one that shares its other pages.
type portSet struct {
	pages [portPages]*portPage
}

type portPage [portsPerPage / 64]uint64

// has reports whether a port is taken, or is no port.
func (s *portSet) has(port int) bool {
	if port <= 0 || port > 65535 {
		return true
	}
	if s == nil {
		return false
	}
	p := s.pages[port/portsPerPage]
	return p != nil && p[port%portsPerPage/64]>>(port%64)&1 == 1
}

// add takes a port in a set that its caller made and has not handed out.
func (s *portSet) add(port int) {
	if port <= 0 || port > 65535 {
		return
	}
	page := &s.pages[port/portsPerPage]
	if *page == nil {
		*page = &portPage{}
	}
	(*page)[port%portsPerPage/64] |= 1 << (port % 64)
}

// with returns the set with more ports taken.
func (s *portSet) with(ports ...int) *portSet { return s.edited(ports, true) }

// without returns the set with some ports free.
func (s *portSet) without(ports ...int) *portSet { return s.edited(ports, false) }

func (s *portSet) edited(ports []int, taken bool) *portSet {
	if len(ports) == 0 {
		return s
	}
	next := &portSet{}
	if s != nil {
		*next = *s
	}
	var own [portPages]bool
	for _, port := range ports {
		if port <= 0 || port > 65535 {
			continue
		}
		i := port / portsPerPage
		if !own[i] {
			own[i] = true
			page := portPage{}
			if next.pages[i] != nil {
				page = *next.pages[i]
			}
			next.pages[i] = &page
		}
		word, bit := &next.pages[i][port%portsPerPage/64], uint64(1)<<(port%64)
		if taken {
			*word |= bit
		} else {
			*word &^= bit
		}
	}
	return next
}

// covers reports whether every port of t is taken in s too.
func (s *portSet) covers(t *portSet) bool {
	if t == nil || s == t {
		return true
	}
	for i, page := range t.pages {
		if page == nil || (s != nil && s.pages[i] == page) {
			continue
		}
		for w, word := range page {
			var mine uint64
			if s != nil && s.pages[i] != nil {
				mine = s.pages[i][w]
			}
			if word&^mine != 0 {
				return false
			}
		}
	}
	return true
}

// takenBetween counts the ports in use from lo to hi, both inclusive.
func (s *portSet) takenBetween(lo, hi int) int {
	if s == nil {
		return 0
	}
	n := 0
	for port := max(lo, 1); port <= min(hi, 65535); {
		page := s.pages[port/portsPerPage]
		if page == nil {
			port = (port/portsPerPage + 1) * portsPerPage
			continue
		}
		first, last := port%64, min(63, port%64+hi-port)
		mask := ^uint64(0) << first & (^uint64(0) >> (63 - last))
		n += bits.OnesCount64(page[port%portsPerPage/64] & mask)
		port += 64 - first
	}
	return n
}

// pick returns n free ports of a range, looking from a start that moves with seed, so that a port that was just given back is
// not given away at once. It returns nil when there are not as many.
func (s *portSet) pick(lo, hi, n int, seed uint64, static []state.Port) []int {
	size := hi - lo + 1
	if n == 0 || size < n {
		return nil
	}
	out := make([]int, 0, n)
	start := int(seed % uint64(size))
	for i := 0; i < size && len(out) < n; i++ {
		port := lo + (start+i)%size
		if !s.has(port) && !isStatic(static, port) {
			out = append(out, port)
		}
	}
	if len(out) < n {
		return nil
	}
	return out
}

func isStatic(static []state.Port, port int) bool {
	for _, p := range static {
		if p.Value == port {
			return true
		}
	}
	return false
}
