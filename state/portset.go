package state

import "math/bits"

const (
	portPages    = 16   // of portsPerPage ports each: all 65536
	portsPerPage = 4096 // one bit per port
)

// PortSet is the host ports in use on one node, as a bitmap whose pages exist only where a port is taken. A PortSet that has
// been handed out is never changed: With returns another one that shares its other pages.
type PortSet struct {
	pages [portPages]*portPage
}

type portPage [portsPerPage / 64]uint64

// Has reports whether a port is taken, or is no port.
func (s *PortSet) Has(port int) bool {
	if port <= 0 || port > 65535 {
		return true
	}
	if s == nil {
		return false
	}
	p := s.pages[port/portsPerPage]
	return p != nil && p[port%portsPerPage/64]>>(port%64)&1 == 1
}

// With returns the set with more ports taken.
func (s *PortSet) With(ports ...int) *PortSet { return s.edited(ports, true) }

// Without returns the set with some ports free.
func (s *PortSet) Without(ports ...int) *PortSet { return s.edited(ports, false) }

func (s *PortSet) edited(ports []int, taken bool) *PortSet {
	if len(ports) == 0 {
		return s
	}
	next := &PortSet{}
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

// Covers reports whether every port of t is taken in s too.
func (s *PortSet) Covers(t *PortSet) bool {
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

// TakenBetween counts the ports in use from lo to hi, both inclusive.
func (s *PortSet) TakenBetween(lo, hi int) int {
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

// Pick returns n free ports of a range, looking from a start that moves with seed, so that a port that was just given back is
// not given away at once. It returns nil when there are not as many.
func (s *PortSet) Pick(lo, hi, n int, seed uint64, static []Port) []int {
	size := hi - lo + 1
	if n == 0 || size < n {
		return nil
	}
	out := make([]int, 0, n)
	start := int(seed % uint64(size))
	for i := 0; i < size && len(out) < n; i++ {
		port := lo + (start+i)%size
		if !s.Has(port) && !isStatic(static, port) {
			out = append(out, port)
		}
	}
	if len(out) < n {
		return nil
	}
	return out
}

func isStatic(static []Port, port int) bool {
	for _, p := range static {
		if p.Value == port {
			return true
		}
	}
	return false
}
